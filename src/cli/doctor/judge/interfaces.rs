//! Whether received packets keep one core busy, or all.

use super::super::finding::{Change, Check, Finding};
use super::super::host::{Host, Interface};

/// An entry each for so many flows that are active at once.
const FLOW_ENTRIES: u64 = 32_768;

pub fn judge(host: &Host) -> Vec<Finding> {
    let readings = (&host.interfaces, &host.processor.cores);
    let (interfaces, cores) = match readings {
        (Ok(interfaces), Ok(cores)) => (interfaces, cores),
        (Err(unread), _) | (_, Err(unread)) => {
            return vec![queues_check("network interfaces").unknown(unread)];
        }
    };
    let mut findings: Vec<Finding> =
        interfaces.iter().map(|interface| queues(interface, cores)).collect();
    findings.push(flow_steering(host, interfaces));
    findings
}

fn queues_check(name: &str) -> Check {
    Check::new(
        name,
        "receive queues on several cores",
        "The core that takes the interrupt does TCP's work for every packet: one alone is full long \
         before the others.",
    )
}

fn queues(interface: &Interface, cores: &[usize]) -> Finding {
    let Interface { name, receive_queues, steered_queues, interrupt_cores, .. } = interface;
    let check = queues_check(&format!("{name}: receive queues"));
    let plural = if *receive_queues == 1 { "" } else { "s" };
    let steering = if *steered_queues == 0 { "off" } else { "on" };
    let mut now = format!("{receive_queues} queue{plural}, RPS {steering}");
    if !interface.is_device {
        return check.ok(format!("{now}; made of software, without interrupts"));
    }
    match interrupt_cores.as_slice() {
        [] => now += ", cores of its interrupts not known",
        [core] => now += &format!(", interrupts on core {core}"),
        several => now += &format!(", interrupts on {} cores", several.len()),
    }
    let busy = if interrupt_cores.is_empty() { *receive_queues } else { interrupt_cores.len() };
    if busy > 1 || cores.len() == 1 || steered_queues == receive_queues {
        return check.ok(now);
    }
    check.advice(now, Change::by_hand(spread(interface, cores)))
}

/// Several queues need only their interrupts apart; one needs its packets handed on.
fn spread(interface: &Interface, cores: &[usize]) -> String {
    let Interface { name, receive_queues, interrupts, .. } = interface;
    if *receive_queues > 1 && interrupts.len() > 1 {
        let each = interrupts.iter().zip(cores.iter().cycle());
        let commands = each
            .map(|(number, core)| format!("echo {core} > /proc/irq/{number}/smp_affinity_list"));
        return commands.collect::<Vec<_>>().join("; ");
    }
    let mask = mask(cores);
    format!(
        "for queue in /sys/class/net/{name}/queues/rx-*; do echo {mask} > $queue/rps_cpus; done"
    )
}

/// Hexadecimal, 32 bits between commas, as the kernel reads it.
fn mask(cores: &[usize]) -> String {
    let words = cores.iter().max().map_or(1, |last| last / 32 + 1);
    let word = |index: usize| {
        let bits = cores.iter().filter(|core| *core / 32 == index);
        format!("{:x}", bits.fold(0_u32, |mask, core| mask | 1 << (core % 32)))
    };
    (0..words).rev().map(word).collect::<Vec<_>>().join(",")
}

fn flow_steering(host: &Host, interfaces: &[Interface]) -> Finding {
    let check = Check::new(
        "net.core.rps_sock_flow_entries",
        format!("{FLOW_ENTRIES} where RPS is on"),
        "With RFS a packet is worked on by the core of its shard, and not by any.",
    );
    check.judge(&host.network.rps_sock_flow_entries, |check, now| {
        let is_steered = interfaces.iter().any(|interface| interface.steered_queues > 0);
        match (is_steered, *now) {
            (true, 0) => {
                check.advice(0, Change::sysctl("net.core.rps_sock_flow_entries", FLOW_ENTRIES))
            }
            (true, now) => check.ok(now),
            (false, now) => check.ok(format!("{now}, RPS is off")),
        }
    })
}
