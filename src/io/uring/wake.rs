use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::Arc;

use io_uring::squeue::Entry;
use io_uring::{opcode, types};

use super::super::Waker;

/// An eventfd with a read of it always in flight, so that a write ends the wait.
#[derive(Debug)]
pub(super) struct WakeEvent {
    /// In blocking mode: on a non-blocking one the read would fail instead of waiting.
    eventfd: Arc<File>,
    /// What the kernel reads into.
    count: NonNull<u64>,
    armed: bool,
    waker: Waker,
}

impl WakeEvent {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened, and nobody else has it.
        let eventfd = Arc::new(unsafe { File::from_raw_fd(descriptor) });
        let writer = Arc::clone(&eventfd);
        let waker = Waker::new(move || {
            // Fails only when the count is at its maximum, which ends the wait as well.
            let _ = (&*writer).write(&1_u64.to_ne_bytes());
        });
        let count = NonNull::from(Box::leak(Box::new(0)));
        Ok(Self { eventfd, count, armed: false, waker })
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub fn is_armed(&self) -> bool {
        self.armed
    }

    /// The read to be submitted.
    pub fn arm(&mut self) -> Entry {
        assert!(!self.armed);
        self.armed = true;
        let descriptor = types::Fd(self.eventfd.as_raw_fd());
        opcode::Read::new(descriptor, self.count.as_ptr().cast(), size_of::<u64>() as u32).build()
    }

    /// The read could not be submitted, or has ended.
    pub fn disarm(&mut self) {
        assert!(self.armed);
        self.armed = false;
    }
}

impl Drop for WakeEvent {
    fn drop(&mut self) {
        // SAFETY: leaked from a Box in `new`; whoever drops this has ended the read.
        drop(unsafe { Box::from_raw(self.count.as_ptr()) });
    }
}
