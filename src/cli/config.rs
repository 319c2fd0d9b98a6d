//! `alarmcast config`: what would be used, and whether a file is right.

use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Failure;
use super::serve::Settings;
use crate::config::{Config, FILE_NAME, Loaded};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the configuration that `serve` would use, as TOML, with the origin of each value
    /// that is not a default
    Print {
        /// Print every key with its default and description instead: a file to start from
        #[arg(long)]
        defaults: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Check a configuration file together with the environment
    Check {
        /// The file; by default ./alarmcast.toml, if there is one
        file: Option<PathBuf>,
    },
}

/// # Errors
/// When the configuration cannot be used.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let text = match &arguments.command {
        Command::Print { defaults: true, .. } => Loaded::documented_defaults(),
        Command::Print { settings, .. } => settings.load()?.to_toml(),
        Command::Check { file } => check(file.clone())?,
    };
    stdout().write_all(text.as_bytes())?;
    Ok(stdout().flush()?)
}

fn check(file: Option<PathBuf>) -> Result<String, Failure> {
    let mut sources = crate::config::Sources::of_process();
    sources.file = file;
    let loaded = Config::load(&sources).map_err(|error| Failure::new(error.to_string()))?;
    let checked = sources.file.unwrap_or_else(|| FILE_NAME.into());
    Ok(match loaded.origins.len() {
        0 => "OK: only defaults are used\n".into(),
        1 => format!("OK: one value is set ({})\n", checked.display()),
        count => format!("OK: {count} values are set ({})\n", checked.display()),
    })
}
