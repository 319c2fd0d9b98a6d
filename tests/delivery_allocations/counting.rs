//! An allocator of this program's own, which counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Sub;

thread_local! {
    /// Of this thread, so that the test harness may do as it likes.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, live_bytes: 0 }) };
}

/// Since the thread began, or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reallocations included.
    pub allocations: i64,
    pub live_bytes: i64,
}

impl Counts {
    pub fn now() -> Self {
        COUNTS.get()
    }

    pub fn add(&mut self, other: Self) {
        self.allocations += other.allocations;
        self.live_bytes += other.live_bytes;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations - earlier.allocations,
            live_bytes: self.live_bytes - earlier.live_bytes,
        }
    }
}

struct Counting;

fn count(bytes: i64) {
    let mut counts = COUNTS.get();
    counts.allocations += i64::from(bytes > 0);
    counts.live_bytes += bytes;
    COUNTS.set(counts);
}

// SAFETY: every call is passed to the system's allocator as it is; the counters
// are plain cells without a destructor and do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
