//! Connections for people.

use std::fmt::Write;

use serde_json::Value;

use crate::base::logged::Logged;

const HEADINGS: [&str; 11] = [
    "SESSION", "SHARD", "ADDRESS", "STATE", "AGE", "POSITION", "LAG", "WAITING", "BYTES", "LOST",
    "SUBS",
];
/// From here on columns are numbers.
const FIRST_NUMBER: usize = 4;

/// One line for each.
pub fn list(connections: &[Value]) -> String {
    if connections.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = connections.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADINGS[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&HEADINGS.map(str::to_owned)).chain(&rows) {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column < FIRST_NUMBER {
                true => write!(line, "{cell:<width$}  "),
                false => write!(line, "{cell:>width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(connection: &Value) -> [String; HEADINGS.len()] {
    [
        shown(&connection["session_id"]),
        shown(&connection["shard"]),
        shown(&connection["address"]),
        shown(&connection["state"]),
        connection["age_secs"].as_f64().map_or_else(|| "-".into(), age),
        shown(&connection["position"]),
        shown(&connection["lag"]),
        shown(&connection["waiting"]["messages"]),
        shown(&connection["waiting"]["bytes"]),
        shown(&connection["lost"]),
        shown(&connection["subscription_count"]),
    ]
}

/// One connection, a line for each thing that is known.
pub fn details(connection: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    for name in ["session_id", "shard", "driver", "address", "proxy", "encoding", "extended"] {
        line(name, shown(&connection[name]));
    }
    line("state", shown(&connection["state"]));
    line("age", connection["age_secs"].as_f64().map_or_else(|| "-".into(), age));
    line("position", shown(&connection["position"]));
    line("lag", shown(&connection["lag"]));
    line("waiting", amount(&connection["waiting"]));
    for lane in ["control", "critical", "high", "normal", "low"] {
        line(&format!("  {lane}"), amount(&connection["lanes"][lane]));
    }
    line("in flight", amount(&connection["in_flight"]));
    line("lost", shown(&connection["lost"]));
    for (reason, counts) in connection["losses"].as_object().into_iter().flatten() {
        for (priority, count) in counts.as_object().into_iter().flatten() {
            if count.as_u64() != Some(0) {
                line("", format!("{} {priority}, {reason}", shown(count)));
            }
        }
    }
    for subscription in connection["subscriptions"].as_array().into_iter().flatten() {
        let (id, state) = (&subscription["subscription_id"], &subscription["state"]);
        let position = match subscription.get("position") {
            Some(position) => format!(" at {}", shown(position)),
            None => String::new(),
        };
        line("subscription", format!("{}  {}{position}", shown(id), shown(state)));
        line("", wanted(&subscription["filters"]));
    }
    text
}

/// What a close came to.
pub fn closed(closed: &Value) -> String {
    match (closed["outcome"].as_str(), &closed["code"], &closed["after"]) {
        (Some("closing"), code, after) => format!(
            "closing with {}; its client is told to resume after event {}\n",
            shown(code),
            shown(after)
        ),
        (Some("refused"), ..) => "its handshake is refused with 503\n".to_owned(),
        _ => "it was closing already\n".to_owned(),
    }
}

/// The fields of a filter that say anything.
fn wanted(filters: &Value) -> String {
    let says = |value: &Value| match value {
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
        _ => true,
    };
    let fields = filters.as_object().into_iter().flatten().filter(|(_, value)| says(value));
    let fields: Vec<String> =
        fields.map(|(name, value)| format!("{name}: {}", escaped(&value.to_string()))).collect();
    if fields.is_empty() { "everything".to_owned() } else { fields.join(", ") }
}

fn amount(amount: &Value) -> String {
    format!("{} messages, {} bytes", shown(&amount["messages"]), shown(&amount["bytes"]))
}

/// Safe for a terminal.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => Logged(text).to_string(),
        other => Logged(&other.to_string()).to_string(),
    }
}

/// The same, whatever its length.
fn escaped(text: &str) -> String {
    let escape = |character: char| match character {
        '"' | '\'' => character.to_string(),
        '\\' => "\\".to_owned(),
        other => other.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3_600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h{:02}m", whole / 3_600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_nothing_drives_the_terminal() {
        let connection = json!({
            "session_id": "s\u{1b}[31m", "shard": 1, "address": "10.0.0.1", "state": "open",
            "age_secs": 61.5, "position": 7, "lag": 0, "waiting": {"messages": 2, "bytes": 300},
            "lost": 12345, "subscription_count": 1,
        });
        let text = list(&[connection]);
        let expected = "\
            SESSION      SHARD  ADDRESS   STATE    AGE  POSITION  LAG  WAITING  BYTES   LOST  SUBS\n\
            s\\u{1b}[31m  1      10.0.0.1  open   1m01s         7    0        2    300  12345     1\n";
        assert_eq!(text, expected);
        assert_eq!(list(&[]), "");
    }

    #[test]
    fn an_age_has_two_units_at_most() {
        for (seconds, expected) in
            [(0.04, "0.0s"), (59.9, "59.9s"), (60.0, "1m00s"), (3_725.0, "1h02m"), (2e5, "2d07h")]
        {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn a_filter_names_what_it_says_and_one_that_says_nothing_is_everything() {
        let filters = json!({"sources": [], "labels": {}, "severities": ["P0"]});
        assert_eq!(wanted(&filters), "severities: [\"P0\"]");
        assert_eq!(wanted(&json!({"sources": []})), "everything");
    }
}
