//! `alarmcast replay`: prints events of the past, at once or at their own pace.

mod history;
mod times;

use std::io::{IsTerminal, stdout};

use clap::Args;
use jiff::Timestamp;

use super::Failure;
use super::http::{Api, DEFAULT_CONTROL};
use super::stop::Stop;
use super::tail::{Filters, Printer};
use crate::base::clock::Clock;
use history::{Event, History, Read, Start};
use times::{Moment, Pace, Speed};

#[derive(Debug, Args)]
#[command(after_help = "Prints what the server holds now of the events that match, and ends. \
                        Where that begins later than was asked for, it says so, prints what \
                        there is, and ends with status 1. The filters are those of `tail`.")]
pub struct Arguments {
    /// The control endpoint of the server
    #[arg(long, value_name = "URL", default_value = DEFAULT_CONTROL)]
    control: String,
    /// From this moment on (RFC 3339), or so long ago, such as 90s, 15m, 2h or 1d
    #[arg(long, value_name = "MOMENT", conflicts_with = "after")]
    since: Option<Moment>,
    /// From the event after this seq on
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Up to this moment, or so long ago
    #[arg(long, value_name = "MOMENT")]
    until: Option<Moment>,
    /// With the original pauses, this much shorter, such as 1x or 10x [default: no pauses]
    #[arg(long, value_name = "SPEED")]
    speed: Option<Speed>,
    #[command(flatten)]
    filters: Filters,
    /// Print each event message as a line of JSON, as is done when stdout is not a terminal
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When no server answers, it does not hold all that was asked for, or stdout cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (stop, clock) = (Stop::on_interrupt(), Clock::System);
    let now = clock.wall();
    let api = Api::new(&arguments.control)?;
    let history = History::open(&api, &arguments.filters.to_json())?;
    let mut replay = Replay {
        end: history.newest_seq(),
        history,
        printer: Printer::new(arguments.json || !stdout().is_terminal()),
        until: arguments.until.map(|until| until.before(now)),
        pace: arguments.speed.map(Pace::new),
        clock,
        stop,
        is_whole: true,
    };
    let start = match (arguments.after, arguments.since) {
        (Some(seq), _) => Start::After(seq),
        (None, Some(since)) => Start::Since(since.before(now)),
        (None, None) => Start::Oldest,
    };
    replay.run(start)?;
    if replay.is_whole { Ok(()) } else { Err(Failure::Reported) }
}

struct Replay<'a> {
    history: History<'a>,
    printer: Printer,
    /// The newest event when it began: what comes later is for `tail`.
    end: u64,
    until: Option<Timestamp>,
    pace: Option<Pace>,
    clock: Clock,
    stop: Stop,
    /// Nothing that was asked for was missing.
    is_whole: bool,
}

impl Replay<'_> {
    fn run(&mut self, start: Start) -> Result<(), Failure> {
        let mut next = Some(start);
        while let Some(start) = next {
            next = match self.history.read(start)? {
                Read::Page { events, next } => {
                    let is_over = self.print(&events)?;
                    next.filter(|_| !is_over)
                }
                Read::Missing { what, next } => {
                    self.is_whole = false;
                    eprintln!("alarmcast replay: {what}");
                    Some(next)
                }
            };
        }
        Ok(())
    }

    /// Prints events, each when it is due; true when the end was among them.
    fn print(&mut self, events: &[Event]) -> Result<bool, Failure> {
        for event in events {
            let is_late = self.until.is_some_and(|until| event.timestamp > until);
            if event.seq > self.end || is_late {
                return Ok(true);
            }
            let now = self.clock.now();
            let pause = self.pace.as_mut().map(|pace| pace.pause(event.timestamp, now));
            if pause.map_or_else(|| self.stop.is_set(), |pause| self.stop.wait(pause)) {
                return Err(Failure::Interrupted);
            }
            self.printer.event(event.text.get(), &event.message)?;
        }
        Ok(false)
    }
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
    fn a_start_is_named_once_and_filters_are_those_of_tail() {
        let parse = |words: &[&str]| Line::try_parse_from(["replay"].iter().chain(words));
        assert!(parse(&["--since", "1h", "--after", "7"]).is_err());
        assert!(parse(&["--speed", "fast"]).is_err());
        let line = parse(&["--after", "7", "--speed", "10x", "--severity", "P0"]).expect("valid");
        let expected = serde_json::json!({"severities": ["P0"]});
        assert_eq!(line.arguments.filters.to_json(), expected);
        assert_eq!(line.arguments.after, Some(7));
    }
}
