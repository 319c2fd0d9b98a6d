//! Existing clients in other languages, on WebSocket libraries that are not ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Program, Server, events, tools};

/// Publishes an event after the other; the client must print each as it was published, in a
/// dense sequence, and then end well.
fn receives_every_type_of_event(interpreter: PathBuf, script: &str) {
    let server = Server::start();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = Command::new(interpreter);
    command.arg(path).arg("--events").arg(events::samples_file());
    command.args(["--url", &server.stream_url, "--control", &server.control_url]);
    // So that no compiled files are left beside the scripts.
    let mut client = Program::start(command.env("PYTHONDONTWRITEBYTECODE", "1"));
    assert_eq!(client.line(), "ready");
    let mut newest = None;
    for sample in events::samples() {
        let receipt = server.publish(&sample);
        let line = client.line();
        let message: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(message["event"], published(&sample, script));
        assert_eq!(message["message_id"], receipt.message_id);
        assert_eq!(message["seq"], receipt.seq);
        assert!(newest.is_none_or(|newest| receipt.seq == newest + 1), "{message}");
        newest = Some(receipt.seq);
    }
    client.succeed();
    assert!(client.remaining_lines().is_empty());
    server.await_metric("websocket_active_connections", 0.0);
}

#[test]
fn python_websockets_receives_every_type_of_event() {
    receives_every_type_of_event(tools::python(), "python_websockets.py");
}

#[test]
fn python_aiohttp_receives_every_type_of_event() {
    receives_every_type_of_event(tools::python(), "python_aiohttp.py");
}

#[test]
fn node_ws_receives_every_type_of_event() {
    receives_every_type_of_event(tools::node(), "node_ws.mjs");
}

#[test]
fn python_msgpack_receives_every_type_of_event() {
    receives_every_type_of_event(tools::python(), "python_msgpack.py");
}

#[test]
fn node_msgpack_receives_every_type_of_event() {
    receives_every_type_of_event(tools::node(), "node_msgpack.mjs");
}

/// What the client is to print. JavaScript has one type for numbers below 2^53, so that it
/// cannot tell 1.0 from 1 once a decoder has read it.
fn published(sample: &Value, script: &str) -> Value {
    if script == "node_msgpack.mjs" { with_whole_numbers(sample.clone()) } else { sample.clone() }
}

fn with_whole_numbers(value: Value) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < EXACT_MAX => {
                Value::from(float as i64)
            }
            _ => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect()
        }
        other => other,
    }
}
