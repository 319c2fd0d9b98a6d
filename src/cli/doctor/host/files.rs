//! Reads the small files of /proc and /sys, under a root that may be another folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What was read, or why it is not known.
pub type Reading<T> = Result<T, Unread>;

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unread {
    pub reason: String,
    /// There is no such file: this kernel, or this machine, does not have what it is about.
    pub is_missing: bool,
}

impl Unread {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_missing: false }
    }
}

/// The folder that stands for `/`.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    pub fn bytes(&self, path: &str) -> Reading<Vec<u8>> {
        fs::read(self.path(path)).map_err(|error| unread(path, &error))
    }

    /// A file's text without the white space around it.
    pub fn text(&self, path: &str) -> Reading<String> {
        Ok(String::from_utf8_lossy(&self.bytes(path)?).trim().to_owned())
    }

    pub fn parsed<T: FromStr>(&self, path: &str) -> Reading<T> {
        let text = self.text(path)?;
        text.parse().map_err(|_| strange(path, &text))
    }

    /// Exactly so many numbers with white space between them.
    pub fn numbers<const COUNT: usize>(&self, path: &str) -> Reading<[u64; COUNT]> {
        let text = self.text(path)?;
        let numbers: Option<Vec<u64>> =
            text.split_whitespace().map(|word| word.parse().ok()).collect();
        numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| strange(path, &text))
    }

    /// What `parse` makes of a file's text.
    pub fn part<T>(&self, path: &str, parse: impl Fn(&str) -> Option<T>) -> Reading<T> {
        let text = self.text(path)?;
        parse(&text).ok_or_else(|| strange(path, &text))
    }

    /// The names in a folder, in order.
    pub fn names(&self, path: &str) -> Reading<Vec<String>> {
        let entries = fs::read_dir(self.path(path)).map_err(|error| unread(path, &error))?;
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }
}

/// Cores, ports: above everything that is listed so.
const LISTED_MAX: usize = 1 << 20;

/// Numbers as the kernel lists them, such as `0-3,8`, each range by its first and last.
pub fn parse_list(text: &str) -> Option<Vec<(usize, usize)>> {
    let ranges = text.split(',').filter(|part| !part.is_empty());
    ranges
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            Some(range).filter(|(first, last)| first <= last && *last <= LISTED_MAX)
        })
        .collect()
}

fn unread(path: &str, error: &std::io::Error) -> Unread {
    let reason = match error.kind() {
        ErrorKind::NotFound => format!("there is no {path}"),
        ErrorKind::PermissionDenied => format!("not permitted to read {path}"),
        _ => format!("{path}: {error}"),
    };
    Unread { reason, is_missing: error.kind() == ErrorKind::NotFound }
}

fn strange(path: &str, text: &str) -> Unread {
    const SHOWN_CHARS_MAX: usize = 40;
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    Unread::new(format!("{path} is not understood: {shown:?}"))
}
