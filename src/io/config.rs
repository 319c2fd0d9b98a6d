use crate::base::clock::Clock;

/// What one driver is built with; the same for all three.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// The clock that deadlines are of. A simulated driver uses its network's instead.
    pub clock: Clock,
    /// Operations staged between two waits; more are submitted on the way.
    pub sq_entries: u32,
    /// Completions that the kernel keeps without allocating.
    pub cq_entries: u32,
    /// Connected sockets at most; beyond it a new connection is dropped and its accept fails
    /// with `ENFILE`. On io_uring the size of the ring's own table, which is cut to
    /// RLIMIT_NOFILE.
    pub sockets_max: u32,
    /// Receive buffers of all sockets together: a power of two, 32,768 at most.
    pub recv_buffers: u16,
    pub recv_buffer_bytes: usize,
    /// Accepts that may be in flight at once; one more is given back until another has ended.
    pub accepts: usize,
}

impl DriverConfig {
    /// # Panics
    /// If a number is zero or `recv_buffers` is no power of two up to 32,768.
    pub(super) fn check(&self) {
        assert!(self.sq_entries > 0 && self.cq_entries > 0);
        assert!(self.sockets_max > 0 && self.accepts > 0);
        assert!(self.recv_buffers.is_power_of_two() && self.recv_buffers <= 32_768);
        assert!(self.recv_buffer_bytes > 0 && u32::try_from(self.recv_buffer_bytes).is_ok());
    }
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            clock: Clock::System,
            sq_entries: 1024,
            cq_entries: 8192,
            sockets_max: 18_000,
            recv_buffers: 1024,
            recv_buffer_bytes: 4096,
            accepts: 16,
        }
    }
}

/// What a driver counts. All but `in_flight` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Calls into the kernel that submit or wait.
    pub enters: u64,
    /// Operations submitted, the driver's own included.
    pub submissions: u64,
    pub completions: u64,
    /// Waits that found the completion queue overflowed.
    pub overflows: u64,
    /// Pushes that were given back.
    pub pushes_refused: u64,
    /// Gauge: operations whose terminal completion is still to come.
    pub in_flight: u64,
}
