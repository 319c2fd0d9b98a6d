//! Runs the examples of `docs/PROTOCOL.md` against the code, and holds its
//! tables to the code's own lists.

use alarmcast::base::clock::Instant;
use alarmcast::event::{Event, EventType, Publish};
use alarmcast::filter::FilterSpec;
use alarmcast::protocol::{
    ClientMessage, CloseCode, CollapsedCounts, DroppedCounts, Encoded, Encoding, ErrorCode, Limits,
    MessageError, NotResumed, Options, PublishItemError, Resume, ServerMessage, Welcome,
    append_batch, decode, decode_msgpack, parse_bytes,
};
use bytes::Bytes;
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../docs/PROTOCOL.md");
const NOW: &str = "2026-03-01T10:00:00Z";
const EPOCH: &str = "019ca8e1-0000-7000-8000-000000000000";

/// A fenced example: the words on its fence, and its text.
struct Vector {
    line: usize,
    /// `json` or, of what is `MessagePack`, `hex`.
    form: &'static str,
    /// The words after it.
    info: Vec<&'static str>,
    text: String,
}

impl Vector {
    fn encoding(&self) -> Encoding {
        if self.form == "hex" { Encoding::MessagePack } else { Encoding::Json }
    }

    /// What the digits stand for, comments aside.
    fn bytes(&self) -> Vec<u8> {
        assert_eq!(self.form, "hex", "line {}", self.line);
        let lines = self.text.lines().map(|line| line.split('#').next().unwrap());
        let digits = lines.flat_map(str::split_whitespace);
        digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    }

    fn decode(&self) -> Result<ClientMessage, MessageError> {
        match self.encoding() {
            Encoding::Json => decode(&self.text),
            Encoding::MessagePack => decode_msgpack(&self.bytes()),
        }
    }
}

fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let mut lines = DOCUMENT.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut words = info.split_whitespace();
        let form = words.next().unwrap_or_default();
        assert!(["json", "hex"].contains(&form), "line {}: a fence without a test", number + 1);
        let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let text = body.collect::<Vec<_>>().join("\n");
        vectors.push(Vector { line: number + 1, form, info: words.collect(), text });
    }
    vectors
}

/// The vectors of one kind, with the rest of their words.
fn vectors_of(kind: &str) -> Vec<Vector> {
    vectors().into_iter().filter(|vector| vector.info[0] == kind).collect()
}

fn now() -> jiff::Timestamp {
    NOW.parse().unwrap()
}

fn parse(vector: &Vector) -> Result<Publish, PublishItemError> {
    parse_bytes(vector.text.as_bytes(), now())
}

/// What an unmasked frame carries.
fn payload(frame: &Bytes, encoding: Encoding) -> &[u8] {
    assert_eq!(frame[0], if encoding == Encoding::Json { 0x81 } else { 0x82 });
    let start = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[start..]
}

#[test]
fn every_vector_is_of_a_kind_that_is_tested() {
    for vector in vectors() {
        let known = matches!(
            vector.info[..],
            ["client", "subscribe" | "unsubscribe" | "ping" | "ack" | "flow_control"]
                | ["client", "error", _]
                | ["server", _]
                | ["server", "subscribed", "not_resumed"]
                | ["server", "error", "catch_ups"]
        ) || matches!(
            (vector.form, &vector.info[..]),
            (
                "json",
                ["event", _]
                    | ["filter", "matches" | "misses"]
                    | ["publish", "ok"]
                    | ["publish", _, _]
            )
        );
        assert!(known, "line {}: {:?}", vector.line, vector.info);
    }
}

#[test]
fn client_vectors_decode_to_what_is_stated() {
    let mut seen = Vec::new();
    for vector in vectors_of("client") {
        let stated = vector.info[1..].join(" ");
        let decoded = match vector.decode() {
            Ok(ClientMessage::Subscribe { .. }) => "subscribe".to_owned(),
            Ok(ClientMessage::Unsubscribe { .. }) => "unsubscribe".to_owned(),
            Ok(ClientMessage::Ping { .. }) => "ping".to_owned(),
            Ok(ClientMessage::Ack { .. }) => "ack".to_owned(),
            Ok(ClientMessage::FlowControl { .. }) => "flow_control".to_owned(),
            Err(MessageError { code, .. }) => format!("error {code}"),
        };
        assert_eq!(decoded, stated, "line {}", vector.line);
        seen.push(stated);
    }
    let kinds = ["subscribe", "unsubscribe", "ping", "ack", "flow_control", "error INVALID_FILTER"];
    for kind in kinds {
        assert!(seen.iter().any(|stated| stated == kind), "no vector for {kind}");
    }
}

