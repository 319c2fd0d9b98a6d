//! Hosts in folders, judged.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::super::finding::{Finding, Severity};
use super::super::host::Host;
use super::super::target::Target;
use super::judge;
use crate::config::{Config, DriverChoice};

const CORES: &str = "/sys/devices/system/cpu";
const ETH: &str = "/sys/class/net/eth0";

/// A host with nothing to complain about: 4 cores, 16 GiB, ready for 100,000 connections.
const GOOD: [(&str, &str); 47] = [
    ("/proc/self/limits", "Limit  Soft  Hard  Units\nMax open files  65536  524288  files\n"),
    ("/proc/self/status", "Name:\talarmcast\nCpus_allowed_list:\t0-3\n"),
    ("/proc/self/cgroup", "0::/system.slice/alarmcast.service\n"),
    (
        "/proc/self/mountinfo",
        "24 1 0:22 / / rw - ext4 /dev/sda rw\n\
         30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    ),
    ("/sys/fs/cgroup/system.slice/memory.max", "max"),
    ("/sys/fs/cgroup/system.slice/alarmcast.service/memory.max", "max"),
    ("/sys/fs/cgroup/system.slice/cpu.max", "max 100000"),
    ("/sys/fs/cgroup/system.slice/pids.max", "max"),
    (
        "/proc/meminfo",
        "MemTotal: 16777216 kB\nMemAvailable: 12582912 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
    ),
    ("/proc/sys/fs/file-nr", "4000\t0\t1000000"),
    ("/proc/sys/fs/file-max", "1000000"),
    ("/proc/sys/fs/nr_open", "1048576"),
    ("/proc/sys/vm/swappiness", "60"),
    ("/proc/sys/kernel/osrelease", "6.12.1-generic"),
    ("/proc/sys/kernel/io_uring_disabled", "0"),
    ("/proc/sys/net/core/somaxconn", "4096"),
    ("/proc/sys/net/core/busy_poll", "0"),
    ("/proc/sys/net/core/busy_read", "0"),
    ("/proc/sys/net/core/rps_sock_flow_entries", "0"),
    ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "1024"),
    ("/proc/sys/net/ipv4/tcp_syncookies", "1"),
    ("/proc/sys/net/ipv4/ip_local_port_range", "10240\t65535"),
    ("/proc/sys/net/ipv4/ip_local_reserved_ports", ""),
    ("/proc/sys/net/ipv4/tcp_mem", "375000\t500000\t1300000"),
    ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
    ("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304"),
    ("/proc/sys/net/ipv4/tcp_notsent_lowat", "4294967295"),
    ("/proc/sys/net/ipv4/tcp_congestion_control", "cubic"),
    ("/proc/sys/net/ipv4/tcp_available_congestion_control", "reno cubic"),
    ("/sys/class/net/lo/flags", "0x9"),
    ("/sys/class/net/eth0/flags", "0x1003"),
    ("/sys/class/net/eth0/device/vendor", "0x8086"),
    ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
    ("/sys/class/net/eth0/queues/rx-1/rps_cpus", "00000000,00000000"),
    ("/sys/class/net/eth1/flags", "0x1002"),
    (
        "/proc/interrupts",
        " CPU0\n 24: 7 0 PCI 0-edge eth0-TxRx-0\n 25: 7 0 PCI 1-edge eth0-TxRx-1\n",
    ),
    ("/proc/irq/24/effective_affinity_list", "0"),
    ("/proc/irq/25/smp_affinity_list", "1-2"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
    ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance"),
    ("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance"),
    ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0"),
    ("/sys/devices/system/cpu/cpu0/cpuidle/state0/disable", "0"),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc"),
];

struct Fake {
    root: TempDir,
    uring: Result<String, String>,
    config: Config,
    connections: Option<u64>,
}

impl Fake {
    fn good() -> Self {
        let fake = Self {
            root: tempfile::tempdir().expect("a folder"),
            uring: Ok("Linux 6.12.1: all".into()),
            config: Config::default(),
            connections: None,
        };
        GOOD.into_iter().fold(fake, |fake, (path, text)| fake.with(path, text)).paged(4096)
    }

    fn with(self, path: &str, text: &str) -> Self {
        self.with_bytes(path, text.as_bytes())
    }

    fn with_bytes(self, path: &str, bytes: &[u8]) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
        self
    }

    fn without(self, path: &str) -> Self {
        fs::remove_file(self.path(path)).expect("there");
        self
    }

    fn paged(self, page_bytes: usize) -> Self {
        let words = [3, 1, 6, page_bytes, 0, 0];
        self.with_bytes("/proc/self/auxv", &words.map(usize::to_ne_bytes).concat())
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn nofile(self, soft: &str, hard: &str) -> Self {
        self.with("/proc/self/limits", &format!("Max open files  {soft}  {hard}  files\n"))
    }

    fn refused(mut self, choice: DriverChoice) -> Self {
        self.uring = Err("io_uring_setup: Operation not permitted".into());
        self.config.server.driver = choice;
        self
    }

    fn holds(mut self, connections: u64) -> Self {
        self.connections = Some(connections);
        self
    }

    fn findings(&self) -> Vec<Finding> {
        let host = Host::read(self.root.path(), self.uring.clone());
        judge(&host, &Target::new(&self.config, self.connections, &host))
    }

    fn find(&self, check: &str) -> Finding {
        let found = self.findings().into_iter().find(|finding| finding.check == check);
        found.unwrap_or_else(|| panic!("no finding is called {check}"))
    }

    /// Severity, and what to do.
    fn judged(&self, check: &str) -> (Severity, String) {
        let finding = self.find(check);
        assert_eq!(
            finding.change.is_some(),
            matches!(finding.severity, Severity::Problem | Severity::Advice),
            "{finding:?}"
        );
        (finding.severity, finding.change.unwrap_or_default())
    }

    fn settings(&self) -> Vec<String> {
        let findings = self.findings();
        findings.iter().flat_map(|finding| &finding.settings).map(ToString::to_string).collect()
    }
}

#[test]
fn a_host_that_is_ready_is_told_so() {
    let fake = Fake::good();
    let findings = fake.findings();
    let bad: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(findings.len() > 25, "{}", findings.len());
    assert_eq!(fake.settings(), [""; 0]);
}

#[test]
fn a_host_of_which_nothing_can_be_read_is_unknown_and_no_panic() {
    let root = tempfile::tempdir().expect("a folder");
    for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
        let mut config = Config::default();
        config.server.driver = choice;
        let host = Host::read(root.path(), Ok("as probed".into()));
        let findings = judge(&host, &Target::new(&config, Some(10_000_000), &host));
        let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
        // The configuration and the probe are no files; without netfilter nothing is tracked.
        assert_eq!((count(Severity::Problem), count(Severity::Advice)), (1, 0), "{findings:#?}");
        assert_eq!(count(Severity::Ok), 2, "{findings:#?}");
        let unknown = findings.iter().filter(|f| f.severity == Severity::Unknown);
        for finding in unknown {
            assert!(finding.unknown_because.is_some() && finding.now.is_none(), "{finding:?}");
        }
    }
}

