//! The real server, in a process of its own.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server that has printed its addresses.
pub struct Server {
    process: Child,
    pub stream: String,
    pub control: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts `alarmcast serve` on free ports, with at most `descriptors` open files.
    pub fn start(driver: &str, shards: u32, descriptors: u64) -> Self {
        Self::start_with(driver, shards, descriptors, &[])
    }

    /// The same, with these keys of its configuration set, each as `KEY=VALUE`.
    pub fn start_with(driver: &str, shards: u32, descriptors: u64, settings: &[&str]) -> Self {
        // The shell lowers the limit, and is replaced by the server.
        let mut command = Command::new("sh");
        for (name, _) in env::vars_os() {
            // To the server each of these is a key of its configuration.
            if name.to_string_lossy().starts_with("ALARMCAST_") {
                command.env_remove(name);
            }
        }
        let mut process = command
            .args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &descriptors.to_string()])
            .arg(binary())
            .args(["serve", "--stream-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"])
            .args(["--driver", driver, "--shards", &shards.to_string()])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut log = process.stderr.take().expect("it is piped");
        let log = Some(thread::spawn(move || {
            let mut text = String::new();
            let result = log.read_to_string(&mut text);
            result.map_or_else(|error| error.to_string(), |_| text)
        }));
        let mut output = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut address = |scheme: &str| {
            let lines = output.by_ref().map_while(Result::ok);
            first_word(lines, scheme).unwrap_or_default()
        };
        let (stream, control) = (address("ws://"), address("http://"));
        // What it prints later must not fill the pipe.
        thread::spawn(move || output.for_each(drop));
        let server = Self { process, stream, control, log };
        if server.stream.is_empty() || server.control.is_empty() {
            panic!("the server did not start: {:?}", server.wait());
        }
        server
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn terminate(&self) {
        let id = i32::try_from(self.id()).expect("process ids are positive");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("the server runs");
    }

    /// Waits for the end; returns what was logged too.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.process.wait().expect("it is our process");
        let log = self.log.take().map(JoinHandle::join);
        (status, log.and_then(Result::ok).unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended already, which is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn first_word(mut lines: impl Iterator<Item = String>, start: &str) -> Option<String> {
    lines.find_map(|line| {
        line.split_whitespace().find(|word| word.starts_with(start)).map(str::to_owned)
    })
}

/// `ALARMCAST_BIN`, else the one beside this test's binary, built by cargo: one that is out of
/// date would be tested in vain.
fn binary() -> PathBuf {
    if let Some(path) = env::var_os("ALARMCAST_BIN") {
        return path.into();
    }
    let path = Path::new(env!("CARGO_BIN_EXE_alarmcast-loadtest")).with_file_name("alarmcast");
    static BUILT: Once = Once::new();
    BUILT.call_once(|| build(&path));
    path
}

fn build(path: &Path) {
    let folder = path.parent().expect("a binary is in a folder");
    let target = folder.parent().expect("a profile's folder is in the target folder");
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "alarmcast", "--bin", "alarmcast"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo starts");
    assert!(status.success() && path.exists(), "cargo did not build {}", path.display());
}
