//! Whether a slow subscriber was sent, or told to have missed, exactly what was published, and
//! in the order that priorities promise.

use std::collections::BTreeMap;

use crate::priority::{ByPriority, Priority};
use crate::slow::heard::Entry;
use crate::slow::outcome::{Behind, Lost};
use crate::wire::message::Dropped;

/// Everything that was published while a connection was subscribed: dense in seq.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub first_seq: u64,
    pub priorities: Vec<Priority>,
}

/// What stood before a critical event when its publisher had its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Of the critical event.
    pub seq: u64,
    /// Bytes of the stream that the client had read.
    pub read: u64,
    /// Bytes that the client's kernel held.
    pub received: u64,
    /// Bytes that the server's kernel held.
    pub sending: u64,
}

/// What came of an audit; `wrong` is empty when all is well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    pub published: ByPriority<u64>,
    pub delivered: ByPriority<u64>,
    pub dropped: ByPriority<u64>,
    pub notices: u64,
    pub lost: Lost,
    pub behind: Behind,
    /// How often something was wrong, by what.
    pub wrong: BTreeMap<&'static str, u64>,
}

/// Audits what one connection heard.
pub fn audit(published: &Published, entries: &[Entry], probes: &[Probe]) -> Verdict {
    let mut audit = Audit::new(published);
    for entry in entries {
        match entry {
            Entry::Event { seq, priority, .. } => audit.event(*seq, *priority),
            Entry::Dropped(dropped) => audit.dropped(dropped),
        }
    }
    audit.finish();
    audit.verdict.behind = behind(entries, probes);
    let unseen = probes.len() as u64 - audit.verdict.behind.criticals;
    audit.note_wrong("critical events did not come", unseen);
    audit.verdict
}

impl Published {
    pub fn push(&mut self, priority: Priority) {
        self.priorities.push(priority);
    }

    pub fn counts(&self) -> ByPriority<u64> {
        let mut counts = ByPriority::default();
        self.priorities.iter().for_each(|&priority| counts[priority] += 1);
        counts
    }

    fn index(&self, seq: u64) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        (index < self.priorities.len()).then_some(index)
    }
}

struct Audit<'a> {
    published: &'a Published,
    /// For each event, how many of its priority were published before it.
    ranks: Vec<u32>,
    has_come: Vec<bool>,
    ranges: Vec<(usize, usize)>,
    /// Last event of all that was told as lost.
    lost_to: Option<u64>,
    verdict: Verdict,
}

impl<'a> Audit<'a> {
    fn new(published: &'a Published) -> Self {
        let mut counts: ByPriority<u64> = ByPriority::default();
        let rank = |&priority: &Priority| {
            counts[priority] += 1;
            (counts[priority] - 1) as u32
        };
        let ranks = published.priorities.iter().map(rank).collect();
        let verdict = Verdict { published: counts, ..Verdict::default() };
        let has_come = vec![false; published.priorities.len()];
        Self { published, ranks, has_come, ranges: Vec::new(), lost_to: None, verdict }
    }

