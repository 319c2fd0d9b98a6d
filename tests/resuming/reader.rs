use std::collections::{BTreeSet, HashMap, VecDeque};

use serde_json::Value;

use super::Random;
use super::fact::Fact;
use super::interest::Interest;
use super::way::{Certainty, Phase, Start, Way};

/// A client over all its connections: it knows its position as the protocol promises it, and
/// remembers what it was told for the judge.
#[derive(Debug)]
pub struct Reader {
    pub(super) name: String,
    ways: Vec<Way>,
    epoch: String,
    connection: Connection,
    /// Messages so far.
    moment: u64,
    marks: u64,
    /// Every event up to it was handed on, or is not wanted; those beyond that were as well.
    floor: u64,
    beyond: BTreeSet<u64>,
    outgoing: VecDeque<Value>,
    pub(super) handed_on: HashMap<u64, HandedOn>,
    pub(super) claims: Vec<Claim>,
    pub(super) losses: Vec<Told>,
    findings: Vec<String>,
    pub totals: Totals,
}

/// What ends with a connection.
#[derive(Debug, Default)]
struct Connection {
    is_welcome: bool,
    is_resumed: bool,
    is_over: bool,
    /// How often each event came.
    came: HashMap<u64, u32>,
    /// What subscriptions wanted before they were changed.
    was: Vec<Interest>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct HandedOn {
    pub moment: u64,
    pub fact: Fact,
}

/// A position says that all that was wanted up to it had come.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub way: String,
    pub interest: Interest,
    pub certainty: Certainty,
    pub from: From,
    pub to: u64,
    pub moment: u64,
    pub by: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Position(u64),
    Millisecond(u64),
}

/// A notice of a loss.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub from: u64,
    pub to: u64,
    /// By priority, most important first.
    pub counts: [u64; 4],
    pub moment: u64,
}

/// What a run consisted of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub connections: u64,
    /// Connections on which a subscription was resumed.
    pub resumes: u64,
    /// Positions that were no longer held.
    pub not_resumed: u64,
    pub changes: u64,
    pub events: u64,
    /// Events that had been handed on before.
    pub repeats: u64,
    pub checkpoints: u64,
    pub closings: u64,
    /// Events that were told as lost.
    pub dropped: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.resumes += other.resumes;
        self.not_resumed += other.not_resumed;
        self.changes += other.changes;
        self.events += other.events;
        self.repeats += other.repeats;
        self.checkpoints += other.checkpoints;
        self.closings += other.closings;
        self.dropped += other.dropped;
    }
}

