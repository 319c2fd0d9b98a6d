//! How an orderly end begins, whoever asks for it: a signal, the API or the host program.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::clock::{Clock, Instant};
use crate::base::lifecycle::{Lifecycle, Stage};
use crate::io::Waker;

/// The times of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPlan {
    /// Connections are told to leave one after the other, over so long.
    pub window: Duration,
    /// Who has not left then is cut off.
    pub timeout: Duration,
}

impl DrainPlan {
    /// The same with another window: who is told last has as long to leave as before.
    pub fn with_window(self, window: Duration) -> Self {
        let to_leave = self.timeout.saturating_sub(self.window);
        Self { window, timeout: window + to_leave }
    }
}

/// Begins the drain of a server, from any thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct Drainer {
    pub(super) lifecycle: Lifecycle,
    pub(super) hub: Waker,
    pub(super) clock: Clock,
    pub(super) usual: DrainPlan,
    pub(super) begun: Arc<OnceLock<(DrainPlan, Instant)>>,
}

impl Drainer {
    /// Begins the drain, with another window than the usual one where one is named; false if it
    /// has begun already, in which case its times stay.
    pub fn drain(&self, window: Option<Duration>) -> bool {
        let plan = window.map_or(self.usual, |window| self.usual.with_window(window));
        let is_first = self.begun.set((plan, self.clock.now())).is_ok();
        self.lifecycle.advance(Stage::Draining);
        self.hub.wake();
        is_first
    }

    /// The times of the drain that has begun, or else of one that would.
    pub fn plan(&self) -> DrainPlan {
        self.begun.get().map_or(self.usual, |(plan, _)| *plan)
    }

    /// For how long it has been going on; none before it.
    pub fn elapsed(&self) -> Option<Duration> {
        self.begun.get().map(|(_, begun)| self.clock.now().since(*begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn who_asks_first_names_the_times() {
        let usual = DrainPlan { window: secs(5), timeout: secs(12) };
        let drainer = Drainer {
            lifecycle: Lifecycle::new(),
            hub: Waker::new(|| {}),
            clock: Clock::manual(),
            usual,
            begun: Arc::default(),
        };
        assert_eq!((drainer.plan(), drainer.elapsed()), (usual, None));
        let begun = drainer.clone();
        assert!(begun.drain(Some(secs(60))));
        drainer.clock.advance(secs(3));
        assert!(!drainer.drain(None) && !drainer.drain(Some(secs(1))));
        let expected = DrainPlan { window: secs(60), timeout: secs(67) };
        assert_eq!((drainer.plan(), drainer.elapsed()), (expected, Some(secs(3))));
        assert_eq!(drainer.lifecycle.stage(), Stage::Draining);
    }
}
