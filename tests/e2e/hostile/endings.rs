//! Ends of every kind, one by one and all together: what they held is free at once.

use std::thread;
use std::time::Duration;

use alarmcast::base::clock::{Clock, Instant};
use serde_json::{Value, json};

use super::guard::Row;
use super::{await_errors, frame, header, narrow, upgraded};
use crate::support::{Raw, Sent, Server, events};

/// Beyond what the server may take: other processes want the processors as well.
const SLACK: Duration = Duration::from_secs(8);

/// Waits until only the bystander is there, which must be within `limit` of `since`.
#[track_caller]
fn assert_freed(server: &Server, since: Instant, limit: Duration) {
    server.await_metric("alarmcast_shard_sockets", 1.0);
    let elapsed = Clock::System.now().since(since);
    assert!(elapsed < limit + SLACK, "freed after {elapsed:?}");
}

#[test]
fn ends_without_a_farewell_are_freed_at_once_wherever_they_fall() {
    let mid_header = frame(0x81, b"{}")[..3].to_vec();
    let mid_payload = [header(0x81, 1_000), vec![b'x'; 10]].concat();
    let mid_message = frame(0x01, b"{\"type\":");
    let starts = [Vec::new(), mid_header, mid_payload, mid_message];
    Row::new().connections(80).run(|server| {
        for start in &starts {
            for is_reset in [false, true] {
                let mut raws = upgraded(server, 10);
                raws.iter_mut().for_each(|raw| raw.write(start));
                let since = Clock::System.now();
                match is_reset {
                    true => raws.drain(..).for_each(Raw::reset),
                    // The other direction stays open, for as long as the row lasts.
                    false => raws.iter().for_each(Raw::end_sending),
                }
                assert_freed(server, since, Duration::from_secs(1));
            }
        }
        await_errors(server, "reset", starts.len() * 20);
    });
}

/// What waits for them cannot be sent any more.
#[test]
fn ends_amid_a_backlog_leave_nothing_of_it() {
    Row::new().holds_kib(16 * 1024).run(|server| {
        for end in [Raw::reset, |raw: Raw| raw.end_sending(), drop::<Raw>] {
            let raws = narrow(server, 20);
            for _ in 0..5 {
                let batch: Vec<Value> = (0..20).map(|_| events::large("fill", 10_000)).collect();
                server.publish_all(&batch);
            }
            assert!(server.metrics().sum("alarmcast_outbox_bytes") > 0.0);
            let since = Clock::System.now();
            raws.into_iter().for_each(end);
            assert_freed(server, since, Duration::from_secs(1));
            assert_eq!(server.metrics().sum("alarmcast_outbox_bytes"), 0.0);
        }
    });
}

#[test]
fn peers_that_do_not_answer_the_close_are_freed_all_the_same() {
    const COUNT: usize = 30;
    let settings = ["session.heartbeat_interval_secs=1", "session.idle_timeout_secs=3600"];
    Row::with(&settings).connections(COUNT as u64).run(|server| {
        let mut deaf = upgraded(server, COUNT);
        for raw in &mut deaf {
            assert!(matches!(raw.next(), Sent::Ping));
            assert_eq!(raw.message()["code"], 4008);
            assert!(matches!(raw.next(), Sent::Close(4008)));
        }
        assert_freed(server, Clock::System.now(), Duration::from_secs(5));
        // The server ended them: until then each had its place.
        for raw in &mut deaf {
            assert!(matches!(raw.try_next(), Ok(Sent::End) | Err(_)));
        }
    });
}

/// A close frame and its answer, an end, a reset, and a close frame of one who then stays.
#[test]
fn a_storm_of_closes_amid_a_flood_is_over_at_once() {
    const EACH: usize = 100;
    let close = frame(0x88, &4_000_u16.to_be_bytes());
    Row::new().connections(4 * EACH as u64).holds_kib(16 * 1024).run(|server| {
        let mut raws = upgraded(server, 4 * EACH);
        raws.iter_mut().for_each(|raw| raw.subscribe(&json!({})));
        let mut kinds: Vec<Vec<Raw>> = Vec::new();
        while !raws.is_empty() {
            kinds.push(raws.split_off(raws.len() - EACH));
        }
        let since = thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20 {
                    server.publish_all(&vec![events::system("flood"); 20]);
                }
            });
            let [told, ended, reset, staying] = &mut kinds[..] else { unreachable!("four kinds") };
            for number in 0..EACH {
                told[number].write(&close);
                ended[number].end_sending();
                staying[number].write(&close);
                reset.pop().expect("as many of each").reset();
            }
            let since = Clock::System.now();
            for mut raw in told.drain(..) {
                let code = loop {
                    match raw.next() {
                        Sent::Close(code) => break code,
                        Sent::End => panic!("an end without an answer"),
                        _ => {}
                    }
                };
                assert_eq!(code, 4_000);
            }
            since
        });
        assert_freed(server, since, Duration::from_secs(1));
        assert_eq!(server.metrics().sum("websocket_active_connections"), 1.0);
        drop(kinds);
    });
}
