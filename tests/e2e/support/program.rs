//! A program that a test started: its output by lines, its end by its own process id.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, RecvTimeoutError, never, unbounded};

use super::wait::{DEADLINE, eventually};

/// Killed when dropped; what it said on stderr is shown where its test fails.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    stderr_reader: JoinHandle<()>,
}

impl Program {
    /// The program under test.
    pub fn alarmcast(args: &[&str]) -> Self {
        Self::start(Self::alarmcast_command().args(args))
    }

    /// Free of the environment's and the working directory's configuration.
    pub fn alarmcast_command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alarmcast"));
        command.current_dir(env!("CARGO_TARGET_TMPDIR"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ALARMCAST_") {
                command.env_remove(name);
            }
        }
        command
    }

    #[track_caller]
    #[allow(clippy::disallowed_methods, reason = "what a test does not read must block no program")]
    pub fn start(command: &mut Command) -> Self {
        let mut program = Self::start_into(command, Stdio::piped());
        let stdout = program.child.stdout.take().expect("piped");
        let (sender, lines) = unbounded();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        program.lines = lines;
        program
    }

    /// Without a look at its stdout.
    #[track_caller]
    pub fn start_into(command: &mut Command, stdout: Stdio) -> Self {
        command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name} did not start: {error}"));
        let stdin = child.stdin.take();
        let mut errors = child.stderr.take().expect("piped");
        let stderr = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&stderr);
        let stderr_reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..count]);
                collected.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        let lines = never();
        Self { name, child, stdin, lines, stderr, stderr_reader }
    }

    /// The next line on stdout.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap_or_else(|error| {
            panic!("no further line from {}: {error}; stderr:\n{}", self.name, self.stderr())
        })
    }

    /// The lines on stdout up to its end.
    #[track_caller]
    pub fn remaining_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(timeout) => panic!("{} does not end its output: {timeout}", self.name),
            }
        }
    }

    /// What came on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until stderr holds `text`.
    #[track_caller]
    pub fn await_stderr(&self, text: &str) {
        let what = format!("{} says `{text}` on stderr", self.name);
        eventually(&what, || self.stderr().contains(text).then_some(()));
    }

    /// Writes to stdin; a program that does not read it to its end may ignore it.
    pub fn write_stdin(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("the program reads its stdin");
    }

    pub fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal, such as `TERM`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: no package provides it.
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("a shell");
        assert!(status.success(), "{script}: {status}");
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the program's end; [`Program::stderr`] is complete then.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = eventually(&what, || self.child.try_wait().expect("a child of this process"));
        eventually(&what, || self.stderr_reader.is_finished().then_some(()));
        status
    }

    /// Waits for the program's end, which must be a success.
    #[track_caller]
    pub fn succeed(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{}: {status}; stderr:\n{}", self.name, self.stderr());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- stderr of {} ({}):\n{}", self.name, self.child.id(), self.stderr());
        }
    }
}
