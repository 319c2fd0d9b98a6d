//! What a crowd counted, and the sum over crowds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::connection::{Connection, Ending};
use crate::priority::{ByPriority, Priority};
use crate::wire::message::Mark;

/// Longest latency that is told apart, in µs: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
/// Of so many events, from the first, the slowest delivery is kept.
const EVENTS_MAX: usize = 16_384;

/// Counts while a crowd runs.
#[derive(Debug)]
pub struct Ledger {
    /// Events of this run, each counted once for a connection.
    pub deliveries: u64,
    /// Events that the server told it had dropped.
    pub dropped: u64,
    pub duplicates: u64,
    /// Events that came after a later one.
    pub out_of_order: u64,
    /// Events whose seq was not above that of the event before.
    pub seq_not_rising: u64,
    /// Steps of more than one in seq, where every event is wanted.
    pub seq_gaps: u64,
    /// Events that somebody else published.
    pub foreign_events: u64,
    pub other_messages: u64,
    /// All answered.
    pub pings: u64,
    /// `error` messages to subscribed connections, by code.
    pub errors: BTreeMap<String, u64>,
    latency_us: Histogram<u64>,
    /// By event.
    slowest_us: Vec<u32>,
    /// Where losses are told.
    lanes: ByPriority<LaneLedger>,
}

#[derive(Debug)]
struct LaneLedger {
    due_us: Histogram<u64>,
    sent_us: Histogram<u64>,
}

impl Default for LaneLedger {
    fn default() -> Self {
        Self { due_us: empty_histogram(), sent_us: empty_histogram() }
    }
}

/// What was counted of one priority, where losses are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneTally {
    pub delivered: u64,
    /// As the server told.
    pub dropped: u64,
    /// By how much the two together are off, summed over connections.
    pub unaccounted: u64,
    /// Counts by µs, from the moment that an event was due.
    pub due_us: Vec<(u64, u64)>,
    /// And from the moment that its request was made.
    pub sent_us: Vec<(u64, u64)>,
}

/// What one crowd, or all together, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Connections that were subscribed.
    pub subscribed: u64,
    /// Of those, how many ended before they were told to.
    pub lost: u64,
    pub deliveries: u64,
    pub missing: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    pub seq_not_rising: u64,
    pub seq_gaps: u64,
    pub foreign_events: u64,
    pub other_messages: u64,
    pub pings: u64,
    /// `error` messages, by code.
    pub errors: BTreeMap<String, u64>,
    /// Attempts to connect that were repeated, by reason.
    pub retries: BTreeMap<String, u64>,
    /// Connections that were given up before they were subscribed or broke after, by reason.
    pub failures: BTreeMap<String, u64>,
    pub endings: Endings,
    /// Counts by µs: a histogram's recorded values.
    pub latency_us: Vec<(u64, u64)>,
    /// By event, from the first, that of its slowest delivery; zero where none was noted.
    pub slowest_us: Vec<u32>,
    pub lanes: ByPriority<LaneTally>,
}

/// How subscribed connections ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endings {
    /// Were sent `closing`.
    pub told: u64,
    /// Close frames by code; 0 stands for one without a code.
    pub close_codes: BTreeMap<u16, u64>,
    /// Had their answer to the close frame taken by the kernel.
    pub answered: u64,
    /// Were ended by the server after the close handshake, with nothing cut off.
    pub clean: u64,
    /// All of the above, with 1001.
    pub orderly: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            deliveries: 0,
            dropped: 0,
            duplicates: 0,
            out_of_order: 0,
            seq_not_rising: 0,
            seq_gaps: 0,
            foreign_events: 0,
            other_messages: 0,
            pings: 0,
            errors: BTreeMap::new(),
            latency_us: empty_histogram(),
            slowest_us: Vec::new(),
            lanes: ByPriority::default(),
        }
    }
}

impl Ledger {
    /// Counts an event that came `latency_ns` after it was due.
    pub fn note_delivery(&mut self, latency_ns: u64) {
        self.deliveries += 1;
        self.latency_us.saturating_record(latency_ns / 1_000);
    }

    /// Keeps the latency if it is the longest of this event.
    pub fn note_event(&mut self, index: u32, latency_ns: u64) {
        let index = index as usize;
        if index < EVENTS_MAX {
            let us = u32::try_from(latency_ns / 1_000).unwrap_or(u32::MAX);
            raise(&mut self.slowest_us, index, us);
        }
    }

    /// Counts an event's latencies by priority.
    pub fn note_in_lane(&mut self, priority: Priority, mark: &Mark, now_ns: u64) {
        let lane = &mut self.lanes[priority];
        lane.due_us.saturating_record(now_ns.saturating_sub(mark.due_ns) / 1_000);
        lane.sent_us.saturating_record(now_ns.saturating_sub(mark.sent_ns) / 1_000);
    }

    /// Events that came or were told as lost.
    pub fn accounted(&self) -> u64 {
        self.deliveries + self.dropped
    }

    pub fn note_error(&mut self, code: String) {
        *self.errors.entry(code).or_default() += 1;
    }

    /// The ledger's part of a tally.
    pub fn tally(&self) -> Tally {
        Tally {
            deliveries: self.deliveries,
            duplicates: self.duplicates,
            out_of_order: self.out_of_order,
            seq_not_rising: self.seq_not_rising,
            seq_gaps: self.seq_gaps,
            foreign_events: self.foreign_events,
            other_messages: self.other_messages,
            pings: self.pings,
            errors: self.errors.clone(),
            latency_us: recorded(&self.latency_us),
            slowest_us: self.slowest_us.clone(),
            lanes: ByPriority::from_fn(|priority| LaneTally {
                due_us: recorded(&self.lanes[priority].due_us),
                sent_us: recorded(&self.lanes[priority].sent_us),
                ..LaneTally::default()
            }),
            ..Tally::default()
        }
    }
}

