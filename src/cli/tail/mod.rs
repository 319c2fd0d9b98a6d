//! `alarmcast tail`: watches the stream, and comes back after every loss of the connection
//! that the server did not mean to be final.

mod link;
mod show;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Failure;
use super::chance::{Backoff, Chance};
use super::stop::Stop;
use crate::base::clock::Clock;
use crate::base::logged::Logged;
use crate::event::{EventType, IncidentState, Severity};
use crate::protocol::Encoding;
use link::{Heard, Link, Lost};
use show::Printer;

/// Of `--url`.
pub const DEFAULT_URL: &str = "ws://127.0.0.1:8080/ws";
const SUBSCRIPTION: &str = "tail";

#[derive(Debug, Args)]
#[command(after_help = "Values of one flag are alternatives, different flags must all match; \
                        without any, everything is shown.")]
pub struct Arguments {
    /// The WebSocket endpoint of the server
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    url: String,
    /// Only events of these types, such as incident_created
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',',
        value_parser = names(&EventType::ALL.map(EventType::as_str)), hide_possible_values = true)]
    types: Vec<String>,
    /// Only these severities, P0 to P4
    #[arg(long = "severity", value_name = "SEVERITY", value_delimiter = ',',
        value_parser = names(&Severity::ALL.map(Severity::as_str)), hide_possible_values = true)]
    severities: Vec<String>,
    /// Only incidents in these states, such as Investigating
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',',
        value_parser = names(&IncidentState::ALL.map(IncidentState::as_str)),
        hide_possible_values = true)]
    states: Vec<String>,
    /// Only from these sources
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Only what affects these resources or services
    #[arg(long = "resource", value_name = "NAME")]
    resources: Vec<String>,
    /// Only with all of these labels
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Only about these incidents
    #[arg(long = "incident", value_name = "UUID", value_delimiter = ',')]
    incidents: Vec<Uuid>,
    /// What to speak with the server, json or msgpack; what is printed is the same
    #[arg(long, value_name = "ENCODING", default_value_t = Encoding::Json)]
    encoding: Encoding,
    /// Print each event message as a line of JSON, as is done when stdout is not a terminal
    #[arg(long)]
    json: bool,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// One of these names; another is refused with the nearest.
pub fn names(names: &[&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

/// Reads `key=value`.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("a label is written key=value".into()),
    }
}

/// # Errors
/// When there is no server at first, when it refuses the filters, or when it says that coming
/// back is of no use.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let stop = Stop::on_interrupt();
    let mut tail = Tail {
        subscribe: subscribe_message(arguments),
        printer: Printer::new(arguments.json || !stdout().is_terminal()),
        remaining: arguments.count,
        newest: None,
        missed_from: None,
        clock: Clock::System,
        stop,
    };
    let mut backoff = Backoff::new(Chance::any_seed());
    let mut connected_before = false;
    loop {
        let lost = match Link::open(&arguments.url, arguments.encoding, tail.clock.clone()) {
            Ok(link) => {
                connected_before = true;
                match tail.follow(link, &mut backoff)? {
                    None => return Ok(()),
                    Some(lost) => lost,
                }
            }
            Err(lost) => lost,
        };
        let pause = match lost {
            Lost::Final(why) => return Err(Failure::new(why)),
            Lost::Unreachable(why) if !connected_before => {
                return Err(Failure::new(format!(
                    "no server answers at {} ({why}): start one with `alarmcast serve`, \
                     or pass --url URL",
                    Logged(&arguments.url)
                )));
            }
            Lost::Unreachable(why) => tail.will_return(&why, backoff.next_pause()),
            Lost::Again { why, after } => {
                tail.will_return(&why, after.unwrap_or_else(|| backoff.next_pause()))
            }
        };
        if tail.stop.wait(pause) {
            return Err(Failure::Interrupted);
        }
    }
}

struct Tail {
    subscribe: Value,
    printer: Printer,
    /// Events until the end, where there is one.
    remaining: Option<u64>,
    /// Epoch and seq of the newest event that this program could have seen.
    newest: Option<(String, u64)>,
    /// The same, while the connection is lost.
    missed_from: Option<(String, u64)>,
    clock: Clock,
    stop: Stop,
}

impl Tail {
    fn will_return(&mut self, why: &str, pause: Duration) -> Duration {
        status(&format!("{why}; next attempt in {:.1} s", pause.as_secs_f64()));
        if self.missed_from.is_none() {
            self.missed_from = self.newest.take();
        }
        pause
    }

