//! Ctrl-C as a flag that waits can be ended by.

use std::process;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Set by the first Ctrl-C; the second ends the process at once.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Starts to listen for Ctrl-C. Where that is refused, Ctrl-C keeps its usual effect.
    pub fn on_interrupt() -> Self {
        let stop = Self::default();
        let setter = stop.clone();
        let listen = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    if setter.set() {
                        process::exit(130);
                    }
                }
            });
        };
        // Without the thread there is no handler, so Ctrl-C kills.
        let _ = thread::Builder::new().name("interrupt".into()).spawn(listen);
        stop
    }

    /// Sets the flag and ends all waits; true if it was set before.
    pub fn set(&self) -> bool {
        let (flag, changed) = &*self.0;
        let mut flag = flag.lock().unwrap_or_else(PoisonError::into_inner);
        changed.notify_all();
        std::mem::replace(&mut flag, true)
    }

    pub fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `duration` or the flag; true if it is set.
    pub fn wait(&self, duration: Duration) -> bool {
        let (flag, changed) = &*self.0;
        let flag = flag.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(flag, duration, |set| !*set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_flag_ends_a_wait() {
        let stop = Stop::default();
        assert!(!stop.wait(Duration::ZERO));
        let setter = stop.clone();
        let thread = thread::spawn(move || setter.set());
        assert!(stop.wait(Duration::from_secs(3_600)));
        assert!(!thread.join().expect("no panic"));
        assert!(stop.is_set() && stop.set());
    }
}
