//! Contract point 2: what is submitted does not wait for the next wait. In the simulator nothing
//! arrives before time passes.

use alarmcast::io::{Driver, Outcome};

use crate::harness::Harness;
use crate::world::{World, pattern, read_some, roomy};

crate::on_real_drivers!(what_is_submitted_goes_out_before_the_next_wait);

fn what_is_submitted_goes_out_before_the_next_wait<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let sent = pattern(1_000);
    let send = world.send(socket, sent.clone());
    world.harness.driver().submit();
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(read_some(&mut client, 1_000).expect("not ended"));
    }
    assert!(received == sent, "bytes differ");
    let outcome = world.outcome(send);
    assert!(matches!(&outcome, Outcome::Sent { buf, .. } if buf.is_done()), "{outcome:?}");
}