    fn note_wrong(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.verdict.wrong.entry(what).or_default() += count;
        }
    }

    fn event(&mut self, seq: u64, priority: Priority) {
        let Some(index) = self.published.index(seq) else {
            return self.note_wrong("events were never published", 1);
        };
        if self.published.priorities[index] != priority {
            self.note_wrong("events came with another priority", 1);
        }
        let verdict = &mut self.verdict;
        // All of its priority before it came or were told as lost, and nothing else: each once,
        // in order, and every loss told before the next event.
        let before = verdict.delivered[priority] + verdict.dropped[priority];
        let is_exact = before == u64::from(self.ranks[index]) && !self.has_come[index];
        verdict.delivered[priority] += 1;
        self.has_come[index] = true;
        if !is_exact {
            self.note_wrong("events came out of place", 1);
        }
        // Low events go first: while any waits, nothing newer is lost.
        if priority == Priority::Low && self.lost_to.is_some_and(|lost_to| seq < lost_to) {
            self.note_wrong("low events came that are older than what was lost", 1);
        }
    }

    fn dropped(&mut self, dropped: &Dropped) {
        self.verdict.notices += 1;
        self.verdict.dropped.merge(&dropped.counts);
        self.lost_to = self.lost_to.max(Some(dropped.to_seq));
        let Dropped { from_seq, to_seq, counts } = dropped;
        match (self.published.index(*from_seq), self.published.index(*to_seq)) {
            (Some(from), Some(to)) if from <= to => self.ranges.push((from, to)),
            _ => return self.note_wrong("ranges of losses are not of what was published", 1),
        }
        if counts.sum() == 0 || counts.sum() > to_seq - from_seq + 1 {
            self.note_wrong("losses do not fit into their range", 1);
        }
    }

    fn finish(&mut self) {
        for priority in Priority::ALL {
            let verdict = &self.verdict;
            let accounted = verdict.delivered[priority] + verdict.dropped[priority];
            let off = accounted.abs_diff(verdict.published[priority]);
            self.note_wrong("events are not accounted for", off);
        }
        self.note_wrong("critical events were dropped", self.verdict.dropped.critical);
        let ends = self.ranges.iter().flat_map(|&(from, to)| [from, to]);
        let wrong_ends = ends.filter(|&index| self.has_come[index]).count();
        self.note_wrong("ranges of losses begin or end with what came", wrong_ends as u64);
        let outside = self.outside_ranges();
        self.note_wrong("lost events lie in no range", outside);
        let (published, dropped) = (self.verdict.published, self.verdict.dropped);
        let share = |priority| match published[priority] {
            0 => 0.0,
            count => dropped[priority] as f64 / count as f64,
        };
        let lost = Lost {
            low: share(Priority::Low),
            normal: share(Priority::Normal),
            high: share(Priority::High),
        };
        // That low goes first is checked above, event by event; a share may differ by a little,
        // because what came before the first loss is not the same share of each.
        const SLACK: f64 = 0.01;
        if lost.high > lost.normal + SLACK || lost.normal > lost.low + SLACK {
            self.note_wrong("a higher priority lost a larger share", 1);
        }
        self.verdict.lost = lost;
    }

    /// Events that did not come and that no notice's range holds.
    fn outside_ranges(&mut self) -> u64 {
        self.ranges.sort_unstable();
        let mut told_to = 0;
        let mut outside = 0;
        let not_come = |range: &[bool]| range.iter().filter(|&&has_come| !has_come).count() as u64;
        for &(from, to) in &self.ranges {
            outside += not_come(self.has_come.get(told_to..from).unwrap_or_default());
            told_to = told_to.max(to + 1);
        }
        outside + not_come(&self.has_come[told_to..])
    }
}

/// What critical events had to wait for: the bytes of other events that came after the publisher
/// had its answer and before the critical event.
fn behind(entries: &[Entry], probes: &[Probe]) -> Behind {
    let mut behind = Behind::default();
    for probe in probes {
        let Some(bytes) = bytes_before(entries, probe) else { continue };
        behind.criticals += 1;
        behind.bytes_max = behind.bytes_max.max(bytes);
        behind.unsent_bytes_max = behind.unsent_bytes_max.max(bytes.saturating_sub(probe.received));
        behind.client_kernel_bytes_max = behind.client_kernel_bytes_max.max(probe.received);
        behind.server_kernel_bytes_max = behind.server_kernel_bytes_max.max(probe.sending);
    }
    behind
}

