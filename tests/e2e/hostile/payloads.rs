//! Messages that are well framed and make no sense: JSON and MessagePack, over the socket and
//! as published.

use serde_json::json;

use super::assert_answering;
use super::guard::Row;
use crate::support::{Client, Server};

/// So large that depth, and not size, is what is refused.
const SETTINGS: [&str; 3] = [
    "limits.message_bytes_max=1048576",
    "limits.messages_per_second=1000000",
    "limits.messages_burst=1000000",
];

/// No more of what was sent is repeated.
const ERROR_BYTES_MAX: usize = 1_000;

const PING: &str = r#"{"type":"ping","timestamp":"t""#;
const EVENT: &str = r#"{"event_type":"system_event","category":"c","message":"m","metadata":{}"#;

/// What no value may be, for the place of a field that is not known.
fn json_values() -> Vec<(&'static str, String)> {
    let row = |name, text: &str| (name, text.to_owned());
    vec![
        ("depth 100,000, never closed", "[".repeat(100_000)),
        ("depth 100,000", "[".repeat(100_000) + &"]".repeat(100_000)),
        ("depth 100,000 of objects", r#"{"a":"#.repeat(100_000)),
        ("lists and objects in turn", r#"[{"a":"#.repeat(50_000)),
        ("depth 33", "[".repeat(32) + &"]".repeat(32)),
        row("duplicate keys", r#"{"a":1,"a":2}"#),
        row("duplicate keys, one escaped", r#"{"a":1,"\u0061":2}"#),
        row("1e400", "1e400"),
        row("-1e400", "-1e400"),
        ("a long exponent", format!("1e{}", "9".repeat(100_000))),
        row("a high surrogate alone", r#""\ud800""#),
        row("a low surrogate alone", r#""\udc00""#),
        row("surrogates the wrong way round", r#""\udc00\ud800""#),
        row("a surrogate as a key", r#"{"\ud800":1}"#),
        row("an unknown escape", r#""\x41""#),
        row("a line break in a string", "\"a\nb\""),
        row("NUL in a string", "\"\0\""),
        row("NaN", "NaN"),
        row("Infinity", "-Infinity"),
        row("a leading zero", "01"),
        row("a plus", "+1"),
        row("hexadecimal", "0x1"),
        row("a comment", "/**/1"),
        row("a comma too many", "[1,]"),
        row("single quotes", "'a'"),
        row("nothing", ""),
    ]
}

/// Whole documents: `good` in bad company.
fn json_documents(good: &str) -> Vec<(&'static str, String)> {
    vec![
        ("trailing bytes", format!("{good}x")),
        ("a trailing comma", format!("{good},")),
        ("a trailing NUL", format!("{good}\0")),
        ("a second document", format!("{good}{good}")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("a second brace", format!("{good}}}")),
        ("a key twice", good.replacen('{', r#"{"type":"x","event_type":"x","type":"ping","#, 1)),
    ]
}

fn json_rows(begun: &str) -> Vec<(&'static str, String)> {
    let field = |(name, value)| (name, format!("{begun},\"x\":{value}}}"));
    let mut rows: Vec<_> = json_values().into_iter().map(field).collect();
    rows.extend(json_documents(&format!("{begun}}}")));
    rows
}

/// Of lists within the object: 32 levels in all, the most that is taken.
fn deepest() -> String {
    "[".repeat(31) + &"]".repeat(31)
}

#[track_caller]
fn assert_refused(name: &str, client: &mut Client) {
    let error = client.expect("error");
    assert_eq!(error["code"], "INVALID_MESSAGE", "{name}: {error}");
    assert!(error.to_string().len() < ERROR_BYTES_MAX, "{name}: {error}");
}

#[test]
fn hostile_json_on_the_socket_is_refused_and_the_connection_goes_on() {
    // The largest of them, read and kept until it is complete.
    Row::with(&SETTINGS).holds_kib(2 * 1024).run(|server| {
        let mut client = server.connect();
        for (name, text) in json_rows(PING) {
            client.send_text(&text);
            assert_refused(name, &mut client);
        }
        client.send_text(&format!("{PING},\"x\":{}}}", deepest()));
        assert_eq!(client.expect("pong")["timestamp"], "t");
        client.close();
    });
}

#[track_caller]
fn assert_unpublished(server: &Server, name: &str, content_type: &str, body: &[u8]) {
    let answer = server.post("/api/v1/events", content_type, body);
    assert_eq!(answer.status, 400, "{name}: {answer:?}");
    let error = answer.json();
    // Of one event, or of the first of several.
    let error = if error["code"].is_null() { &error["results"][0]["error"] } else { &error };
    assert_eq!(error["code"], "INVALID_MESSAGE", "{name}: {answer:?}");
    assert!(error.to_string().len() < ERROR_BYTES_MAX, "{name}: {answer:?}");
}

#[test]
fn hostile_json_over_http_is_refused() {
    // Its bodies are taken from the heap of another thread.
    Row::new().holds_kib(6 * 1024).run(|server| {
        let kind = "application/json";
        for (name, text) in json_rows(EVENT) {
            assert_unpublished(server, name, kind, text.as_bytes());
            assert_unpublished(server, name, "application/x-ndjson", text.as_bytes());
        }
        // In a list the second is refused alone, unless nobody can tell where it ends.
        for (name, value) in json_values().into_iter().skip(1) {
            let good = format!("{EVENT}}}");
            let body = format!("[{good},{EVENT},\"x\":{value}}},{good}]");
            let answer = server.post("/api/v1/events", kind, body.as_bytes());
            assert!([207, 400].contains(&answer.status), "{name}: {answer:?}");
            assert!(answer.body.len() < 2 * ERROR_BYTES_MAX, "{name}: {answer:?}");
        }
        let utf16: Vec<u8> = format!("{EVENT}}}").bytes().flat_map(|byte| [byte, 0]).collect();
        assert_unpublished(server, "UTF-16", kind, &utf16);
        assert_unpublished(server, "not UTF-8", kind, b"{\"event_type\":\"\xff\"}");
        assert_unpublished(server, "nothing", kind, b"");
        let good = format!("{EVENT},\"x\":{}}}", deepest());
        server.post("/api/v1/events", kind, good.as_bytes()).assert_status(200);
    });
}

/// What no value may be in MessagePack.
fn packed_values() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |list: &[u8], depth: usize| [list.repeat(depth), b"\x01".to_vec()].concat();
    let row = |name, bytes: &[u8]| (name, bytes.to_vec());
    vec![
        ("1,000 nested lists", nested(b"\x91", 1_000)),
        ("60,000 nested lists", nested(b"\x91", 60_000)),
        ("1,000 nested maps", nested(b"\x81\xa1a", 1_000)),
        ("depth 33", nested(b"\x91", 32)),
        row("a list that claims 4 G", b"\xdd\xff\xff\xff\xff"),
        ("lists in each other that claim 4 G", b"\xdd\xff\xff\xff\xff".repeat(31)),
        ("maps in each other that claim 4 G", b"\xdf\xff\xff\xff\xff\xa1a".repeat(31)),
        row("a map that claims 4 G", b"\xdf\xff\xff\xff\xff"),
        row("a string that claims 4 G", b"\xdb\xff\xff\xff\xff"),
        row("binary data that claims 4 G", b"\xc6\xff\xff\xff\xff"),
        row("an extension that claims 4 G", b"\xc9\xff\xff\xff\xff\x01"),
        row("binary data", b"\xc4\x01a"),
        row("an extension of 1 byte", b"\xd4\x01\x00"),
        row("an extension of 16 bytes", b"\xd8\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        row("an extension of no bytes", b"\xc7\x00\x01"),
        row("a timestamp", b"\xd6\xff\x00\x00\x00\x00"),
        row("a number as the key", b"\x81\x01\x02"),
        row("nil as the key", b"\x81\xc0\x02"),
        row("binary data as the key", b"\x81\xc4\x01a\x02"),
        row("a list as the key", b"\x81\x90\x02"),
        row("a key twice", b"\x82\xa1a\x01\xa1a\x02"),
        row("a string that is not UTF-8", b"\xa1\xff"),
        row("not a number", b"\xcb\x7f\xf8\0\0\0\0\0\0"),
        row("infinity", b"\xca\x7f\x80\0\0"),
        row("the marker that is not used", b"\xc1"),
        row("a number cut off", b"\xcf\x01"),
        row("nothing", b""),
    ]
}

/// `begun` is a map to which one field is to be added; `good` is one without it.
fn packed_rows(begun: &[u8], good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let field = |(name, value): (_, Vec<u8>)| (name, [begun, b"\xa1x", &value[..]].concat());
    let mut rows: Vec<_> = packed_values().into_iter().map(field).collect();
    rows.extend([
        ("trailing bytes", [good, b"\x01"].concat()),
        ("a second document", [good, good].concat()),
        ("a trailing marker that is not used", [good, b"\xc1"].concat()),
    ]);
    rows
}

const PACKED_PING: &[u8] = b"\xa4type\xa4ping\xa9timestamp\xa1t";
const PACKED_EVENT: &[u8] =
    b"\xaaevent_type\xacsystem_event\xa8category\xa1c\xa7message\xa1m\xa8metadata\x80";

#[test]
fn hostile_messagepack_on_the_socket_is_refused_and_takes_memory_by_what_is_there() {
    const ROUNDS: usize = 20;
    let good = [b"\x82", PACKED_PING].concat();
    let mut rows = packed_rows(&[b"\x83", PACKED_PING].concat(), &good);
    rows.push(("nothing but a claim", b"\xdd\xff\xff\xff\xff".to_vec()));
    Row::with(&SETTINGS).run(|server| {
        let mut client = server.connect_packed();
        for _ in 0..ROUNDS {
            for (name, bytes) in &rows {
                client.send_binary(bytes);
                assert_refused(name, &mut client);
            }
        }
        let deepest = [b"\x83", PACKED_PING, b"\xa1x", &b"\x91".repeat(30), b"\x90"].concat();
        for good in [&good, &deepest] {
            client.send_binary(good);
            assert_eq!(client.expect("pong")["timestamp"], "t");
        }
        client.close();
    });
}

#[test]
fn hostile_messagepack_over_http_is_refused_and_takes_memory_by_what_is_there() {
    let kind = "application/msgpack";
    let good = [b"\x84", PACKED_EVENT].concat();
    Row::new().run(|server| {
        for (name, bytes) in packed_rows(&[b"\x85", PACKED_EVENT].concat(), &good) {
            assert_unpublished(server, name, kind, &bytes);
        }
        for (name, body) in [
            ("a list that claims 4 G", b"\xdd\xff\xff\xff\xff".to_vec()),
            ("the same with an event", [b"\xdd\xff\xff\xff\xff", &good[..]].concat()),
        ] {
            let answer = server.post("/api/v1/events", kind, &body);
            assert!([400, 413].contains(&answer.status), "{name}: {answer:?}");
        }
        server.post("/api/v1/events", kind, &good).assert_status(200);
    });
}

/// Neither text on a MessagePack connection nor the other way round is read.
#[test]
fn the_wrong_kind_of_frame_is_refused_and_not_read() {
    Row::with(&SETTINGS).run(|server| {
        let mut raw = super::upgraded(server, 1).remove(0);
        for bytes in [&b"\xdd\xff\xff\xff\xff"[..], &[b'['; 60_000]] {
            raw.write(&super::frame(0x82, bytes));
            assert_eq!(raw.message()["code"], json!("UNSUPPORTED"));
        }
        assert_answering("a wrong kind", &mut raw);
    });
}
