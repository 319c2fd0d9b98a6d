//! Slots used again and again, with timers of those who held them before still in the wheel.

use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::events;
use crate::random::Random;
use crate::world::Plan;

#[test]
fn timers_of_gone_connections_do_nothing_to_those_in_their_slots() {
    for seed in 0..5 {
        let mut random = Random::new(seed);
        let mut plan = Plan::new(seed);
        plan.settings.sockets_max = 8;
        let mut world = plan.build();
        let mut living: Vec<Client> = Vec::new();
        let mut joined = 0;
        for _ in 0..300 {
            if living.len() < 6 {
                living.push(world.join_subscribed(json!({})));
                joined += 1;
            }
            let millis = random.pick(&[0, 90, 700, 3000]);
            world.pass(Duration::from_millis(millis), &mut living.iter_mut().collect::<Vec<_>>());
            if random.chance(60) {
                let mut leaving = living.swap_remove(random.below(living.len()));
                match random.below(3) {
                    0 => leaving.abandon(),
                    1 => leaving.reset(),
                    _ => leaving.close(1000),
                }
                leaving.pump();
                world.settle(&mut [&mut leaving]);
            }
            let all_live = living.iter().all(|client| client.end.is_none());
            assert!(all_live, "seed {seed}: a bystander was closed");
        }
        assert_eq!(world.stats.connections_opened.get(), joined);
        assert_eq!(world.stats.heartbeats_missed.get(), 0);
        world.publish(events::of_bytes(1));
        world.settle(&mut living.iter_mut().collect::<Vec<_>>());
        assert!(living.iter().all(|client| client.seqs().len() == 1 || client.count("event") == 1));
        living.iter_mut().for_each(|client| client.close(1000));
        world.end(Duration::from_secs(3), &mut living.iter_mut().collect::<Vec<_>>());
    }
}

#[test]
fn a_slot_is_used_again_within_one_turn_of_its_release() {
    let mut plan = Plan::new(1);
    plan.settings.sockets_max = 1;
    let mut world = plan.build();
    for round in 0..500 {
        let mut client = world.knock();
        world.settle(&mut [&mut client]);
        assert_eq!(client.status(), Some(101), "round {round}");
        client.abandon();
    }
    world.end(Duration::from_secs(1), &mut []);
    assert_eq!(world.stats.connections_opened.get(), 500);
}
