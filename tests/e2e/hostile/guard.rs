//! What holds before, during and after every row: whoever was there and whoever comes is
//! served, memory is what it was, no socket is left, the log stays short.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Program, Raw, Server, events};

/// What the first use of anything takes, beside what a row says that it holds.
const PEAK_KIB: u64 = 2 * 1024;
/// Address space may grow by the heaps of new threads, and not by what a length claims.
const RESERVED_KIB: u64 = 512 * 1024;
/// The line of the orderly end is in it.
const LOG_BYTES: usize = 1_000;

/// A row of hostile input, with what it may cost the server that it is given.
#[derive(Debug)]
pub struct Row {
    command: Command,
    settings: Vec<&'static str>,
    peak_kib: u64,
    log_bytes: usize,
    secret: Option<&'static str>,
}

/// Memory of the server, in KiB.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Resident, at its highest.
    peak: u64,
    resident: u64,
    /// Address space, at its highest.
    reserved: u64,
}

impl Row {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With settings of the server.
    pub fn with(settings: &[&'static str]) -> Self {
        let settings = settings.to_vec();
        let command = Program::alarmcast_command();
        Self { command, settings, peak_kib: PEAK_KIB, log_bytes: LOG_BYTES, secret: None }
    }

    /// With the program started like this.
    pub fn command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// So many connections are held at the same time, at most 1 KiB each: what they claim to
    /// send is nowhere in it.
    pub fn connections(mut self, count: u64) -> Self {
        self.peak_kib += count;
        self
    }

    /// So many KiB of what the row sends are held at the same time.
    pub fn holds_kib(mut self, kib: u64) -> Self {
        self.peak_kib += kib;
        self
    }

    /// The log may have so many bytes.
    pub fn log_bytes(mut self, bytes: usize) -> Self {
        self.log_bytes = bytes;
        self
    }

    /// Neither the log nor a metric may show this.
    pub fn keeps_secret(mut self, secret: &'static str) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Starts a server, does `what` the row is about, and checks the rest.
    #[track_caller]
    pub fn run(self, what: impl FnOnce(&Server)) {
        let Self { command, settings, peak_kib, log_bytes, secret } = self;
        let mut server = Server::launched(command, "127.0.0.1:0", &settings);
        warm_up(&server);
        let bystander = Bystander::join(&server);
        server.await_metric("alarmcast_shard_sockets", 1.0);
        let log_before = server.program.stderr().len();
        forget_peak(&server);
        let before = memory(&server);

        what(&server);

        server.await_metric("alarmcast_shard_sockets", 1.0);
        assert_served(&server, &bystander);
        check_memory(peak_kib, before, memory(&server));
        let metrics = server.metrics();
        assert_eq!(metrics.sum("alarmcast_handler_panics_total"), 0.0);
        bystander.leave(&server);
        server.terminate();
        assert!(server.wait().success(), "not ended in order: {server:?}");
        let log = server.program.stderr().split_off(log_before);
        assert!(log.len() <= log_bytes, "{} bytes of log:\n{log}", log.len());
        if let Some(secret) = secret {
            assert!(!log.contains(secret), "in the log:\n{log}");
            assert!(!metrics.text.contains(secret), "in the metrics:\n{}", metrics.text);
        }
    }
}

#[track_caller]
fn check_memory(peak_kib: u64, before: Memory, after: Memory) {
    // What is kept after the row is less. The kernel's counts may lag by a few pages.
    let peak = after.peak.saturating_sub(before.resident);
    assert!(peak <= peak_kib, "{peak} KiB more at the peak: {before:?} {after:?}");
    let reserved = after.reserved - before.reserved;
    assert!(reserved <= RESERVED_KIB, "{reserved} KiB claimed: {before:?} {after:?}");
}

/// The processor time of `work` of size 4 is not far more than four times that of size 1.
///
/// `work` ends when the server has done it. Counted time of the server's threads, the least of
/// three, so that neither other processes nor waiting are in it.
#[track_caller]
pub fn assert_linear(server: &Server, mut work: impl FnMut(usize)) {
    assert_linear_after(server, |size| size, &mut work);
}

/// As [`assert_linear`], for work that follows on something which is not counted.
#[track_caller]
pub fn assert_linear_after<T>(
    server: &Server,
    mut prepare: impl FnMut(usize) -> T,
    mut work: impl FnMut(T),
) {
    /// Between linear, 4, and quadratic, 16.
    const RATIO_MAX: u32 = 8;
    let mut least = |size: usize| {
        let mut cost = || {
            let prepared = prepare(size);
            let before = processor_time(server);
            work(prepared);
            processor_time(server) - before
        };
        cost().min(cost()).min(cost())
    };
    let (small, large) = (least(1), least(4));
    // Less would be lost in what every connection costs.
    assert!(small > Duration::from_micros(200), "too little to be measured: {small:?}");
    assert!(large < small * RATIO_MAX, "four times the input: {small:?} became {large:?}");
}

/// Somebody who was there before and reads on, so that it answers pings as well.
#[derive(Debug)]
pub struct Bystander {
    seqs: Receiver<u64>,
    is_leaving: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

impl Bystander {
    #[track_caller]
    fn join(server: &Server) -> Self {
        let mut client = server.subscriber(&bystanders());
        client.wait_for_ever();
        let (sender, seqs) = bounded(64);
        let is_leaving = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_leaving);
        let reader = thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                let seq = client.expect_event()["seq"].as_u64().expect("a seq");
                if sender.send(seq).is_err() {
                    return;
                }
            }
            client.close();
        });
        Self { seqs, is_leaving, reader }
    }

    /// Its next event, which must be this one.
    #[track_caller]
    fn expect(&self, seq: u64) {
        assert_eq!(self.seqs.recv_timeout(DEADLINE), Ok(seq), "the bystander's");
    }

    #[track_caller]
    fn leave(self, server: &Server) {
        self.is_leaving.store(true, Ordering::SeqCst);
        // Else it would not look.
        publish_for_bystanders(server);
        self.reader.join().expect("the bystander is answered to the end");
    }
}