#[test]
fn server_vectors_are_what_the_encoders_write() {
    let mut seen = Vec::new();
    for vector in vectors_of("server") {
        let kind = vector.info[1];
        // Of a kind with several examples each has a word of its own.
        let example = vector.info[1..].join(" ");
        let frame = encoded(&example, vector.encoding());
        let sent = payload(&frame, vector.encoding());
        if vector.encoding() == Encoding::MessagePack {
            assert_eq!(sent, vector.bytes(), "line {}", vector.line);
            continue;
        }
        let stated: Value = serde_json::from_str(&vector.text).unwrap();
        let said: Value = serde_json::from_slice(sent).unwrap();
        assert_eq!(said, stated, "line {}", vector.line);
        assert_eq!(stated["type"], kind, "line {}", vector.line);
        let frame = encoded(&example, Encoding::MessagePack);
        let said: Value = rmp_serde::from_slice(payload(&frame, Encoding::MessagePack)).unwrap();
        assert_eq!(said, stated, "line {}", vector.line);
        seen.push(kind);
    }
    let kinds = [
        "welcome",
        "subscribed",
        "caught_up",
        "checkpoint",
        "unsubscribed",
        "pong",
        "batch",
        "collapsed",
        "flow_control",
        "error",
        "dropped",
        "closing",
        "event",
    ];
    for kind in kinds {
        assert!(seen.contains(&kind), "no vector for {kind}");
        assert!(DOCUMENT.contains(&format!("\n| `{kind}` |")), "{kind} is not in the table");
    }
}

const TOO_MANY_CATCH_UPS: ServerMessage<'static> = ServerMessage::Error {
    code: ErrorCode::Unavailable,
    message: "too many clients ask for the past; subscribe again after retry_after_ms",
    subscription_id: Some("oncall"),
    r#ref: None,
    retry_after_ms: Some(1_250),
};