#[test]
fn files_with_nonsense_are_unknown_and_no_panic() {
    let most = u64::MAX.to_string();
    let (two, three) = (format!("0 {most}"), format!("{most} {most} {most}"));
    let texts = ["", "nonsense", "-1", &most, &two, &three, "0x", "[", "::", " - ", "7-1"];
    for text in texts {
        let fake = GOOD.iter().fold(Fake::good(), |fake, (path, _)| fake.with(path, text));
        assert!(fake.findings().len() > 20, "{text}");
        let fake = fake.with_bytes("/proc/self/auxv", &[0xff; 40]);
        assert!(fake.findings().len() > 20, "{text}");
    }
}

#[test]
fn what_is_unknown_has_its_reason() {
    let missing = Fake::good().without("/proc/sys/net/core/somaxconn");
    let finding = missing.find("net.core.somaxconn");
    assert_eq!(finding.severity, Severity::Unknown);
    let reason = finding.unknown_because.expect("a reason");
    assert_eq!(reason, "there is no /proc/sys/net/core/somaxconn");
    let strange = Fake::good().with("/proc/sys/net/core/somaxconn", "many");
    let reason = strange.find("net.core.somaxconn").unknown_because.expect("a reason");
    assert!(reason.contains("is not understood: \"many\""), "{reason}");
}

