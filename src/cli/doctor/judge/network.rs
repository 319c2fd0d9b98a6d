//! TCP, and what stands before it.

use super::super::finding::{Change, Check, Finding};
use super::super::host::{Conntrack, Memory, Network, Reading};
use super::super::target::Target;
use super::bytes;
use crate::base::limits::{NOTSENT_LOWAT_BYTES, SEND_BYTES_MAX};

pub fn judge(network: &Network, memory: &Memory, target: &Target) -> Vec<Finding> {
    vec![
        somaxconn(network, target),
        syn_backlog(network, target),
        port_range(network, target),
        reserved_ports(network, target),
        tcp_mem(network, memory, target),
        tcp_rmem(network, target),
        tcp_wmem(network),
        notsent_lowat(network),
        congestion_control(network),
        conntrack(network, target),
        busy_poll(network),
    ]
}

fn somaxconn(network: &Network, target: &Target) -> Finding {
    let backlog = target.listen_backlog;
    let check = Check::new(
        "net.core.somaxconn",
        format!("at least {backlog}, which is limits.listen_backlog"),
        "It cuts the listen backlog: when a crowd reconnects, what does not fit is retried by TCP \
         after 1, 3 and 7 s.",
    );
    check.judge(&network.somaxconn, |check, &now| match now >= backlog {
        true => check.ok(now),
        false => check.advice(now, Change::sysctl("net.core.somaxconn", backlog)),
    })
}

fn syn_backlog(network: &Network, target: &Target) -> Finding {
    let backlog = target.listen_backlog;
    let check = Check::new(
        "net.ipv4.tcp_max_syn_backlog",
        format!("SYN cookies, or at least {backlog}"),
        "Without SYN cookies, handshakes beyond three quarters of it are dropped and retried.",
    );
    check.judge(&network.tcp_max_syn_backlog, |check, &now| match &network.tcp_syncookies {
        Err(unread) => check.unknown(unread),
        Ok(0) if now < backlog => {
            let change = Change::sysctl("net.ipv4.tcp_max_syn_backlog", backlog);
            check.advice(format!("{now}, no SYN cookies"), change)
        }
        Ok(0) => check.ok(now),
        Ok(_) => check.ok(format!("{now}, SYN cookies beyond it")),
    })
}

/// The server needs none of these ports; who connects from this host does.
fn port_range(network: &Network, target: &Target) -> Finding {
    /// Above the server's own ports and most that services listen on.
    const WIDE: [u64; 2] = [10_240, 65_535];
    let enough = target.connections.min(WIDE[1] - WIDE[0] + 1);
    let check = Check::new(
        "net.ipv4.ip_local_port_range",
        format!("{enough} ports for a load tester or proxy on this host"),
        "Each connection that starts here takes a source port: so many from one address to one \
         address and port, and no more.",
    );
    check.judge(&network.port_range, |check, &[first, last]| {
        let ports = last.saturating_add(1).saturating_sub(first);
        let now = format!("{first} to {last}: {ports} ports");
        if ports >= enough {
            return check.ok(now);
        }
        let [first, last] = WIDE;
        let change = Change::sysctl("net.ipv4.ip_local_port_range", format!("{first} {last}"));
        check.advice(now, change)
    })
}

fn reserved_ports(network: &Network, target: &Target) -> Finding {
    let check = Check::new(
        "net.ipv4.ip_local_reserved_ports",
        "the server's ports, where clients may be given them",
        "A client on this host that happens to hold one of them keeps the server from starting.",
    );
    let [first, last] = match &network.port_range {
        Ok(range) => *range,
        Err(unread) => return check.unknown(unread),
    };
    check.judge(&network.reserved_ports, |check, reserved| {
        let is_reserved = |port: u16| {
            reserved.iter().any(|&(first, last)| (first..=last).contains(&usize::from(port)))
        };
        let mut open: Vec<u16> = target.ports.to_vec();
        open.retain(|&port| (first..=last).contains(&u64::from(port)) && !is_reserved(port));
        let shown = if reserved.is_empty() { "none".to_owned() } else { ranges(reserved) };
        if open.is_empty() {
            return check.ok(shown);
        }
        let mut all = reserved.clone();
        all.extend(open.iter().map(|&port| (usize::from(port), usize::from(port))));
        check.advice(shown, Change::sysctl("net.ipv4.ip_local_reserved_ports", ranges(&all)))
    })
}

