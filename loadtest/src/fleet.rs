//! The parent's end of its workers.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::link::{Command, Plan, Progress, Report};
use crate::priority::ByPriority;
use crate::tally::Tally;
use crate::worker;

/// Longest that one worker takes to say goodbye and count up; more share the cores.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);
const FINISH_TIMEOUT_EACH: Duration = Duration::from_secs(5);

/// Worker processes. They end with this, in order or not.
#[derive(Debug)]
pub struct Fleet {
    workers: Vec<Worker>,
    reports: Receiver<(usize, Heard)>,
}

#[derive(Debug)]
struct Worker {
    process: Child,
    input: ChildStdin,
    progress: Progress,
    tally: Option<Tally>,
}

#[derive(Debug)]
enum Heard {
    Report(Report),
    /// The worker's output ended, or is not a worker's.
    Silence(String),
}

impl Fleet {
    /// Starts one worker process for each plan. `program` is the load tester itself.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(program: &Path, plans: Vec<Plan>) -> Result<Self, Error> {
        let (sender, reports) = channel();
        let mut fleet = Self { workers: Vec::new(), reports };
        for (index, plan) in plans.into_iter().enumerate() {
            let mut worker = Worker::start(program, index, sender.clone())?;
            worker.tell(index, &Command::Begin(Box::new(plan)))?;
            fleet.workers.push(worker);
        }
        Ok(fleet)
    }

    /// How far all are together, after listening to them for `wait`.
    ///
    /// # Errors
    /// When a worker ended unasked.
    pub fn listen(&mut self, wait: Duration) -> Result<Progress, Error> {
        let until = Instant::now() + wait;
        let left = || until.saturating_duration_since(Instant::now());
        while let Ok((index, heard)) = self.reports.recv_timeout(left()) {
            self.note(index, heard)?;
        }
        let mut sum = Progress::default();
        self.workers.iter().for_each(|worker| sum.merge(worker.progress));
        Ok(sum)
    }

    /// Tells all that the server may end connections now. They know once [`Self::listen`] tells
    /// so of each.
    ///
    /// # Errors
    /// When a worker is gone.
    pub fn expect_drain(&mut self) -> Result<(), Error> {
        self.tell_all(&Command::Drain)
    }

    /// Lets all count up, and adds up.
    ///
    /// # Errors
    /// When a worker cannot, or takes too long.
    pub fn finish(mut self, published: u32, by_priority: ByPriority<u64>) -> Result<Tally, Error> {
        self.tell_all(&Command::Finish { published, by_priority })?;
        let others = u32::try_from(self.workers.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let until = Instant::now() + FINISH_TIMEOUT + FINISH_TIMEOUT_EACH.saturating_mul(others);
        while let Some(index) = self.workers.iter().position(|worker| worker.tally.is_none()) {
            match self.reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((index, heard)) => self.note(index, heard)?,
                Err(_) => {
                    let why = "did not count up in time".to_owned();
                    return Err(Error::Worker { index, why });
                }
            }
        }
        let mut sum = Tally::default();
        for worker in &self.workers {
            sum.merge(worker.tally.as_ref().unwrap_or(&Tally::default()));
        }
        Ok(sum)
    }

    fn tell_all(&mut self, command: &Command) -> Result<(), Error> {
        let mut workers = self.workers.iter_mut().enumerate();
        workers.try_for_each(|(index, worker)| worker.tell(index, command))
    }

    fn note(&mut self, index: usize, heard: Heard) -> Result<(), Error> {
        let worker = &mut self.workers[index];
        match heard {
            Heard::Report(Report::Progress(progress)) => worker.progress = progress,
            Heard::Report(Report::Done(tally)) => worker.tally = Some(*tally),
            Heard::Report(Report::Broken { why }) => return Err(Error::Worker { index, why }),
            Heard::Silence(_) if worker.tally.is_some() => {}
            Heard::Silence(why) => return Err(Error::Worker { index, why }),
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            if worker.tally.is_none() {
                // Fails only when it has ended already.
                let _ = worker.process.kill();
            }
            let _ = worker.process.wait();
        }
    }
}

impl Worker {
    fn start(program: &Path, index: usize, sender: Sender<(usize, Heard)>) -> Result<Self, Error> {
        let mut process = Process::new(program)
            .arg(worker::ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::io(format!("cannot start {}", program.display())))?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            unreachable!("both were asked to be pipes");
        };
        thread::spawn(move || hear(index, output, &sender));
        Ok(Self { process, input, progress: Progress::default(), tally: None })
    }

    fn tell(&mut self, index: usize, command: &Command) -> Result<(), Error> {
        let line = serde_json::to_string(command)
            .map_err(|error| Error::Worker { index, why: error.to_string() })?;
        writeln!(self.input, "{line}").map_err(Error::io(format!("cannot tell worker {index}")))
    }
}

fn hear(index: usize, output: ChildStdout, sender: &Sender<(usize, Heard)>) {
    for line in BufReader::new(output).lines() {
        let heard = match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(report)) => Heard::Report(report),
            Ok(Err(error)) => Heard::Silence(format!("speaks in tongues: {error}")),
            Err(error) => Heard::Silence(error.to_string()),
        };
        // A fleet that is gone does not listen.
        if sender.send((index, heard)).is_err() {
            return;
        }
    }
    let _ = sender.send((index, Heard::Silence("ended unasked".to_owned())));
}
