//! Findings for people, for programs, and for `tuning/apply.sh`.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::finding::{Finding, Severity};
use super::target::Target;
use crate::base::logged::Logged;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// What was found, for which target.
#[derive(Debug)]
pub struct Report<'a> {
    pub target: &'a Target,
    pub findings: &'a [Finding],
}

#[derive(Serialize)]
struct Json<'a> {
    connections: u64,
    shards: usize,
    driver: &'a str,
    is_possible: bool,
    findings: &'a [Finding],
}

impl Report<'_> {
    /// Nothing prevents the target.
    pub fn is_possible(&self) -> bool {
        self.count(Severity::Problem) == 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// # Errors
    /// When stdout cannot be written.
    pub fn print(&self) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        out.write_all(self.text().as_bytes())?;
        out.flush()
    }

    /// # Errors
    /// When stdout cannot be written.
    pub fn print_json(&self) -> io::Result<()> {
        let json = Json {
            connections: self.target.connections,
            shards: self.target.shards,
            driver: self.target.driver.as_str(),
            is_possible: self.is_possible(),
            findings: self.findings,
        };
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &json)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// One line for each change that a script can make.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn print_settings(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for setting in self.findings.iter().flat_map(|finding| &finding.settings) {
            writeln!(out, "{setting}")?;
        }
        out.flush()
    }

    fn text(&self) -> String {
        let Target { connections, shards, driver, .. } = self.target;
        let plural = if *shards == 1 { "" } else { "s" };
        let kernel_name = driver.kernel_name();
        let mut text =
            format!("{connections} connections on {shards} shard{plural}, {kernel_name}\n\n");
        for finding in self.findings {
            push(&mut text, finding);
        }
        let count = |severity: Severity| format!("{} {}", self.count(severity), severity.name());
        let counts =
            [Severity::Problem, Severity::Advice, Severity::Unknown, Severity::Ok].map(count);
        let outcome = match self.is_possible() {
            true => "nothing prevents",
            false => "something prevents",
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "\n{BOLD}{outcome} {connections} connections{BOLD:#} ({})",
            counts.join(", ")
        );
        text
    }
}

fn push(text: &mut String, finding: &Finding) {
    let Finding { check, severity, wanted, why, .. } = finding;
    let style = style_of(*severity);
    let found = finding.now.as_ref().or(finding.unknown_because.as_ref());
    let found = Logged(found.map_or("", String::as_str));
    let name = severity.name();
    let _ = writeln!(text, "{style}{name:<8}{style:#} {BOLD}{check}{BOLD:#}: {found}");
    let _ = writeln!(text, "         {DIM}wanted: {wanted}. {why}{DIM:#}");
    if let Some(change) = &finding.change {
        let _ = writeln!(text, "         {change}");
    }
}

fn style_of(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Problem => AnsiColor::Red,
        Severity::Advice => AnsiColor::Yellow,
        Severity::Unknown => AnsiColor::Cyan,
        Severity::Ok => AnsiColor::Green,
    };
    Style::new().fg_color(Some(colour.into()))
}
