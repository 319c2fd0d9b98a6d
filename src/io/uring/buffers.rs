use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::base::buffers::{RecvBuf, RecvPool};

/// The one group of receive buffers on a ring.
pub(super) const GROUP: u16 = 0;

/// Receive buffers, lent to the kernel through a buffer ring (Linux 5.19): the kernel takes
/// one for each receive that has data, and names it in the completion.
#[derive(Debug)]
pub(super) struct ProvidedBuffers {
    pool: RecvPool,
    /// `count` entries, shared with the kernel, which only reads them.
    ring: NonNull<BufRingEntry>,
    layout: Layout,
    /// Entries published so far, modulo 2^16.
    tail: u16,
    /// By id: whether the kernel has it.
    lent: Vec<bool>,
}

impl ProvidedBuffers {
    /// `count` is a power of two up to 32,768. Not yet known to the kernel.
    pub fn new(count: u16, buffer_bytes: usize) -> Self {
        const PAGE_BYTES: usize = 4096;
        assert!(count.is_power_of_two() && count <= 32_768);
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("half a megabyte at most");
        // SAFETY: `layout` has a size above zero, as `count` is a power of two.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(ring) = NonNull::new(memory.cast()) else { handle_alloc_error(layout) };
        let pool = RecvPool::new(count, buffer_bytes);
        Self { pool, ring, layout, tail: 0, lent: vec![false; usize::from(count)] }
    }

    /// Makes the buffers known to the kernel.
    ///
    /// # Safety
    /// `self` outlives the registration: it is dropped only after [`Self::unregister`] or
    /// after the ring is gone with nothing in flight.
    pub unsafe fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.ring.as_ptr() as u64;
        // SAFETY: the entries are `count` long, page-aligned, zeroed (so that the tail is 0),
        // and live as long as the registration by this function's own contract.
        unsafe { submitter.register_buf_ring_with_flags(address, self.pool.count(), GROUP, 0) }
    }

    pub fn unregister(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        submitter.unregister_buf_ring(GROUP)
    }

    /// Lends every free buffer to the kernel.
    pub fn publish(&mut self) {
        let before = self.tail;
        while let Some(id) = self.pool.take_free() {
            assert!(!mem::replace(&mut self.lent[usize::from(id)], true));
            let index = self.tail & (self.pool.count() - 1);
            // SAFETY: `index < count`; the kernel does not read the entry before the tail says so,
            // as at most `count` buffers exist and this one was not lent. The setters leave the
            // tail, which lies in the first entry, alone.
            let entry = unsafe { self.ring.add(usize::from(index)).as_mut() };
            entry.set_addr(self.pool.address(id).as_ptr() as u64);
            entry.set_len(u32::try_from(self.pool.buffer_bytes()).expect("checked"));
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            self.store_tail();
        }
    }

    /// The bytes that the kernel put into buffer `id`, which it gave back by naming it in a
    /// completion.
    pub fn received(&mut self, id: u16, bytes: usize) -> RecvBuf {
        assert!(mem::replace(&mut self.lent[usize::from(id)], false), "buffer {id} was not lent");
        // SAFETY: the id came from `take_free` when it was lent, which was just checked, and the
        // kernel has given it up: nobody else has it.
        unsafe { self.pool.filled(id, bytes) }
    }

    fn store_tail(&self) {
        // SAFETY: the ring's memory begins with a valid, zeroed entry.
        let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: `tail` is 2-aligned inside memory that this owns; the kernel reads it
        // concurrently with acquire, so it is only written atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the entries are visible before the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for ProvidedBuffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the kernel no longer knows it (see `register`).
        unsafe { dealloc(self.ring.as_ptr().cast(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_buffer_is_lent_once_and_again_after_it_was_dropped() {
        let mut buffers = ProvidedBuffers::new(4, 64);
        buffers.publish();
        assert_eq!((buffers.tail, &buffers.lent[..]), (4, &[true; 4][..]));
        let held = buffers.received(2, 10);
        buffers.publish();
        assert_eq!((buffers.tail, buffers.lent[2]), (4, false));
        assert_eq!(held.len(), 10);
        drop(held);
        buffers.publish();
        assert_eq!((buffers.tail, buffers.lent[2]), (5, true));
    }

    #[test]
    #[should_panic(expected = "was not lent")]
    fn a_buffer_that_the_kernel_does_not_have_cannot_come_back() {
        let mut buffers = ProvidedBuffers::new(2, 64);
        buffers.publish();
        let _first = buffers.received(0, 1);
        let _again = buffers.received(0, 1);
    }
}
