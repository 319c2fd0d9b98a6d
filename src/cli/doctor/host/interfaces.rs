//! Which cores the network interfaces keep busy.

use std::fs;

use super::files::{Reading, Root, parse_list};

/// An interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// False where it is made of software, and has no interrupts.
    pub is_device: bool,
    pub receive_queues: usize,
    /// Queues whose packets are handed to other cores (RPS).
    pub steered_queues: usize,
    /// Numbers of the interrupts that announce received packets, as far as their names tell.
    pub interrupts: Vec<u32>,
    /// The cores that handle these, each once.
    pub interrupt_cores: Vec<usize>,
}

const FOLDER: &str = "/sys/class/net";
const IFF_UP: u64 = 1;
const IFF_LOOPBACK: u64 = 8;

/// Those that are up, without loopback.
pub fn read(root: &Root) -> Reading<Vec<Interface>> {
    let names = root.names(FOLDER)?;
    // Interrupts that cannot be read leave the number of queues to judge by.
    let interrupts = root.text("/proc/interrupts").unwrap_or_default();
    let up = |name: &&String| {
        let flags = root.part(&format!("{FOLDER}/{name}/flags"), parse_hex);
        flags.is_ok_and(|flags| flags & (IFF_UP | IFF_LOOPBACK) == IFF_UP)
    };
    names.iter().filter(up).map(|name| interface(root, name, &interrupts)).collect()
}

fn interface(root: &Root, name: &str, interrupts: &str) -> Reading<Interface> {
    let folder = format!("{FOLDER}/{name}");
    let queues = root.names(&format!("{folder}/queues"))?;
    let queues: Vec<String> = queues.into_iter().filter(|queue| queue.starts_with("rx-")).collect();
    let is_steered = |queue: &&String| {
        let mask = root.text(&format!("{folder}/queues/{queue}/rps_cpus"));
        mask.is_ok_and(|mask| mask.contains(|c: char| !matches!(c, '0' | ',')))
    };
    let device = fs::canonicalize(root.path(&format!("{folder}/device"))).ok();
    let device_name = device.as_ref().and_then(|device| device.file_name()?.to_str());
    let interrupts = interrupts_of(interrupts, [Some(name), device_name]);
    let mut interrupt_cores: Vec<usize> =
        interrupts.iter().flat_map(|number| cores_of(root, *number)).collect();
    interrupt_cores.sort_unstable();
    interrupt_cores.dedup();
    Ok(Interface {
        name: name.to_owned(),
        is_device: device.is_some(),
        receive_queues: queues.len(),
        steered_queues: queues.iter().filter(is_steered).count(),
        interrupts,
        interrupt_cores,
    })
}

/// Interrupts that are named after one of `owners` and may be of a receive queue.
fn interrupts_of(interrupts: &str, owners: [Option<&str>; 2]) -> Vec<u32> {
    let lines = interrupts.lines().filter_map(|line| {
        let (number, rest) = line.split_once(':')?;
        Some((number.trim().parse::<u32>().ok()?, rest.split_whitespace().last()?))
    });
    let is_ours = |&(_, action): &(u32, &str)| {
        let belongs = owners.iter().flatten().any(|owner| mentions(action, owner));
        belongs && may_receive(action)
    };
    lines.filter(is_ours).map(|(number, _)| number).collect()
}

/// Whether `owner` stands in `action`, and is not the beginning of another name: eth1 in eth10.
fn mentions(action: &str, owner: &str) -> bool {
    action.match_indices(owner).any(|(at, _)| {
        let after = action[at + owner.len()..].chars().next();
        !after.is_some_and(|c| c.is_ascii_alphanumeric())
    })
}

fn may_receive(action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    let is_other = ["config", "control", "event", "async", "output"];
    let only_sends = action.contains("tx") && !action.contains("rx");
    !only_sends && !is_other.iter().any(|part| action.contains(part))
}

fn cores_of(root: &Root, interrupt: u32) -> Vec<usize> {
    let read = |name| root.part(&format!("/proc/irq/{interrupt}/{name}"), parse_list);
    let ranges = read("effective_affinity_list").or_else(|_| read("smp_affinity_list"));
    ranges.unwrap_or_default().into_iter().flat_map(|(first, last)| first..=last).collect()
}

fn parse_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}
