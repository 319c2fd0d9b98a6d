use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::FromRawFd;

use io_uring::types::Fixed;
use io_uring::{cqueue, opcode};
use socket2::SockRef;

use super::*;
use crate::base::buffers::SendBuf;
use crate::io::socket::{ListenOptions, listen};

fn token(kind: Kind, slot: u32) -> Token {
    Token::new(kind, Key { slot, generation: 1 })
}

fn driver(config: &DriverConfig, options: &ListenOptions) -> (UringDriver, Vec<TcpStream>) {
    let listener = listen("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let addr = listener.local_addr().unwrap();
    let driver = UringDriver::new(config, listener).unwrap();
    let clients = (0..config.accepts).map(|_| TcpStream::connect(addr).unwrap()).collect();
    (driver, clients)
}

/// Accepts as many connections as the driver may at once.
fn accept_all(driver: &mut UringDriver, count: usize) -> Vec<Socket> {
    for slot in 0..count as u32 {
        driver.push(token(Kind::Accept, slot), Op::Accept).unwrap();
    }
    let mut completions = Completions::new();
    while completions.len() < count {
        driver.submit_and_wait(None, &mut completions).unwrap();
    }
    let sockets = completions.into_iter().map(|completion| match completion.outcome {
        Outcome::Accepted { socket, .. } => socket,
        other => panic!("{other:?}"),
    });
    sockets.collect()
}

fn can_run() -> bool {
    std::env::var_os("ALARMCAST_TEST_NO_URING").is_none_or(|value| value != "1")
}

#[test]
fn direct_descriptors_inherit_the_listeners_options() {
    if !can_run() {
        return;
    }
    let options = ListenOptions { notsent_lowat_bytes: 23_456, ..ListenOptions::default() };
    let config = DriverConfig { accepts: 1, ..DriverConfig::default() };
    let (mut driver, _clients) = driver(&config, &options);
    let socket = accept_all(&mut driver, 1)[0];
    // A descriptor of the process for the same socket (Linux 6.8), to look at it.
    driver.stage(opcode::FixedFdInstall::new(Fixed(socket.0), 0).build(), CANCEL);
    let installed = loop {
        driver.enter(1, Some(Duration::from_secs(5))).unwrap();
        let is_wanted = |cqe: &cqueue::Entry| cqe.user_data() == CANCEL.to_bits();
        if let Some(cqe) = driver.ring.completion().find(is_wanted) {
            break cqe.result();
        }
    };
    if installed == -libc::EINVAL {
        return; // An older kernel, on which nothing can look inside.
    }
    assert!(installed >= 0, "{}", os_error(-installed));
    // SAFETY: the kernel has just made this descriptor for us alone.
    let installed = unsafe { File::from_raw_fd(installed) };
    let accepted = SockRef::from(&installed);
    assert!(accepted.tcp_nodelay().unwrap());
    assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 23_456);
}

#[test]
fn an_overflowing_completion_queue_loses_nothing() {
    if !can_run() {
        return;
    }
    let config = DriverConfig {
        sq_entries: 8,
        cq_entries: 8,
        accepts: 100,
        recv_buffers: 4,
        ..DriverConfig::default()
    };
    let (mut driver, _clients) = driver(&config, &ListenOptions::default());
    let sockets = accept_all(&mut driver, 100);
    for (slot, socket) in sockets.iter().enumerate() {
        let send = Op::Send(*socket, SendBuf::gathered(vec![7; 100]));
        driver.push(token(Kind::Send, slot as u32), send).unwrap();
    }
    let mut completions = Completions::new();
    while completions.len() < 100 {
        driver.submit_and_wait(None, &mut completions).unwrap();
    }
    let is_sent = |completion: &Completion| matches!(completion.outcome, Outcome::Sent { .. });
    assert!(completions.iter().all(is_sent));
    assert!(driver.stats().overflows > 0, "the queue never overflowed");
    assert_eq!(driver.stats().in_flight, 0);
}

#[test]
fn the_lesser_modes_serve_as_well() {
    if !can_run() {
        return;
    }
    for mode in [Mode::Cooperative, Mode::Plain] {
        let config = DriverConfig { accepts: 1, ..DriverConfig::default() };
        let listener = listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut driver = UringDriver::in_mode(&config, listener, &[mode]).unwrap();
        assert!(driver.features().coop_taskrun && !driver.features().defer_taskrun);
        let socket = accept_all(&mut driver, 1)[0];
        driver.push(token(Kind::Recv, 0), Op::Recv(socket)).unwrap();
        client.write_all(b"ping").unwrap();
        let mut completions = Completions::new();
        while completions.is_empty() {
            driver.submit_and_wait(None, &mut completions).unwrap();
        }
        match completions.pop().map(|completion| completion.outcome) {
            Some(Outcome::Received { bytes, more: true }) => assert_eq!(&bytes[..], b"ping"),
            other => panic!("{mode:?}: {other:?}"),
        }
        let pong = Op::Send(socket, SendBuf::gathered(b"pong".to_vec()));
        driver.push(token(Kind::Send, 0), pong).unwrap();
        driver.submit_and_wait(None, &mut completions).unwrap();
        drop(driver);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"pong");
    }
}

#[test]
fn the_features_are_one_line_for_the_log() {
    if !can_run() {
        return;
    }
    let features = probe_uring().unwrap();
    let line = features.to_string();
    assert!(line.starts_with("Linux ") && line.contains("taskrun"), "{line}");
    assert!(!line.contains('\n'));
    assert!(features.defer_taskrun != features.coop_taskrun);
}

#[test]
fn a_table_larger_than_the_limit_of_descriptors_is_cut_to_it() {
    if !can_run() {
        return;
    }
    let config = DriverConfig { sockets_max: u32::MAX, accepts: 1, ..DriverConfig::default() };
    let (driver, _clients) = driver(&config, &ListenOptions::default());
    assert!(driver.features().sockets_max <= 1 << 20);
}
