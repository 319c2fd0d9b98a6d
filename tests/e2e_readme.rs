//! README.md is true: its snippets run against a server, and the keys, flags and metrics that
//! it names exist.
//!
//! As the other end-to-end tests, to be run by `cargo xtask test`, which provides Python and
//! node with the packages that the snippets import, and `amtool`.

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

const README: &str = include_str!("../README.md");
const PROGRAM: &str = env!("CARGO_BIN_EXE_alarmcast");
/// Rounds of publishing until a client must have said something.
const ROUNDS_MAX: usize = 300;
const ROUND: Duration = Duration::from_millis(100);

/// The contents of README's fenced blocks of one language.
fn snippets(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let blocks = README.split(opening.as_str()).skip(1);
    blocks.map(|rest| rest.split_once("```").expect("a closing fence").0).collect()
}

fn snippet(language: &str) -> &'static str {
    let found = snippets(language);
    assert_eq!(found.len(), 1, "README has one block of {language}");
    found[0]
}

/// A child whose output is read line by line; ended on drop.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let described = format!("{command:?}");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
                panic!("{described}: {error}; run it with `cargo xtask test`")
            });
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = sync_channel(1024);
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.all(|line| sender.send(line).is_ok())
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv().expect("one more line")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on free ports.
struct Server {
    _program: Program,
    stream: String,
    control: String,
}

impl Server {
    fn start() -> Self {
        let listen = ["--stream-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"];
        let program = Program::start(alarmcast().arg("serve").args(listen));
        let banner = program.line();
        assert!(banner.starts_with("alarmcast "), "{banner}");
        let address = |scheme: &str| {
            let line = program.line();
            let (_, rest) = line.split_once(scheme).unwrap_or_else(|| panic!("{line}"));
            rest.trim_end_matches("/ws").to_owned()
        };
        let (stream, control) = (address("ws://"), address("http://"));
        Self { _program: program, stream, control }
    }

    /// A snippet with this server's addresses in place of the default ones.
    fn localised(&self, snippet: &str) -> String {
        assert!(snippet.contains("127.0.0.1:8080") || snippet.contains("127.0.0.1:9090"));
        let text = snippet.replace("127.0.0.1:8080", &self.stream);
        text.replace("127.0.0.1:9090", &self.control)
    }

    fn publish(&self, args: &[&str]) {
        let control = format!("http://{}", self.control);
        let output = alarmcast()
            .arg("publish")
            .args(args)
            .args(["--control", &control])
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Publishes until the client, which subscribes when it likes, prints an event.
    fn assert_prints_an_incident(&self, client: &Program) {
        for _ in 0..ROUNDS_MAX {
            self.publish(&["incident", "--severity", "P0", "--title", "Checkout is down"]);
            if let Ok(line) = client.lines.recv_timeout(ROUND) {
                assert!(line.ends_with(" critical incident_created"), "{line}");
                return;
            }
        }
        panic!("the client printed nothing");
    }
}

/// `alarmcast`, without the variables of tests, which it would take for settings.
fn alarmcast() -> Command {
    let mut command = Command::new(PROGRAM);
    let names = env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with("ALARMCAST_")) {
        command.env_remove(name);
    }
    command
}

fn scratch(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn the_python_client_prints_what_is_published() {
    let python = env::var_os("ALARMCAST_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let server = Server::start();
    let code = server.localised(snippet("python"));
    let client = Program::start(Command::new(python).args(["-c", &code]));
    server.assert_prints_an_incident(&client);
}

/// Node has no WebSocket of its own before version 22: it gets the one of `ws`.
#[test]
fn the_browser_client_prints_what_is_published() {
    let server = Server::start();
    let code = server.localised(snippet("js"));
    let code = format!("const {{ WebSocket }} = require('ws');\n{code}");
    let client = Program::start(Command::new("node").args(["-e", &code]));
    server.assert_prints_an_incident(&client);
}

#[test]
fn the_event_of_the_curl_example_is_taken() {
    let server = Server::start();
    let curl = snippets("sh").into_iter().find(|text| text.starts_with("curl ")).expect("curl");
    let (_, body) = curl.split_once("-d '").expect("a body");
    let (body, _) = body.split_once('\'').expect("the body's end");
    let file = scratch("readme-event.json");
    fs::write(&file, body).expect("a file can be written");
    server.publish(&[file.to_str().expect("UTF-8")]);
}

#[test]
fn every_configuration_example_is_accepted() {
    for example in snippets("toml") {
        let file = scratch("readme-alarmcast.toml");
        fs::write(&file, example).expect("a file can be written");
        let check = alarmcast().args(["config", "check"]).arg(&file).output();
        assert!(check.expect("the program starts").status.success(), "{example}");
    }

    let file = scratch("readme-alertmanager.yml");
    fs::write(&file, snippet("yaml")).expect("a file can be written");
    let check = Command::new("amtool").arg("check-config").arg(&file).output();
    let check = check.expect("amtool, which `cargo xtask test` installs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn every_command_line_is_understood() {
    for line in snippets("sh").into_iter().flat_map(str::lines) {
        let line = line.split("  #").next().unwrap_or(line).split(" > ").next().unwrap_or(line);
        let args = line.strip_prefix("cargo run --release -- ").or(line.strip_prefix("alarmcast "));
        let Some(args) = args else { continue };
        let command = format!("'{PROGRAM}' {args} --help");
        let output = Command::new("sh").args(["-c", &command]).output().expect("a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Words in backticks that begin with one of `prefixes`.
fn named(prefixes: &[&str]) -> Vec<&'static str> {
    let within = README.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
    let begins = |word: &&str| prefixes.iter().any(|prefix| word.starts_with(prefix));
    let found: Vec<_> = within.filter(begins).filter(is_name).collect();
    assert!(found.len() > 5, "README names {found:?}");
    found
}

#[test]
fn every_key_that_is_named_exists() {
    for key in named(&["limits.", "session.", "hub.", "server."]) {
        let setting = format!("{key}=5");
        let print = alarmcast().args(["config", "print", "--set", &setting]).output();
        let output = print.expect("the program starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!error.contains("unknown key"), "{error}");
    }
}

#[test]
fn every_metric_that_is_named_exists() {
    let server = Server::start();
    let url = format!("http://{}/metrics", server.control);
    let text = ureq::get(&url).call().expect("an answer").body_mut().read_to_string();
    let text = text.expect("text");
    for name in named(&["websocket_", "alarmcast_"]).into_iter().filter(|name| !name.ends_with('_'))
    {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}