/// What the bystander listens to.
fn bystanders() -> Value {
    json!({"sources": ["bystanders"]})
}

#[track_caller]
fn publish_for_bystanders(server: &Server) -> u64 {
    let mut event = events::created(1, "P0");
    event["incident"]["source"] = json!("bystanders");
    server.publish(&event).seq
}

/// The bystander still gets its events, and a newcomer gets them as well.
#[track_caller]
fn assert_served(server: &Server, bystander: &Bystander) {
    let mut newcomer = server.subscriber(&bystanders());
    let seq = publish_for_bystanders(server);
    bystander.expect(seq);
    assert_eq!(newcomer.expect_event()["seq"], seq);
    newcomer.close();
}

/// Both shards and the control plane have done everything once.
#[track_caller]
fn warm_up(server: &Server) {
    let mut clients: Vec<_> = (0..16).map(|_| server.subscriber(&bystanders())).collect();
    let seq = publish_for_bystanders(server);
    for client in &mut clients {
        assert_eq!(client.expect_event()["seq"], seq);
        client.send_text("x".repeat(60_000).as_str());
        client.expect_error("INVALID_MESSAGE");
    }
    let mut refused = Raw::connect(server.stream_addr());
    refused.write(b"GET / HTTP/1.0\r\n\r\n");
    refused.read_to_end();
    clients.into_iter().for_each(Client::close);
}

/// Resident memory of the server now, in KiB.
#[track_caller]
pub fn resident_kib(server: &Server) -> u64 {
    memory(server).resident
}

#[track_caller]
fn memory(server: &Server) -> Memory {
    let path = format!("/proc/{}/status", server.program.id());
    let status = fs::read_to_string(path).expect("the server runs");
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = value.and_then(|value| value.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).unwrap_or_else(|| panic!("no {name} in {status}"))
    };
    Memory { peak: field("VmHWM:"), resident: field("VmRSS:"), reserved: field("VmPeak:") }
}

/// The peak is counted from here on (proc(5), `clear_refs`).
#[track_caller]
fn forget_peak(server: &Server) {
    let path = format!("/proc/{}/clear_refs", server.program.id());
    fs::write(path, "5").expect("the server runs");
}

/// Of all threads, to the nanosecond as the scheduler counts it.
#[track_caller]
pub fn processor_time(server: &Server) -> Duration {
    let path = format!("/proc/{}/task", server.program.id());
    let threads = fs::read_dir(path).expect("the server runs");
    let of_thread = |thread: fs::DirEntry| {
        let path = thread.path().join("schedstat");
        // One that has just ended counts no more.
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(threads.flatten().map(of_thread).sum())
}