impl Reader {
    pub fn new(name: String, subscriptions: Vec<(Interest, Start)>) -> Self {
        let way = |(number, (interest, start))| Way::new(format!("s{number}"), interest, start);
        Self {
            name,
            ways: subscriptions.into_iter().enumerate().map(way).collect(),
            epoch: String::new(),
            connection: Connection::default(),
            moment: 0,
            marks: 0,
            floor: 0,
            beyond: BTreeSet::new(),
            outgoing: VecDeque::new(),
            handed_on: HashMap::new(),
            claims: Vec::new(),
            losses: Vec::new(),
            findings: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// The next message to send.
    pub fn poll(&mut self) -> Option<Value> {
        self.outgoing.pop_front()
    }

    /// A connection is there; its welcome comes next.
    pub fn connected(&mut self) {
        self.outgoing.clear();
        self.connection = Connection::default();
        self.totals.connections += 1;
    }

    /// Whether every subscription has come so far.
    pub fn has_reached(&self, seq: u64) -> bool {
        let has = |way: &Way| way.awaited.is_none() && way.position.is_some_and(|it| it >= seq);
        self.ways.iter().all(has)
    }

    /// Whether it has to be told which event is the newest, so that it is certain from where on a
    /// subscription that began without a position has to get everything.
    pub fn wants_newest(&self) -> bool {
        self.ways.iter().any(Way::wants_newest)
    }

    /// Now, or when it last wanted to know, no event was beyond this one.
    pub fn newest_is(&mut self, seq: u64) {
        self.ways.iter_mut().for_each(|way| way.newest_is(seq));
    }

    /// How far each subscription has come.
    pub fn standing(&self) -> String {
        let of = |way: &Way| format!("{} {:?} {:?}", way.id, way.phase, way.position);
        format!("{}: {}", self.name, self.ways.iter().map(of).collect::<Vec<_>>().join(", "))
    }

    /// What was wrong by itself.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Changes what one of the subscriptions wants, with its position or without.
    pub fn change(&mut self, random: &mut Random) {
        let (place, from_position) = (random.below(self.ways.len()), random.chance(50));
        let way = &mut self.ways[place];
        let is_open = self.connection.is_welcome && !self.connection.is_over;
        if !is_open || way.awaited.is_some() || way.phase == Phase::Asked {
            return;
        }
        self.marks += 1;
        let to = way.interest.varied(random);
        self.outgoing.push_back(way.change(to, &self.epoch, self.marks, from_position));
        self.totals.changes += 1;
    }

    pub fn handle(&mut self, message: &Value) {
        self.moment += 1;
        let kind = message["type"].as_str().unwrap_or_default();
        if kind != "welcome" && !self.connection.is_welcome {
            self.find(format!("{kind} before the welcome"));
        }
        if self.connection.is_over {
            self.find(format!("{kind} after closing"));
        }
        match kind {
            "welcome" => self.take_welcome(message),
            "subscribed" => self.take_subscribed(message),
            "event" => self.take_event(message),
            "caught_up" => self.take_caught_up(message),
            "checkpoint" => {
                self.totals.checkpoints += 1;
                if self
                    .ways
                    .iter()
                    .any(|way| way.phase == Phase::CatchingUp && way.awaited.is_none())
                {
                    self.find(format!("a checkpoint in a replay: {message}"));
                }
                self.reach_all(number(message, "seq"), "checkpoint");
            }
            "dropped" => self.take_dropped(message),
            "closing" => {
                self.totals.closings += 1;
                self.connection.is_over = true;
                let resume = &message["resume"];
                if resume["epoch"] != self.epoch.as_str() {
                    self.find(format!("another epoch: {message}"));
                }
                self.reach_all(number(resume, "after"), "closing");
            }
            // Who is behind may not change its mind as often as it likes.
            "error" if message["code"] == "RATE_LIMITED" => {
                let mark = message["ref"].as_u64();
                self.ways.iter_mut().for_each(|way| way.refused(mark));
            }
            // Too many others ask for the past: once more.
            "error" if message["code"] == "UNAVAILABLE" => {
                let mark = message["ref"].as_u64();
                self.marks += 1;
                let asks = self.ways.iter_mut().filter(|way| way.awaited == mark);
                let again = asks.map(|way| way.ask_again(&self.epoch, self.marks));
                self.outgoing.extend(again);
            }
            _ => self.find(format!("unexpected: {message}")),
        }
    }

    fn find(&mut self, what: String) {
        const FINDINGS_MAX: usize = 20;
        if self.findings.len() < FINDINGS_MAX {
            let (connection, moment) = (self.totals.connections, self.moment);
            self.findings
                .push(format!("{}, connection {connection}, message {moment}: {what}", self.name));
        }
    }

    fn take_welcome(&mut self, welcome: &Value) {
        let epoch = welcome["epoch"].as_str().unwrap_or_default();
        if !self.epoch.is_empty() && self.epoch != epoch {
            self.find(format!("another epoch: {welcome}"));
        }
        self.epoch = epoch.to_owned();
        self.connection.is_welcome = true;
        let newest = number(welcome, "seq");
        for way in &mut self.ways {
            self.marks += 1;
            self.outgoing.push_back(way.begin(epoch, newest, self.marks));
        }
    }

    fn take_subscribed(&mut self, subscribed: &Value) {
        let (id, mark) = (&subscribed["subscription_id"], number(subscribed, "ref"));
        let resumed = subscribed["resumed"].as_bool();
        let Some(way) = self.ways.iter_mut().find(|way| *id == way.id.as_str()) else {
            return self.find(format!("a stranger's: {subscribed}"));
        };
        let before = way.is_changing().then_some(way.interest);
        if !way.answered(mark, resumed) {
            return self.find(format!("not awaited: {subscribed}"));
        }
        self.connection.was.extend(before);
        self.totals.not_resumed += u64::from(resumed == Some(false));
        if resumed == Some(true) && !std::mem::replace(&mut self.connection.is_resumed, true) {
            self.totals.resumes += 1;
        }
    }

    fn take_caught_up(&mut self, message: &Value) {
        let (id, seq) = (&message["subscription_id"], number(message, "seq"));
        let Some(place) = self.ways.iter().position(|way| *id == way.id.as_str()) else {
            return self.find(format!("a stranger's: {message}"));
        };
        if self.ways[place].is_caught_up_by(message["ref"].as_u64()) {
            self.ways[place].caught_up(seq);
            self.reach(place, seq, "caught_up");
        }
    }

    /// A position of the whole connection.
    fn reach_all(&mut self, seq: u64, by: &'static str) {
        for place in 0..self.ways.len() {
            if self.ways[place].phase != Phase::Asked {
                self.reach(place, seq, by);
            }
        }
    }

    fn reach(&mut self, place: usize, seq: u64, by: &'static str) {
        let way = &mut self.ways[place];
        // While a change is under way, it is not certain what is meant.
        if way.awaited.is_some() || way.position.is_some_and(|position| position >= seq) {
            return;
        }
        let from = match (way.position, way.start) {
            (Some(position), _) => Some(From::Position(position)),
            (None, Start::Since(millis)) => Some(From::Millisecond(millis)),
            (None, _) => None,
        };
        let certainty = way.certainty_up_to(seq);
        let (way_id, interest) = (way.id.clone(), way.interest);
        way.position = Some(seq);
        self.claims.extend(from.map(|from| Claim {
            way: way_id,
            interest,
            certainty,
            from,
            to: seq,
            moment: self.moment,
            by,
        }));
        let lowest = self.ways.iter().map(|way| way.position.unwrap_or(0)).min().unwrap_or(0);
        self.floor = self.floor.max(lowest);
        self.beyond = self.beyond.split_off(&(self.floor + 1));
    }

    fn take_event(&mut self, message: &Value) {
        self.totals.events += 1;
        let (seq, fact) = (number(message, "seq"), Fact::of(message));
        let was_wanted = self.connection.was.iter().any(|it| it.wants(fact));
        let mine: Vec<usize> =
            (0..self.ways.len()).filter(|it| self.ways[*it].may_want(fact)).collect();
        if mine.is_empty() && !was_wanted {
            self.find(format!("a stray: {message}"));
        }
        let came = self.connection.came.entry(seq).or_default();
        *came += 1;
        let came = *came;
        if came > self.may_come(seq, &mine, was_wanted) {
            self.find(format!("twice: {seq} has come {came} times"));
        }
        if let [place] = mine[..]
            && !was_wanted
            && self.ways[place].is_orderly
            && !self.ways[place].is_changing()
            && let Some(wrong) = self.ways[place].take(seq, fact.priority)
        {
            self.find(wrong);
        }
        // As a client does it that does not keep everything for ever.
        if seq <= self.floor || !self.beyond.insert(seq) {
            self.totals.repeats += 1;
        } else if self.handed_on.insert(seq, HandedOn { moment: self.moment, fact }).is_some() {
            self.find(format!("twice: {seq} was handed on again"));
        }
    }

    /// How often an event may come on this connection: once live, and once in each replay.
    fn may_come(&self, seq: u64, mine: &[usize], was_wanted: bool) -> u32 {
        let replays = mine.iter().map(|&place| {
            let way = &self.ways[place];
            let is_past = way.phase == Phase::CatchingUp || seq <= way.caught_up_at;
            if is_past { way.replays } else { way.replays.saturating_sub(1) }
        });
        let is_live = |&place: &usize| {
            let way = &self.ways[place];
            way.phase == Phase::Live && seq > way.caught_up_at
        };
        let live = was_wanted || mine.iter().any(is_live);
        // What was wanted before a change may have come in any replay.
        let before: u32 =
            if was_wanted { self.ways.iter().map(|way| way.replays).sum() } else { 0 };
        replays.sum::<u32>() + u32::from(live) + before
    }

    fn take_dropped(&mut self, message: &Value) {
        let count = |name: &str| message["counts"][name].as_u64().unwrap_or_default();
        let counts = [count("critical"), count("high"), count("normal"), count("low")];
        if counts[0] > 0 {
            self.find(format!("critical events are never shed: {message}"));
        }
        self.totals.dropped += counts.iter().sum::<u64>();
        let (from, to) = (number(message, "from_seq"), number(message, "to_seq"));
        self.losses.push(Told { from, to, counts, moment: self.moment });
    }
}

fn number(message: &Value, field: &str) -> u64 {
    message[field].as_u64().unwrap_or_else(|| panic!("no {field}: {message}"))
}
