//! How many connections come from where: limits that all shards keep together, without a lock
//! and in fixed memory. ADR 0007 says why it is done so.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use foldhash::quality::RandomState;

use crate::base::clock::Instant;
use crate::session::rate::Rate;

/// Each client has a cell in every row, and only what all of its cells say counts: it takes
/// other clients in all of them to be taken for more than it is.
const ROWS: usize = 4;
/// Cells of a row; for counts, twice as many as there may be connections, within these.
const CELLS_MIN: usize = 1 << 12;
const CELLS_MAX: usize = 1 << 22;
/// Cells of a row of rates: with it a million connections a second are less than 16 in a cell.
const RATE_CELLS: usize = 1 << 16;

/// What one address may do.
#[derive(Clone, Copy, Debug)]
pub struct AddressQuota {
    /// Connections at once; zero is no limit.
    pub connections_max: u32,
    /// New connections.
    pub rate: Rate,
}

/// Counts of connections and rates of connecting by address: an IPv4 address, or the /64 of
/// an IPv6 address, which is what one subscriber gets. Shared by all shards.
///
/// A count is never too low, so that the limits hold strictly; it is too high only by what the
/// emptiest of a client's cells holds of others. Two clients that race for the last place may
/// both be refused it.
#[derive(Debug)]
pub struct AddressLimits {
    quota: AddressQuota,
    /// Seeded anew for each process, so that nobody outside knows who shares a cell.
    hasher: RandomState,
    /// Connections held; empty without a limit.
    held: Vec<AtomicU32>,
    /// When each bucket is full again, in nanoseconds; empty without a limit.
    full_at: Vec<AtomicU64>,
}

/// Which of its limits an address is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    Connections,
    Rate,
}

/// The address of a client, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress([u8; 16]);

impl AddressLimits {
    /// None where there is nothing to keep. `connections_max` is of all addresses together.
    pub fn new(quota: AddressQuota, connections_max: usize) -> Option<Self> {
        let cells =
            connections_max.saturating_mul(2).clamp(CELLS_MIN, CELLS_MAX).next_power_of_two();
        let count = |is_limited: bool, cells: usize| if is_limited { ROWS * cells } else { 0 };
        let held = (0..count(quota.connections_max > 0, cells)).map(|_| AtomicU32::new(0));
        let full_at = (0..count(quota.rate.per_second > 0, RATE_CELLS)).map(|_| AtomicU64::new(0));
        let limits = Self {
            quota,
            hasher: RandomState::default(),
            held: held.collect(),
            full_at: full_at.collect(),
        };
        (!limits.held.is_empty() || !limits.full_at.is_empty()).then_some(limits)
    }

    /// Takes a place for a new connection, to be given back by [`Self::release`].
    ///
    /// # Errors
    /// When the address is at a limit; no place is taken then.
    pub fn claim(&self, address: ClientAddress, now: Instant) -> Result<(), AtLimit> {
        if !self.take_token(address, now) {
            return Err(AtLimit::Rate);
        }
        self.take_place(address)
    }

    /// Gives a place back.
    pub fn release(&self, address: ClientAddress) {
        for cell in self.cells(&self.held, address) {
            let before = cell.fetch_sub(1, Ordering::SeqCst);
            debug_assert!(before > 0, "a place that was not taken");
        }
    }

    /// Places taken at the moment, of all addresses: every row holds each once.
    pub fn places_taken(&self) -> [u64; ROWS] {
        let cells = self.held.len() / ROWS;
        std::array::from_fn(|row| {
            let row = &self.held[row * cells..(row + 1) * cells];
            row.iter().map(|cell| u64::from(cell.load(Ordering::SeqCst))).sum()
        })
    }

    /// Whether places are counted at all.
    pub fn counts_places(&self) -> bool {
        !self.held.is_empty()
    }

