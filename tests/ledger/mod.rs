//! The books of one connection: every event that its filters matched is delivered, or told as
//! dropped by number and priority, or still ahead of it; nothing else comes, and nothing twice.

use alarmcast::event::Priority;
use serde_json::Value;

/// What a connection is owed, as whoever knows its subscriptions says.
#[derive(Debug, Default)]
pub struct Owed {
    /// Events that its live subscriptions matched, by [`Priority::index`], in order.
    pub matched: [Vec<u64>; 4],
    /// Subscriptions that asked for the past, in the order in which they did.
    pub replays: Vec<Replay>,
}

/// What a subscription is to get of the past, whatever others have sent.
#[derive(Debug, Default)]
pub struct Replay {
    pub subscription_id: String,
    /// In order.
    pub wanted: Vec<u64>,
    /// It has met what is live.
    pub is_over: bool,
    /// It was given up: what was on its way may come, and need not.
    pub is_cancelled: bool,
}

/// What came, and what was told.
#[derive(Debug)]
pub struct Ledger {
    /// As `dropped` notices had it, by [`Priority::index`].
    dropped: [u64; 4],
    /// The ranges of the notices, first and last.
    told: Vec<(u64, u64)>,
    /// Subscriptions of which it was told that they resume, and that they have caught up.
    resumed: Vec<String>,
    caught_up: Vec<String>,
    /// All that can have happened: the same event may be due from several sides.
    readings: Vec<Reading>,
}

/// One way to explain what came.
#[derive(Clone, Debug, Default, PartialEq)]
struct Reading {
    /// By [`Priority::index`], of what was matched: the first so many are delivered or missing.
    passed: [usize; 4],
    missing: [u64; 4],
    /// Of each replay, so many have come.
    replayed: Vec<usize>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            dropped: [0; 4],
            told: Vec::new(),
            resumed: Vec::new(),
            caught_up: Vec::new(),
            readings: vec![Reading::default()],
        }
    }
}

impl Ledger {
    /// Takes in a message of the server's; those that say nothing about events are passed over.
    ///
    /// # Panics
    /// When an event came that was not matched, twice, or out of its priority's order; when one
    /// did not come and was not told before the next of its priority; when a position was told
    /// that the connection has not reached.
    pub fn take(&mut self, message: &Value, owed: &Owed) {
        match message["type"].as_str().expect("a type") {
            "subscribed" if message["resumed"] == true => {
                self.resumed.push(message["subscription_id"].as_str().expect("an id").to_owned());
            }
            "event" => self.take_event(message, owed),
            "dropped" => self.take_notice(message),
            "caught_up" => self.take_caught_up(message, owed),
            "checkpoint" => self.take_position(&message["seq"], owed, false),
            "closing" => self.take_position(&message["resume"]["after"], owed, true),
            _ => {}
        }
    }

    /// What must be true once a connection that is still there has read everything.
    ///
    /// # Panics
    /// When delivered and dropped are not together what was matched.
    pub fn settle(&self, owed: &Owed) {
        if let Some(complaint) = self.unsettled(owed) {
            panic!("{complaint}");
        }
    }

    /// What keeps the books from being settled.
    pub fn unsettled(&self, owed: &Owed) -> Option<String> {
        let complaints = self.readings.iter().map(|reading| reading.unsettled(self.dropped, owed));
        // One reading that is settled will do.
        complaints.reduce(|first, other| first.and_then(|first| other.map(|_| first))).flatten()
    }

    fn take_event(&mut self, event: &Value, owed: &Owed) {
        let name = event["priority"].as_str().expect("a priority");
        let priority: Priority = name.parse().expect("a priority");
        let seq = event["seq"].as_u64().expect("a seq");
        let mut complaints = Vec::new();
        let mut readings = Vec::new();
        for reading in &self.readings {
            match self.as_live(reading, priority, seq, owed) {
                Ok(next) => readings.push(next),
                Err(complaint) => complaints.push(complaint),
            }
            readings.extend(reading.as_replayed(seq, owed));
        }
        if readings.is_empty() {
            panic!("{}", complaints.swap_remove(0));
        }
        self.keep(readings);
    }

    /// The reading after an event that came because a live subscription matched it.
    fn as_live(
        &self,
        reading: &Reading,
        priority: Priority,
        seq: u64,
        owed: &Owed,
    ) -> Result<Reading, String> {
        let index = priority.index();
        let (passed, waiting) = owed.matched[index].split_at(reading.passed[index]);
        let Some(skipped) = waiting.iter().position(|matched| *matched == seq) else {
            return Err(match passed.contains(&seq) {
                true => format!("{priority} event {seq} came twice or out of order"),
                false => format!("{priority} event {seq} came, and was not matched"),
            });
        };
        let looked_at = &waiting[..=skipped];
        if !looked_at.is_sorted() {
            return Err(format!("{priority} events were queued out of order: {looked_at:?}"));
        }
        if let Some(silent) = waiting[..skipped].iter().find(|seq| !self.is_told(**seq)) {
            return Err(format!("a {priority} event is missing at {silent} and nobody was told"));
        }
        let mut next = reading.clone();
        next.missing[index] += skipped as u64;
        next.passed[index] += skipped + 1;
        let (missing, dropped) = (next.missing[index], self.dropped[index]);
        if missing > dropped {
            return Err(format!("{missing} {priority} events are missing, {dropped} were told"));
        }
        Ok(next)
    }

