//! Subscribers that reach their shard over the kernel.

use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};

use alarmcast::base::clock::Clock;
use alarmcast::io::socket::{ListenOptions, listen};
use alarmcast::io::{Driver, DriverConfig, EpollDriver, UringDriver};

use crate::crowd::Network;

/// Over the kernel's loopback.
pub struct Kernel<D> {
    addr: SocketAddr,
    make: PhantomData<D>,
}

pub trait KernelDriver: Driver + Sized {
    fn make(config: &DriverConfig, listener: TcpListener) -> Self;
}

impl KernelDriver for EpollDriver {
    fn make(config: &DriverConfig, listener: TcpListener) -> Self {
        Self::new(config, listener).expect("an epoll instance")
    }
}

impl KernelDriver for UringDriver {
    fn make(config: &DriverConfig, listener: TcpListener) -> Self {
        Self::new(config, listener).expect("a ring")
    }
}

impl<D: KernelDriver> Network for Kernel<D> {
    type Driver = D;
    type Link = TcpStream;

    fn new(config: DriverConfig) -> (Self, D) {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(local, &ListenOptions::default()).expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        (Self { addr, make: PhantomData }, D::make(&config, listener))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("room in the listener's backlog");
        stream.set_nonblocking(true).expect("a socket");
        stream
    }

    fn clock(&self) -> Clock {
        Clock::System
    }
}
