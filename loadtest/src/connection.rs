//! One subscriber, from upgrade to close, without its socket.

use serde_json::json;

use crate::encodings::Encodings;
use crate::events::EventCache;
use crate::filters::{Filters, never};
use crate::priority::{ByPriority, Priority};
use crate::sequence::{Arrival, Sequence};
use crate::slow::heard::{Counts, Heard};
use crate::tally::Ledger;
use crate::target::Target;
use crate::template::Subscribe;
use crate::wire::frame::{self, FrameError, Kind, Step};
use crate::wire::mark;
use crate::wire::message::{Encoding, EventFacts, Message, MessageError};
use crate::wire::upgrade::{
    Answer, JSON_SUBPROTOCOL, MESSAGEPACK_SUBPROTOCOL, Upgrade, UpgradeError,
};

/// A subscriber's state between two reads.
#[derive(Debug)]
pub struct Connection {
    /// Among all of the run.
    number: u32,
    phase: Phase,
    sequence: Sequence,
    /// By priority, where losses are told; the sequence is not kept then.
    counts: Option<Box<Counts>>,
    last_seq: Option<u64>,
    ending: Ending,
}

/// What the connections of one crowd share.
#[derive(Debug)]
pub struct Shared {
    /// Only events of this run are counted.
    pub run: u64,
    pub filters: Filters,
    /// Connections ask for the protocol by name, and are told what they miss.
    pub hears_losses: bool,
    pub encodings: Encodings,
    /// Of each connection; 1 at least.
    pub subscriptions: u32,
    /// Events of each priority, from the first, whose latencies do not count.
    pub warm_up: ByPriority<u32>,
    /// Of a server that is not Alarmcast.
    pub subscribe: Option<Subscribe>,
    pub events: EventCache,
    pub ledger: Ledger,
}

/// How far a connection is.
#[derive(Debug)]
enum Phase {
    Upgrading(Upgrade),
    /// Upgraded; the welcome is due.
    Greeting,
    /// So many confirmations are due.
    Subscribing {
        left: u32,
    },
    Live,
    /// A close frame came or went; what follows does not count.
    Closing,
}

/// What was seen of a connection's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The `closing` message came.
    pub was_told: bool,
    /// Of the server's close frame; zero when it held none.
    pub close_code: Option<u16>,
    /// Our close frame is wholly with the kernel.
    pub has_answered: bool,
    /// The server ended its direction after a close frame, not within a frame.
    pub is_clean: bool,
}

/// How much of the input was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub bytes: usize,
    /// What the rest has to grow to before anything more can be taken.
    pub wanted: usize,
}

