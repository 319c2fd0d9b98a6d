//! What other threads and the system do to a waiting driver; nothing that the simulator,
//! which has one thread and no signals, could show.

use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use alarmcast::io::{Driver, Op};

use crate::harness::Harness;
use crate::world::{World, roomy};

crate::on_real_drivers!(
    a_wake_from_another_thread_ends_the_wait_and_none_is_slept_over,
    a_signal_ends_the_wait_without_an_error,
);

fn a_wake_from_another_thread_ends_the_wait_and_none_is_slept_over<H: Harness>() {
    const WAKES: u64 = 2_000;
    let mut world = World::<H>::new(roomy());
    world.push(Op::Accept);
    let waker = world.harness.driver().waker();
    let inbox = Arc::new(AtomicU64::new(0));
    let sender = {
        let (waker, inbox) = (waker.clone(), Arc::clone(&inbox));
        thread::spawn(move || {
            for _ in 0..WAKES {
                inbox.fetch_add(1, Ordering::Relaxed);
                waker.wake();
            }
        })
    };
    // Without a deadline: were one wake lost, this would never end.
    while inbox.load(Ordering::Relaxed) < WAKES {
        waker.park();
        if inbox.load(Ordering::Relaxed) < WAKES {
            assert_eq!(world.turn_until(None), 0);
        }
        waker.unpark();
    }
    sender.join().unwrap();
}

fn a_signal_ends_the_wait_without_an_error<H: Harness>() {
    catch_signal();
    let interrupted = Arc::new(AtomicBool::new(false));
    let waiting = {
        let interrupted = Arc::clone(&interrupted);
        thread::spawn(move || {
            let mut world = World::<H>::new(roomy());
            world.push(Op::Accept);
            // Nothing else could end it.
            assert_eq!(world.turn_until(None), 0);
            interrupted.store(true, Ordering::Release);
        })
    };
    while !interrupted.load(Ordering::Acquire) && !waiting.is_finished() {
        // SAFETY: the thread was not joined, so that its handle is valid; the signal is caught.
        let sent = unsafe { libc::pthread_kill(waiting.as_pthread_t(), libc::SIGUSR1) };
        assert!(sent == 0 || sent == libc::ESRCH);
        thread::yield_now();
    }
    waiting.join().unwrap();
}

/// Makes SIGUSR1 interrupt system calls and do nothing else.
fn catch_signal() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero bytes are a valid sigaction: no flags (SA_RESTART among them), empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: `action` is valid, its handler touches nothing, the old action is not asked for.
    let set = unsafe { libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()) };
    assert_eq!(set, 0);
}
