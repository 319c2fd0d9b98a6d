//! `alarmcast publish`: events from a file, stdin or flags to the HTTP API.

mod compose;
mod items;

use std::fs::File;
use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::http::{Api, DEFAULT_CONTROL, ItemResult};
use super::stop::Stop;
use crate::base::limits::PUBLISHED_EVENT_BYTES_MAX;
use crate::base::logged::Logged;
use items::{Item, Items};

/// One request carries so many events and bytes, far below what the server takes.
const CHUNK_EVENTS: usize = 1_000;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(
    subcommand_help_heading = "One event by flags",
    after_help = "Examples:\n  \
        alarmcast publish incident --severity P0 --title \"Checkout is down\"\n  \
        alarmcast publish events.ndjson\n  \
        producer | alarmcast publish -"
)]
pub struct Arguments {
    #[command(subcommand)]
    compose: Option<compose::Event>,
    /// One event, a JSON array of events, or one event a line; `-` or nothing is stdin
    file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// The control endpoint of the server
    #[arg(long, value_name = "URL", default_value = DEFAULT_CONTROL, global = true)]
    control: String,
    /// How often to try again when the server says that it is full
    #[arg(long, value_name = "N", default_value_t = 5, global = true)]
    retries: u32,
}

/// # Errors
/// When no server answers, the input cannot be read, or any event was refused.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let (Some(_), Some(file)) = (&arguments.compose, &arguments.file) {
        let message = format!("either a file ({}) or one event by flags", file.display());
        return Err(Failure::new(message));
    }
    let api = Api::new(&arguments.target.control)?;
    let mut publisher = Publisher::new(api, arguments.target.retries);
    match (&arguments.compose, &arguments.file) {
        (Some(_), Some(path)) => {
            let path = path.display();
            return Err(Failure::new(format!("either {path} or one event by flags, not both")));
        }
        (Some(event), None) => {
            let mut bytes = event.to_json().to_string().into_bytes();
            bytes.push(b'\n');
            publisher.add(Item { bytes, line: 1 })?;
        }
        (None, Some(path)) if path != Path::new("-") => {
            let file = File::open(path).map_err(|error| {
                Failure::new(format!("cannot read {}: {error}", path.display()))
            })?;
            publisher.add_all(file)?;
        }
        (None, _) => {
            if stdin().is_terminal() {
                eprintln!("reading events from the terminal, one a line; end with Ctrl-D");
            }
            publisher.add_all(stdin())?;
        }
    }
    publisher.finish()
}

/// Collects events into requests and tells what became of each.
struct Publisher {
    api: Api,
    retries: u32,
    stop: Stop,
    chunk: Vec<u8>,
    /// The line of each event in the chunk.
    lines: Vec<usize>,
    published: usize,
    failed: usize,
    human: bool,
}

impl Publisher {
    fn new(api: Api, retries: u32) -> Self {
        Self {
            api,
            retries,
            // Ctrl-C kills, as a reader of stdin should be.
            stop: Stop::default(),
            chunk: Vec::new(),
            lines: Vec::new(),
            published: 0,
            failed: 0,
            human: stdout().is_terminal(),
        }
    }

    fn add_all(&mut self, reader: impl Read) -> Result<(), Failure> {
        let mut items = Items::new(reader, PUBLISHED_EVENT_BYTES_MAX);
        while let Some(item) = items.next_item()? {
            self.add(item)?;
            // A slow producer's events are not held back for company.
            if !items.has_buffered_item() {
                self.send()?;
            }
        }
        Ok(())
    }

    fn add(&mut self, item: Item) -> Result<(), Failure> {
        self.chunk.extend_from_slice(&item.bytes);
        if !self.chunk.ends_with(b"\n") {
            self.chunk.push(b'\n');
        }
        self.lines.push(item.line);
        if self.lines.len() >= CHUNK_EVENTS || self.chunk.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let (results, _) = self.api.publish_patiently(&self.chunk, self.retries, &self.stop)?;
        let before = self.published + self.failed;
        for result in results {
            self.tell(before, result)?;
        }
        stdout().flush()?;
        self.chunk.clear();
        self.lines.clear();
        Ok(())
    }

    fn tell(&mut self, before: usize, mut result: ItemResult) -> Result<(), Failure> {
        let line = self.lines.get(result.index).copied().unwrap_or_default();
        result.index += before;
        if let Some(error) = &result.error {
            self.failed += 1;
            let at =
                if error.path.is_empty() { String::new() } else { format!(" at {}", error.path) };
            let (code, message) = (Logged(&error.code), Logged(&error.message));
            eprintln!("line {line}: {code}{}: {message}", Logged(&at));
            return Ok(());
        }
        self.published += 1;
        let mut out = stdout().lock();
        if self.human {
            let seq = result.seq.map_or_else(|| "?".into(), |seq| seq.to_string());
            let id = result.message_id.as_deref().unwrap_or("?");
            let note = if result.duplicate { " (published before)" } else { "" };
            writeln!(out, "seq {seq}  message_id {}{note}", Logged(id))?;
        } else {
            let text = serde_json::to_string(&result).map_err(|e| Failure::new(e.to_string()))?;
            writeln!(out, "{text}")?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.send()?;
        match (self.published, self.failed) {
            (0, 0) => Err(Failure::new("there was no event in the input")),
            (_, 0) => Ok(()),
            (published, failed) => {
                eprintln!("{failed} of {} events were refused", published + failed);
                Err(Failure::Reported)
            }
        }
    }
}
