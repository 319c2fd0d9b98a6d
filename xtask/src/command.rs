//! Running other programs.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::context::Context;

/// `program`, to be run at the repository's root, without standard input and
/// without what `cargo run` added to the environment for this program alone
/// (it would make cargo rebuild packages whose build scripts read it).
pub fn command(context: &Context, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&context.root).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        let added = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| name_text.starts_with(prefix));
        if added || name_text == "LD_LIBRARY_PATH" || name_text == "CARGO_PRIMARY_PACKAGE" {
            command.env_remove(&name);
        }
    }
    command
}

/// `cargo ARGS`.
pub fn cargo(context: &Context, args: &[&str]) -> Command {
    let mut command = command(context, "cargo");
    command.args(args);
    command
}

/// Runs to the end, output going to ours; a failure names the command.
pub fn run(command: &mut Command) -> Result {
    println!("$ {}", describe(command));
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", describe(command))) }
}

/// Runs to the end and returns standard output; standard error goes to ours.
pub fn read(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        return Err(format!("{}: {}", describe(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{}: not UTF-8", describe(command)))
}

/// Runs a test program, passing its output on, and returns how many tests
/// passed. A run that finds no test has failed: a renamed test must not turn
/// a check into nothing.
pub fn run_tests(command: &mut Command) -> Result<u64> {
    println!("$ {}", describe(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} did not start: {error}", describe(command)))?;
    let mut passed = 0;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| format!("{}: {error}", describe(command)))?;
            println!("{line}");
            passed += tests_passed(&line);
        }
    }
    let status = child.wait().map_err(|error| format!("{}: {error}", describe(command)))?;
    match (status.success(), passed) {
        (false, _) => Err(format!("{}: {status}", describe(command))),
        (true, 0) => Err(format!("{}: ran no test", describe(command))),
        (true, passed) => Ok(passed),
    }
}

/// Whether `program` can be found in `PATH`.
pub fn exists(program: &str) -> bool {
    find(program).is_some()
}

/// Where `program` is in `PATH`.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// `PATH` with `dir` in front.
pub fn path_with(dir: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(dirs).map_err(|error| error.to_string())
}

/// The number in libtest's `test result: ok. N passed; …`, else 0.
fn tests_passed(line: &str) -> u64 {
    let Some(rest) = line.trim_start().strip_prefix("test result: ok. ") else { return 0 };
    rest.split_once(" passed").and_then(|(count, _)| count.parse().ok()).unwrap_or(0)
}

/// The command as a person would type it.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("{} did not start: {error}", describe(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_passed_tests_is_read_from_libtests_line() {
        let line = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out";
        assert_eq!(tests_passed(line), 12);
        assert_eq!(tests_passed("test result: FAILED. 12 passed; 1 failed"), 0);
        assert_eq!(tests_passed("running 4 tests"), 0);
    }

    #[test]
    fn a_run_without_any_test_has_failed() {
        let mut nothing = Command::new("echo");
        nothing.arg("test result: ok. 0 passed; 0 failed");
        assert!(run_tests(&mut nothing).is_err());
        let mut one = Command::new("echo");
        one.arg("test result: ok. 1 passed; 0 failed");
        assert_eq!(run_tests(&mut one), Ok(1));
    }
}
