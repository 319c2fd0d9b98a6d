//! Programs that others wrote.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The Python with the clients' packages.
#[track_caller]
pub fn python() -> PathBuf {
    match std::env::var_os("ALARMCAST_TEST_PYTHON") {
        Some(path) => path.into(),
        None => missing("a Python with the packages of tests/clients/requirements.txt"),
    }
}

/// Node, which finds the clients' packages.
#[track_caller]
pub fn node() -> PathBuf {
    if std::env::var_os("NODE_PATH").is_none() {
        missing("NODE_PATH with the packages of tests/clients/package.json");
    }
    in_path("node")
}

#[track_caller]
pub fn promtool() -> PathBuf {
    std::env::var_os("ALARMCAST_TEST_PROMTOOL").map_or_else(|| in_path("promtool"), PathBuf::from)
}

/// nginx, which Debian keeps where only root looks.
#[track_caller]
pub fn nginx() -> Command {
    let path = PathBuf::from("/usr/sbin/nginx");
    if path.is_file() { Command::new(path) } else { Command::new(in_path_as("nginx", "-v")) }
}

#[track_caller]
pub fn alertmanager() -> PathBuf {
    in_path("prometheus-alertmanager")
}

/// The library that shows a program it is preloaded into another wall clock.
#[track_caller]
pub fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.is_file()).unwrap_or_else(|| missing("Debian's libfaketime"))
}

#[track_caller]
fn in_path(program: &str) -> PathBuf {
    in_path_as(program, "--version")
}

/// As what answers to that flag.
#[track_caller]
fn in_path_as(program: &str, flag: &str) -> PathBuf {
    if Command::new(program).arg(flag).output().is_err() {
        missing(program);
    }
    program.into()
}

#[track_caller]
fn missing(what: &str) -> ! {
    panic!("this test needs {what}: run it with `cargo xtask test`, which installs it")
}
