//! `alarmcast tail`: watches the stream, and comes back after every loss of the connection
//! that the server did not mean to be final.

mod filters;
mod link;
mod show;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::chance::{Backoff, Chance};
use super::stop::Stop;
use crate::base::clock::Clock;
use crate::base::logged::Logged;
use crate::protocol::Encoding;
use filters::Filters;
pub use filters::{names, parse_label};
use link::{Heard, Link, Lost};
use show::Printer;

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
    let filters = arguments.filters.to_json();
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

    #[test]
    fn what_the_flags_say_is_subscribed_to() {
        let line = Line::try_parse_from(["tail", "--severity", "P0"]).expect("valid");
        let expected = json!({
            "type": "subscribe", "subscription_id": "tail", "filters": {"severities": ["P0"]},
        });
        assert_eq!(subscribe_message(&line.arguments), expected);
    }

    #[test]
    fn a_count_of_zero_is_refused() {
        assert!(Line::try_parse_from(["tail", "--count", "0"]).is_err());
    }
}
