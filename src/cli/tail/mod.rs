//! `alarmcast tail`: watches the stream, and comes back after every loss of the connection
//! that the server did not mean to be final.

mod filters;
mod link;
mod options;
mod place;
mod show;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Failure;
use super::chance::{Backoff, Chance};
use super::stop::Stop;
use crate::base::clock::Clock;
use crate::base::logged::Logged;
use crate::protocol::Encoding;
pub use filters::{Filters, names, parse_label};
use link::{Heard, Link, Lost};
use options::Options;
use place::Place;
pub use show::Printer;

/// Of `--url`.
pub const DEFAULT_URL: &str = "ws://127.0.0.1:8080/ws";
const SUBSCRIPTION: &str = "tail";

#[derive(Debug, Args)]
#[command(after_help = "Values of one flag, and of one label, are alternatives; different flags \
                        must all match; without any, everything is shown.\n\n\
                        Sources, resources and values of labels that contain `*`, `?` or `[` are \
                        patterns of the whole value: `*` is anything, `?` one character, [a-z] \
                        one of these. For anything else there is --filter, as in \
                        --filter '{\"none_of\": [{\"sources\": [{\"regex\": \"^test\"}]}]}'.")]
pub struct Arguments {
    /// The WebSocket endpoint of the server
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    url: String,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    options: Options,
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

/// # Errors
/// When there is no server at first, when it refuses the filters, or when it says that coming
/// back is of no use.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let stop = Stop::on_interrupt();
    let mut tail = Tail {
        subscribe: subscribe_message(arguments),
        printer: Printer::new(arguments.json || !stdout().is_terminal()),
        remaining: arguments.count,
        place: Place::default(),
        newest: 0,
        epoch: String::new(),
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
    place: Place,
    /// The stream's newest event when the connection was opened.
    newest: u64,
    /// The stream's identity then.
    epoch: String,
    clock: Clock,
    stop: Stop,
}

impl Tail {
    fn will_return(&self, why: &str, pause: Duration) -> Duration {
        status(&format!("{why}; next attempt in {:.1} s", pause.as_secs_f64()));
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
                let subscribe = self.welcome(link, message);
                return Ok(link.send(&subscribe));
            }
            Some("subscribed") => self.subscribed(message),
            Some("event") => self.event(text, message)?,
            Some("batch") => {
                let Ok(batch) = serde_json::from_str::<Batch<'_>>(text) else { return Ok(None) };
                let messages = message["events"].as_array().into_iter().flatten();
                for (text, message) in batch.events.into_iter().zip(messages) {
                    self.event(text.get(), message)?;
                }
            }
            Some("collapsed") => status(&collapsed(message)),
            Some("dropped") if message["reason"] == "conflated" => {
                let count = message["counts"].as_object().into_iter().flatten();
                let count: u64 = count.filter_map(|(_, count)| count.as_u64()).sum();
                status(&format!("{count} updates made way for newer ones"));
            }
            Some("checkpoint" | "caught_up") => {
                message["seq"].as_u64().into_iter().for_each(|seq| self.place.reached(seq));
            }
            Some("dropped") => status(&format!("events were lost on the way: {}", Logged(text))),
            Some("closing") => {
                let after = message["resume"]["after"].as_u64();
                after.into_iter().for_each(|seq| self.place.reached(seq));
                link.announce_close(message);
            }
            Some("error") => {
                let refused = format!(
                    "the server refused: {}: {}",
                    Logged(message["code"].as_str().unwrap_or("?")),
                    Logged(message["message"].as_str().unwrap_or("?")),
                );
                // The only thing that was asked is the subscription.
                return Ok(Some(match message["retry_after_ms"].as_u64() {
                    None => Lost::Final(refused),
                    after => Lost::Again { why: refused, after: after.map(Duration::from_millis) },
                }));
            }
            _ => {}
        }
        Ok(None)
    }

    fn event(&mut self, text: &str, message: &Value) -> Result<(), Failure> {
        let seq = message["seq"].as_u64();
        if self.remaining != Some(0) && seq.is_none_or(|seq| self.place.is_new(seq)) {
            self.printer.event(text, message)?;
            self.remaining = self.remaining.map(|count| count - 1);
        }
        Ok(())
    }

    /// What to answer a welcome with: who was here before goes on where it was.
    fn welcome(&mut self, link: &mut Link, message: &Value) -> Value {
        link.expect_heartbeats(message["heartbeat_interval_secs"].as_u64());
        self.newest = message["seq"].as_u64().unwrap_or_default();
        let mut subscribe = self.subscribe.clone();
        match self.place.resume() {
            Some(resume) => subscribe["resume"] = resume,
            None => {
                let epoch = message["epoch"].as_str().unwrap_or_default();
                self.place.begin(epoch, self.newest);
            }
        }
        self.epoch = message["epoch"].as_str().unwrap_or_default().to_owned();
        subscribe
    }

    fn subscribed(&mut self, message: &Value) {
        let (reason, newest) = (message["reason"].as_str(), self.newest);
        let next = self.place.position() + 1;
        match (message["resumed"].as_bool(), reason) {
            (Some(true), _) if next > newest => status("connected again; nothing was missed"),
            (Some(true), _) => status("connected again; what was missed follows"),
            (Some(false), Some("history_expired")) => {
                status(&format!("connected again; events {next} to {newest} went by unseen"));
            }
            (Some(false), _) => {
                status("connected again; the server began a new stream meanwhile");
            }
            (None, _) => {}
        }
        status("watching; Ctrl-C ends");
        if message["resumed"] == false {
            self.place.begin(&self.epoch, newest);
        }
    }
}

