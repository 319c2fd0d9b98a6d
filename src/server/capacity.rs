//! How many sockets a shard can hold with the descriptors that the process may have.

use super::DriverName;

/// Descriptors of a shard or the process that are not connections.
const RESERVED: u64 = 64;
/// Room for telling a client that there is no room.
pub(crate) const REFUSED_AT_ONCE: u64 = 64;

/// Sockets that one shard can hold: all of them where the kernel's hash is unkind, as far as
/// a table may be that large. On epoll descriptors are the process's, and shared.
pub(crate) fn sockets_max(
    connections_max: usize,
    driver: DriverName,
    shard_count: usize,
    descriptors_max: u64,
) -> u32 {
    let wanted = connections_max as u64 + REFUSED_AT_ONCE;
    let available = descriptors_max.saturating_sub(RESERVED).max(1);
    let per_shard = match driver {
        DriverName::Uring => available,
        DriverName::Epoll => (available / shard_count as u64).max(1),
    };
    u32::try_from(wanted.min(per_shard)).unwrap_or(u32::MAX)
}

/// Descriptors that the process must be allowed for each shard to hold `sockets`: the reverse
/// of [`sockets_max`].
pub(crate) fn descriptors_for(sockets: u64, driver: DriverName, shard_count: usize) -> u64 {
    match driver {
        DriverName::Uring => sockets + RESERVED,
        DriverName::Epoll => sockets * shard_count as u64 + RESERVED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_its_own_for_each_ring_and_one_for_all_on_epoll() {
        assert_eq!(sockets_max(100_000, DriverName::Uring, 2, 20_000), 19_936);
        assert_eq!(sockets_max(100_000, DriverName::Epoll, 2, 20_000), 9_968);
        assert_eq!(sockets_max(1_000, DriverName::Uring, 2, 20_000), 1_064);
        assert_eq!(sockets_max(1_000, DriverName::Epoll, 2, 10), 1);
    }

    #[test]
    fn so_many_descriptors_hold_so_many_sockets_and_one_fewer_do_not() {
        for driver in [DriverName::Uring, DriverName::Epoll] {
            let descriptors = descriptors_for(5_000, driver, 3);
            assert_eq!(sockets_max(1_000_000, driver, 3, descriptors), 5_000);
            assert_eq!(sockets_max(1_000_000, driver, 3, descriptors - 1), 4_999);
        }
    }
}
