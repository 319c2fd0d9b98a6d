//! The system refusing: io_uring itself, a full submission queue, descriptors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::process::Command;
use std::thread;

use alarmcast::base::buffers::SendBuf;
use alarmcast::io::{Driver, DriverConfig, Op, Outcome, Unavailable, probe_uring};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::harness::{Epoll, Harness, Uring, has_uring};
use crate::world::{World, errno, roomy};

/// From now on `syscall` fails with `errno` on this thread, and on no other.
fn refuse(syscall: libc::c_long, errno: i32) {
    let filter = SeccompFilter::new(
        BTreeMap::from([(syscall, vec![])]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter(&program).unwrap();
}

#[test]
fn io_uring_refused_by_the_system_is_said_with_its_reason() {
    for (errno, reason) in [(libc::EPERM, "Operation not permitted"), (libc::ENOSYS, "not impl")] {
        let refused = thread::spawn(move || {
            refuse(libc::SYS_io_uring_setup, errno);
            probe_uring().unwrap_err()
        });
        let Unavailable { reason: said } = refused.join().unwrap();
        assert!(said.contains(reason) && said.starts_with("io_uring_setup"), "{said}");
    }
}

#[test]
fn io_uring_whose_operations_cannot_be_registered_is_refused_too() {
    if !has_uring() {
        return;
    }
    let refused = thread::spawn(|| {
        refuse(libc::SYS_io_uring_register, libc::EPERM);
        probe_uring().unwrap_err()
    });
    let Unavailable { reason } = refused.join().unwrap();
    assert!(reason.contains("not permitted"), "{reason}");
}

#[test]
fn a_push_is_given_back_when_the_kernel_takes_nothing_and_waits_still_return() {
    if !has_uring() {
        return;
    }
    for errno in [libc::EAGAIN, libc::ENOMEM, libc::EBUSY, libc::EINTR] {
        let blocked = thread::spawn(move || {
            let config = DriverConfig { sq_entries: 8, accepts: 100, ..roomy() };
            let mut harness = Uring::new(config);
            let mut world = World::<Uring>::new(roomy());
            refuse(libc::SYS_io_uring_enter, errno);
            let mut taken = 0;
            loop {
                let token = world.token(alarmcast::io::Kind::Accept);
                match harness.driver().push(token, Op::Accept) {
                    Ok(()) => taken += 1,
                    Err(back) => {
                        assert!(matches!(back, Op::Accept));
                        break;
                    }
                }
            }
            assert_eq!(taken, 8);
            assert_eq!(harness.stats().pushes_refused, 1);
            let mut completions = Vec::new();
            harness.driver().submit_and_wait(None, &mut completions).unwrap();
            assert!(completions.is_empty());
            // The drivers cannot end what they staged; dropping them must do without.
        });
        blocked.join().unwrap();
    }
}

#[test]
fn an_error_of_the_wait_that_has_no_answer_is_reported() {
    if !has_uring() {
        return;
    }
    let failed = thread::spawn(|| {
        let mut harness = Uring::new(roomy());
        refuse(libc::SYS_io_uring_enter, libc::EBADF);
        let result = harness.driver().submit_and_wait(None, &mut Vec::new());
        result.unwrap_err().raw_os_error()
    });
    assert_eq!(failed.join().unwrap(), Some(libc::EBADF));
}

/// Descriptors are the process's: the scenarios below run alone in one of their own.
const FEW_DESCRIPTORS: &str = "ALARMCAST_TEST_FEW_DESCRIPTORS";

fn with_few_descriptors(test: &str, scenario: fn()) {
    if std::env::var_os(FEW_DESCRIPTORS).is_some() {
        return scenario();
    }
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(FEW_DESCRIPTORS, "1")
        .status();
    assert!(status.unwrap().success());
}

/// Opens descriptors until the process may have no more.
fn exhaust() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                return files;
            }
        }
    }
}

#[test]
fn epoll_without_descriptors_fails_accepts_does_not_spin_and_recovers() {
    with_few_descriptors(
        "refusals::epoll_without_descriptors_fails_accepts_does_not_spin_and_recovers",
        || {
            let mut world = World::<Epoll>::new(roomy());
            let _client = world.harness.connect();
            let files = exhaust();
            for _ in 0..3 {
                let accept = world.push(Op::Accept);
                assert_eq!(errno(&world.outcome(accept)), Some(libc::EMFILE));
                let enters = world.harness.stats().enters;
                assert_eq!(world.turn(), 0, "nothing more until it is pushed again");
                assert!(world.harness.stats().enters - enters <= 2, "spinning");
            }
            drop(files);
            let accept = world.push(Op::Accept);
            world.accepted(accept);
        },
    );
}

#[test]
fn io_uring_needs_no_descriptors_to_accept_and_serve() {
    if !has_uring() {
        return;
    }
    with_few_descriptors("refusals::io_uring_needs_no_descriptors_to_accept_and_serve", || {
        let mut world = World::<Uring>::new(roomy());
        let _clients = [world.harness.connect(), world.harness.connect()];
        let _files = exhaust();
        for _ in 0..2 {
            let accept = world.push(Op::Accept);
            let (socket, _) = world.accepted(accept);
            let send = world.push(Op::Send(socket, SendBuf::gathered(vec![1])));
            assert!(matches!(world.outcome(send), Outcome::Sent { .. }));
        }
    });
}

#[test]
fn a_missing_listener_option_is_an_error_not_a_panic() {
    use alarmcast::io::socket::{ListenOptions, listen};
    let refused = thread::spawn(|| {
        refuse(libc::SYS_setsockopt, libc::EPERM);
        listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap_err()
    });
    assert_eq!(refused.join().unwrap().kind(), io::ErrorKind::PermissionDenied);
}
