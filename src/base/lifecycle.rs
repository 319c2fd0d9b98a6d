//! Where the server is between start and end, for everyone who must know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Stages in their only order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    Starting = 0,
    Serving = 1,
    Draining = 2,
    Stopped = 3,
}

/// The stage, shared by all threads; it only moves forward.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<AtomicU8>);

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            2 => Stage::Draining,
            _ => Stage::Stopped,
        }
    }

    /// Moves forward to `stage`; false if the server was already there or past it.
    pub fn advance(&self, stage: Stage) -> bool {
        self.0.fetch_max(stage as u8, Ordering::AcqRel) < stage as u8
    }

    pub fn is_serving(&self) -> bool {
        self.stage() == Stage::Serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_never_moves_back() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.stage(), Stage::Starting);
        assert!(lifecycle.advance(Stage::Draining));
        assert!(!lifecycle.advance(Stage::Serving));
        assert_eq!(lifecycle.stage(), Stage::Draining);
    }
}