#[test]
fn each_rings_table_is_bounded_by_nofile_and_more_shards_are_a_way_out() {
    // 4 shards: 25,000 each, a little more by chance.
    let fake = Fake::good().nofile("20000", "20000");
    let (severity, change) = fake.judged("RLIMIT_NOFILE");
    assert_eq!(severity, Severity::Problem);
    assert!(change.contains("the hard limit is 20000"), "{change}");
    assert!(change.ends_with("serve --shards 6"), "{change}");
    assert_eq!(fake.settings(), ["limit nofile 26624"]);
    let mut more_shards = Fake::good().nofile("20000", "20000");
    more_shards.config.server.shards = 6;
    assert_eq!(more_shards.judged("RLIMIT_NOFILE").0, Severity::Ok);
    more_shards.config.server.shards = 5;
    assert_eq!(more_shards.judged("RLIMIT_NOFILE").0, Severity::Problem, "20,000 is no room");
    let soft = Fake::good().nofile("1024", "unlimited");
    let (severity, change) = soft.judged("RLIMIT_NOFILE");
    assert!(severity == Severity::Problem && change.starts_with("ulimit -n 26624"), "{change}");
    assert_eq!(
        Fake::good().nofile("unlimited", "unlimited").judged("RLIMIT_NOFILE").0,
        Severity::Ok
    );
}

#[test]
fn what_is_advised_is_enough() {
    for (connections, shards) in [(1, 1), (10_000, 3), (100_000, 1), (1_000_000, 16)] {
        for choice in [DriverChoice::Uring, DriverChoice::Epoll] {
            let mut fake = Fake::good().holds(connections).nofile("100", "100");
            fake.config.server.shards = shards;
            fake.config.server.driver = choice;
            let settings = fake.settings();
            let needed = settings.iter().find_map(|line| line.strip_prefix("limit nofile "));
            let Some(needed) = needed else { continue };
            let raised = fake.nofile(needed, needed);
            assert_eq!(raised.judged("RLIMIT_NOFILE").0, Severity::Ok, "{connections} {choice}");
        }
    }
}

#[test]
fn on_epoll_all_shards_share_the_descriptors() {
    let fake = Fake::good().refused(DriverChoice::Auto);
    let (severity, change) = fake.judged("RLIMIT_NOFILE");
    assert_eq!(severity, Severity::Problem, "65536 for 100,000 sockets");
    assert!(!change.contains("--shards"), "more shards share the same limit: {change}");
    let enough = Fake::good().refused(DriverChoice::Auto).nofile("110000", "110000");
    assert_eq!(enough.judged("RLIMIT_NOFILE").0, Severity::Ok);
}

#[test]
fn a_refused_ring_is_advice_unless_it_was_asked_for_by_name() {
    let disabled = "/proc/sys/kernel/io_uring_disabled";
    let fake = Fake::good().refused(DriverChoice::Auto).with(disabled, "2");
    let change = "sysctl -w kernel.io_uring_disabled=0".to_owned();
    assert_eq!(fake.judged("io_uring"), (Severity::Advice, change));
    let fake = Fake::good().refused(DriverChoice::Uring);
    let (severity, change) = fake.judged("io_uring");
    assert!(severity == Severity::Problem && change.contains("seccomp"), "{change}");
    assert_eq!(Fake::good().refused(DriverChoice::Epoll).judged("io_uring").0, Severity::Ok);
    let old = Fake::good().with("/proc/sys/kernel/osrelease", "5.15.0-91");
    assert_eq!(old.judged("kernel").0, Severity::Advice);
}