impl Tally {
    /// Counts a connection that was subscribed once, and was due so many events.
    pub fn add_connection(
        &mut self,
        connection: &Connection,
        due: u32,
        by_priority: &ByPriority<u64>,
    ) {
        self.subscribed += 1;
        match connection.counts() {
            None => self.missing += connection.missing(due),
            Some(counts) => {
                for priority in Priority::ALL {
                    let lane = &mut self.lanes[priority];
                    let (delivered, dropped) =
                        (counts.delivered[priority], counts.dropped[priority]);
                    lane.delivered += delivered;
                    lane.dropped += dropped;
                    lane.unaccounted += (delivered + dropped).abs_diff(by_priority[priority]);
                }
            }
        }
        self.endings.add(connection.ending());
    }

    /// Adds another crowd's.
    pub fn merge(&mut self, other: &Self) {
        self.subscribed += other.subscribed;
        self.lost += other.lost;
        self.deliveries += other.deliveries;
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.seq_not_rising += other.seq_not_rising;
        self.seq_gaps += other.seq_gaps;
        self.foreign_events += other.foreign_events;
        self.other_messages += other.other_messages;
        self.pings += other.pings;
        add_counts(&mut self.errors, &other.errors);
        add_counts(&mut self.retries, &other.retries);
        add_counts(&mut self.failures, &other.failures);
        self.endings.merge(&other.endings);
        self.latency_us.extend_from_slice(&other.latency_us);
        let slowest = other.slowest_us.iter().enumerate();
        slowest.for_each(|(index, &us)| raise(&mut self.slowest_us, index, us));
        for priority in Priority::ALL {
            self.lanes[priority].merge(&other.lanes[priority]);
        }
    }

    /// The latencies of all deliveries, in µs.
    pub fn latency(&self) -> Histogram<u64> {
        histogram_of(&self.latency_us)
    }
}

impl LaneTally {
    fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.unaccounted += other.unaccounted;
        self.due_us.extend_from_slice(&other.due_us);
        self.sent_us.extend_from_slice(&other.sent_us);
    }
}

/// A histogram of values and how often each was recorded.
pub fn histogram_of(recorded: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = empty_histogram();
    for &(value, count) in recorded {
        histogram.saturating_record_n(value, count);
    }
    histogram
}

impl Endings {
    fn add(&mut self, ending: Ending) {
        const GOING_AWAY: u16 = 1001;
        self.told += u64::from(ending.was_told);
        self.answered += u64::from(ending.has_answered);
        self.clean += u64::from(ending.is_clean);
        if let Some(code) = ending.close_code {
            *self.close_codes.entry(code).or_default() += 1;
        }
        let is_orderly = ending.was_told
            && ending.close_code == Some(GOING_AWAY)
            && ending.has_answered
            && ending.is_clean;
        self.orderly += u64::from(is_orderly);
    }

    fn merge(&mut self, other: &Self) {
        self.told += other.told;
        self.answered += other.answered;
        self.clean += other.clean;
        self.orderly += other.orderly;
        add_counts(&mut self.close_codes, &other.close_codes);
    }
}

/// A histogram of latencies in µs.
pub fn empty_histogram() -> Histogram<u64> {
    match Histogram::new_with_max(LATENCY_US_MAX, SIGNIFICANT_DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the bounds are constants: {error}"),
    }
}

fn recorded(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect()
}

fn raise(values: &mut Vec<u32>, index: usize, value: u32) {
    if values.len() <= index {
        values.resize(index + 1, 0);
    }
    values[index] = values[index].max(value);
}

fn add_counts<K: Clone + Ord>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sums.entry(key.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_with_their_latencies() {
        let mut sum = Tally::default();
        for latency_ms in [1, 2, 300] {
            let mut ledger = Ledger::default();
            ledger.note_delivery(latency_ms * 1_000_000);
            ledger.note_error("RATE_LIMITED".to_owned());
            sum.merge(&ledger.tally());
        }
        assert_eq!((sum.deliveries, sum.errors["RATE_LIMITED"]), (3, 3));
        let latency = sum.latency();
        assert_eq!(latency.len(), 3);
        assert!(latency.max().abs_diff(300_000) < 300, "{}", latency.max());
    }

    #[test]
    fn of_each_event_the_slowest_delivery_of_all_crowds_is_kept() {
        let mut sum = Tally::default();
        for deliveries in [[(0, 3), (2, 5)], [(2, 4), (0, 6)], [(EVENTS_MAX as u32, 1), (3, 2)]] {
            let mut ledger = Ledger::default();
            for (index, us) in deliveries {
                ledger.note_event(index, us * 1_000);
            }
            sum.merge(&ledger.tally());
        }
        assert_eq!(sum.slowest_us, [6, 0, 5, 2]);
    }

    #[test]
    fn only_all_four_signs_make_an_orderly_end() {
        let orderly =
            Ending { was_told: true, close_code: Some(1001), has_answered: true, is_clean: true };
        let mut endings = Endings::default();
        for ending in [
            orderly,
            Ending { was_told: false, ..orderly },
            Ending { close_code: Some(1000), ..orderly },
            Ending { close_code: None, ..orderly },
            Ending { has_answered: false, ..orderly },
            Ending { is_clean: false, ..orderly },
        ] {
            endings.add(ending);
        }
        assert_eq!(endings.orderly, 1);
        assert_eq!(endings.close_codes, BTreeMap::from([(1000, 1), (1001, 4)]));
    }
}