/// A `batch` message; each event as it is written.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// What a `collapsed` message says.
fn collapsed(message: &Value) -> String {
    let text = |name: &str| Logged(message[name].as_str().unwrap_or("?")).to_string();
    let number = |name: &str| message[name].as_u64().unwrap_or_default();
    format!(
        "{} more {} of {} from #{} to #{}, not shown",
        number("count"),
        text("event_type"),
        text("fingerprint"),
        number("first_seq"),
        number("last_seq"),
    )
}

fn status(text: &str) {
    eprintln!("alarmcast tail: {text}");
}

fn subscribe_message(arguments: &Arguments) -> Value {
    let filters = arguments.filters.to_json();
    let mut subscribe = json!({
        "type": "subscribe", "subscription_id": SUBSCRIPTION, "filters": filters,
        "checkpoints": true,
    });
    arguments.options.put_into(&mut subscribe);
    subscribe
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

    #[test]
    fn what_the_flags_say_is_subscribed_to() {
        let line = Line::try_parse_from(["tail", "--severity", "P0"]).expect("valid");
        let expected = json!({
            "type": "subscribe", "subscription_id": "tail", "filters": {"severities": ["P0"]},
            "checkpoints": true,
        });
        assert_eq!(subscribe_message(&line.arguments), expected);
    }

    #[test]
    fn options_are_asked_for_and_what_was_collapsed_is_told() {
        let line = ["tail", "--batch", "50/200ms", "--conflate", "--collapse", "5/10s"];
        let subscribe = subscribe_message(&Line::try_parse_from(line).expect("valid").arguments);
        assert_eq!(subscribe["batch"], json!({"max_events": 50, "max_delay_ms": 200}));
        assert_eq!(subscribe["conflate"], true);
        assert_eq!(subscribe["collapse"], json!({"window_ms": 10_000, "after": 5}));
        let message = json!({
            "type": "collapsed", "event_type": "alert_received", "fingerprint": "db\u{1b}/Full",
            "count": 7, "first_seq": 3, "last_seq": 12,
        });
        let expected = "7 more alert_received of db\\u{1b}/Full from #3 to #12, not shown";
        assert_eq!(collapsed(&message), expected);
    }

    #[test]
    fn a_count_of_zero_is_refused() {
        assert!(Line::try_parse_from(["tail", "--count", "0"]).is_err());
    }
}
