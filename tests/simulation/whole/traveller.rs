//! A client that goes away and comes back.

use alarmcast::io::sim::SimClient;

use crate::client::{Client, Received, request};
use crate::resuming::{Interest, Random, Reader, Start, Tamper};

pub struct Traveller {
    pub reader: Reader,
    tamper: Tamper,
    link: Option<Client>,
    /// Frames that were looked at.
    taken: usize,
    target: &'static str,
}

impl Traveller {
    /// One with some subscriptions; `now` is the wall clock in milliseconds.
    pub fn new(name: String, random: &mut Random, now: u64, tamper: Tamper) -> Self {
        let interests = match random.below(3) {
            0 => Interest::disjoint(1, random),
            1 => Interest::disjoint(1 + random.below(4), random),
            _ => (0..1 + random.below(3)).map(|_| Interest::any(random)).collect(),
        };
        let mut start = || match random.below(5) {
            0 => Start::Live,
            1 => Start::Since(now - random.below(200) as u64),
            2 => Start::Oldest,
            _ => Start::Newest,
        };
        let subscriptions = interests.into_iter().map(|interest| (interest, start())).collect();
        let targets = ["/ws", "/ws?encoding=json", "/ws?encoding=msgpack"];
        Self {
            reader: Reader::new(name, subscriptions),
            tamper,
            link: None,
            taken: 0,
            target: random.pick(&targets),
        }
    }

    pub fn is_away(&self) -> bool {
        self.link.is_none()
    }

    pub fn connect(&mut self, link: SimClient) {
        let mut link = Client::new(link);
        link.is_packed = self.target.ends_with("msgpack");
        link.send_raw(request(self.target).as_bytes());
        (self.link, self.taken) = (Some(link), 0);
        self.reader.connected();
    }

    /// Does what can be done now; whoever has heard the end goes away. `newest` is the newest event
    /// of all.
    pub fn pump(&mut self, newest: u64) {
        let Some(link) = &mut self.link else { return };
        link.pump();
        for received in &link.received[self.taken..] {
            if let Received::Text(message) | Received::Packed(message) = received {
                for message in self.tamper.pass(message.clone()) {
                    self.reader.handle(&message);
                    if self.reader.wants_newest() {
                        self.reader.newest_is(newest);
                    }
                }
            }
        }
        self.taken = link.received.len();
        while let Some(message) = self.reader.poll() {
            link.send(&message);
        }
        let is_refused = link.status().is_some_and(|status| status != 101);
        if link.end.is_some() || is_refused {
            self.link = None;
        }
    }

    /// Something happens to it.
    pub fn act(&mut self, random: &mut Random) {
        let Some(link) = &mut self.link else { return };
        // What is sent ahead of the answer would be a part of the handshake.
        if link.status() != Some(101) {
            return;
        }
        match random.below(20) {
            0..9 => link.read_bytes = random.pick(&[0, 10, 300, 2_000, usize::MAX, usize::MAX]),
            9..15 => self.reader.change(random),
            15 => link.close(1000),
            16 => link.half_close(),
            17 => link.reset(),
            _ => self.link = None,
        }
    }

    /// Reads whatever comes from now on.
    pub fn hurry(&mut self) {
        self.link.iter_mut().for_each(|link| link.read_bytes = usize::MAX);
    }

    /// Goes away without a word.
    pub fn leave(&mut self) {
        self.link = None;
    }
}
