//! What a check came to.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::host::{Reading, Unread};

/// How much a finding matters, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Prevents the target.
    Problem,
    /// The target is reached without it, but worse.
    Advice,
    /// Could not be read.
    Unknown,
    Ok,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Advice => "advice",
            Self::Unknown => "unknown",
            Self::Ok => "ok",
        }
    }
}

/// One setting of the host, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: String,
    pub severity: Severity,
    /// None where it could not be read.
    pub now: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_because: Option<String>,
    pub wanted: String,
    pub why: &'static str,
    /// The command that changes it, where something is to be changed.
    pub change: Option<String>,
    #[serde(skip)]
    pub settings: Vec<Setting>,
}

/// A change that `tuning/apply.sh` can make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    Sysctl {
        key: &'static str,
        value: String,
    },
    /// RLIMIT_NOFILE of what is started from now on.
    Nofile(u64),
}

impl Display for Setting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { key, value } => write!(f, "sysctl {key} {value}"),
            Self::Nofile(limit) => write!(f, "limit nofile {limit}"),
        }
    }
}

/// How to change what was found.
#[derive(Clone, Debug)]
pub struct Change {
    command: String,
    settings: Vec<Setting>,
}

impl Change {
    pub fn sysctl(key: &'static str, value: impl Display) -> Self {
        let value = value.to_string();
        let quote = if value.contains(' ') { "'" } else { "" };
        let command = format!("sysctl -w {quote}{key}={value}{quote}");
        Self { command, settings: vec![Setting::Sysctl { key, value }] }
    }

    pub fn nofile(limit: u64, command: String) -> Self {
        Self { command, settings: vec![Setting::Nofile(limit)] }
    }

    /// What only a person can do.
    pub fn by_hand(command: impl Into<String>) -> Self {
        Self { command: command.into(), settings: Vec::new() }
    }
}

/// What is asked of a setting, and why, before it is judged.
#[derive(Clone, Debug)]
pub struct Check {
    name: String,
    wanted: String,
    why: &'static str,
}

impl Check {
    pub fn new(name: impl Into<String>, wanted: impl Into<String>, why: &'static str) -> Self {
        Self { name: name.into(), wanted: wanted.into(), why }
    }

    /// Judges what was read; unknown where nothing was.
    pub fn judge<T>(
        self,
        reading: &Reading<T>,
        judge: impl FnOnce(Self, &T) -> Finding,
    ) -> Finding {
        match reading {
            Ok(value) => judge(self, value),
            Err(unread) => self.unknown(unread),
        }
    }

    pub fn ok(self, now: impl Display) -> Finding {
        self.found(Severity::Ok, now, None)
    }

    pub fn advice(self, now: impl Display, change: Change) -> Finding {
        self.found(Severity::Advice, now, Some(change))
    }

    pub fn problem(self, now: impl Display, change: Change) -> Finding {
        self.found(Severity::Problem, now, Some(change))
    }

    pub fn unknown(self, unread: &Unread) -> Finding {
        let mut finding = self.found(Severity::Unknown, "", None);
        finding.now = None;
        finding.unknown_because = Some(unread.reason.clone());
        finding
    }

    fn found(self, severity: Severity, now: impl Display, change: Option<Change>) -> Finding {
        let (change, settings) = match change {
            Some(Change { command, settings }) => (Some(command), settings),
            None => (None, Vec::new()),
        };
        Finding {
            check: self.name,
            severity,
            now: Some(now.to_string()),
            unknown_because: None,
            wanted: self.wanted,
            why: self.why,
            change,
            settings,
        }
    }
}
