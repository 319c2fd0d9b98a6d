//! Windows in which events of one type and fingerprint are counted once enough of them were sent.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::base::clock::Instant;
use crate::event::Priority;
use crate::protocol::encoded::Storm;
use crate::protocol::{Collapse, CollapsedCounts};

/// Those of one subscription.
#[derive(Debug, Default)]
pub(super) struct Windows {
    by_storm: HashMap<Storm, Window, RandomState>,
    /// None has ended before.
    all_last_until: Instant,
}

#[derive(Debug)]
struct Window {
    ends_at: Instant,
    /// Events of this window, whatever became of them.
    seen: u32,
    hidden: Option<Hidden>,
}

/// What was counted and not told yet.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    due: Instant,
    first_seq: u64,
    last_seq: u64,
    counts: CollapsedCounts,
}

/// What is to be told of one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub storm: Storm,
    pub first_seq: u64,
    pub last_seq: u64,
    pub counts: CollapsedCounts,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is sent.
    Sent,
    /// It is sent, because no window is free.
    Unnoticed,
    /// It was counted; that is told at `due`.
    Hidden { due: Instant },
}

impl Windows {
    /// Judges one event. A window is opened where `has_room` or one that has ended is in the way.
    pub fn admit(
        &mut self,
        storm: &Storm,
        (seq, priority): (u64, Priority),
        collapse: Collapse,
        now: Instant,
        has_room: bool,
    ) -> Admitted {
        let ends_at = now + Duration::from_millis(collapse.window_ms.into());
        if let Some(window) = self.by_storm.get_mut(storm) {
            if window.ends_at <= now {
                (window.ends_at, window.seen) = (ends_at, 0);
                self.all_last_until = self.all_last_until.min(ends_at);
            }
            window.seen = window.seen.saturating_add(1);
            if window.seen <= collapse.after {
                return Admitted::Sent;
            }
            return Admitted::Hidden { due: window.hide(seq, priority) };
        }
        if !has_room && !self.forget_ended(now) {
            return Admitted::Unnoticed;
        }
        let first = self.by_storm.is_empty();
        self.all_last_until = if first { ends_at } else { self.all_last_until.min(ends_at) };
        self.by_storm.insert(storm.clone(), Window { ends_at, seen: 1, hidden: None });
        Admitted::Sent
    }

    pub fn len(&self) -> usize {
        self.by_storm.len()
    }

    /// Takes what is to be told: of one window that is due, or of any.
    pub fn take_told(&mut self, now: Option<Instant>) -> Option<Told> {
        let is_due = |hidden: Hidden| now.is_none_or(|now| hidden.due <= now);
        let mut windows = self.by_storm.iter_mut();
        let (storm, window) = windows.find(|(_, it)| it.hidden.is_some_and(is_due))?;
        let Hidden { first_seq, last_seq, counts, .. } = window.hidden.take()?;
        Some(Told { storm: storm.clone(), first_seq, last_seq, counts })
    }

    /// When the next is to be told.
    pub fn next_due(&self) -> Option<Instant> {
        self.hidden().map(|hidden| hidden.due).min()
    }

    /// The first event that was counted and not told.
    pub fn first_hidden(&self) -> Option<u64> {
        self.hidden().map(|hidden| hidden.first_seq).min()
    }

    fn hidden(&self) -> impl Iterator<Item = Hidden> {
        self.by_storm.values().filter_map(|window| window.hidden)
    }

    /// Forgets windows that have ended with nothing to tell; whether there were any.
    fn forget_ended(&mut self, now: Instant) -> bool {
        if now < self.all_last_until {
            return false;
        }
        let before = self.by_storm.len();
        self.by_storm.retain(|_, window| now < window.ends_at || window.hidden.is_some());
        let ends = self.by_storm.values().map(|window| window.ends_at);
        // Those that have ended and are to be told are no reason to look again at once.
        self.all_last_until = ends.filter(|ends_at| now < *ends_at).min().unwrap_or(now);
        self.by_storm.len() < before
    }
}