fn encoded(kind: &str, encoding: Encoding) -> Bytes {
    let filters: FilterSpec =
        serde_json::from_value(json!({"severities": ["P0", "P1"], "labels": {"team": "core"}}))
            .unwrap();
    let subscription_id = "oncall";
    let message = match kind {
        "event" => return encoded_event(encoding),
        "batch" => {
            let events = [encoded_event(encoding), encoded_event(encoding)];
            let mut batch = Vec::new();
            append_batch(&mut batch, encoding, events.iter().map(|frame| &frame[..]));
            return batch.into();
        }
        "error" => {
            let refused = vectors_of("client")
                .into_iter()
                .find(|vector| vector.info[1..] == ["error", "INVALID_FILTER"])
                .unwrap();
            return decode(&refused.text).unwrap_err().as_message().encode(encoding);
        }
        "error catch_ups" => TOO_MANY_CATCH_UPS,
        "welcome" => welcome(),
        "subscribed" => ServerMessage::Subscribed {
            subscription_id,
            filters: &filters,
            resumed: None,
            not_resumed: None,
            options: Options::default(),
            r#ref: None,
        },
        "subscribed not_resumed" => ServerMessage::Subscribed {
            subscription_id,
            filters: &filters,
            resumed: Some(false),
            not_resumed: Some(NotResumed { reason: "history_expired", first_seq: 30 }),
            options: Options::default(),
            r#ref: None,
        },
        "caught_up" => ServerMessage::CaughtUp { subscription_id, seq: 41, r#ref: None },
        "checkpoint" => ServerMessage::Checkpoint { seq: 41 },
        "unsubscribed" => {
            ServerMessage::Unsubscribed { subscription_id, r#ref: Some(&json!("bye")) }
        }
        "pong" => ServerMessage::Pong { timestamp: NOW, r#ref: None },
        "collapsed" => collapsed(),
        "flow_control" => ServerMessage::FlowControl { pause: true, r#ref: Some(&json!(7)) },
        "dropped" => ServerMessage::Dropped {
            from_seq: 17,
            to_seq: 41,
            counts: DroppedCounts { low: 12, normal: 3, high: 0 },
            reason: "slow_consumer",
        },
        "closing" => ServerMessage::closing(
            CloseCode::GoingAway,
            Some(1250),
            Resume { epoch: EPOCH, after: 41 },
        ),
        _ => panic!("no encoder for {kind}"),
    };
    message.encode(encoding)
}

fn welcome() -> ServerMessage<'static> {
    ServerMessage::Welcome(Welcome::new(
        "019ca8e1-9f40-7000-8000-00000000000a",
        now(),
        EPOCH,
        41,
        30,
        Limits {
            message_bytes_max: 65_536,
            subscriptions_max: 100,
            filter_terms_max: 1_000,
            batch_events_max: 256,
            batch_delay_ms_max: 10_000,
            collapse_after_max: 1_000,
            collapse_window_ms_max: 600_000,
            collapse_windows_max: 128,
            messages_per_second: Some(100),
            frames_per_second: Some(600),
            bytes_per_second: Some(1_048_576),
            subscription_changes_per_second: Some(10),
        },
    ))
}

fn collapsed() -> ServerMessage<'static> {
    ServerMessage::Collapsed {
        subscription_id: "wall",
        event_type: EventType::AlertReceived,
        fingerprint: "db-1/Disk is full",
        count: 40,
        counts: CollapsedCounts { low: 0, normal: 38, high: 2 },
        first_seq: 17,
        last_seq: 90,
    }
}

/// The first publishing example.
fn encoded_event(encoding: Encoding) -> Bytes {
    let published = vectors_of("publish").into_iter().next().unwrap();
    Encoded::new(sequenced(&published)).frame(encoding).clone()
}

fn sequenced(published: &Vector) -> Event {
    let payload = parse(published).unwrap().payload;
    Event {
        seq: 42,
        message_id: "019ca8e1-9f40-7000-8000-000000000001".parse().unwrap(),
        timestamp: now(),
        priority: payload.priority(),
        context: payload.own_context(),
        payload,
        accepted_at: Instant::default(),
    }
}

#[test]
fn event_vectors_come_out_as_they_are_written() {
    for vector in vectors_of("event") {
        let stated: Value = serde_json::from_str(&vector.text).unwrap();
        assert_eq!(stated["event_type"], vector.info[1], "line {}", vector.line);
        let payload = parse(&vector).unwrap().payload;
        assert_eq!(serde_json::to_value(&payload).unwrap(), stated, "line {}", vector.line);
    }
}

#[test]
fn filter_vectors_match_or_miss_as_stated() {
    let mut seen = Vec::new();
    for vector in vectors_of("filter") {
        let mut stated: Value = serde_json::from_str(&vector.text).unwrap();
        let filters: FilterSpec = serde_json::from_value(stated["filters"].take()).unwrap();
        let published = Vector { text: stated["event"].to_string(), ..vector };
        let event = sequenced(&published);
        let matches = filters.compile().unwrap().matches(&event.attributes());
        assert_eq!(matches, published.info[1] == "matches", "line {}", published.line);
        seen.push(published.info[1]);
    }
    assert!(seen.contains(&"matches") && seen.contains(&"misses"));
}

#[test]
fn publish_vectors_are_taken_or_refused_as_stated() {
    for vector in vectors_of("publish") {
        match (&vector.info[1..], parse(&vector)) {
            (["ok"], Ok(_)) => {}
            ([code, path], Err(error)) => {
                assert_eq!((error.code.as_str(), &*error.path), (*code, *path), "{}", vector.line);
            }
            (stated, parsed) => panic!("line {}: {stated:?}, but {parsed:?}", vector.line),
        }
    }
}

#[test]
fn every_type_of_event_has_a_row_and_an_example() {
    let examples: Vec<EventType> = vectors()
        .iter()
        .filter(|vector| matches!(vector.info[0], "event" | "publish"))
        .filter_map(|vector| parse(vector).ok())
        .map(|publish| publish.payload.event_type())
        .collect();
    for kind in EventType::ALL {
        assert!(DOCUMENT.contains(&format!("\n| `{kind}` |")), "{kind} is not in the table");
        assert!(examples.contains(&kind), "no example of {kind}");
    }
}

#[test]
fn every_encoding_has_a_row_and_examples_of_both_directions() {
    for encoding in Encoding::ALL {
        let row = format!("| `{}` | `?encoding={encoding}` |", encoding.subprotocol());
        assert!(DOCUMENT.contains(&row), "{encoding} is not in the table");
        for side in ["client", "server"] {
            let examples = vectors_of(side);
            assert!(examples.iter().any(|vector| vector.encoding() == encoding), "{encoding}");
        }
    }
}

#[test]
fn every_code_has_a_row() {
    for code in ErrorCode::ALL {
        assert!(DOCUMENT.contains(&format!("\n| `{code}` |")), "{code} is not in the table");
    }
    for code in CloseCode::ALL {
        let row = format!("\n| {} | `{}` |", code.code(), code.reason());
        assert!(DOCUMENT.contains(&row), "{code} is not in the table");
    }
}

#[test]
fn every_field_of_a_filter_has_a_row() {
    let every = json!({
        "any_of": [{}], "none_of": [{}], "min_priority": "low", "text": {"contains": ""},
    });
    let every: FilterSpec = serde_json::from_value(every).unwrap();
    let normal = serde_json::to_value(every).unwrap();
    assert_eq!(normal.as_object().unwrap().len(), 11);
    for field in normal.as_object().unwrap().keys() {
        assert!(DOCUMENT.contains(&format!("\n| `{field}` |")), "{field} is not in the table");
    }
}
