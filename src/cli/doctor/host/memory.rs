//! Memory, how the kernel pages it, and swap.

use super::files::{Reading, Root, Unread};

#[derive(Clone, Debug)]
pub struct Memory {
    pub total_bytes: Reading<u64>,
    pub available_bytes: Reading<u64>,
    pub page_bytes: Reading<u64>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Reading<String>,
    pub swap: Reading<Swap>,
    pub swappiness: Reading<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swap {
    pub total_bytes: u64,
    pub used_bytes: u64,
}

impl Memory {
    pub fn read(root: &Root) -> Self {
        let meminfo = |name: &'static str| {
            root.part("/proc/meminfo", move |text: &str| meminfo_bytes(text, name))
        };
        let swap = || {
            let (total_bytes, free) = (meminfo("SwapTotal:")?, meminfo("SwapFree:")?);
            Ok(Swap { total_bytes, used_bytes: total_bytes.saturating_sub(free) })
        };
        Self {
            total_bytes: meminfo("MemTotal:"),
            available_bytes: meminfo("MemAvailable:"),
            page_bytes: page_bytes(root),
            huge_pages: root.part("/sys/kernel/mm/transparent_hugepage/enabled", chosen),
            swap: swap(),
            swappiness: root.parsed("/proc/sys/vm/swappiness"),
        }
    }
}

fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The word in brackets, as in `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// From what the kernel told this process at its start: pairs of machine words.
fn page_bytes(root: &Root) -> Reading<u64> {
    const AT_PAGESZ: usize = 6;
    const WORD: usize = size_of::<usize>();
    let path = "/proc/self/auxv";
    let bytes = root.bytes(path)?;
    let word = |bytes: &[u8]| usize::from_ne_bytes(bytes.try_into().expect("a word"));
    bytes
        .chunks_exact(2 * WORD)
        .map(|pair| (word(&pair[..WORD]), word(&pair[WORD..])))
        .find(|&(kind, bytes)| kind == AT_PAGESZ && bytes > 0)
        .map(|(_, bytes)| bytes as u64)
        .ok_or_else(|| Unread::new(format!("{path} does not have the size of a page")))
}
