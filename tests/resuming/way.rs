use serde_json::{Value, json};

use super::fact::Fact;
use super::interest::Interest;

/// Where a subscription begins that has no position yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the newest event of the welcome.
    Newest,
    /// With all that there is.
    Oldest,
    /// With the events of this millisecond (Unix) or later.
    Since(u64),
    /// With what comes; the first checkpoint gives a position.
    Live,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not confirmed on this connection.
    Asked,
    CatchingUp,
    Live,
}

/// What of the interest has to have come when the next position is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    Everything,
    /// A filter was replaced without a position: only what both want is certain.
    OnlyWith(Interest),
    Nothing,
}

/// A change that waits for its confirmation.
#[derive(Clone, Copy, Debug)]
struct Change {
    to: Interest,
    from_position: bool,
}

/// One subscription over all connections.
#[derive(Debug)]
pub struct Way {
    pub id: String,
    pub interest: Interest,
    pub start: Start,
    /// Everything wanted up to it came or was told as lost.
    pub position: Option<u64>,
    certainty: Certainty,
    /// Up to which event; absent until it is known.
    certainty_until: Option<u64>,
    pub phase: Phase,
    /// The mark of the last `subscribe`, while its answer is awaited.
    pub awaited: Option<u64>,
    /// The mark of the one that began the last replay.
    replay: u64,
    change: Option<Change>,
    is_begun: bool,
    /// Resuming ones that were answered on this connection.
    pub replays: u32,
    /// Where the last replay of this connection ended.
    pub caught_up_at: u64,
    /// By priority, the last event of this way on this connection.
    last: [u64; 4],
    /// Nothing but this way's events can be among them.
    pub is_orderly: bool,
}

impl Way {
    pub fn new(id: String, interest: Interest, start: Start) -> Self {
        Self {
            id,
            interest,
            start,
            position: None,
            certainty: Certainty::Everything,
            certainty_until: None,
            phase: Phase::Asked,
            awaited: None,
            replay: 0,
            is_begun: false,
            change: None,
            replays: 0,
            caught_up_at: 0,
            last: [0; 4],
            is_orderly: true,
        }
    }

    /// A new connection: `subscribe` again.
    pub fn begin(&mut self, epoch: &str, newest: u64, mark: u64) -> Value {
        if let Some(Change { to, .. }) = self.change.take() {
            self.interest = to;
        }
        if self.position.is_none() {
            match self.start {
                // What came live was never counted: from here on it is.
                Start::Live if self.is_begun => self.position = Some(newest),
                Start::Newest => self.position = Some(newest),
                Start::Oldest => self.position = Some(0),
                Start::Since(_) | Start::Live => {}
            }
        }
        self.is_begun = true;
        (self.phase, self.replays, self.caught_up_at) = (Phase::Asked, 0, 0);
        self.is_orderly = true;
        self.subscribe(self.interest, epoch, mark, true)
    }

    /// Changes the interest on a connection that goes on.
    pub fn change(&mut self, to: Interest, epoch: &str, mark: u64, from_position: bool) -> Value {
        let from_position = from_position && self.position.is_some();
        self.change = Some(Change { to, from_position });
        self.subscribe(to, epoch, mark, from_position)
    }

    /// What was asked for last was refused for now.
    pub fn ask_again(&mut self, epoch: &str, mark: u64) -> Value {
        let (interest, is_from) = match self.change {
            Some(Change { to, from_position }) => (to, from_position),
            None => (self.interest, true),
        };
        self.subscribe(interest, epoch, mark, is_from)
    }

    fn subscribe(&mut self, interest: Interest, epoch: &str, mark: u64, is_from: bool) -> Value {
        self.awaited = Some(mark);
        let mut message = json!({
            "type": "subscribe", "subscription_id": self.id, "filters": interest.filters(),
            "ref": mark, "checkpoints": true,
        });
        match (self.position, self.start) {
            _ if !is_from => {}
            (Some(after), _) => message["resume"] = json!({"epoch": epoch, "after": after}),
            (None, Start::Since(millis)) => {
                let since = jiff::Timestamp::from_millisecond(millis as i64).expect("a time");
                message["since"] = since.to_string().into();
            }
            (None, _) => {}
        }
        message
    }

