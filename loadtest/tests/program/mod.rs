//! What the tests of the load tester share: the program itself, run as a user runs it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

/// Runs `alarmcast-loadtest` with a command and `args`; `on_line` hears what it says meanwhile.
/// Returns its exit code and result.
pub fn run<T: DeserializeOwned>(
    command: &str,
    args: &[String],
    mut on_line: impl FnMut(&str),
) -> (Option<i32>, T) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_alarmcast-loadtest"))
        .args([command, "--json"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the load tester starts");
    let progress = process.stderr.take().expect("it is piped");
    let mut said = Vec::new();
    for line in BufReader::new(progress).lines() {
        let line = line.expect("progress is text");
        on_line(&line);
        said.push(line);
    }
    let mut json = String::new();
    let mut output = process.stdout.take().expect("it is piped");
    output.read_to_string(&mut json).expect("the result is text");
    let status = process.wait().expect("it is our process");
    let outcome = serde_json::from_str(&json)
        .unwrap_or_else(|error| panic!("no result ({error}), {status}: {json}\n{said:#?}"));
    (status.code(), outcome)
}

/// Arguments as the program takes them.
pub fn arguments<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).to_vec()
}