fn bytes_before(entries: &[Entry], probe: &Probe) -> Option<u64> {
    let mut bytes = 0;
    for entry in entries {
        let Entry::Event { seq, priority, span } = entry else { continue };
        if *seq == probe.seq {
            return Some(bytes);
        }
        if *priority != Priority::Critical {
            bytes += span.end.saturating_sub(span.start.max(probe.read));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    use Priority::{Critical, High, Low, Normal};

    fn published() -> Published {
        Published { first_seq: 10, priorities: vec![Low, Normal, Low, High, Low, Critical, Low] }
    }

    fn event(seq: u64, priority: Priority) -> Entry {
        let at = seq * 100;
        Entry::Event { seq, priority, span: at..at + 100 }
    }

    fn dropped(from_seq: u64, to_seq: u64, low: u64, normal: u64) -> Entry {
        let counts = ByPriority { low, normal, ..ByPriority::default() };
        Entry::Dropped(Dropped { from_seq, to_seq, counts })
    }

    /// What a good server sends to a slow client.
    fn good() -> Vec<Entry> {
        vec![
            event(10, Low),
            dropped(12, 14, 2, 0),
            event(15, Critical),
            event(13, High),
            event(11, Normal),
            event(16, Low),
        ]
    }

    fn wrong(entries: &[Entry]) -> Vec<&'static str> {
        audit(&published(), entries, &[]).wrong.into_keys().collect()
    }

    #[test]
    fn what_came_and_what_was_told_make_up_what_was_published() {
        let verdict = audit(&published(), &good(), &[]);
        assert!(verdict.wrong.is_empty(), "{verdict:#?}");
        assert_eq!(verdict.dropped.low, 2);
        assert_eq!(verdict.delivered, ByPriority { critical: 1, high: 1, normal: 1, low: 2 });
        assert_eq!(verdict.lost, Lost { low: 0.5, normal: 0.0, high: 0.0 });
    }

    #[test]
    fn each_fault_is_found() {
        let with = |change: &dyn Fn(&mut Vec<Entry>)| {
            let mut entries = good();
            change(&mut entries);
            wrong(&entries)
        };
        let place = "events came out of place";
        let unaccounted = "events are not accounted for";
        assert_eq!(with(&|it| it.truncate(5)), [unaccounted, "lost events lie in no range"]);
        assert_eq!(with(&|it| it.swap(1, 5)), [place], "a loss is told before the next event");
        assert!(with(&|it| it.push(event(16, Low))).contains(&place), "sent twice");
        assert!(
            with(&|it| it.retain(|entry| matches!(entry, Entry::Event { .. })))
                .contains(&unaccounted),
            "lost and not told"
        );
        assert!(with(&|it| it[1] = dropped(12, 14, 3, 0)).contains(&unaccounted));
        let ends = "ranges of losses begin or end with what came";
        assert_eq!(with(&|it| it[1] = dropped(11, 14, 2, 0)), [ends]);
        assert_eq!(
            with(&|it| it[1] = dropped(12, 12, 2, 0))[0],
            "losses do not fit into their range"
        );
        assert!(with(&|it| it[0] = event(9, Low)).contains(&"events were never published"));
        assert!(with(&|it| it[0] = event(10, High)).contains(&"events came with another priority"));
    }

    #[test]
    fn a_normal_event_lost_while_a_low_one_waits_is_found() {
        let entries = [
            dropped(11, 14, 1, 1),
            event(15, Critical),
            event(13, High),
            event(10, Low),
            event(12, Low),
            event(16, Low),
        ];
        assert!(wrong(&entries).contains(&"low events came that are older than what was lost"));
    }

    #[test]
    fn a_critical_event_is_behind_what_is_neither_read_nor_critical() {
        // Half of event 13 was read; 40 bytes of what followed had left the server.
        let probe = Probe { seq: 15, read: 1_350, received: 40, sending: 60 };
        let mut entries = good();
        entries.swap(2, 3);
        let verdict = audit(&published(), &entries, &[probe]);
        let expected = Behind {
            criticals: 1,
            bytes_max: 50,
            unsent_bytes_max: 10,
            client_kernel_bytes_max: 40,
            server_kernel_bytes_max: 60,
        };
        assert_eq!(verdict.behind, expected);
        let never = Probe { seq: 99, ..probe };
        let verdict = audit(&published(), &entries, &[never]);
        assert_eq!(verdict.wrong["critical events did not come"], 1);
    }
}
