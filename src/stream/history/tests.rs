use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::segment::SEGMENT_EVENTS;
use super::{Bounds, Expired, History, Limits, Window, WindowWriter};
use crate::base::clock::Instant;
use crate::event::{Context, Event, Payload, Priorities, Priority};
use crate::protocol::encoded::Encoded;

const UNLIMITED: Limits =
    Limits { bytes_max: usize::MAX, events_max: usize::MAX, age_max: Duration::MAX };

/// An event accepted in the second that is its seq, on the monotonic and on the wall clock.
fn event(seq: u64, priority: Priority, text_bytes: usize) -> Arc<Encoded> {
    let fields = serde_json::json!({
        "event_type": "system_event", "category": "c", "message": "x".repeat(text_bytes),
        "metadata": {},
    });
    let serde_json::Value::Object(fields) = fields else { panic!("an object") };
    Arc::new(Encoded::new(Event {
        seq,
        message_id: Uuid::from_u128(seq.into()),
        timestamp: jiff::Timestamp::from_second(seq as i64).unwrap(),
        priority,
        payload: Payload::from_object(fields).unwrap(),
        context: Context::default(),
        accepted_at: Instant::from_nanos(seq * 1_000_000_000),
    }))
}

fn writer(limits: Limits, events: u64) -> WindowWriter {
    let mut writer = WindowWriter::new(limits);
    (1..=events).for_each(|seq| writer.push(event(seq, priority(seq), 1)));
    writer
}

/// Every tenth is critical, the others low.
fn priority(seq: u64) -> Priority {
    if seq.is_multiple_of(10) { Priority::Critical } else { Priority::Low }
}

fn all_after(window: &Window, position: u64, priorities: Priorities) -> Result<Vec<u64>, Expired> {
    let mut seqs = Vec::new();
    let reached = window.read(position, priorities, &mut |event| {
        seqs.push(event.event.seq);
        ControlFlow::Continue(())
    })?;
    assert_eq!(reached, window.bounds().newest.max(position));
    Ok(seqs)
}

#[test]
fn what_is_read_is_all_that_came_after_in_order_over_many_segments() {
    let newest = SEGMENT_EVENTS as u64 * 3 + 7;
    let window = writer(UNLIMITED, newest).window();
    assert_eq!(window.bounds(), Bounds { first: 1, newest });
    for position in [0, 1, 255, 256, 257, 600, newest - 1, newest] {
        let seqs = all_after(&window, position, Priorities::ALL).unwrap();
        assert!(seqs.iter().copied().eq(position + 1..=newest), "{position}");
        let critical = all_after(&window, position, Priorities::only(Priority::Critical)).unwrap();
        let expected = (position + 1..=newest).filter(|seq| seq.is_multiple_of(10));
        assert!(critical.into_iter().eq(expected), "{position}");
    }
    assert_eq!(all_after(&window, newest + 5, Priorities::ALL), Ok(vec![]));
}