#[test]
fn the_systems_limits_of_files_prevent_it() {
    let fake = Fake::good().with("/proc/sys/fs/file-max", "100000");
    let change = "sysctl -w fs.file-max=108096".to_owned();
    assert_eq!(fake.judged("fs.file-max"), (Severity::Problem, change));
    let fake = Fake::good().nofile("1024", "1024").with("/proc/sys/fs/nr_open", "2048");
    let change = "sysctl -w fs.nr_open=26624".to_owned();
    assert_eq!(fake.judged("fs.nr_open"), (Severity::Problem, change));
    let fake = Fake::good().holds(100_001);
    assert_eq!(fake.judged("limits.connections_max").0, Severity::Problem);
}

/// File, its text, the check that must say so, how bad it is and what to do.
const BAD: [(&str, &str, &str, Severity, &str); 18] = {
    use Severity::{Advice, Problem};
    [
        ("/proc/sys/net/core/somaxconn", "128", "net.core.somaxconn", Advice, "somaxconn=4096"),
        (
            "/proc/sys/net/ipv4/tcp_syncookies",
            "0",
            "net.ipv4.tcp_max_syn_backlog",
            Advice,
            "tcp_max_syn_backlog=4096",
        ),
        (
            "/proc/sys/net/ipv4/ip_local_port_range",
            "32768\t60999",
            "net.ipv4.ip_local_port_range",
            Advice,
            "'net.ipv4.ip_local_port_range=10240 65535'",
        ),
        (
            "/proc/sys/net/ipv4/ip_local_port_range",
            "1024\t65535",
            "net.ipv4.ip_local_reserved_ports",
            Advice,
            "ip_local_reserved_ports=8080,9090",
        ),
        (
            "/proc/sys/net/ipv4/tcp_mem",
            "1\t2\t90000",
            "net.ipv4.tcp_mem",
            Problem,
            "'net.ipv4.tcp_mem=375000 500000 1300000'",
        ),
        ("/proc/sys/net/ipv4/tcp_mem", "1\t2\t110000", "net.ipv4.tcp_mem", Advice, "500000"),
        (
            "/proc/sys/net/ipv4/tcp_rmem",
            "4096 8192 65536",
            "net.ipv4.tcp_rmem",
            Advice,
            "tcp_rmem=4096 8192 131072",
        ),
        (
            "/proc/sys/net/ipv4/tcp_wmem",
            "4096 8192 65536",
            "net.ipv4.tcp_wmem",
            Advice,
            "tcp_wmem=4096 8192 262144",
        ),
        (
            "/proc/sys/net/ipv4/tcp_congestion_control",
            "reno",
            "net.ipv4.tcp_congestion_control",
            Advice,
            "=cubic",
        ),
        (
            "/proc/sys/net/core/busy_read",
            "50",
            "net.core.busy_poll, net.core.busy_read",
            Advice,
            "net.core.busy_read=0",
        ),
        (
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never",
            "transparent huge pages",
            Advice,
            "echo madvise >",
        ),
        (
            "/proc/meminfo",
            "MemTotal: 16777216 kB\nMemAvailable: 12582912 kB\nSwapTotal: 9 kB\nSwapFree: 9 kB\n",
            "swap",
            Advice,
            "vm.swappiness=1",
        ),
        (
            "/proc/meminfo",
            "MemTotal: 500000 kB\nMemAvailable: 500000 kB\n",
            "memory",
            Problem,
            "hold fewer connections",
        ),
        (
            "/proc/meminfo",
            "MemTotal: 16777216 kB\nMemAvailable: 1000000 kB\n",
            "memory",
            Advice,
            "limits.backlog_bytes_max",
        ),
        (
            "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
            "powersave",
            "CPU governor",
            Advice,
            "cpupower frequency-set",
        ),
        (
            "/sys/devices/system/cpu/cpu0/cpuidle/state0/latency",
            "133",
            "CPU idle states",
            Advice,
            "cpupower idle-set -D 100",
        ),
        (
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet",
            "clocksource",
            Advice,
            "tsc",
        ),
        (
            "/proc/sys/net/netfilter/nf_conntrack_max",
            "65536",
            "net.netfilter.nf_conntrack_max",
            Problem,
            "nf_conntrack_max=126024",
        ),
    ]
};

