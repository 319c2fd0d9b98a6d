//! A way to the server on which everything goes wrong that can, by a seed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use alarmcast::base::clock::{Clock, Instant};
use socket2::{Domain, SockRef, Socket, Type};

use crate::resuming::Random;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both sides are reset; what is under way is lost.
    Reset,
    /// The client hears the end, the server only when the client leaves.
    ToClient,
    /// The server hears the end, and may go on sending.
    ToServer,
    /// Both hear the end.
    Both,
}

impl Cut {
    pub const ALL: [Self; 4] = [Self::Reset, Self::ToClient, Self::ToServer, Self::Both];
}

/// What is to become of a connection.
#[derive(Debug)]
struct Fate {
    cut: Cut,
    /// Bytes to the client after which it is cut, in the midst of whatever that is.
    after_bytes: usize,
    /// In any case after so long.
    after: Duration,
    /// Bytes passed on at once, at most.
    chunk_bytes: usize,
    /// Chances in a hundred that a chunk has to wait, and for how long.
    delays: (usize, Duration),
    /// Nothing is taken from the server for so long, from this byte on.
    stall: Option<(usize, Duration)>,
    /// Receive buffer towards the server: what waits, waits there.
    buffer_bytes: Option<usize>,
}

#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    is_cut: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    seed: u64,
    is_rough: AtomicBool,
    is_over: AtomicBool,
    /// By [`Cut::ALL`].
    cuts: [AtomicU64; 4],
    stalls: AtomicU64,
}

#[derive(Debug)]
pub struct Proxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

/// Between looks at whether it is over.
const TICK: Duration = Duration::from_millis(20);