#[test]
fn a_reader_that_stops_goes_on_with_the_event_that_it_did_not_take() {
    let window = writer(UNLIMITED, 1_000).window();
    let (mut position, mut seqs) = (0, Vec::new());
    while position < 1_000 {
        let mut room = 7;
        position = window
            .read(position, Priorities::ALL, &mut |event| {
                if room == 0 {
                    return ControlFlow::Break(());
                }
                room -= 1;
                seqs.push(event.event.seq);
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    assert!(seqs.into_iter().eq(1..=1_000));
}

#[test]
fn the_oldest_go_by_count_by_bytes_and_by_age() {
    let by_count = writer(Limits { events_max: 300, ..UNLIMITED }, 1_000).window();
    assert_eq!(by_count.bounds(), Bounds { first: 701, newest: 1_000 });
    assert_eq!(all_after(&by_count, 699, Priorities::ALL), Err(Expired { first: 701 }));
    assert_eq!(all_after(&by_count, 700, Priorities::ALL).unwrap().len(), 300);

    let mut by_bytes = WindowWriter::new(Limits { bytes_max: 100_000, ..UNLIMITED });
    for seq in 1..=100 {
        by_bytes.push(event(seq, Priority::Low, 10_000));
        assert!(by_bytes.bytes() <= 100_000);
    }
    let Bounds { first, newest } = by_bytes.window().bounds();
    assert_eq!((first, newest), (98, 100), "three of a little more than 30 kB fit");

    let mut by_age = writer(Limits { age_max: Duration::from_secs(60), ..UNLIMITED }, 500);
    assert_eq!(by_age.window().bounds(), Bounds { first: 440, newest: 500 });
    by_age.trim(Instant::from_nanos(1_000_000_000_000));
    let window = by_age.window();
    assert_eq!(window.bounds(), Bounds { first: 501, newest: 500 });
    assert_eq!((by_age.bytes(), all_after(&window, 500, Priorities::ALL)), (0, Ok(vec![])));
    assert_eq!(all_after(&window, 499, Priorities::ALL), Err(Expired { first: 501 }));
    by_age.push(event(501, Priority::High, 1));
    assert_eq!(all_after(&window, 500, Priorities::ALL), Ok(vec![501]));
}

#[test]
fn an_event_larger_than_the_window_is_not_held_and_the_next_one_is() {
    let mut writer = WindowWriter::new(Limits { bytes_max: 10_000, ..UNLIMITED });
    writer.push(event(1, Priority::Low, 10_000));
    assert_eq!(writer.window().bounds(), Bounds { first: 2, newest: 1 });
    writer.push(event(2, Priority::Low, 10));
    assert_eq!(all_after(&writer.window(), 1, Priorities::ALL), Ok(vec![2]));
}

#[test]
fn a_time_becomes_the_position_before_the_first_event_that_is_not_older() {
    let window = writer(Limits { events_max: 300, ..UNLIMITED }, 1_000).window();
    let at = |second| window.position_at(jiff::Timestamp::from_second(second).unwrap());
    assert_eq!((at(-5), at(1), at(701), at(702), at(999)), (700, 700, 700, 701, 998));
    assert_eq!((at(1_000), at(1_001), at(9_999)), (999, 1_000, 1_000));
}

#[test]
fn readers_on_other_threads_see_a_dense_and_growing_past_while_it_is_trimmed() {
    let mut writer = WindowWriter::new(Limits { events_max: 400, ..UNLIMITED });
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let window = writer.window();
            thread::spawn(move || {
                let (mut position, mut read, mut expired) = (0, 0, 0);
                while position < 20_000 {
                    let mut next = position + 1;
                    let reached = window.read(position, Priorities::ALL, &mut |event| {
                        assert_eq!(event.event.seq, next);
                        next += 1;
                        ControlFlow::Continue(())
                    });
                    match reached {
                        Ok(reached) => {
                            assert_eq!(reached + 1, next);
                            read += reached - position;
                            position = reached;
                        }
                        Err(Expired { first }) => {
                            assert!(first > position + 1, "{first} {position}");
                            expired += first - 1 - position;
                            position = first - 1;
                        }
                    }
                }
                assert_eq!(read + expired, 20_000);
            })
        })
        .collect();
    (1..=20_000).for_each(|seq| writer.push(event(seq, priority(seq), 1)));
    readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
}

proptest! {
    #[test]
    fn a_window_is_the_end_of_the_sequence(
        events in prop::collection::vec((0..4_usize, 0..2_000_usize), 1..600),
        bytes_max in 1_000..400_000_usize,
        events_max in 1..600_usize,
        position in 0..600_u64,
        wanted in 0..4_usize,
    ) {
        let mut writer = WindowWriter::new(Limits { bytes_max, events_max, ..UNLIMITED });
        let mut model = BTreeMap::new();
        for (seq, (priority, bytes)) in (1_u64..).zip(events) {
            writer.push(event(seq, Priority::ALL[priority], bytes));
            model.insert(seq, Priority::ALL[priority]);
        }
        let window = writer.window();
        let Bounds { first, newest } = window.bounds();
        prop_assert_eq!(newest, model.len() as u64);
        prop_assert!(writer.bytes() <= bytes_max && newest + 1 - first <= events_max as u64);
        let wanted = Priority::ALL[wanted];
        let read = all_after(&window, position, Priorities::only(wanted));
        if position + 1 < first && position < newest {
            prop_assert_eq!(read, Err(Expired { first }));
        } else {
            let after = model.range(position + 1..).filter(|(_, priority)| **priority == wanted);
            prop_assert_eq!(read.unwrap(), after.map(|(seq, _)| *seq).collect::<Vec<_>>());
        }
    }
}