/// Why a connection cannot go on. Whose fault it is follows from the kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("refused with HTTP {status}")]
    Refused { status: u16, retry_after_secs: Option<u64> },
    #[error("upgrade: {0}")]
    Upgrade(#[from] UpgradeError),
    #[error("frame: {0}")]
    Frame(#[from] FrameError),
    #[error("message: {0}")]
    Message(#[from] MessageError),
    #[error("the first message is not `welcome`")]
    NoWelcome,
    #[error("subscribing was answered by {0}")]
    NotSubscribed(String),
    #[error("closed with {0} before it was subscribed")]
    ClosedEarly(u16),
}

impl Connection {
    /// Starts the upgrade; its request goes to `output`.
    pub fn start(target: &Target, number: u32, shared: &Shared, output: &mut Vec<u8>) -> Self {
        let subprotocol = match shared.encodings.of(number) {
            Encoding::Json => shared.hears_losses.then_some(JSON_SUBPROTOCOL),
            Encoding::MessagePack => Some(MESSAGEPACK_SUBPROTOCOL),
        };
        let (upgrade, request) = Upgrade::start(&target.host, &target.path, subprotocol);
        output.extend_from_slice(&request);
        Self {
            number,
            phase: Phase::Upgrading(upgrade),
            sequence: Sequence::default(),
            counts: shared.hears_losses.then(Box::default),
            last_seq: None,
            ending: Ending::default(),
        }
    }

    /// Subscribed, and not closing.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// A close frame was seen or sent.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// How many of the first `published` events of its class have not come.
    pub fn missing(&self, published: u32) -> u64 {
        self.sequence.missing(published)
    }

    /// Among all of the run.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What came and what was told as lost, where losses are told.
    pub fn counts(&self) -> Option<&Counts> {
        self.counts.as_deref()
    }

    /// Takes what was received; answers go to `output`.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub fn handle_input(
        &mut self,
        input: &[u8],
        now_ns: u64,
        shared: &mut Shared,
        output: &mut Vec<u8>,
    ) -> Result<Taken, Fault> {
        let mut bytes = 0;
        if let Phase::Upgrading(upgrade) = &self.phase {
            match upgrade.read_answer(input)? {
                Answer::Incomplete => return Ok(Taken { bytes, wanted: input.len() + 1 }),
                Answer::Refused { status, retry_after_secs } => {
                    return Err(Fault::Refused { status, retry_after_secs });
                }
                Answer::Accepted { head_bytes } => bytes = head_bytes,
            }
            self.handle_upgraded(shared, output);
        }
        loop {
            match frame::read(&input[bytes..])? {
                Step::Incomplete { bytes: wanted } => return Ok(Taken { bytes, wanted }),
                Step::Frame { kind, payload, bytes: frame_bytes } => {
                    self.handle_frame(kind, payload, now_ns, shared, output)?;
                    bytes += frame_bytes;
                }
            }
        }
    }

    /// Everything written to `output` so far is with the kernel.
    pub fn handle_flushed(&mut self) {
        self.ending.has_answered |= self.is_closing();
    }

    /// The server ended its direction; `is_within_frame` when something half came before.
    pub fn handle_end(&mut self, is_within_frame: bool) {
        self.ending.is_clean = self.is_closing() && !is_within_frame;
    }

    /// Says goodbye: 1000, normal.
    pub fn close(&mut self, output: &mut Vec<u8>) {
        const NORMAL: u16 = 1000;
        if !self.is_closing() {
            frame::write(Kind::Close, &NORMAL.to_be_bytes(), output);
            self.phase = Phase::Closing;
        }
    }

    fn handle_frame(
        &mut self,
        kind: Kind,
        payload: &[u8],
        now_ns: u64,
        shared: &mut Shared,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match kind {
            Kind::Close => self.handle_close(payload, output),
            _ if self.is_closing() => Ok(()),
            Kind::Ping => {
                shared.ledger.pings += 1;
                frame::write(Kind::Pong, payload, output);
                Ok(())
            }
            Kind::Pong => Ok(()),
            Kind::Text | Kind::Binary if shared.subscribe.is_some() => {
                self.handle_foreign_message(payload, now_ns, shared);
                Ok(())
            }
            Kind::Text | Kind::Binary => {
                let encoding =
                    if kind == Kind::Text { Encoding::Json } else { Encoding::MessagePack };
                let last_seq = self.last_seq.unwrap_or(0);
                let message = shared.events.read_as(encoding, payload, last_seq)?;
                self.handle_message(message, now_ns, shared, output)
            }
        }
    }

    /// Alarmcast speaks first; another server as its template says.
    fn handle_upgraded(&mut self, shared: &Shared, output: &mut Vec<u8>) {
        let Some(Subscribe { text, confirmed_by, .. }) = &shared.subscribe else {
            self.phase = Phase::Greeting;
            return;
        };
        if let Some(text) = text {
            frame::write(Kind::Text, text.as_bytes(), output);
        }
        self.phase = match confirmed_by {
            Some(_) => Phase::Subscribing { left: 1 },
            None => Phase::Live,
        };
    }

    /// Of a server that a template describes: whatever has marks in it is a delivery.
    fn handle_foreign_message(&mut self, payload: &[u8], now_ns: u64, shared: &mut Shared) {
        let mut is_known = false;
        let confirmed_by = shared.subscribe.as_ref().and_then(|how| how.confirmed_by.as_ref());
        if matches!(self.phase, Phase::Subscribing { .. })
            && confirmed_by.is_some_and(|text| mark::is_in(payload, text))
        {
            self.phase = Phase::Live;
            is_known = true;
        }
        for mark in mark::find_all(payload) {
            let facts = EventFacts { seq: None, priority: None, mark: Some(mark) };
            self.handle_event(facts, now_ns, shared);
            is_known = true;
        }
        shared.ledger.other_messages += u64::from(!is_known);
    }

    fn handle_close(&mut self, payload: &[u8], output: &mut Vec<u8>) -> Result<(), Fault> {
        let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
        if matches!(self.phase, Phase::Greeting | Phase::Subscribing { .. }) {
            return Err(Fault::ClosedEarly(code));
        }
        if self.ending.close_code.is_some() {
            return Ok(());
        }
        self.ending.close_code = Some(code);
        if !self.is_closing() {
            let echo = &payload[..payload.len().min(2)];
            frame::write(Kind::Close, echo, output);
            self.phase = Phase::Closing;
        }
        Ok(())
    }

    fn handle_message(
        &mut self,
        message: Message,
        now_ns: u64,
        shared: &mut Shared,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match (&self.phase, message) {
            (Phase::Greeting, Message::Welcome { .. }) => {
                self.subscribe(shared, output);
                self.phase = Phase::Subscribing { left: shared.subscriptions };
            }
            (Phase::Greeting, _) => return Err(Fault::NoWelcome),
            (Phase::Subscribing { left: 2.. }, Message::Subscribed) => {
                if let Phase::Subscribing { left } = &mut self.phase {
                    *left -= 1;
                }
            }
            (Phase::Subscribing { .. }, Message::Subscribed) => self.phase = Phase::Live,
            (Phase::Subscribing { .. }, Message::Error { code, message }) => {
                return Err(Fault::NotSubscribed(format!("{code}: {message}")));
            }
            (_, Message::Event(facts)) => self.handle_event(facts, now_ns, shared),
            (_, Message::Dropped(dropped)) => {
                shared.ledger.dropped += dropped.counts.sum();
                if let Some(counts) = &mut self.counts {
                    counts.dropped(dropped);
                }
            }
            (_, Message::Closing) => self.ending.was_told = true,
            (_, Message::Error { code, .. }) => shared.ledger.note_error(code),
            _ => shared.ledger.other_messages += 1,
        }
        Ok(())
    }

    /// Once to what the run is about, and perhaps to what no event matches.
    fn subscribe(&self, shared: &Shared, output: &mut Vec<u8>) {
        for index in 0..shared.subscriptions {
            let (id, filters) = match index {
                0 => ("load".to_owned(), shared.filters.of(self.number)),
                _ => (format!("load-{index}"), never(self.number, index)),
            };
            let message = json!({"type": "subscribe", "subscription_id": id, "filters": filters});
            match shared.encodings.of(self.number) {
                Encoding::Json => frame::write(Kind::Text, message.to_string().as_bytes(), output),
                Encoding::MessagePack => match rmp_serde::to_vec_named(&message) {
                    Ok(packed) => frame::write(Kind::Binary, &packed, output),
                    Err(error) => unreachable!("every value has a form: {error}"),
                },
            }
        }
    }

    fn handle_event(&mut self, facts: EventFacts, now_ns: u64, shared: &mut Shared) {
        if self.counts.is_some() {
            return self.handle_event_in_lane(facts, now_ns, shared);
        }
        let is_dense = shared.filters.is_everything();
        let ledger = &mut shared.ledger;
        if let Some(seq) = facts.seq {
            match self.last_seq {
                Some(last) if seq <= last => ledger.seq_not_rising += 1,
                Some(last) if is_dense && seq != last + 1 => ledger.seq_gaps += 1,
                _ => {}
            }
            self.last_seq = Some(seq.max(self.last_seq.unwrap_or(0)));
        }
        let Some(mark) = facts.mark.filter(|mark| mark.run == shared.run) else {
            ledger.foreign_events += 1;
            return;
        };
        match self.sequence.arrive(mark.index) {
            Arrival::Duplicate => {
                ledger.duplicates += 1;
                return;
            }
            Arrival::Late => ledger.out_of_order += 1,
            Arrival::InOrder | Arrival::AfterHole => {}
        }
        let priority = facts.priority.unwrap_or(Priority::Low);
        if mark.index < shared.warm_up[priority] {
            ledger.deliveries += 1;
        } else {
            let latency_ns = now_ns.saturating_sub(mark.due_ns);
            ledger.note_delivery(latency_ns);
            ledger.note_event(mark.index, latency_ns);
        }
    }

    /// Where events may overtake each other, and be lost: seq rises within a priority only.
    fn handle_event_in_lane(&mut self, facts: EventFacts, now_ns: u64, shared: &mut Shared) {
        let ledger = &mut shared.ledger;
        let mark = facts.mark.filter(|mark| mark.run == shared.run);
        let (Some(counts), Some(seq), Some(priority), Some(mark)) =
            (&mut self.counts, facts.seq, facts.priority, mark)
        else {
            ledger.foreign_events += 1;
            return;
        };
        // Only to find the event that comes next faster.
        self.last_seq = Some(seq);
        let out_of_order = counts.out_of_order;
        counts.event(seq, priority, 0..0);
        ledger.out_of_order += counts.out_of_order - out_of_order;
        if mark.index < shared.warm_up[priority] {
            ledger.deliveries += 1;
        } else {
            ledger.note_delivery(now_ns.saturating_sub(mark.due_ns));
            ledger.note_in_lane(priority, &mark, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::WebSocket;
    use tungstenite::protocol::Role;

    fn shared() -> Shared {
        Shared {
            run: 1,
            filters: Filters::Same(json!({})),
            hears_losses: false,
            encodings: Encodings::Json,
            subscriptions: 1,
            warm_up: ByPriority::default(),
            subscribe: None,
            events: EventCache::default(),
            ledger: Ledger::default(),
        }
    }

    fn target() -> Target {
        Target { addr: ([127, 0, 0, 1], 1).into(), host: "h".to_owned(), path: "/ws".to_owned() }
    }

    /// A server's text frame, up to 64 KiB.
    fn text(payload: &str) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("a short text");
        let mut bytes = match length {
            0..126 => vec![0x81, length as u8],
            _ => [&[0x81, 126][..], &length.to_be_bytes()].concat(),
        };
        bytes.extend_from_slice(payload.as_bytes());
        bytes
    }

    fn event(seq: u64, run: u64, index: u32) -> Vec<u8> {
        text(&format!(
            r#"{{"type":"event","seq":{seq},"event":{{"metadata":{{"load_run":"{run}","load_index":"{index}","load_due_ns":"0"}}}}}}"#
        ))
    }

    /// The answer to an upgrade request.
    fn answer_to(request: Vec<u8>) -> Vec<u8> {
        let request = String::from_utf8(request).expect("a request is text");
        let key = request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.lines().next());
        let accept = tungstenite::handshake::derive_accept_key(key.unwrap_or("").as_bytes());
        format!(
            "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        )
        .into_bytes()
    }

    /// A live connection, brought there byte by byte.
    fn live(shared: &mut Shared) -> Connection {
        let mut output = Vec::new();
        let mut connection = Connection::start(&target(), 7, shared, &mut output);
        let mut input = answer_to(output);
        input.extend(text(r#"{"type":"welcome","seq":4}"#));
        for _ in 0..shared.subscriptions {
            input.extend(text(r#"{"type":"subscribed"}"#));
        }
        let mut partial = Vec::new();
        let mut output = Vec::new();
        for byte in input {
            partial.push(byte);
            let taken = connection.handle_input(&partial, 0, shared, &mut output);
            let taken = taken.expect("nothing is wrong with it");
            partial.drain(..taken.bytes);
            assert!(taken.wanted > partial.len());
        }
        assert!(connection.is_live() && partial.is_empty());
        let mut server =
            WebSocket::from_raw_socket(std::io::Cursor::new(output), Role::Server, None);
        let sent = server.read().expect("tungstenite reads what was sent");
        let sent: serde_json::Value =
            serde_json::from_str(sent.to_text().expect("a text")).expect("JSON");
        assert_eq!(sent["filters"], shared.filters.of(7));
        connection
    }

    #[test]
    fn holes_duplicates_and_strangers_are_told_apart() {
        let mut shared = shared();
        let mut connection = live(&mut shared);
        let frames =
            [event(5, 1, 0), event(6, 1, 1), event(6, 1, 1), event(8, 1, 3), event(9, 2, 0)];
        let taken = connection
            .handle_input(&frames.concat(), 1_000, &mut shared, &mut Vec::new())
            .expect("nothing is wrong with it");
        assert_eq!(taken.bytes, frames.concat().len());
        let ledger = &shared.ledger;
        assert_eq!((ledger.deliveries, ledger.duplicates, ledger.foreign_events), (3, 1, 1));
        assert_eq!((ledger.seq_not_rising, ledger.seq_gaps), (1, 1));
        assert_eq!(connection.missing(5), 2);
    }

    /// A connection to a server that a template describes, just upgraded.
    fn upgraded(subscribe: Subscribe) -> (Connection, Shared, Vec<u8>) {
        let mut shared = Shared { subscribe: Some(subscribe), ..shared() };
        let mut output = Vec::new();
        let mut connection = Connection::start(&target(), 7, &shared, &mut output);
        let head = answer_to(output);
        let mut output = Vec::new();
        connection
            .handle_input(&head, 0, &mut shared, &mut output)
            .expect("nothing is wrong with it");
        (connection, shared, output)
    }

    #[test]
    fn at_another_server_connecting_may_subscribe() {
        let (mut connection, mut shared, output) = upgraded(Subscribe::default());
        assert!(connection.is_live() && output.is_empty());
        let marked =
            |index| text(&format!(r#"{{"wrapped":"\\"load_mark\\":\\"1.{index}.5.6\\""}}"#));
        let frames = [marked(0), text("hello"), marked(2), marked(2)].concat();
        connection
            .handle_input(&frames, 1_000, &mut shared, &mut Vec::new())
            .expect("nothing is wrong with it");
        let ledger = &shared.ledger;
        assert_eq!((ledger.deliveries, ledger.duplicates, ledger.other_messages), (2, 1, 1));
        assert_eq!(connection.missing(3), 1);
    }

    #[test]
    fn at_another_server_a_confirmation_is_waited_for() {
        let subscribe = Subscribe {
            path: None,
            text: Some("SUB load".to_owned()),
            confirmed_by: Some("OK".to_owned()),
        };
        let (mut connection, mut shared, output) = upgraded(subscribe);
        let mut server =
            WebSocket::from_raw_socket(std::io::Cursor::new(output), Role::Server, None);
        let sent = server.read().expect("tungstenite reads what was sent");
        assert_eq!(sent, tungstenite::Message::text("SUB load"));
        for (message, is_live) in [("INFO", false), ("+OK", true)] {
            connection
                .handle_input(&text(message), 0, &mut shared, &mut Vec::new())
                .expect("nothing is wrong with it");
            assert_eq!(connection.is_live(), is_live, "{message}");
        }
    }

    #[test]
    fn it_is_live_when_each_subscription_is_confirmed() {
        let mut shared = Shared { subscriptions: 2, ..shared() };
        let mut connection = live(&mut shared);
        connection.phase = Phase::Greeting;
        let mut output = Vec::new();
        let mut hear = |message: &str, connection: &mut Connection| {
            let taken = connection.handle_input(&text(message), 0, &mut shared, &mut output);
            taken.expect("nothing is wrong with it");
            connection.is_live()
        };
        assert!(!hear(r#"{"type":"welcome"}"#, &mut connection));
        assert!(!hear(r#"{"type":"subscribed"}"#, &mut connection));
        assert!(hear(r#"{"type":"subscribed"}"#, &mut connection));
    }

    #[test]
    fn what_is_published_to_warm_up_is_counted_and_not_measured() {
        let warm_up = ByPriority { low: 2, ..ByPriority::default() };
        let mut shared = Shared { warm_up, ..shared() };
        let mut connection = live(&mut shared);
        let frames = [event(5, 1, 0), event(6, 1, 1), event(7, 1, 2)].concat();
        connection
            .handle_input(&frames, 1_000, &mut shared, &mut Vec::new())
            .expect("nothing is wrong with it");
        let tally = shared.ledger.tally();
        assert_eq!((tally.deliveries, tally.latency().len(), connection.missing(3)), (3, 1, 0));
    }

    #[test]
    fn an_orderly_end_has_all_four_signs() {
        let mut shared = shared();
        let mut connection = live(&mut shared);
        let mut output = Vec::new();
        let mut input = text(r#"{"type":"closing","reason":"going_away","code":1001}"#);
        input.extend([0x88, 2, 0x03, 0xe9]);
        connection
            .handle_input(&input, 0, &mut shared, &mut output)
            .expect("nothing is wrong with it");
        assert_eq!(output[0], 0x88, "the close frame is answered");
        connection.handle_flushed();
        connection.handle_end(false);
        let orderly =
            Ending { was_told: true, close_code: Some(1001), has_answered: true, is_clean: true };
        assert_eq!(connection.ending(), orderly);
    }

    #[test]
    fn a_connection_that_just_ends_is_not_clean() {
        let mut shared = shared();
        let mut connection = live(&mut shared);
        connection.handle_end(false);
        assert_eq!(connection.ending(), Ending::default());
    }

    #[test]
    fn pings_are_answered_with_their_payload() {
        let mut shared = shared();
        let mut connection = live(&mut shared);
        let mut output = Vec::new();
        connection
            .handle_input(&[0x89, 1, b'x'], 0, &mut shared, &mut output)
            .expect("nothing is wrong with it");
        assert_eq!((output[0], output[1], output[6] ^ output[2]), (0x8a, 0x81, b'x'));
    }
}
