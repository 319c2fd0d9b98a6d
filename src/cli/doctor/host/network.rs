//! Settings of TCP and of what stands before it.

use super::files::{Reading, Root, parse_list};

#[derive(Clone, Debug)]
pub struct Network {
    pub somaxconn: Reading<u64>,
    pub tcp_max_syn_backlog: Reading<u64>,
    pub tcp_syncookies: Reading<u64>,
    /// First and last port that a client may be given.
    pub port_range: Reading<[u64; 2]>,
    /// Ports that no client is given, as ranges.
    pub reserved_ports: Reading<Vec<(usize, usize)>>,
    /// In pages: no limit below the first, pressure above the second, no more above the third.
    pub tcp_mem: Reading<[u64; 3]>,
    /// Bytes of one socket: least, first, most.
    pub tcp_rmem: Reading<[u64; 3]>,
    pub tcp_wmem: Reading<[u64; 3]>,
    pub tcp_notsent_lowat: Reading<u64>,
    pub congestion_control: Reading<String>,
    pub congestion_controls: Reading<String>,
    pub busy_poll: Reading<u64>,
    pub busy_read: Reading<u64>,
    pub rps_sock_flow_entries: Reading<u64>,
    pub conntrack: Reading<Conntrack>,
}

/// Connections that a stateful firewall remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    pub count: u64,
    pub max: u64,
}

impl Network {
    pub fn read(root: &Root) -> Self {
        let tcp = |name: &str| format!("/proc/sys/net/ipv4/{name}");
        let core = |name: &str| format!("/proc/sys/net/core/{name}");
        Self {
            somaxconn: root.parsed(&core("somaxconn")),
            tcp_max_syn_backlog: root.parsed(&tcp("tcp_max_syn_backlog")),
            tcp_syncookies: root.parsed(&tcp("tcp_syncookies")),
            port_range: root.numbers(&tcp("ip_local_port_range")),
            reserved_ports: root.part(&tcp("ip_local_reserved_ports"), parse_list),
            tcp_mem: root.numbers(&tcp("tcp_mem")),
            tcp_rmem: root.numbers(&tcp("tcp_rmem")),
            tcp_wmem: root.numbers(&tcp("tcp_wmem")),
            tcp_notsent_lowat: root.parsed(&tcp("tcp_notsent_lowat")),
            congestion_control: root.text(&tcp("tcp_congestion_control")),
            congestion_controls: root.text(&tcp("tcp_available_congestion_control")),
            busy_poll: root.parsed(&core("busy_poll")),
            busy_read: root.parsed(&core("busy_read")),
            rps_sock_flow_entries: root.parsed(&core("rps_sock_flow_entries")),
            conntrack: conntrack(root),
        }
    }
}

fn conntrack(root: &Root) -> Reading<Conntrack> {
    let netfilter = "/proc/sys/net/netfilter";
    Ok(Conntrack {
        max: root.parsed(&format!("{netfilter}/nf_conntrack_max"))?,
        count: root.parsed(&format!("{netfilter}/nf_conntrack_count"))?,
    })
}
