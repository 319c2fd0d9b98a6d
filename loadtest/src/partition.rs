//! Who opens which connections from where: descriptors are limited per process, ports per
//! local address.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use nix::sys::resource::{Resource, getrlimit};

use crate::Error;
use crate::link::PortRange;

/// Descriptors of a worker that are not connections.
const DESCRIPTORS_RESERVED: u64 = 256;
const PORT_FIRST: u16 = 1024;
/// Those above are left to whoever lets the kernel choose, publishers first: it passes over a port
/// that was bound on any address (Linux 6.18, inet_hash_connect).
const PORT_LAST: u16 = 57_999;
/// Ports of an address that others may hold.
const PORTS_SPARED: u32 = 2_000;

/// The connections that one process can hold: its soft limit of descriptors, less a reserve.
pub fn connections_per_process() -> u32 {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    u32::try_from(soft.saturating_sub(DESCRIPTORS_RESERVED).max(1)).unwrap_or(u32::MAX)
}

/// The connections of each of `processes` workers; none when fewer were asked for than needed.
///
/// # Errors
/// When a process would have to hold more connections than it can.
pub fn shares(
    connections: u32,
    processes: Option<u32>,
    per_process: u32,
) -> Result<Vec<u32>, Error> {
    let needed = connections.div_ceil(per_process).max(1);
    let processes = processes.unwrap_or(needed);
    if processes < needed {
        return Err(Error::Usage(format!(
            "{connections} connections need {needed} processes, at {per_process} descriptors each"
        )));
    }
    let (each, more) = (connections / processes, connections % processes);
    Ok((0..processes).map(|index| each + u32::from(index < more)).collect())
}

/// The ports for each share. Empty lists leave the choice to the kernel: where no addresses
/// are given and the kernel's own range is large enough.
///
/// # Errors
/// When the addresses given have too few ports, or the target is not on this machine and the
/// kernel's range is too small.
pub fn sources(
    shares: &[u32],
    given: &[IpAddr],
    target: IpAddr,
) -> Result<Vec<Vec<PortRange>>, Error> {
    let connections: u32 = shares.iter().sum();
    // The kernel looks for a port one by one, even ones first: slow once half are taken.
    if given.is_empty() && connections <= (kernel_ports() / 2).saturating_sub(PORTS_SPARED) {
        return Ok(vec![Vec::new(); shares.len()]);
    }
    let addresses: Vec<IpAddr> = match (given, target) {
        ([], IpAddr::V4(target)) if target.is_loopback() => loopback_sources(connections),
        ([], _) => {
            let message = "so many connections need --source-addresses";
            return Err(Error::Usage(message.to_owned()));
        }
        (given, _) => given.to_vec(),
    };
    deal(shares, &addresses)
}

/// The size of the range that the kernel takes ports from by itself.
fn kernel_ports() -> u32 {
    const DEFAULT: u32 = 28_232;
    let Ok(text) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else {
        return DEFAULT;
    };
    let mut ends = text.split_whitespace().filter_map(|end| end.parse::<u32>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) if first <= last => last - first + 1,
        _ => DEFAULT,
    }
}

fn ports_per_address() -> u32 {
    u32::from(PORT_LAST - PORT_FIRST) + 1 - PORTS_SPARED
}

/// 127.0.0.2 and on: what others do on 127.0.0.1 is not disturbed.
fn loopback_sources(connections: u32) -> Vec<IpAddr> {
    let first = u32::from(Ipv4Addr::new(127, 0, 0, 2));
    let count = connections.div_ceil(ports_per_address());
    (first..first + count).map(|address| Ipv4Addr::from(address).into()).collect()
}

/// Gives each share consecutive ports, with its part of the spared ones.
fn deal(shares: &[u32], addresses: &[IpAddr]) -> Result<Vec<Vec<PortRange>>, Error> {
    let ports_all = u32::from(PORT_LAST - PORT_FIRST) + 1;
    let connections: u32 = shares.iter().sum();
    let capacity =
        u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_mul(ports_per_address());
    if connections > capacity {
        return Err(Error::Usage(format!(
            "{} source addresses have ports for {capacity} connections, not for {connections}",
            addresses.len()
        )));
    }
    let mut next = 0_u64;
    let total = addresses.len() as u64 * u64::from(ports_all);
    let dealt = shares.iter().map(|&share| {
        let begin = next;
        next += u64::from(share) * total / u64::from(connections.max(1));
        ranges(begin..next, addresses, ports_all)
    });
    Ok(dealt.collect())
}

/// Cuts a stretch of all ports of all addresses at the addresses' borders.
fn ranges(stretch: std::ops::Range<u64>, addresses: &[IpAddr], ports_all: u32) -> Vec<PortRange> {
    let mut ranges = Vec::new();
    let mut at = stretch.start;
    while at < stretch.end {
        let index = (at / u64::from(ports_all)) as usize;
        let offset = (at % u64::from(ports_all)) as u16;
        let here = (stretch.end - at).min(u64::from(ports_all) - u64::from(offset));
        let first = PORT_FIRST + offset;
        ranges.push(PortRange { source: addresses[index], first, last: first + (here - 1) as u16 });
        at += here;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn connections_are_shared_out_within_the_limit_of_each_process() {
        assert_eq!(shares(10_000, None, 19_744).expect("enough"), [10_000]);
        assert_eq!(shares(20_501, None, 19_744).expect("enough"), [10_251, 10_250]);
        assert_eq!(shares(7, Some(3), 10).expect("enough"), [3, 2, 2]);
        assert!(shares(21, Some(2), 10).is_err());
        assert_eq!(shares(0, None, 10).expect("enough"), [0]);
    }

    #[test]
    fn few_connections_leave_the_ports_to_the_kernel() {
        assert_eq!(sources(&[500, 500], &[], LOOPBACK).expect("enough"), [vec![], vec![]]);
    }

    #[test]
    fn dealt_ports_are_enough_for_each_and_never_the_same() {
        let shares = [19_000; 7];
        let dealt = sources(&shares, &[], LOOPBACK).expect("loopback has enough");
        let mut seen = std::collections::HashSet::new();
        for (ranges, share) in dealt.iter().zip(shares) {
            let ports = ranges.iter().flat_map(|range| {
                assert!(range.first >= PORT_FIRST && range.first <= range.last);
                (range.first..=range.last).map(|port| (range.source, port))
            });
            let count = ports.inspect(|&port| assert!(seen.insert(port), "{port:?} twice")).count();
            assert!(count >= share as usize);
        }
        assert!(!dealt.concat().iter().any(|range| range.source == LOOPBACK));
    }

    #[test]
    fn too_few_addresses_are_refused() {
        assert!(sources(&[70_000], &[LOOPBACK], LOOPBACK).is_err());
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert!(sources(&[70_000], &[], elsewhere).is_err());
    }
}