    // First added, then looked at: of those who race, the last one to add sees all the others,
    // so that never more than the limit are let in.
    fn take_place(&self, address: ClientAddress) -> Result<(), AtLimit> {
        let mut held = None;
        for cell in self.cells(&self.held, address) {
            cell.fetch_add(1, Ordering::SeqCst);
        }
        for cell in self.cells(&self.held, address) {
            let count = cell.load(Ordering::SeqCst);
            held = Some(held.map_or(count, |least: u32| least.min(count)));
        }
        if held.is_none_or(|held| held <= self.quota.connections_max) {
            return Ok(());
        }
        self.release(address);
        Err(AtLimit::Connections)
    }

    /// The generic cell rate algorithm, in every row.
    fn take_token(&self, address: ClientAddress, now: Instant) -> bool {
        const NANOS_PER_SECOND: u64 = 1_000_000_000;
        let Rate { per_second, burst } = self.quota.rate;
        let interval = NANOS_PER_SECOND / u64::from(per_second.max(1));
        let now = now.as_nanos();
        let add = |full_at: u64| Some(full_at.max(now) + interval);
        for cell in self.cells(&self.full_at, address) {
            // The closure never declines.
            let _ = cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        }
        let full_at = self.cells(&self.full_at, address).map(|cell| cell.load(Ordering::SeqCst));
        let ahead = full_at.min().map_or(0, |full_at| full_at.saturating_sub(now));
        if ahead <= interval * u64::from(burst.max(1)) {
            return true;
        }
        // Every cell is ahead of now by more than one interval: it was added to as it was.
        for cell in self.cells(&self.full_at, address) {
            cell.fetch_sub(interval, Ordering::SeqCst);
        }
        false
    }

    /// The cells of an address, one in each row; none where there are no rows.
    fn cells<'c, T>(&self, rows: &'c [T], address: ClientAddress) -> impl Iterator<Item = &'c T> {
        let prefix = address.prefix();
        let cells = rows.len() / ROWS;
        let rows_kept = if cells == 0 { 0 } else { ROWS };
        let places: [usize; ROWS] = std::array::from_fn(|row| {
            row * cells + self.hasher.hash_one((row, prefix)) as usize % cells.max(1)
        });
        places.into_iter().take(rows_kept).filter_map(|place| rows.get(place))
    }
}