/// As the kernel lists them.
fn ranges(ranges: &[(usize, usize)]) -> String {
    let shown = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// Counts what is queued in sockets, by whole pages; an idle socket has nothing queued.
fn tcp_mem(network: &Network, memory: &Memory, target: &Target) -> Finding {
    /// An event for everybody: one page for each at least.
    const PAGES_LEAST: u64 = 1;
    /// What a socket was seen to hold whose client reads nothing, and the most that it may:
    /// see tuning/README.md.
    const BYTES_FULL: u64 = 20 * 1024;
    const BYTES_MOST: u64 = 52 * 1024;
    let key = "net.ipv4.tcp_mem";
    let check = |wanted| {
        Check::new(
            key,
            wanted,
            "All that is queued in sockets counts against it: above the second value the kernel \
             shrinks buffers, above the third it stops and resets connections.",
        )
    };
    let readings = (&network.tcp_mem, &memory.page_bytes, &memory.total_bytes);
    let (&[low, pressure, high], page, total) = match readings {
        (Ok(pages), Ok(page), Ok(total)) => (pages, *page, *total),
        (Err(unread), ..) | (_, Err(unread), _) | (.., Err(unread)) => {
            return check("20 to 52 KiB for each connection".to_owned()).unknown(unread);
        }
    };
    let pages = |bytes: u64| target.connections.saturating_mul(bytes.div_ceil(page));
    // What would leave no memory for anything else is not advised.
    let (full, most) = (pages(BYTES_FULL), pages(BYTES_MOST));
    let (full, most) = (full.min(total / page / 4), most.min(total / page / 2));
    let check = check(format!("at least {full} and {most} pages of {page} bytes"));
    let now =
        format!("{low} {pressure} {high}: pressure at {}", bytes(pressure.saturating_mul(page)));
    let raised = [low.max(full / 4 * 3), pressure.max(full), high.max(most)].map(|n| n.to_string());
    let change = Change::sysctl(key, raised.join(" "));
    match () {
        () if high < target.connections * PAGES_LEAST => check.problem(now, change),
        () if pressure < full || high < most => check.advice(now, change),
        () => check.ok(now),
    }
}

fn tcp_rmem(network: &Network, target: &Target) -> Finding {
    let wanted = 2 * target.message_bytes_max;
    let check = Check::new(
        "net.ipv4.tcp_rmem",
        format!("the last at least {wanted}, two messages of the largest size"),
        "Receive buffers grow as clients send; an idle connection takes none of it.",
    );
    largest("net.ipv4.tcp_rmem", &network.tcp_rmem, wanted, check)
}

fn tcp_wmem(network: &Network) -> Finding {
    let wanted = 8 * SEND_BYTES_MAX as u64;
    let check = Check::new(
        "net.ipv4.tcp_wmem",
        format!("the last at least {wanted}"),
        "What is sent and not yet acknowledged stays in the buffer: a small one slows clients that \
         are far away.",
    );
    largest("net.ipv4.tcp_wmem", &network.tcp_wmem, wanted, check)
}

/// The last of three sizes of a buffer.
fn largest(key: &'static str, sizes: &Reading<[u64; 3]>, wanted: u64, check: Check) -> Finding {
    check.judge(sizes, |check, &[least, first, most]| {
        let now = format!("{least} {first} {most}");
        match most >= wanted {
            true => check.ok(now),
            false => check.advice(now, Change::sysctl(key, format!("{least} {first} {wanted}"))),
        }
    })
}

fn notsent_lowat(network: &Network) -> Finding {
    let check = Check::new(
        "net.ipv4.tcp_notsent_lowat",
        format!("any: the server sets {NOTSENT_LOWAT_BYTES} on its own sockets"),
        "What the kernel holds unsent cannot be overtaken by an urgent event any more.",
    );
    check.judge(&network.tcp_notsent_lowat, |check, now| match *now {
        4_294_967_295 => check.ok("no limit"),
        now => check.ok(now),
    })
}

fn congestion_control(network: &Network) -> Finding {
    let check = Check::new(
        "net.ipv4.tcp_congestion_control",
        "cubic or bbr",
        "Reno takes long to recover from one lost packet on a long way.",
    );
    check.judge(&network.congestion_control, |check, now| {
        let available = network.congestion_controls.as_deref().unwrap_or_default();
        let has_cubic = available.split_whitespace().any(|name| name == "cubic");
        match now.as_str() {
            "reno" if has_cubic => {
                check.advice(now, Change::sysctl("net.ipv4.tcp_congestion_control", "cubic"))
            }
            "reno" => check.advice(now, Change::by_hand("modprobe tcp_cubic")),
            _ => check.ok(now),
        }
    })
}

fn conntrack(network: &Network, target: &Target) -> Finding {
    let needed = target.connections + target.connections / 4 + 1_024;
    let check = Check::new(
        "net.netfilter.nf_conntrack_max",
        format!("not loaded, or at least {needed}"),
        "A firewall that tracks connections drops packets of those that do not fit into its table.",
    );
    match &network.conntrack {
        Ok(Conntrack { count, max }) => {
            let now = format!("{max}, of which {count} are used");
            let change = Change::sysctl("net.netfilter.nf_conntrack_max", needed);
            match () {
                () if *max >= needed => check.ok(now),
                // Loaded, but no rule tracks anything here.
                () if *count == 0 => check.advice(now, change),
                () => check.problem(now, change),
            }
        }
        Err(unread) if unread.is_missing => check.ok("not loaded"),
        Err(unread) => check.unknown(unread),
    }
}

fn busy_poll(network: &Network) -> Finding {
    let check = Check::new(
        "net.core.busy_poll, net.core.busy_read",
        "0",
        "Polling the device before each wait takes the time of a core that has other connections to \
         serve.",
    );
    check.judge(&network.busy_poll, |check, poll| match &network.busy_read {
        Err(unread) => check.unknown(unread),
        Ok(0) if *poll == 0 => check.ok("0, 0"),
        Ok(read) => {
            let key = if *poll == 0 { "net.core.busy_read" } else { "net.core.busy_poll" };
            check.advice(format!("{poll}, {read}"), Change::sysctl(key, 0))
        }
    })
}
