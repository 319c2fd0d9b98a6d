//! What differs between the drivers: how they are made and who connects to them.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use alarmcast::base::clock::Clock;
use alarmcast::io::sim::{Faults, SimClient, SimDriver, SimNet};
use alarmcast::io::socket::{ListenOptions, listen};
use alarmcast::io::{Driver, DriverConfig, DriverStats, EpollDriver, UringDriver};

/// False where io_uring is known to be missing.
pub fn has_uring() -> bool {
    std::env::var_os("ALARMCAST_TEST_NO_URING").is_none_or(|value| value != "1")
}

/// The other end of a connection. Nothing blocks: `WouldBlock` instead.
pub trait Client {
    fn addr(&self) -> SocketAddr;
    /// The address that it is connected to; none of a simulated one.
    fn server_addr(&self) -> Option<SocketAddr>;
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

    fn server_addr(&self) -> Option<SocketAddr> {
        Some(self.0.peer_addr().unwrap())
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

pub struct Sim {
    net: SimNet,
    driver: SimDriver,
}

impl Sim {
    fn on(net: SimNet, config: &DriverConfig) -> Self {
        Self { driver: net.driver(config), net }
    }
}

impl Harness for Sim {
    type Driver = SimDriver;
    type Client = SimClient;

    fn new(config: DriverConfig) -> Self {
        Self::on(SimNet::new(1, Faults::none()), &config)
    }

    fn driver(&mut self) -> &mut SimDriver {
        &mut self.driver
    }

    fn connect(&mut self) -> SimClient {
        self.net.connect(self.driver.listener())
    }

    fn clock(&self) -> Clock {
        self.net.clock()
    }

    fn stats(&self) -> DriverStats {
        self.driver.stats()
    }

    fn invariants(&self) {
        self.driver.invariants();
    }
}

impl Client for SimClient {
    fn addr(&self) -> SocketAddr {
        SimClient::addr(self)
    }

    fn server_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SimClient::write(self, bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        SimClient::read(self, buffer)
    }

    fn half_close(&mut self) {
        SimClient::half_close(self);
    }

    fn reset(self) {
        SimClient::reset(self);
    }
}

thread_local! {
    /// Of the next rough network on this thread.
    pub static SEED: Cell<u64> = const { Cell::new(0) };
}

/// A simulated network on which nothing is lost and nothing is easy.
pub struct RoughSim(Sim);

impl Harness for RoughSim {
    type Driver = SimDriver;
    type Client = SimClient;

    fn new(config: DriverConfig) -> Self {
        Self(Sim::on(SimNet::new(SEED.get(), Faults::rough()), &config))
    }

    fn driver(&mut self) -> &mut SimDriver {
        self.0.driver()
    }

    fn connect(&mut self) -> SimClient {
        self.0.connect()
    }

    fn clock(&self) -> Clock {
        self.0.clock()
    }

    fn stats(&self) -> DriverStats {
        self.0.stats()
    }

    fn invariants(&self) {
        self.0.invariants();
    }
}
