//! Work whose instructions valgrind counts, and memory that this program counts itself:
//! `cargo xtask instructions` compares both with `baseline.json`.
//!
//! Without an argument it prints what there is to measure, `instructions NAME` for each count of
//! instructions and `bytes NAME N` for each amount of memory. With a name it does that work once
//! unmeasured, then again within [`counted_part`], and prints for how many and in how many
//! nanoseconds it was done.

#[path = "../../tests/delivery_allocations/counting.rs"]
mod counting;
#[path = "../../tests/delivery_allocations/crowd.rs"]
mod crowd;
#[path = "../distinct.rs"]
mod distinct;
#[path = "../../tests/delivery_allocations/idle.rs"]
mod idle;
#[path = "../null_shard.rs"]
mod null_shard;
#[path = "../sample.rs"]
mod sample;

mod messages;
mod shards;
mod structures;

use std::hint::black_box;
use std::process::ExitCode;

use alarmcast::base::clock::Clock;

/// Does it once more, and tells for how many of its units.
type Work = Box<dyn FnMut() -> u64>;

/// Something whose instructions are counted.
struct Counted {
    name: &'static str,
    prepare: fn() -> Work,
}

const COUNTED: &[Counted] = &[
    Counted { name: "connect", prepare: shards::connect },
    Counted { name: "deliver_one_event", prepare: shards::deliver_one_event },
    Counted { name: "deliver_eight_events", prepare: shards::deliver_eight_events },
    Counted { name: "deliver_to_a_mixed_crowd", prepare: shards::deliver_to_a_mixed_crowd },
    Counted { name: "encode_json", prepare: messages::encode_json },
    Counted { name: "encode_msgpack", prepare: messages::encode_msgpack },
    Counted { name: "publish_json", prepare: messages::publish_json },
    Counted { name: "publish_msgpack", prepare: messages::publish_msgpack },
    Counted { name: "transcode_to_msgpack", prepare: messages::transcode_to_msgpack },
    Counted { name: "transcode_to_json", prepare: messages::transcode_to_json },
    Counted { name: "subscribe_message", prepare: messages::subscribe_message },
    Counted { name: "match_one_percent", prepare: structures::match_one_percent },
    Counted { name: "match_patterns", prepare: structures::match_patterns },
    Counted { name: "lanes", prepare: structures::lanes },
    Counted { name: "lanes_that_shed", prepare: structures::lanes_that_shed },
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        COUNTED.iter().for_each(|counted| println!("instructions {}", counted.name));
        println!("bytes idle_connection {}", idle::with_a_filter_for_all());
        println!("bytes idle_connection_with_its_own_filter {}", idle::with_filters_of_their_own());
        return ExitCode::SUCCESS;
    };
    let Some(counted) = COUNTED.iter().find(|counted| counted.name == name) else {
        eprintln!("nothing is called `{name}` here");
        return ExitCode::FAILURE;
    };
    let mut work = (counted.prepare)();
    work();
    let start = Clock::System.now();
    let units = counted_part(&mut work);
    println!("{units} {}", (Clock::System.now() - start).as_nanos());
    ExitCode::SUCCESS
}

/// valgrind counts while this runs, and knows it by this name.
#[inline(never)]
fn counted_part(work: &mut Work) -> u64 {
    black_box(work())
}
