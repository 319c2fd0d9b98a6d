//! The load tester, put on one server.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use super::contenders::Contender;
use super::machine::{Cores, process_ticks};
use super::server::{Guard, Server, prefixed};
use crate::Result;
use crate::context::Context;

/// Runs a scenario with these flags; its result and what it took of the CPU, in ticks.
///
/// # Errors
/// When it does not run, or says nothing.
pub fn run(
    context: &Context,
    contender: &Contender,
    cores: &Cores,
    server: &Server,
    scenario: &str,
    numbers: &[(&str, f64)],
) -> Result<(Value, u64)> {
    let tester = context.target.join("release/alarmcast-loadtest").display().to_string();
    let mut command = prefixed(context, cores.tester_prefix(), vec![tester])?;
    command.args([scenario, "--json", "--url", &server.stream, "--control", &server.control]);
    command.args(["--server-pid", &server.child.id().to_string()]);
    if let Some(template) = contender.dialect.template(context) {
        command.arg("--server").arg(template);
    }
    for (flag, number) in numbers {
        command.arg(flag).arg(number.to_string());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("the load tester: {error}"))?;
    let mut tester = Guard(child);
    let mut text = String::new();
    if let Some(mut stdout) = tester.0.stdout.take() {
        stdout.read_to_string(&mut text).map_err(|error| format!("its result: {error}"))?;
    }
    // It has said all and is ending: the few ticks that are left are not missed.
    let ticks = process_ticks(tester.0.id())?;
    let status = tester.0.wait().map_err(|error| format!("the load tester: {error}"))?;
    let outcome = serde_json::from_str(&text)
        .map_err(|error| format!("the load tester's result: {error} ({status})"))?;
    Ok((outcome, ticks))
}
