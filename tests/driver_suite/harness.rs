//! What differs between the drivers: how they are made and who connects to them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use alarmcast::base::clock::Clock;
use alarmcast::io::socket::{ListenOptions, listen};
use alarmcast::io::{Driver, DriverConfig, DriverStats, EpollDriver, UringDriver};

/// False where io_uring is known to be missing.
pub fn has_uring() -> bool {
    std::env::var_os("ALARMCAST_TEST_NO_URING").is_none_or(|value| value != "1")
}

/// The other end of a connection. Nothing blocks: `WouldBlock` instead.
pub trait Client {
    fn addr(&self) -> SocketAddr;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn half_close(&mut self);
    fn reset(self);
}

pub trait Harness {
    type Driver: Driver;
    type Client: Client;

    fn new(config: DriverConfig) -> Self;
    fn driver(&mut self) -> &mut Self::Driver;
    fn connect(&mut self) -> Self::Client;
    fn clock(&self) -> Clock;
    fn stats(&self) -> DriverStats;
    fn invariants(&self);
}

pub struct Uring {
    driver: UringDriver,
    addr: SocketAddr,
}

pub struct Epoll {
    driver: EpollDriver,
    addr: SocketAddr,
}

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Harness for Uring {
    type Driver = UringDriver;
    type Client = TcpClient;

    fn new(config: DriverConfig) -> Self {
        let listener = listen(LOCAL, &ListenOptions::default()).unwrap();
        let addr = listener.local_addr().unwrap();
        Self { driver: UringDriver::new(&config, listener).unwrap(), addr }
    }

    fn driver(&mut self) -> &mut UringDriver {
        &mut self.driver
    }

    fn connect(&mut self) -> TcpClient {
        TcpClient::connect(self.addr)
    }

    fn clock(&self) -> Clock {
        Clock::System
    }

    fn stats(&self) -> DriverStats {
        self.driver.stats()
    }

    fn invariants(&self) {
        self.driver.invariants();
    }
}

impl Harness for Epoll {
    type Driver = EpollDriver;
    type Client = TcpClient;

    fn new(config: DriverConfig) -> Self {
        let listener = listen(LOCAL, &ListenOptions::default()).unwrap();
        let addr = listener.local_addr().unwrap();
        Self { driver: EpollDriver::new(&config, listener).unwrap(), addr }
    }

    fn driver(&mut self) -> &mut EpollDriver {
        &mut self.driver
    }

    fn connect(&mut self) -> TcpClient {
        TcpClient::connect(self.addr)
    }

    fn clock(&self) -> Clock {
        Clock::System
    }

    fn stats(&self) -> DriverStats {
        self.driver.stats()
    }

    fn invariants(&self) {
        self.driver.invariants();
    }
}

pub struct TcpClient(TcpStream);

impl TcpClient {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }
}

impl Client for TcpClient {
    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn half_close(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(self) {
        let socket = socket2::Socket::from(self.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
    }
}