    fn take_notice(&mut self, notice: &Value) {
        let place = |name: &str| notice[name].as_u64().expect("a seq");
        let range = (place("from_seq"), place("to_seq"));
        assert!(range.0 <= range.1, "{notice}");
        assert!(notice["reason"].is_string(), "{notice}");
        self.told.push(range);
        for (name, count) in notice["counts"].as_object().expect("counts") {
            let priority: Priority = name.parse().expect("a priority");
            assert_ne!(priority, Priority::Critical, "critical events are never shed");
            self.dropped[priority.index()] += count.as_u64().expect("a count");
        }
    }

    /// All that a subscription wanted of the past has come before.
    fn take_caught_up(&mut self, notice: &Value, owed: &Owed) {
        let id = notice["subscription_id"].as_str().expect("an id");
        let earlier = self.caught_up.iter().filter(|known| *known == id).count();
        let all = owed.replays.iter().enumerate();
        let mut over = all.filter(|(_, replay)| replay.is_over && replay.subscription_id == id);
        let Some((place, replay)) = over.nth(earlier) else {
            panic!("{id} is said to have caught up, and did not ask for it");
        };
        self.caught_up.push(id.to_owned());
        let wanted = replay.wanted.len();
        let readings = self.readings.iter().filter(|reading| reading.replayed_of(place) == wanted);
        let readings: Vec<Reading> = readings.cloned().collect();
        assert!(!readings.is_empty(), "{id} is said to have caught up, and lacks some of {wanted}");
        self.keep(readings);
    }

    /// Up to a position that a client is told, it knows everything.
    fn take_position(&mut self, position: &Value, owed: &Owed, is_last: bool) {
        let position = position.as_u64().expect("a position");
        let mut complaints = Vec::new();
        let mut readings = Vec::new();
        for reading in &self.readings {
            let live = self.live_behind(reading, position, owed);
            match live.or_else(|| self.past_behind(reading, position, owed, is_last)) {
                None => readings.push(reading.clone()),
                Some(event) => complaints.push(event),
            }
        }
        if readings.is_empty() {
            let what = if is_last { "position" } else { "checkpoint" };
            panic!("{} is behind the {what} {position}", complaints.swap_remove(0));
        }
        self.keep(readings);
    }

    /// An event up to the position that was matched, and neither came nor was told.
    fn live_behind(&self, reading: &Reading, position: u64, owed: &Owed) -> Option<String> {
        for priority in Priority::ALL {
            let index = priority.index();
            let mut rest = owed.matched[index][reading.passed[index]..].iter();
            if let Some(seq) = rest.find(|seq| **seq <= position && !self.is_told(**seq)) {
                return Some(format!("a {priority} event, {seq},"));
            }
        }
        None
    }

    /// An event up to the position that was asked for, and did not come. What was not answered
    /// yet when a checkpoint was told is beyond that.
    fn past_behind(
        &self,
        reading: &Reading,
        position: u64,
        owed: &Owed,
        is_last: bool,
    ) -> Option<String> {
        let is_due = |(place, replay): &(usize, &Replay)| {
            let id = &replay.subscription_id;
            let earlier = owed.replays[..*place].iter().filter(|it| it.subscription_id == *id);
            let answered = self.resumed.iter().filter(|resumed| *resumed == id).count();
            !replay.is_cancelled && (is_last || earlier.count() < answered)
        };
        owed.replays.iter().enumerate().filter(is_due).find_map(|(place, replay)| {
            let next = replay.wanted.get(reading.replayed_of(place))?;
            (*next <= position).then(|| format!("{next}, which was asked for of the past,"))
        })
    }

    fn is_told(&self, seq: u64) -> bool {
        self.told.iter().any(|(from, to)| (*from..=*to).contains(&seq))
    }

    fn keep(&mut self, readings: Vec<Reading>) {
        self.readings.clear();
        for reading in readings {
            if !self.readings.contains(&reading) {
                self.readings.push(reading);
            }
        }
    }
}

impl Reading {
    fn replayed_of(&self, place: usize) -> usize {
        self.replayed.get(place).copied().unwrap_or(0)
    }

    /// The readings after an event that came because a subscription asked for it.
    fn as_replayed(&self, seq: u64, owed: &Owed) -> impl Iterator<Item = Self> {
        owed.replays.iter().enumerate().filter_map(move |(place, replay)| {
            let count = self.replayed_of(place);
            if replay.wanted.get(count) != Some(&seq) {
                return None;
            }
            let mut next = self.clone();
            next.replayed.resize(next.replayed.len().max(place + 1), 0);
            next.replayed[place] = count + 1;
            Some(next)
        })
    }

    /// What is wrong where all was read.
    fn unsettled(&self, dropped: [u64; 4], owed: &Owed) -> Option<String> {
        let mut live = Priority::ALL.into_iter().filter_map(|priority| {
            let index = priority.index();
            let matched = owed.matched[index].len() as u64;
            let delivered = self.passed[index] as u64 - self.missing[index];
            let dropped = dropped[index];
            (delivered + dropped != matched).then(|| {
                format!(
                    "{priority} events: {delivered} delivered, {dropped} dropped, {matched} matched"
                )
            })
        });
        let mut replays = owed.replays.iter().enumerate().filter_map(|(place, replay)| {
            let (count, wanted) = (self.replayed_of(place), replay.wanted.len());
            (count != wanted && !replay.is_cancelled).then(|| {
                format!("{}: {count} of the past came, {wanted} matched", replay.subscription_id)
            })
        });
        live.next().or_else(|| replays.next())
    }
}
