//! What the control groups around this process allow it, versions 1 and 2.

use super::files::{Reading, Root, Unread};

/// The tightest limit on the way up to where the hierarchy is mounted; `None` is no limit.
#[derive(Clone, Debug)]
pub struct Cgroup {
    pub memory_bytes_max: Reading<Option<u64>>,
    /// Processor time that may be used, in thousandths of a core.
    pub millicores_max: Reading<Option<u64>>,
    pub threads_max: Reading<Option<u64>>,
}

/// Version 1 has no word for no limit in its memory controller, but a number near this.
const UNLIMITED_BYTES: u64 = 1 << 60;

impl Cgroup {
    pub fn read(root: &Root) -> Self {
        Self {
            memory_bytes_max: tightest(root, "memory", |folder, is_v2| {
                let name = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
                let limit = limit(root, &format!("{folder}/{name}"))?;
                Ok(limit.filter(|bytes| *bytes < UNLIMITED_BYTES))
            }),
            millicores_max: tightest(root, "cpu", |folder, is_v2| {
                if is_v2 {
                    return root.part(&format!("{folder}/cpu.max"), parse_cpu_max);
                }
                let quota: i64 = root.parsed(&format!("{folder}/cpu.cfs_quota_us"))?;
                let period: u64 = root.parsed(&format!("{folder}/cpu.cfs_period_us"))?;
                Ok(u64::try_from(quota).ok().and_then(|quota| millicores(quota, period)))
            }),
            threads_max: tightest(root, "pids", |folder, _| {
                limit(root, &format!("{folder}/pids.max"))
            }),
        }
    }
}

/// The lowest value that `read` finds in the process's group and those around it. The root of a
/// hierarchy has no such files, and limits nothing.
fn tightest(
    root: &Root,
    controller: &str,
    read: impl Fn(&str, bool) -> Reading<Option<u64>>,
) -> Reading<Option<u64>> {
    let place = Place::of(root, controller)?;
    root.names(&place.mount)?;
    let mut lowest: Option<u64> = None;
    for folder in place.folders() {
        match read(&folder, place.is_v2) {
            Ok(Some(limit)) => lowest = Some(lowest.map_or(limit, |lowest| lowest.min(limit))),
            Ok(None) => {}
            Err(unread) if unread.is_missing => {}
            Err(unread) => return Err(unread),
        }
    }
    Ok(lowest)
}

/// Where this process's group is in a mounted hierarchy.
struct Place {
    mount: String,
    /// From the mount to the group; empty where it is the mount itself.
    group: String,
    is_v2: bool,
}

impl Place {
    /// The hierarchy of version 1 that has the controller, else that of version 2.
    fn of(root: &Root, controller: &str) -> Reading<Self> {
        let groups = root.text("/proc/self/cgroup")?;
        let mounts = root.text("/proc/self/mountinfo")?;
        let found = Self::v1(&groups, &mounts, controller).or_else(|| Self::v2(&groups, &mounts));
        found.ok_or_else(|| Unread::new(format!("no control group with `{controller}` is mounted")))
    }

    fn v1(groups: &str, mounts: &str, controller: &str) -> Option<Self> {
        let has = |list: &str| list.split(',').any(|name| name == controller);
        let group = lines_of_groups(groups).find(|(list, _)| has(list))?.1;
        let (mount, base) = mounts
            .lines()
            .filter_map(|line| mount(line, "cgroup"))
            .find_map(|(mount, base, options)| has(options).then_some((mount, base)))?;
        Some(Self::new(mount, base, group, false))
    }

    fn v2(groups: &str, mounts: &str) -> Option<Self> {
        let group = lines_of_groups(groups).find(|(list, _)| list.is_empty())?.1;
        let (mount, base, _) = mounts.lines().find_map(|line| mount(line, "cgroup2"))?;
        Some(Self::new(mount, base, group, true))
    }

    /// `base` is the group that the mount shows as its root.
    fn new(mount: &str, base: &str, group: &str, is_v2: bool) -> Self {
        let inner = group.strip_prefix(base.trim_end_matches('/')).unwrap_or("");
        Self { mount: mount.to_owned(), group: inner.trim_matches('/').to_owned(), is_v2 }
    }

    /// The group, then those around it.
    fn folders(&self) -> Vec<String> {
        let mut folders = vec![self.mount.clone()];
        for name in self.group.split('/').filter(|name| !name.is_empty()) {
            let outer = &folders[folders.len() - 1];
            folders.push(format!("{outer}/{name}"));
        }
        folders
    }
}

/// Controllers and group of each line such as `4:memory:/a/b`.
fn lines_of_groups(groups: &str) -> impl Iterator<Item = (&str, &str)> {
    groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// Mount point, root and options of the superblock of a mount of this file system.
fn mount<'a>(line: &'a str, file_system: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    if after.next()? != file_system {
        return None;
    }
    let options = after.nth(1)?;
    let mut before = before.split(' ').skip(3);
    let base = before.next()?;
    Some((before.next()?, base, options))
}

fn limit(root: &Root, path: &str) -> Reading<Option<u64>> {
    root.part(path, |text| match text {
        "max" => Some(None),
        number => number.parse().ok().map(Some),
    })
}

fn parse_cpu_max(text: &str) -> Option<Option<u64>> {
    let (quota, period) = text.split_once(' ')?;
    if quota == "max" {
        return Some(None);
    }
    Some(millicores(quota.parse().ok()?, period.parse().ok()?))
}

fn millicores(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1000)?.checked_div(period)
}