impl Proxy {
    pub fn start(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            server,
            seed,
            is_rough: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
            cuts: Default::default(),
            stalls: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(client, number as u64));
            }
        });
        Self { addr, shared }
    }

    /// From now on nothing goes wrong, after one last cut of all that is open.
    pub fn behave(&self) {
        self.shared.is_rough.store(false, Ordering::Relaxed);
    }

    /// Cuts so far, by [`Cut::ALL`], and stalls.
    pub fn counts(&self) -> ([u64; 4], u64) {
        let Shared { cuts, stalls, .. } = &*self.shared;
        (cuts.each_ref().map(|cut| cut.load(Ordering::Relaxed)), stalls.load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Ends the wait for a connection.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Fate {
    fn any(random: &mut Random) -> Self {
        let millis = |millis: usize| Duration::from_millis(millis as u64);
        let is_slow = random.chance(25);
        Self {
            cut: random.pick(&Cut::ALL),
            after_bytes: 1 << random.below(20),
            after: millis(200 + random.below(2_500)),
            chunk_bytes: random.pick(&[7, 100, 1_460, 16_384, 16_384]),
            delays: (random.pick(&[0, 0, 5, 30]), millis(1 + random.below(20))),
            stall: random.chance(30).then(|| (random.below(20_000), millis(random.below(1_500)))),
            buffer_bytes: is_slow.then_some(4_096),
        }
    }
}

impl Shared {
    fn serve(&self, client: TcpStream, number: u64) {
        let is_rough = self.is_rough.load(Ordering::Relaxed);
        let mut random = Random::new(self.seed.wrapping_mul(0x9E37_79B9).wrapping_add(number));
        let fate = is_rough.then(|| Fate::any(&mut random));
        let buffer_bytes = fate.as_ref().and_then(|fate| fate.buffer_bytes);
        let Some(server) = connect(self.server, buffer_bytes) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket option");
            stream.set_read_timeout(Some(TICK)).expect("a socket option");
            stream.set_write_timeout(Some(TICK)).expect("a socket option");
        }
        let link = Link { client, server, is_cut: AtomicBool::new(false) };
        thread::scope(|scope| {
            scope.spawn(|| self.pump(&link.client, &link.server, &link.is_cut, None));
            let cut = self.pump(&link.server, &link.client, &link.is_cut, fate.as_ref());
            if let Some(cut) = cut {
                self.cuts[cut as usize].fetch_add(1, Ordering::Relaxed);
                link.cut(cut);
                if matches!(cut, Cut::ToClient | Cut::ToServer) {
                    link.await_client();
                }
            }
            link.is_cut.store(true, Ordering::Relaxed);
        });
    }

    /// Passes on what comes until either side ends or it is time for the cut, which is given.
    fn pump(
        &self,
        mut from: &TcpStream,
        mut to: &TcpStream,
        is_cut: &AtomicBool,
        fate: Option<&Fate>,
    ) -> Option<Cut> {
        let begun = Clock::System.now();
        let mut random = Random::new(from.peer_addr().map_or(0, |addr| u64::from(addr.port())));
        let mut buffer = [0; 16_384];
        let (mut passed, mut is_stalled) = (0, false);
        while !is_cut.load(Ordering::Relaxed) && !self.is_over.load(Ordering::Relaxed) {
            let length = fate.map_or(buffer.len(), |fate| fate.chunk_bytes);
            if let Some(fate) = fate {
                if passed >= fate.after_bytes || self.is_time(fate, begun) {
                    return Some(fate.cut);
                }
                if let Some((_, long)) = fate.stall.filter(|stall| !is_stalled && passed >= stall.0)
                {
                    is_stalled = true;
                    self.stalls.fetch_add(1, Ordering::Relaxed);
                    wait(long);
                }
                if random.chance(fate.delays.0) {
                    wait(fate.delays.1);
                }
            }
            let left = fate.map_or(usize::MAX, |fate| fate.after_bytes - passed);
            match from.read(&mut buffer[..length.min(left)]) {
                Ok(0) => break,
                Ok(count) => {
                    if !write_all(&mut to, &buffer[..count], is_cut) {
                        break;
                    }
                    passed += count;
                }
                Err(error) if is_timeout(error.kind()) => {}
                Err(_) => break,
            }
        }
        // Who is to be reset hears no end before that.
        if !is_cut.load(Ordering::Relaxed) {
            let _ = to.shutdown(Shutdown::Write);
        }
        None
    }

    /// One that began while things went wrong is cut when they stop to.
    fn is_time(&self, fate: &Fate, begun: Instant) -> bool {
        Clock::System.now().since(begun) >= fate.after || !self.is_rough.load(Ordering::Relaxed)
    }
}

impl Link {
    fn cut(&self, cut: Cut) {
        match cut {
            Cut::Reset => {
                // With the last descriptor of each, which is this link's.
                for stream in [&self.client, &self.server] {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                }
            }
            Cut::ToClient => drop(self.client.shutdown(Shutdown::Write)),
            Cut::ToServer => drop(self.server.shutdown(Shutdown::Write)),
            Cut::Both => {
                for stream in [&self.client, &self.server] {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        }
    }

    /// Half an end is no end: the other half comes from the one who heard it, or not at all.
    fn await_client(&self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        let begun = Clock::System.now();
        let mut buffer = [0; 16_384];
        let _ = self.server.set_read_timeout(Some(TICK));
        while Clock::System.now().since(begun) < PATIENCE {
            match (&self.server).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if (&self.client).write_all(&buffer[..count]).is_err() => break,
                Ok(_) => {}
                Err(error) if is_timeout(error.kind()) => {}
                Err(_) => break,
            }
        }
    }
}

fn connect(server: SocketAddr, buffer_bytes: Option<usize>) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    if let Some(bytes) = buffer_bytes {
        socket.set_recv_buffer_size(bytes).ok()?;
    }
    socket.connect(&server.into()).ok()?;
    Some(socket.into())
}

fn write_all(to: &mut &TcpStream, mut bytes: &[u8], is_cut: &AtomicBool) -> bool {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_timeout(error.kind()) && !is_cut.load(Ordering::Relaxed) => {}
            Err(_) => return false,
        }
    }
    true
}

pub fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Lets time pass: that is what is tested.
pub fn wait(long: Duration) {
    thread::park_timeout(long);
}
