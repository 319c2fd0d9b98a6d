//! `alarmcast doctor`: whether this host can hold so many connections, and what to change.
//!
//! Readings ([`host`]) and judgements ([`judge`]) are apart: what is judged can be any host.

mod finding;
mod host;
mod judge;
mod show;
mod target;

use std::path::Path;

use clap::Args;

use super::Failure;
use super::serve::Settings;
use crate::io::probe_uring;
use host::Host;
use show::Report;
use target::Target;

#[derive(Debug, Args)]
#[command(after_help = "Reads, and changes nothing; needs no privileges. Ends with status 1 when \
                        something prevents the target, but with --settings. What each setting does is in \
                        tuning/README.md; tuning/apply.sh makes the changes of --settings.")]
pub struct Arguments {
    /// How many connections the host is to hold [default: `limits.connections_max`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    connections: Option<u64>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Print only the kernel settings and limits to change, one a line
    #[arg(long, conflicts_with = "json")]
    settings: bool,
    #[command(flatten)]
    server: Settings,
}

/// # Errors
/// When something prevents the target, the configuration cannot be used, or stdout cannot be
/// written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.server.load()?.config;
    let uring = probe_uring();
    let uring =
        uring.map(|features| features.to_string()).map_err(|unavailable| unavailable.reason);
    let host = Host::read(Path::new("/"), uring);
    let target = Target::new(&config, arguments.connections, &host);
    let report = Report { target: &target, findings: &judge::judge(&host, &target) };
    match arguments {
        // What it prints says whether there is something to change.
        Arguments { settings: true, .. } => return Ok(report.print_settings()?),
        Arguments { json: true, .. } => report.print_json()?,
        _ => report.print()?,
    }
    if report.is_possible() { Ok(()) } else { Err(Failure::Reported) }
}