impl Window {
    /// Counts an event; gives when that is told.
    fn hide(&mut self, seq: u64, priority: Priority) -> Instant {
        let hidden = self.hidden.get_or_insert_with(|| Hidden {
            due: self.ends_at,
            first_seq: seq,
            last_seq: seq,
            counts: CollapsedCounts::default(),
        });
        hidden.first_seq = hidden.first_seq.min(seq);
        hidden.last_seq = hidden.last_seq.max(seq);
        *match priority {
            Priority::Critical => unreachable!("critical events are never collapsed"),
            Priority::High => &mut hidden.counts.high,
            Priority::Normal => &mut hidden.counts.normal,
            Priority::Low => &mut hidden.counts.low,
        } += 1;
        hidden.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;

    const COLLAPSE: Collapse = Collapse { window_ms: 1_000, after: 2 };

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn storm(name: &str) -> Storm {
        Storm { event_type: EventType::AlertReceived, fingerprint: name.into() }
    }

    #[test]
    fn the_first_few_are_sent_and_the_rest_is_told_once_at_the_end_of_the_window() {
        let mut windows = Windows::default();
        let admit = |windows: &mut Windows, seq, priority, millis| {
            windows.admit(&storm("a"), (seq, priority), COLLAPSE, at(millis), true)
        };
        assert_eq!(admit(&mut windows, 1, Priority::High, 0), Admitted::Sent);
        assert_eq!(admit(&mut windows, 2, Priority::High, 10), Admitted::Sent);
        let hidden = Admitted::Hidden { due: at(1_000) };
        assert_eq!(admit(&mut windows, 4, Priority::Normal, 20), hidden);
        assert_eq!(admit(&mut windows, 3, Priority::High, 999), hidden);
        assert_eq!(windows.first_hidden(), Some(3));
        assert_eq!((windows.next_due(), windows.take_told(Some(at(999)))), (Some(at(1_000)), None));
        let counts = CollapsedCounts { low: 0, normal: 1, high: 1 };
        let told = Told { storm: storm("a"), first_seq: 3, last_seq: 4, counts };
        assert_eq!(windows.take_told(Some(at(1_000))), Some(told));
        assert_eq!((windows.next_due(), windows.take_told(None)), (None, None));
        assert_eq!(admit(&mut windows, 5, Priority::Low, 1_000), Admitted::Sent, "a new window");
    }

    #[test]
    fn what_was_not_told_at_the_end_of_its_window_is_told_with_the_next() {
        let mut windows = Windows::default();
        for seq in 1..=3 {
            let _ = windows.admit(&storm("a"), (seq, Priority::Low), COLLAPSE, at(0), true);
        }
        for seq in 4..=6 {
            let _ = windows.admit(&storm("a"), (seq, Priority::Low), COLLAPSE, at(1_500), true);
        }
        let told = windows.take_told(Some(at(1_500))).unwrap();
        assert_eq!((told.first_seq, told.last_seq, told.counts.low), (3, 6, 2));
    }

    #[test]
    fn types_and_fingerprints_are_apart_and_what_has_no_room_is_sent() {
        let mut windows = Windows::default();
        let other = Storm { event_type: EventType::IncidentClosed, ..storm("a") };
        for storm in [storm("a"), storm("b"), other] {
            for seq in 1..=2 {
                let event = (seq, Priority::Normal);
                assert_eq!(windows.admit(&storm, event, COLLAPSE, at(0), true), Admitted::Sent);
            }
        }
        let beyond = |windows: &mut Windows, millis| {
            windows.admit(&storm("c"), (9, Priority::Normal), COLLAPSE, at(millis), false)
        };
        assert_eq!(beyond(&mut windows, 999), Admitted::Unnoticed);
        let _ = windows.admit(&storm("a"), (10, Priority::Normal), COLLAPSE, at(999), true);
        assert_eq!(beyond(&mut windows, 1_000), Admitted::Sent, "in the place of one that ended");
        assert_eq!(windows.len(), 2, "the new one, and one that is to be told");
        assert!(windows.take_told(Some(at(1_000))).is_some());
    }
}
