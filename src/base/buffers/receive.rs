use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

/// Page-aligned receive buffers of one size. A driver lends each to at most one
/// owner at a time: the kernel, or a [`RecvBuf`].
#[derive(Debug)]
pub struct RecvPool {
    memory: Rc<Memory>,
}

struct Memory {
    base: NonNull<u8>,
    layout: Layout,
    buffer_bytes: usize,
    count: u16,
    /// Buffers that nobody holds.
    free: Cell<Vec<u16>>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("buffer_bytes", &self.buffer_bytes)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl RecvPool {
    /// `count` buffers of `buffer_bytes` each, all free.
    ///
    /// # Panics
    /// If either is zero, or their product does not fit memory.
    pub fn new(count: u16, buffer_bytes: usize) -> Self {
        const PAGE_BYTES: usize = 4096;
        assert!(count > 0 && buffer_bytes > 0);
        let bytes = buffer_bytes.checked_mul(usize::from(count)).expect("pool fits memory");
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("pool fits memory");
        // SAFETY: `layout` has a size above zero, asserted above.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let free = Cell::new((0..count).rev().collect());
        Self { memory: Rc::new(Memory { base, layout, buffer_bytes, count, free }) }
    }

    pub fn buffer_bytes(&self) -> usize {
        self.memory.buffer_bytes
    }

    pub fn count(&self) -> u16 {
        self.memory.count
    }

    /// Takes a free buffer's id, to be given to the kernel or to [`RecvPool::filled`].
    pub fn take_free(&self) -> Option<u16> {
        let mut free = self.memory.free.take();
        let id = free.pop();
        self.memory.free.set(free);
        id
    }

    /// Puts back an id from [`RecvPool::take_free`] that was not used.
    pub fn put_back(&self, id: u16) {
        self.memory.release(id);
    }

    /// Start of a buffer, for the kernel to write to. Valid as long as the pool or
    /// any of its buffers lives.
    pub fn address(&self, id: u16) -> NonNull<u8> {
        self.memory.address(id)
    }

    /// A free buffer with what `read` puts into it, which reports how many bytes those are.
    ///
    /// # Errors
    /// `ENOBUFS` when every buffer is held; what `read` says. Either way the pool is as before.
    pub fn fill(&self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<RecvBuf> {
        let exhausted = || io::Error::from_raw_os_error(libc::ENOBUFS);
        let id = self.take_free().ok_or_else(exhausted)?;
        // SAFETY: `id` was just taken and is used only here.
        let mut buf = unsafe { self.filled(id, self.buffer_bytes()) };
        let bytes = read(&mut buf)?;
        assert!(bytes <= buf.bytes);
        buf.bytes = bytes;
        Ok(buf)
    }

    /// The owner of the first `bytes` of buffer `id`, which returns to the pool
    /// when that is dropped.
    ///
    /// # Safety
    /// `id` came from [`RecvPool::take_free`], has no other owner now (the kernel
    /// included), and was not put back.
    pub unsafe fn filled(&self, id: u16, bytes: usize) -> RecvBuf {
        assert!(id < self.memory.count && bytes <= self.memory.buffer_bytes);
        RecvBuf { memory: Rc::clone(&self.memory), id, bytes }
    }
}

impl Memory {
    fn address(&self, id: u16) -> NonNull<u8> {
        assert!(id < self.count);
        // SAFETY: `id < count`, so the offset stays inside the one allocation.
        unsafe { self.base.add(usize::from(id) * self.buffer_bytes) }
    }

    fn release(&self, id: u16) {
        let mut free = self.free.take();
        debug_assert!(!free.contains(&id), "buffer {id} was returned twice");
        free.push(id);
        self.free.set(free);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `base` was allocated with this layout, and no RecvBuf is left: each holds an Rc.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// Received bytes, owned until dropped.
pub struct RecvBuf {
    memory: Rc<Memory>,
    id: u16,
    bytes: usize,
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: this is the buffer's one owner (see `RecvPool::filled`), the memory was
        // zeroed when allocated, and `bytes` is within the buffer.
        unsafe { std::slice::from_raw_parts(self.memory.address(self.id).as_ptr(), self.bytes) }
    }
}

impl DerefMut for RecvBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.address(self.id).as_ptr(), self.bytes) }
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.memory.release(self.id);
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBuf").field("id", &self.id).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fill_gives_its_buffer_back_and_an_empty_pool_says_so() {
        let pool = RecvPool::new(1, 8);
        let failed = pool.fill(|_| Err(io::ErrorKind::WouldBlock.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let filled = pool
            .fill(|buffer| {
                buffer[..3].copy_from_slice(b"abc");
                Ok(3)
            })
            .unwrap();
        assert_eq!(&filled[..], b"abc");
        let exhausted = pool.fill(|_| Ok(1)).unwrap_err();
        assert_eq!(exhausted.raw_os_error(), Some(libc::ENOBUFS));
    }

    #[test]
    fn a_buffer_returns_to_the_pool_when_dropped_even_after_the_pool() {
        let pool = RecvPool::new(2, 64);
        let first = pool.take_free().unwrap();
        let second = pool.take_free().unwrap();
        assert_eq!(pool.take_free(), None);
        // SAFETY: both ids were just taken and are used once.
        let (mut a, b) = unsafe { (pool.filled(first, 64), pool.filled(second, 1)) };
        a.fill(7);
        assert_eq!(&b[..], [0]);
        drop(b);
        assert_eq!(pool.take_free(), Some(second));
        drop(pool);
        assert_eq!(a[63], 7);
    }
}
