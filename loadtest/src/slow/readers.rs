//! The subscribers' threads, and how far they are.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Error;
use crate::slow::audit::Probe;
use crate::slow::heard::{Counts, Entry, Heard, Log};
use crate::slow::kernel::queued;
use crate::slow::reader::{Reader, Taken};
use crate::target::Target;
use crate::wire::upgrade::JSON_SUBPROTOCOL;

/// How far one subscriber is, as its thread tells the others.
#[derive(Debug, Default)]
struct Progress {
    accounted: AtomicU64,
    is_told_to_end: AtomicBool,
    failure: Mutex<Option<String>>,
    changed: Condvar,
}

impl Progress {
    fn note(&self, accounted: u64) {
        // Under the lock, so that who waits does not miss it.
        let _failure = lock(&self.failure);
        self.accounted.store(accounted, Ordering::Release);
        self.changed.notify_all();
    }

    fn fail(&self, why: String) {
        *lock(&self.failure) = Some(why);
        self.changed.notify_all();
    }

    fn accounted(&self) -> u64 {
        self.accounted.load(Ordering::Acquire)
    }

    /// Waits until so many events are accounted for.
    ///
    /// # Errors
    /// When the subscriber broke, or nothing came for `quiet`.
    fn wait_for(&self, events: u64, quiet: Duration) -> Result<(), String> {
        let mut failure = lock(&self.failure);
        let mut last = (self.accounted(), Instant::now());
        while self.accounted() < events {
            if let Some(why) = &*failure {
                return Err(why.clone());
            }
            if self.accounted() != last.0 {
                last = (self.accounted(), Instant::now());
            }
            if last.1.elapsed() >= quiet {
                return Err(format!("{} of {events} events came or were told as lost", last.0));
            }
            let waited = self.changed.wait_timeout(failure, quiet);
            failure = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A subscriber that reads whatever comes.
pub struct Fast {
    progress: Arc<Progress>,
    thread: JoinHandle<Counts>,
}

impl Fast {
    /// # Errors
    /// When it cannot subscribe.
    pub fn start(target: &Target) -> Result<Self, Error> {
        let mut reader = Reader::open(target, Some(JSON_SUBPROTOCOL), None, Counts::default())?;
        let progress = Arc::<Progress>::default();
        let thread = spawn("fast", {
            let progress = Arc::clone(&progress);
            move || {
                while !progress.is_told_to_end.load(Ordering::Acquire) {
                    if !step(&mut reader, &progress) {
                        break;
                    }
                }
                reader.heard
            }
        })?;
        Ok(Self { progress, thread })
    }

    /// Waits until so many events came.
    ///
    /// # Errors
    /// When they do not.
    pub fn wait_for(&self, events: u64, quiet: Duration) -> Result<(), Error> {
        let told = self.progress.wait_for(events, quiet);
        told.map_err(|why| Error::Usage(format!("a fast subscriber: {why}")))
    }

    pub fn accounted(&self) -> u64 {
        self.progress.accounted()
    }

    pub fn finish(self) -> Counts {
        self.progress.is_told_to_end.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }
}

/// Takes what comes; false when nothing more will.
fn step<H: Heard>(reader: &mut Reader<H>, progress: &Progress) -> bool {
    match reader.take(usize::MAX) {
        Ok(Taken::Something) => progress.note(reader.heard.accounted()),
        Ok(Taken::Nothing) => {}
        Ok(Taken::Ended) => progress.fail("ended by the server".to_owned()),
        Err(error) => progress.fail(error.to_string()),
    }
    lock(&progress.failure).is_none()
}

/// A subscriber that reads at a rate, until it is told to hurry.
pub struct Slow {
    progress: Arc<Progress>,
    is_in_a_hurry: Arc<AtomicBool>,
    reader: Arc<Mutex<Reader<Log>>>,
    client: SocketAddr,
    server: SocketAddr,
    thread: JoinHandle<()>,
    probes: Vec<Probe>,
}

/// How slow.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub bytes_per_second: u64,
    /// SO_RCVBUF.
    pub receive_buffer_bytes: usize,
}

impl Slow {
    /// # Errors
    /// When it cannot subscribe.
    pub fn start(target: &Target, pace: Pace) -> Result<Self, Error> {
        let buffer_bytes = Some(pace.receive_buffer_bytes);
        let reader = Reader::open(target, Some(JSON_SUBPROTOCOL), buffer_bytes, Log::default())?;
        let client = reader.local_addr().map_err(Error::io("no local address"))?;
        let reader = Arc::new(Mutex::new(reader));
        let progress = Arc::<Progress>::default();
        let is_in_a_hurry = Arc::<AtomicBool>::default();
        let thread = spawn("slow", {
            let (progress, reader) = (Arc::clone(&progress), Arc::clone(&reader));
            let is_in_a_hurry = Arc::clone(&is_in_a_hurry);
            move || read_slowly(&reader, &progress, &is_in_a_hurry, pace)
        })?;
        let probes = Vec::new();
        let server = target.addr;
        Ok(Self { progress, is_in_a_hurry, reader, client, server, thread, probes })
    }

    /// Notes what stands before the critical event that was just published. The reader
    /// stands still meanwhile.
    pub fn probe(&mut self, seq: u64) {
        let reader = lock(&self.reader);
        if let Some(queued) = queued(self.server, self.client) {
            let read = reader.received();
            let (received, sending) = (queued.received, queued.sending);
            self.probes.push(Probe { seq, read, received, sending });
        }
    }

    /// Bytes read so far.
    pub fn received(&self) -> u64 {
        lock(&self.reader).received()
    }

    /// Reads as fast as it can until so many events are accounted for; gives everything it
    /// heard, and why it ended early.
    pub fn finish(self, events: u64, quiet: Duration) -> (Vec<Entry>, Vec<Probe>, Option<String>) {
        self.is_in_a_hurry.store(true, Ordering::Release);
        let failure = self.progress.wait_for(events, quiet).err();
        self.progress.is_told_to_end.store(true, Ordering::Release);
        let panic = self.thread.join().err().map(|_| "the reader's thread panicked".to_owned());
        let entries = std::mem::take(&mut lock(&self.reader).heard.entries);
        (entries, self.probes, failure.or(panic))
    }
}

fn read_slowly(reader: &Mutex<Reader<Log>>, progress: &Progress, hurry: &AtomicBool, pace: Pace) {
    const PAUSE: Duration = Duration::from_millis(100);
    /// Else what waits would take long to come through so small a window.
    const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;
    let started = Instant::now();
    let mut taken = 0;
    while !hurry.load(Ordering::Acquire) {
        let allowed = (started.elapsed().as_secs_f64() * pace.bytes_per_second as f64) as u64;
        let mut reader = lock(reader);
        let before = reader.received();
        let bytes_max = usize::try_from(allowed.saturating_sub(taken)).unwrap_or(usize::MAX);
        let result =
            if bytes_max == 0 { Ok(Taken::Nothing) } else { reader.take_at_once(bytes_max) };
        taken += reader.received() - before;
        let accounted = reader.heard.accounted();
        drop(reader);
        match result {
            Ok(Taken::Something | Taken::Nothing) => progress.note(accounted),
            Ok(Taken::Ended) => return progress.fail("ended by the server".to_owned()),
            Err(error) => return progress.fail(error.to_string()),
        }
        thread::sleep(PAUSE);
    }
    if let Err(error) = lock(reader).enlarge_receive_buffer(RECEIVE_BUFFER_BYTES) {
        return progress.fail(error.to_string());
    }
    while !progress.is_told_to_end.load(Ordering::Acquire) {
        if !step(&mut lock(reader), progress) {
            return;
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(Error::io("cannot start a thread"))
}
