//! Waking a parked shard: at most one wake per park, none while it runs.

use std::fmt;
use std::sync::Arc;

use flag::ParkFlag;

/// Ends the wait of one driver from any thread.
///
/// The shard calls [`Waker::park`] before it looks at its inbox for the last time, and
/// [`Waker::unpark`] after the wait; others put something into the inbox and then call
/// [`Waker::wake`], which costs a system call only if the shard is parked and nobody
/// else has woken it yet.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

struct Shared {
    flag: ParkFlag,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl Waker {
    /// `notify` ends the driver's wait, now or the next one to begin.
    pub fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self { shared: Arc::new(Shared { flag: ParkFlag::new(), notify: Box::new(notify) }) }
    }

    /// To be called after something was put where the shard will look.
    pub fn wake(&self) {
        if self.shared.flag.claim_wake() {
            (self.shared.notify)();
        }
    }

    /// The shard is about to wait; it looks at its inbox once more after this.
    pub fn park(&self) {
        self.shared.flag.park();
    }

    /// The shard runs again.
    pub fn unpark(&self) {
        self.shared.flag.unpark();
    }

    /// Whether the shard waits and nobody has woken it: it has nothing to do.
    pub fn is_parked(&self) -> bool {
        self.shared.flag.is_parked()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

mod flag {
    #[cfg(alarmcast_loom)]
    use loom::sync::atomic::{AtomicBool, Ordering, fence};
    #[cfg(not(alarmcast_loom))]
    use std::sync::atomic::{AtomicBool, Ordering, fence};

    /// Whether a shard is parked and not yet woken.
    ///
    /// The store (park) and the load (claim_wake) each stand between two accesses to the
    /// inbox; the fences order them as in Dekker's algorithm: either the shard sees what
    /// was put in, or the waker sees that the shard is parked.
    pub struct ParkFlag(AtomicBool);

    impl ParkFlag {
        pub fn new() -> Self {
            Self(AtomicBool::new(false))
        }

        pub fn park(&self) {
            self.0.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }

        pub fn unpark(&self) {
            self.0.store(false, Ordering::Relaxed);
        }

        pub fn is_parked(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        /// True for exactly one caller of each park.
        pub fn claim_wake(&self) -> bool {
            fence(Ordering::SeqCst);
            self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
        }
    }
}

#[cfg(all(test, not(alarmcast_loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_the_first_wake_of_a_parked_shard_costs_a_notification() {
        let notified = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&notified);
        let waker = Waker::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        waker.wake();
        assert_eq!(notified.load(Ordering::Relaxed), 0, "a running shard needs no wake");
        waker.park();
        waker.wake();
        waker.clone().wake();
        assert_eq!(notified.load(Ordering::Relaxed), 1);
        waker.unpark();
        waker.wake();
        assert_eq!(notified.load(Ordering::Relaxed), 1);
    }
}

#[cfg(all(test, alarmcast_loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::flag::ParkFlag;

    #[test]
    fn nothing_put_in_before_a_wake_is_slept_over() {
        loom::model(|| {
            let flag = Arc::new(ParkFlag::new());
            let inbox = Arc::new(AtomicUsize::new(0));
            let notified = Arc::new(AtomicBool::new(false));
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let (flag, inbox, notified) = (flag.clone(), inbox.clone(), notified.clone());
                    loom::thread::spawn(move || {
                        inbox.fetch_add(1, Ordering::Relaxed);
                        if flag.claim_wake() {
                            assert!(!notified.swap(true, Ordering::AcqRel), "woken twice");
                        }
                    })
                })
                .collect();
            flag.park();
            let seen = inbox.load(Ordering::Relaxed);
            for sender in senders {
                sender.join().unwrap();
            }
            let would_wait = seen == 0;
            assert!(!would_wait || notified.load(Ordering::Acquire), "slept over an event");
        });
    }
}
