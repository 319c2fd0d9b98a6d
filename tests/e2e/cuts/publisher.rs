//! A flood of mixed priorities over HTTP, and what the server said of each event.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::proxy::wait;
use crate::resuming::{Fact, Published, Random};
use crate::support::Server;

/// Publishes until told to stop.
pub fn flood(server: &Server, seed: u64, published: &Mutex<Published>, is_over: &AtomicBool) {
    let mut random = Random::new(seed ^ 0xF100D);
    while !is_over.load(Ordering::Relaxed) {
        let count = match random.below(40) {
            0 => 400,
            1..10 => 60,
            _ => 1 + random.below(12),
        };
        let facts: Vec<Fact> = (0..count).map(|_| Fact::any(&mut random)).collect();
        let items: Vec<_> = facts.iter().map(|fact| fact.item()).collect();
        let receipts = server.publish_all(&items);
        let mut published = published.lock().expect("no panic");
        for (fact, receipt) in facts.into_iter().zip(receipts) {
            let id: uuid::Uuid = receipt.message_id.parse().expect("a UUID");
            let before = published.insert(receipt.seq, (fact, millis(id)));
            assert!(before.is_none(), "seq {} was given twice", receipt.seq);
        }
        drop(published);
        wait(Duration::from_millis(5 + random.below(40) as u64));
    }
}

/// When the id was made (RFC 9562 section 5.7): the event's timestamp is of the same moment.
fn millis(id: uuid::Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}
