//! Cores, how fast they wake, and how many threads may run.

use super::super::finding::{Change, Check, Finding};
use super::super::host::{Cgroup, IdleState, Processor};
use super::super::target::Target;

pub fn judge(processor: &Processor, cgroup: &Cgroup, target: &Target) -> Vec<Finding> {
    vec![
        cpu_limit(cgroup, target),
        threads(cgroup, target),
        governor(processor),
        idle_states(processor),
        clocksource(processor),
    ]
}

fn cpu_limit(cgroup: &Cgroup, target: &Target) -> Finding {
    let shards = target.shards as u64;
    let check = Check::new(
        "cgroup processor limit",
        format!("none, or at least one core for each of {shards} shards"),
        "Whoever has used up the quota is stopped until the period ends, often a tenth of a second, \
         in the middle of a turn.",
    );
    check.judge(&cgroup.millicores_max, |check, limit| {
        let Some(limit) = *limit else { return check.ok("none") };
        let now = format!("{}.{:03} cores", limit / 1000, limit % 1000);
        if limit >= shards * 1000 {
            return check.ok(now);
        }
        let fewer = (limit / 1000).max(1);
        let command =
            format!("CPUQuota={}% in the systemd unit; or --shards {fewer}", shards * 100);
        check.advice(now, Change::by_hand(command))
    })
}

fn threads(cgroup: &Cgroup, target: &Target) -> Finding {
    /// Hub, control plane, signals, the first thread, and some for whoever starts them.
    const OTHERS: u64 = 16;
    /// Bodies above 256 KiB are parsed aside, 64 MiB of them at once.
    const PARSERS_MAX: u64 = 256;
    // A shard's ring has two kernel threads, which count too.
    let least = target.shards as u64 * 3 + OTHERS;
    let wanted = least + PARSERS_MAX;
    let check = Check::new(
        "cgroup pids limit",
        format!("none, or at least {wanted}"),
        "It counts threads: shards, the kernel's workers for their rings, and the control plane's.",
    );
    check.judge(&cgroup.threads_max, |check, limit| {
        let Some(limit) = *limit else { return check.ok("none") };
        let raise =
            format!("TasksMax={wanted} in the systemd unit, or docker run --pids-limit {wanted}");
        match () {
            () if limit < least => check.problem(limit, Change::by_hand(raise)),
            () if limit < wanted => check.advice(limit, Change::by_hand(raise)),
            () => check.ok(limit),
        }
    })
}

fn governor(processor: &Processor) -> Finding {
    let check = Check::new(
        "CPU governor",
        "performance",
        "A shard sleeps until something comes, and begins the burst at the frequency to which its \
         core had sunk.",
    );
    check.judge(&processor.governors, |check, governors| {
        let now = governors.join(", ");
        match governors.iter().all(|governor| governor == "performance") {
            true => check.ok(now),
            false => check.advice(now, Change::by_hand("cpupower frequency-set -g performance")),
        }
    })
}

fn idle_states(processor: &Processor) -> Finding {
    const EXIT_LATENCY_MAX_US: u64 = 100;
    let check = Check::new(
        "CPU idle states",
        format!("none that takes more than {EXIT_LATENCY_MAX_US} µs to leave"),
        "The first event after a quiet moment waits for its core to wake.",
    );
    check.judge(&processor.idle_states, |check, states| {
        let enabled = states.iter().filter(|state| !state.is_disabled);
        let Some(deepest) = enabled.max_by_key(|state| state.exit_latency_us) else {
            return check.ok("none");
        };
        let IdleState { name, exit_latency_us, .. } = deepest;
        let now = format!("down to {name}, {exit_latency_us} µs to leave");
        if *exit_latency_us <= EXIT_LATENCY_MAX_US {
            return check.ok(now);
        }
        let command = format!("cpupower idle-set -D {EXIT_LATENCY_MAX_US}");
        check.advice(now, Change::by_hand(command))
    })
}

fn clocksource(processor: &Processor) -> Finding {
    const SLOW: [&str; 6] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit", "xen"];
    let check = Check::new(
        "clocksource",
        "one that is read without a system call: tsc, kvm-clock, arch_sys_counter",
        "A shard reads the clock several times in a turn.",
    );
    check.judge(&processor.clocksource, |check, now| {
        if !SLOW.contains(&now.as_str()) {
            return check.ok(now);
        }
        let available = processor.clocksources.as_deref().unwrap_or_default();
        let better = available.split_whitespace().find(|name| !SLOW.contains(name));
        let change = match better {
            Some(name) => format!(
                "echo {name} > /sys/devices/system/clocksource/clocksource0/current_clocksource"
            ),
            None => "boot with tsc=reliable, if the hardware's is".to_owned(),
        };
        check.advice(now, Change::by_hand(change))
    })
}
