use std::ops::ControlFlow;
use std::sync::Arc;

use super::history::{Expired, History};
use crate::event::Priorities;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;

/// A reader of the past on behalf of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Every event up to this one that is wanted was taken.
    position: u64,
    priorities: Priorities,
}

/// What may be taken, and looked at, in one step.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of frames; one frame that is larger is taken alone.
    pub bytes: usize,
    /// Events compared with filters.
    pub compared: usize,
}

impl Cursor {
    /// Reads events of these priorities after `position`.
    pub fn new(position: u64, priorities: Priorities) -> Self {
        Self { position, priorities }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn priorities(&self) -> Priorities {
        self.priorities
    }

    /// Hands what is wanted of the events up to `until` to `take`, in order, while there is
    /// room, which becomes less. True when everything up to `until` was looked at.
    ///
    /// # Errors
    /// Events that it comes to next are not held any more.
    pub fn advance(
        &mut self,
        history: &dyn History,
        until: u64,
        encoding: Encoding,
        room: &mut Room,
        wants: &mut dyn FnMut(&Encoded) -> bool,
        take: &mut dyn FnMut(&Arc<Encoded>),
    ) -> Result<bool, Expired> {
        let bytes_before = room.bytes;
        let reached = history.read(self.position, self.priorities, &mut |event| {
            if event.event.seq > until || room.compared == 0 {
                return ControlFlow::Break(());
            }
            room.compared -= 1;
            if !wants(event) {
                return ControlFlow::Continue(());
            }
            let bytes = event.frame(encoding).len();
            if bytes > room.bytes && room.bytes < bytes_before {
                return ControlFlow::Break(());
            }
            room.bytes = room.bytes.saturating_sub(bytes);
            take(event);
            ControlFlow::Continue(())
        })?;
        self.position = reached.min(until).max(self.position);
        Ok(self.position >= until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::base::clock::Instant;
    use crate::event::{Context, Event, Payload, Priority};
    use crate::stream::history::{Limits, WindowWriter};

    /// Every third event is critical, the others normal.
    fn history(events: u64, limits: Limits) -> Arc<dyn History> {
        let mut writer = WindowWriter::new(limits);
        for seq in 1..=events {
            let fields = serde_json::json!({
                "event_type": "system_event", "category": "c", "message": "m", "metadata": {},
            });
            let serde_json::Value::Object(fields) = fields else { panic!("an object") };
            let is_critical = seq.is_multiple_of(3);
            writer.push(Arc::new(Encoded::new(Event {
                seq,
                message_id: Uuid::nil(),
                timestamp: jiff::Timestamp::UNIX_EPOCH,
                priority: if is_critical { Priority::Critical } else { Priority::Normal },
                payload: Payload::from_object(fields).unwrap(),
                context: Context::default(),
                accepted_at: Instant::default(),
            })));
        }
        writer.window()
    }

    fn step(
        cursor: &mut Cursor,
        history: &dyn History,
        until: u64,
        room: Room,
    ) -> Result<(bool, Vec<u64>), Expired> {
        let (mut room, mut taken) = (room, Vec::new());
        let is_even = &mut |event: &Encoded| event.event.seq.is_multiple_of(2);
        let take = &mut |event: &Arc<Encoded>| taken.push(event.event.seq);
        let is_done = cursor.advance(history, until, Encoding::Json, &mut room, is_even, take)?;
        Ok((is_done, taken))
    }

    const ROOMY: Room = Room { bytes: 1 << 20, compared: 1 << 20 };

    #[test]
    fn it_takes_what_is_wanted_up_to_the_bound_and_goes_on_from_there() {
        let history = history(100, Limits::default());
        let mut cursor = Cursor::new(10, Priorities::ALL);
        let (is_done, taken) = step(&mut cursor, &*history, 15, ROOMY).unwrap();
        assert_eq!((is_done, taken, cursor.position()), (true, vec![12, 14], 15));
        let (is_done, taken) = step(&mut cursor, &*history, 15, ROOMY).unwrap();
        assert_eq!((is_done, taken), (true, vec![]));
        let mut critical = Cursor::new(0, Priorities::only(Priority::Critical));
        let (is_done, taken) = step(&mut critical, &*history, 20, ROOMY).unwrap();
        assert_eq!((is_done, taken, critical.position()), (true, vec![6, 12, 18], 20));
    }

    #[test]
    fn room_bounds_a_step_and_nothing_is_passed_over_or_taken_twice() {
        let history = history(300, Limits::default());
        for room in [
            Room { bytes: 1, compared: 1 << 20 },
            Room { bytes: 700, compared: 1 << 20 },
            Room { bytes: 1 << 20, compared: 1 },
            Room { bytes: 500, compared: 7 },
        ] {
            let (mut cursor, mut all) = (Cursor::new(0, Priorities::ALL), Vec::new());
            for _ in 0..300 {
                let (is_done, taken) = step(&mut cursor, &*history, 299, room).unwrap();
                assert!(taken.len() <= room.compared);
                all.extend(taken);
                if is_done {
                    break;
                }
            }
            assert!(all.into_iter().eq((2..299).step_by(2)), "{room:?}");
        }
    }

    #[test]
    fn it_is_told_when_history_has_passed_it() {
        let limits = Limits { events_max: 50, age_max: Duration::MAX, ..Limits::default() };
        let history = history(100, limits);
        let mut cursor = Cursor::new(49, Priorities::ALL);
        assert_eq!(step(&mut cursor, &*history, 100, ROOMY), Err(Expired { first: 51 }));
        let mut cursor = Cursor::new(50, Priorities::ALL);
        assert_eq!(step(&mut cursor, &*history, 100, ROOMY).unwrap().1.len(), 25);
    }
}