impl ClientAddress {
    /// An IPv4 address inside IPv6 is the IPv4 address.
    pub fn new(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        })
    }

    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.0).to_canonical()
    }

    /// Its place in the order of addresses.
    pub(super) fn rank(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// What is counted together.
    fn prefix(self) -> [u8; 16] {
        const SUBSCRIBER_BYTES: usize = 8;
        let mut prefix = self.0;
        if self.ip().is_ipv6() {
            prefix[SUBSCRIBER_BYTES..].fill(0);
        }
        prefix
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const UNLIMITED: Rate = Rate { per_second: 0, burst: 0 };

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn client(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().expect("an address"))
    }

    fn places(connections_max: u32) -> AddressLimits {
        let quota = AddressQuota { connections_max, rate: UNLIMITED };
        AddressLimits::new(quota, 1_000).expect("limits")
    }

    fn rate(per_second: u32, burst: u32) -> AddressLimits {
        let quota = AddressQuota { connections_max: 0, rate: Rate { per_second, burst } };
        AddressLimits::new(quota, 1_000).expect("limits")
    }

    #[test]
    fn an_address_gets_its_places_and_others_get_theirs() {
        let limits = places(3);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        assert!((0..3).all(|_| limits.claim(one, at(0)).is_ok()));
        assert_eq!(limits.claim(one, at(0)), Err(AtLimit::Connections));
        assert_eq!(limits.claim(other, at(0)), Ok(()));
        limits.release(one);
        assert_eq!(limits.claim(one, at(0)), Ok(()));
        assert_eq!(limits.claim(one, at(0)), Err(AtLimit::Connections));
        assert_eq!(limits.places_taken(), [4; ROWS]);
        (0..3).for_each(|_| limits.release(one));
        limits.release(other);
        assert_eq!(limits.places_taken(), [0; ROWS]);
    }

    #[test]
    fn an_ipv6_subscriber_is_counted_as_one_whatever_address_it_takes() {
        let limits = places(1);
        assert_eq!(limits.claim(client("2001:db8:0:1::1"), at(0)), Ok(()));
        let sibling = client("2001:db8:0:1:ffff::2");
        assert_eq!(limits.claim(sibling, at(0)), Err(AtLimit::Connections));
        assert_eq!(limits.claim(client("2001:db8:0:2::1"), at(0)), Ok(()));
        assert_eq!(limits.claim(client("192.0.2.1"), at(0)), Ok(()));
        let mapped = client("::ffff:192.0.2.1");
        assert_eq!(limits.claim(mapped, at(0)), Err(AtLimit::Connections));
        assert_eq!(mapped.ip(), Ipv4Addr::new(192, 0, 2, 1));
    }

    #[test]
    fn the_rate_is_kept_by_address_and_refusals_cost_nothing_of_it() {
        let limits = rate(10, 3);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        let taken =
            |who, millis| (0..1_000).filter(|_| limits.claim(who, at(millis)).is_ok()).count();
        assert_eq!(taken(one, 5_000), 3);
        assert_eq!(taken(other, 5_000), 3);
        assert_eq!(taken(one, 5_099), 0);
        assert_eq!(taken(one, 5_100), 1);
        assert_eq!(taken(one, 5_350), 2);
        assert_eq!(taken(one, 3_600_000), 3, "rest does not add up beyond the burst");
        assert_eq!(limits.claim(one, at(3_600_000)), Err(AtLimit::Rate));
    }

    #[test]
    fn a_burst_of_one_is_one_at_a_time() {
        let limits = rate(1, 1);
        let who = client("::1");
        assert_eq!(limits.claim(who, at(0)), Ok(()));
        assert_eq!(limits.claim(who, at(999)), Err(AtLimit::Rate));
        assert_eq!(limits.claim(who, at(1_000)), Ok(()));
    }

    #[test]
    fn without_limits_there_is_nothing_to_keep() {
        let quota = AddressQuota { connections_max: 0, rate: UNLIMITED };
        assert!(AddressLimits::new(quota, 1_000_000).is_none());
        assert!(!rate(1, 1).counts_places());
    }

    #[test]
    fn a_crowd_at_the_limit_of_all_connections_keeps_nobody_else_out() {
        const CROWD: u32 = 2_000;
        let quota = AddressQuota { connections_max: 8, rate: UNLIMITED };
        let limits = AddressLimits::new(quota, 20_000).expect("limits");
        for number in 0..CROWD {
            let address = Ipv4Addr::from(0x0A00_0000 + number / 8);
            assert!(limits.claim(ClientAddress::new(address.into()), at(0)).is_ok());
        }
        for number in 0..10_000 {
            let address = ClientAddress::new(Ipv4Addr::from(0xC000_0000 + number * 7).into());
            assert_eq!(limits.claim(address, at(0)), Ok(()), "{address:?}");
            limits.release(address);
        }
    }

    #[test]
    fn threads_that_race_never_get_more_than_the_limit_and_leave_nothing_behind() {
        let limits = places(5);
        let who = client("192.0.2.1");
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if limits.claim(who, at(0)).is_ok() {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 5);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            limits.release(who);
                        }
                    }
                });
            }
        });
        assert_eq!(limits.places_taken(), [0; ROWS]);
        let taken = (0..10).filter(|_| limits.claim(who, at(0)).is_ok()).count();
        assert_eq!(taken, 5);
    }

    #[test]
    fn threads_that_race_never_get_more_than_the_rate() {
        let limits = rate(1_000, 10);
        let who = client("192.0.2.1");
        let taken = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for millis in 0..1_000 {
                        let claimed = (0..5).filter(|_| limits.claim(who, at(millis)).is_ok());
                        taken.fetch_add(claimed.count() as u32, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = 10 + Duration::from_secs(1).as_millis() as u32;
        let taken = taken.into_inner();
        assert!(taken <= most, "{taken} of at most {most}");
    }
}
