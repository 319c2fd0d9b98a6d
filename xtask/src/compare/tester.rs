//! The load tester, put on one server.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use super::contenders::Contender;
use super::machine::{Cores, process_ticks};
use super::server::{Guard, Server, prefixed};
use crate::Result;
use crate::command::{command, run as run_command};
use crate::context::Context;

/// What the load tester is to do.
#[derive(Clone, Copy, Debug)]
pub struct Scenario<'a> {
    pub name: &'a str,
    pub flags: &'a [(&'a str, f64)],
    /// The folder that the result is written to.
    pub output: Option<&'a Path>,
}

/// Runs a scenario; its result and what it took of the CPU, in ticks.
///
/// # Errors
/// When it does not run, or says nothing.
pub fn run(
    context: &Context,
    contender: &Contender,
    cores: &Cores,
    server: &Server,
    scenario: Scenario<'_>,
) -> Result<(Value, u64)> {
    let mut command = prefixed(context, cores.tester_prefix(), vec![program(context)])?;
    command.args([scenario.name, "--json", "--url", &server.stream, "--control", &server.control]);
    command.args(["--server-pid", &server.child.id().to_string()]);
    if let Some(template) = contender.dialect.template(context) {
        command.arg("--server").arg(template);
    }
    for (flag, number) in scenario.flags {
        command.arg(flag).arg(number.to_string());
    }
    if let Some(folder) = scenario.output {
        command.arg("--output").arg(folder).args(["--label", contender.name]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("the load tester: {error}"))?;
    let mut tester = Guard(child);
    let text = everything_said(&mut tester)?;
    // It has said all and is ending: the few ticks that are left are not missed.
    let ticks = process_ticks(tester.0.id())?;
    Ok((outcome(tester, &text)?, ticks))
}

/// What it says on standard output, to the end.
pub fn everything_said(tester: &mut Guard) -> Result<String> {
    let mut text = String::new();
    if let Some(mut stdout) = tester.0.stdout.take() {
        stdout.read_to_string(&mut text).map_err(|error| format!("its result: {error}"))?;
    }
    Ok(text)
}

/// The result that it said, once it has ended.
pub fn outcome(mut tester: Guard, text: &str) -> Result<Value> {
    let status = tester.0.wait().map_err(|error| format!("the load tester: {error}"))?;
    serde_json::from_str(text)
        .map_err(|error| format!("the load tester's result: {error} ({status})"))
}

/// Plots and tables of results, in a folder.
///
/// # Errors
/// When one of them is no result.
pub fn report(context: &Context, results: &[PathBuf], output: &Path, title: &str) -> Result {
    let mut command = command(context, program(context));
    command.arg("report").args(results).arg("--output").arg(output).args(["--title", title]);
    run_command(&mut command)
}

pub fn program(context: &Context) -> String {
    context.target.join("release/alarmcast-loadtest").display().to_string()
}
