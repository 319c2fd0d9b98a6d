//! `alarmcast drain`: asks a running server for its orderly end, and may wait for it.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::Failure;
use super::http::{Api, DEFAULT_CONTROL, Reply};
use super::stop::Stop;

const DRAIN: &str = "/api/v1/drain";
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Looks that may fail one after the other while the server ends.
const FAILED_LOOKS_MAX: u32 = 20;

#[derive(Debug, Args)]
#[command(after_help = "The server is not ready from then on and refuses publishers and new \
                        clients. It delivers what it took, tells each client to leave at a \
                        moment of its own within the window, and ends.")]
pub struct Arguments {
    /// The control endpoint of the server
    #[arg(long, value_name = "URL", default_value = DEFAULT_CONTROL)]
    control: String,
    /// Over how long clients are told to leave [default: the server's `server.drain_window_secs`]
    #[arg(long, value_name = "SECONDS", value_parser = parse_window)]
    window: Option<u64>,
    /// Wait until the server has ended
    #[arg(long)]
    wait: bool,
}

/// What the server says of its drain.
#[derive(Debug, Deserialize)]
struct Progress {
    stage: String,
    connections: u64,
    sockets: u64,
    window_secs: u64,
    timeout_secs: u64,
}

fn parse_window(text: &str) -> Result<u64, String> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 0..=3_600) => Ok(seconds),
        _ => Err("a window is a number of whole seconds up to 3600, such as 30 or 30s".into()),
    }
}

/// # Errors
/// When no server answers, it refuses, or it does not end as it should.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let stop = Stop::on_interrupt();
    let api = Api::new(&arguments.control)?;
    let body = arguments.window.map_or_else(|| json!({}), |secs| json!({ "window_secs": secs }));
    let progress = read(&api.post(DRAIN, &body)?)?;
    let Progress { connections, window_secs, timeout_secs, .. } = progress;
    println!(
        "draining: {connections} connections are told to leave over {window_secs} s, and cut off \
         after {timeout_secs} s"
    );
    if arguments.wait { wait(&api, &stop) } else { Ok(()) }
}

/// Looks until nobody answers any more, or a server that has just started does.
fn wait(api: &Api, stop: &Stop) -> Result<(), Failure> {
    let (mut told, mut failed) = (None, 0);
    loop {
        if stop.wait(BETWEEN_LOOKS) {
            return Err(Failure::Interrupted);
        }
        match api.get(DRAIN) {
            Ok(None) => break,
            Ok(Some(reply)) => {
                let progress = read(&reply)?;
                if progress.stage == "serving" {
                    break;
                }
                let left = (progress.connections, progress.sockets);
                if told.replace(left) != Some(left) {
                    let (connections, sockets) = left;
                    eprintln!("{connections} connections to be told, {sockets} left");
                }
                failed = 0;
            }
            // It may have been cut off by the end.
            Err(_) if failed < FAILED_LOOKS_MAX => failed += 1,
            Err(failure) => return Err(failure),
        }
    }
    println!("the server has ended");
    Ok(())
}

fn read(reply: &Reply) -> Result<Progress, Failure> {
    if !matches!(reply.status, 200 | 202) {
        return Err(Failure::new(format!("the server refused: {}", reply.refusal())));
    }
    serde_json::from_slice(&reply.body)
        .map_err(|_| Failure::new(format!("the server cannot be drained: {}", reply.refusal())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_number_of_seconds() {
        assert_eq!((parse_window("30"), parse_window("0s")), (Ok(30), Ok(0)));
        for text in ["", "-1", "3601", "1.5", "1m"] {
            assert!(parse_window(text).is_err(), "{text}");
        }
    }
}
