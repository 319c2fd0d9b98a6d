//! A crowd in a process of its own: commands come on standard input, reports go to standard
//! output.

use std::io::{self, BufRead, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::crowd::Crowd;
use crate::link::{Command, Report};
use crate::tally::Tally;

/// The argument that makes this program a worker.
pub const ARGUMENT: &str = "worker";

/// A worker's whole life; what goes wrong is reported like everything else.
pub fn run() {
    match run_crowd() {
        Ok(tally) => say(&Report::Done(Box::new(tally))),
        Err(why) => say(&Report::Broken { why }),
    }
}

fn run_crowd() -> Result<Tally, String> {
    let Some(Ok(line)) = io::stdin().lock().lines().next() else {
        return Err("no plan on standard input".to_owned());
    };
    let Ok(Command::Begin(plan)) = serde_json::from_str(&line) else {
        return Err("the first line on standard input is not a plan".to_owned());
    };
    let crowd = Crowd::new(*plan).map_err(|error| error.to_string())?;
    let (sender, commands) = channel();
    let waker = crowd.waker();
    thread::spawn(move || {
        forward_commands(&sender);
        // Dropped before waking: a parent that is gone ends the crowd.
        drop(sender);
        waker.wake()
    });
    run_until_told(crowd, &commands)
}

fn run_until_told(crowd: Crowd, commands: &Receiver<Command>) -> Result<Tally, String> {
    crowd.run(commands, |report| say(&report)).map_err(|error| error.to_string())
}

/// Until the parent has said the last word, or is gone.
fn forward_commands(sender: &Sender<Command>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let Ok(command) = serde_json::from_str(&line) else { return };
        let is_last = matches!(command, Command::Finish { .. });
        if sender.send(command).is_err() || is_last {
            return;
        }
    }
}

/// A parent that does not listen any more has closed standard input too: nothing to do here.
fn say(report: &Report) {
    let Ok(mut line) = serde_json::to_vec(report) else { return };
    line.push(b'\n');
    let mut output = io::stdout().lock();
    let _ = output.write_all(&line).and_then(|()| output.flush());
}
