//! An in-memory network in virtual time, for tests: seeded faults, no threads, no sleeping.
//!
//! A wait lets time pass only when nothing is ready: to the next arrival on the network, or
//! to its deadline. What happens depends on the seed and the calls alone. The seed is
//! printed when a test panics.

#![forbid(unsafe_code)]

mod client;
mod driver;
mod net;
mod pipe;
mod random;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use self::net::Net;
use super::DriverConfig;
use crate::base::clock::Clock;

pub use client::SimClient;
pub use driver::SimDriver;

/// What goes wrong, and how often: chances are per mille of the occasions.
#[derive(Clone, Debug)]
pub struct Faults {
    /// A receive brings fewer bytes than have arrived.
    pub short_reads: u16,
    /// A send takes fewer bytes than there is room for.
    pub short_writes: u16,
    /// A connection is reset instead of receiving or sending.
    pub resets: u16,
    /// A receive ends with `ENOBUFS`.
    pub exhausted_buffers: u16,
    /// A receive that brings data is the last one of its operation.
    pub ended_receives: u16,
    /// An accept fails with `EMFILE`; the connection waits for the next one.
    pub accept_failures: u16,
    /// A push is given back.
    pub refused_pushes: u16,
    /// A shutdown that resets fails with `EACCES`, as where a security module forbids it.
    pub refused_resets: u16,
    /// Bytes and ends arrive after a random time up to this.
    pub delay_max: Duration,
    /// Bytes under way in one direction of a connection; a slow reader leaves no room.
    pub socket_buffer_bytes: usize,
}

impl Faults {
    /// A perfect network.
    pub fn none() -> Self {
        Self {
            short_reads: 0,
            short_writes: 0,
            resets: 0,
            exhausted_buffers: 0,
            ended_receives: 0,
            accept_failures: 0,
            refused_pushes: 0,
            refused_resets: 0,
            delay_max: Duration::ZERO,
            socket_buffer_bytes: 64 * 1024,
        }
    }

    /// Everything at once except resets: nothing is lost, but nothing is easy.
    pub fn rough() -> Self {
        Self {
            short_reads: 300,
            short_writes: 300,
            exhausted_buffers: 100,
            ended_receives: 100,
            accept_failures: 100,
            refused_pushes: 50,
            refused_resets: 300,
            delay_max: Duration::from_millis(5),
            socket_buffer_bytes: 8 * 1024,
            ..Self::none()
        }
    }
}

/// The network that simulated drivers and clients share.
#[derive(Clone, Debug)]
pub struct SimNet(Rc<RefCell<Net>>);

/// Where to connect to: the listener of one simulated driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimListener(usize);

impl SimNet {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self(Rc::new(RefCell::new(Net::new(seed, faults))))
    }

    /// The network's virtual time.
    pub fn clock(&self) -> Clock {
        self.0.borrow().clock.clone()
    }

    pub fn seed(&self) -> u64 {
        self.0.borrow().seed()
    }

    /// From now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// A driver with a listener of its own. The network's clock replaces the configuration's.
    pub fn driver(&self, config: &DriverConfig) -> SimDriver {
        SimDriver::new(Rc::clone(&self.0), config)
    }

    /// Connects without waiting to be accepted, from an address of its own.
    pub fn connect(&self, listener: SimListener) -> SimClient {
        self.connect_from(listener, None)
    }

    /// As [`Self::connect`], from this address.
    pub fn connect_from(&self, listener: SimListener, from: Option<IpAddr>) -> SimClient {
        let link = self.0.borrow_mut().connect(listener, from);
        SimClient::new(Rc::clone(&self.0), link)
    }
}