    /// The answer has come; false if it is another one's.
    pub fn answered(&mut self, mark: u64, resumed: Option<bool>) -> bool {
        if self.awaited != Some(mark) {
            return false;
        }
        let was_live = self.phase == Phase::Live;
        self.awaited = None;
        let before = self.certainty;
        self.certainty = match self.change.take() {
            None if resumed == Some(true) => Certainty::Everything,
            // What it began with is not known.
            None => Certainty::Nothing,
            Some(Change { to, from_position }) => {
                let interest = std::mem::replace(&mut self.interest, to);
                self.is_orderly &= !from_position;
                match before {
                    _ if from_position => Certainty::Everything,
                    Certainty::Everything => Certainty::OnlyWith(interest),
                    _ => Certainty::Nothing,
                }
            }
        };
        self.certainty_until = None;
        match resumed {
            Some(true) => {
                self.phase = Phase::CatchingUp;
                (self.replays, self.replay) = (self.replays + 1, mark);
                self.last = [self.position.unwrap_or(0); 4];
            }
            Some(false) => {
                self.phase = Phase::Live;
                (self.position, self.start, self.certainty) =
                    (None, Start::Live, Certainty::Nothing);
                self.last = [0; 4];
            }
            // Filters were replaced, and it goes on as it was.
            None if self.phase == Phase::CatchingUp => {}
            None => {
                self.phase = Phase::Live;
                if !was_live {
                    self.last = [0; 4];
                }
            }
        }
        true
    }

    /// A change was refused: it goes on as it was.
    pub fn refused(&mut self, mark: Option<u64>) {
        if self.change.is_some() && self.awaited == mark {
            (self.awaited, self.change) = (None, None);
        }
    }

    /// What had to have come, now that a position is told.
    pub fn certainty_up_to(&mut self, seq: u64) -> Certainty {
        let certainty = self.certainty;
        if self.certainty_until.is_some_and(|until| until <= seq) {
            self.certainty = Certainty::Everything;
        }
        certainty
    }

    pub fn wants_newest(&self) -> bool {
        let is_open = self.certainty_until.is_none() && self.awaited.is_none();
        is_open && self.certainty != Certainty::Everything
    }

    pub fn newest_is(&mut self, seq: u64) {
        if self.wants_newest() {
            self.certainty_until = Some(seq);
        }
    }

    /// Whether a `caught_up` with this mark is the end of the replay under way.
    pub fn is_caught_up_by(&self, mark: Option<u64>) -> bool {
        self.phase == Phase::CatchingUp && mark == Some(self.replay)
    }

    /// The replay is over.
    pub fn caught_up(&mut self, seq: u64) {
        (self.phase, self.caught_up_at) = (Phase::Live, seq);
        self.last = self.last.map(|last| last.max(seq));
    }

    /// Whether an event may come because of it.
    pub fn may_want(&self, fact: Fact) -> bool {
        self.interest.wants(fact) || self.change.is_some_and(|change| change.to.wants(fact))
    }

    pub fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Takes an event of this way only; what is wrong with its place.
    pub fn take(&mut self, seq: u64, priority: usize) -> Option<String> {
        let last = match self.phase {
            Phase::Asked => return Some(format!("before subscribed: {seq} on {}", self.id)),
            // The past comes in the order of seq, whatever its priorities.
            Phase::CatchingUp => self.last.iter().copied().max().unwrap_or(0),
            Phase::Live => self.last[priority],
        };
        self.last[priority] = self.last[priority].max(seq);
        (seq <= last)
            .then(|| format!("out of order: {seq} after {last}, {:?} on {}", self.phase, self.id))
    }
}