    /// Prints what one connection brings. `None`: all that was asked for is printed.
    fn follow(&mut self, mut link: Link, backoff: &mut Backoff) -> Result<Option<Lost>, Failure> {
        loop {
            if self.stop.is_set() {
                link.close();
                return Err(Failure::Interrupted);
            }
            let text = match link.hear() {
                Heard::Nothing => continue,
                Heard::Text(text) => text,
                Heard::Lost(lost) => return Ok(Some(lost)),
            };
            let Ok(message) = serde_json::from_str::<Value>(&text) else {
                return Ok(Some(Lost::Final("the server sent something that is not JSON".into())));
            };
            if let Some(lost) = self.handle(&mut link, &text, &message)? {
                return Ok(Some(lost));
            }
            backoff.reset();
            if self.remaining == Some(0) {
                link.close();
                return Ok(None);
            }
        }
    }

    fn handle(
        &mut self,
        link: &mut Link,
        text: &str,
        message: &Value,
    ) -> Result<Option<Lost>, Failure> {
        match message["type"].as_str() {
            Some("welcome") => {
                self.welcome(link, message);
                return Ok(link.send(&self.subscribe));
            }
            Some("subscribed") => status("watching; Ctrl-C ends"),
            Some("event") => {
                if let (Some((_, newest)), Some(seq)) = (&mut self.newest, message["seq"].as_u64())
                {
                    // Urgent events overtake others on their way here.
                    *newest = seq.max(*newest);
                }
                self.printer.event(text, message)?;
                self.remaining = self.remaining.map(|count| count - 1);
            }
            Some("dropped") => status(&format!("events were lost on the way: {}", Logged(text))),
            Some("closing") => link.announce_close(message),
            Some("error") => {
                let refused = format!(
                    "the server refused: {}: {}",
                    Logged(message["code"].as_str().unwrap_or("?")),
                    Logged(message["message"].as_str().unwrap_or("?")),
                );
                // The only thing that was asked is the subscription.
                return Ok(Some(Lost::Final(refused)));
            }
            _ => {}
        }
        Ok(None)
    }

    fn welcome(&mut self, link: &mut Link, message: &Value) {
        link.expect_heartbeats(message["heartbeat_interval_secs"].as_u64());
        let epoch = message["epoch"].as_str().unwrap_or_default().to_owned();
        let seq = message["seq"].as_u64().unwrap_or_default();
        match self.missed_from.take() {
            Some((old, _)) if old != epoch => {
                status("connected again; the server began a new stream meanwhile");
            }
            Some((_, last)) if last < seq => {
                status(&format!("connected again; events {} to {seq} went by unseen", last + 1));
            }
            Some(_) => status("connected again; nothing was missed"),
            None => {}
        }
        self.newest = Some((epoch, seq));
    }
}

fn status(text: &str) {
    eprintln!("alarmcast tail: {text}");
}

fn subscribe_message(arguments: &Arguments) -> Value {
    let mut filters = Map::new();
    let mut put = |field: &str, value: Value| {
        let empty = value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            filters.insert(field.into(), value);
        }
    };
    put("event_types", json!(arguments.types));
    put("severities", json!(arguments.severities));
    put("states", json!(arguments.states));
    put("sources", json!(arguments.sources));
    put("affected_resources", json!(arguments.resources));
    put("incident_ids", json!(arguments.incidents));
    if !arguments.labels.is_empty() {
        let labels = arguments.labels.iter().map(|(key, value)| (key.clone(), json!(value)));
        put("labels", labels.collect());
    }
    json!({ "type": "subscribe", "subscription_id": SUBSCRIPTION, "filters": filters })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn subscribe(line: &[&str]) -> Value {
        let words = ["tail"].iter().chain(line);
        subscribe_message(&Line::try_parse_from(words).expect("valid").arguments)
    }

    #[test]
    fn without_flags_everything_is_asked_for() {
        assert_eq!(subscribe(&[])["filters"], json!({}));
    }

    #[test]
    fn each_flag_is_a_field_of_the_filter() {
        let line = "--type escalated,incident_created --severity P0 --severity P1 --state Triaged \
                    --source api --resource db --label team=sre --label a=b=c \
                    --incident 018f0000-0000-7000-8000-000000000001";
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected = json!({
            "event_types": ["escalated", "incident_created"],
            "severities": ["P0", "P1"],
            "states": ["Triaged"],
            "sources": ["api"],
            "affected_resources": ["db"],
            "labels": {"team": "sre", "a": "b=c"},
            "incident_ids": ["018f0000-0000-7000-8000-000000000001"],
        });
        assert_eq!(subscribe(&words)["filters"], expected);
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in [["--label", "team"], ["--label", "=x"], ["--count", "0"], ["--incident", "7"]]
        {
            let words = ["tail"].iter().chain(&line);
            assert!(Line::try_parse_from(words).is_err(), "{line:?}");
        }
    }
}