#[test]
fn each_bad_setting_is_named_with_its_command() {
    let tracked = ("/proc/sys/net/netfilter/nf_conntrack_count", "7");
    for (path, text, check, severity, change) in BAD {
        let fake = Fake::good().with(path, text);
        let fake = if path.contains("conntrack") { fake.with(tracked.0, tracked.1) } else { fake };
        let judged = fake.judged(check);
        assert_eq!(judged.0, severity, "{check}: {text}");
        assert!(judged.1.contains(change), "{check}: {}", judged.1);
    }
}

#[test]
fn reserved_ports_are_kept_and_count() {
    let range = ("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
    let reserved = "/proc/sys/net/ipv4/ip_local_reserved_ports";
    let check = "net.ipv4.ip_local_reserved_ports";
    let fake = Fake::good().with(range.0, range.1).with(reserved, "5000-5010,9090");
    let change = "sysctl -w net.ipv4.ip_local_reserved_ports=5000-5010,9090,8080".to_owned();
    assert_eq!(fake.judged(check), (Severity::Advice, change));
    let fake = Fake::good().with(range.0, range.1).with(reserved, "8000-9999");
    assert_eq!(fake.judged(check).0, Severity::Ok);
}

#[test]
fn pages_of_64_kib_are_counted_as_such() {
    // One holds all that a socket may have, and a quarter of the memory is 65,536 of them.
    let fake = Fake::good().paged(65_536).with("/proc/sys/net/ipv4/tcp_mem", "1 60000 200000");
    let (severity, change) = fake.judged("net.ipv4.tcp_mem");
    assert_eq!(severity, Severity::Advice);
    assert!(change.contains("=49152 65536 200000'"), "{change}");
}

#[test]
fn a_table_of_connections_that_nothing_fills_is_advice() {
    let fake = Fake::good()
        .with("/proc/sys/net/netfilter/nf_conntrack_max", "65536")
        .with("/proc/sys/net/netfilter/nf_conntrack_count", "0");
    assert_eq!(fake.judged("net.netfilter.nf_conntrack_max").0, Severity::Advice);
}

#[test]
fn the_tightest_group_counts_in_both_versions() {
    let slice = "/sys/fs/cgroup/system.slice";
    let fake = Fake::good()
        .with(&format!("{slice}/memory.max"), "402653184")
        .with(&format!("{slice}/cpu.max"), "150000 100000")
        .with(&format!("{slice}/alarmcast.service/pids.max"), "20");
    assert_eq!(fake.judged("cgroup memory limit").0, Severity::Problem);
    let (severity, change) = fake.judged("cgroup processor limit");
    assert!(severity == Severity::Advice && change.contains("--shards 1"), "{change}");
    assert_eq!(fake.find("cgroup processor limit").now.expect("known"), "1.500 cores");
    assert_eq!(fake.judged("cgroup pids limit").0, Severity::Problem);

    // In a container of version 1 the mount shows the container's group as its root.
    let v1 = Fake::good()
        .with(
            "/proc/self/cgroup",
            "4:cpu,cpuacct:/docker/7\n3:memory:/docker/7/inner\n2:pids:/docker/7\n0::/\n",
        )
        .with(
            "/proc/self/mountinfo",
            "31 30 0:27 /docker/7 /cg/memory ro - cgroup cgroup rw,memory\n\
             32 30 0:28 /docker/7 /cg/cpu ro - cgroup cgroup rw,cpu,cpuacct\n\
             33 30 0:29 /docker/7 /cg/pids ro - cgroup cgroup rw,pids\n",
        )
        .with("/cg/memory/memory.limit_in_bytes", "1073741824")
        .with("/cg/memory/inner/memory.limit_in_bytes", "9223372036854771712")
        .with("/cg/cpu/cpu.cfs_quota_us", "-1")
        .with("/cg/cpu/cpu.cfs_period_us", "100000")
        .with("/cg/pids/pids.max", "100");
    assert_eq!(v1.judged("cgroup memory limit").0, Severity::Advice);
    assert_eq!(v1.find("cgroup memory limit").now.expect("known"), "1.0 GiB");
    assert_eq!(v1.judged("cgroup processor limit").0, Severity::Ok);
    assert_eq!(v1.judged("cgroup pids limit").0, Severity::Advice);
}

#[test]
fn one_core_that_receives_for_all_is_named() {
    let check = "eth0: receive queues";
    let together = Fake::good()
        .with("/proc/irq/24/effective_affinity_list", "3")
        .with("/proc/irq/25/smp_affinity_list", "3");
    let (severity, change) = together.judged(check);
    assert_eq!(severity, Severity::Advice);
    let apart = "echo 0 > /proc/irq/24/smp_affinity_list; echo 1 > /proc/irq/25/smp_affinity_list";
    assert_eq!(change, apart);
    let one_queue = || {
        Fake::good()
            .without(&format!("{ETH}/queues/rx-1/rps_cpus"))
            .with("/proc/interrupts", "24: 7 PCI 0-edge eth0-rx\n25: 7 PCI 0-edge eth01-rx\n")
    };
    let one = one_queue();
    fs::remove_dir(one.path(&format!("{ETH}/queues/rx-1"))).expect("empty");
    let (severity, change) = one.judged(check);
    assert!(
        severity == Severity::Advice && change.contains("echo f > $queue/rps_cpus"),
        "{change}"
    );
    let steered = one.with(&format!("{ETH}/queues/rx-0/rps_cpus"), "00000000,0000000f");
    assert_eq!(steered.judged(check).0, Severity::Ok);
    let flows = ("net.core.rps_sock_flow_entries", "rps_sock_flow_entries=32768");
    let (severity, change) = steered.judged(flows.0);
    assert!(severity == Severity::Advice && change.ends_with(flows.1), "{change}");
    assert!(Fake::good().findings().iter().all(|f| !f.check.starts_with("lo")));
    assert!(Fake::good().findings().iter().all(|f| !f.check.starts_with("eth1")), "it is down");
}

#[test]
fn an_interface_of_software_has_no_interrupts_to_move() {
    let fake = Fake::good().without(&format!("{ETH}/device/vendor"));
    fs::remove_dir(fake.path(&format!("{ETH}/device"))).expect("empty");
    assert_eq!(fake.judged("eth0: receive queues").0, Severity::Ok);
}

#[test]
fn the_worst_comes_first() {
    let fake = Fake::good()
        .nofile("100", "100")
        .with("/proc/sys/net/core/somaxconn", "128")
        .without(&format!("{CORES}/cpu0/cpufreq/scaling_governor"));
    let findings = fake.findings();
    let severities: Vec<_> = findings.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted(), "{severities:?}");
    assert_eq!(severities[..3], [Severity::Problem, Severity::Advice, Severity::Unknown]);
}

#[test]
fn reading_this_machine_works() {
    let host = Host::read(Path::new("/"), Ok("as probed".into()));
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    assert_eq!(host.descriptors.nofile, Ok(limit.expect("a limit")));
    assert!(host.memory.page_bytes.is_ok_and(u64::is_power_of_two));
    assert!(host.processor.cores.is_ok_and(|cores| !cores.is_empty()));
}
