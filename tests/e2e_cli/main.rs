//! The program itself, as its users start it, against a server that it started.

mod alertmanager;
mod doctor;
mod drain;
mod metrics;
mod replay;
mod tuning;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use alarmcast::base::clock::Clock;
use serde_json::{Value, json};

/// A started `alarmcast serve`, ended when dropped.
struct Served {
    child: Child,
    stream: String,
    control: String,
}

fn alarmcast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alarmcast"));
    command.args(arguments).stdin(Stdio::null()).env_remove("NO_COLOR");
    forget_settings(&mut command);
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Whatever the machine has must not change what is tested.
fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ALARMCAST_") {
            command.env_remove(name);
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    alarmcast(arguments).output().expect("started")
}

fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = alarmcast(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("taken");
    child.wait_with_output().expect("ended")
}

fn serve(stream_listen: &str) -> Served {
    serve_with(stream_listen, &[])
}

fn serve_with(stream_listen: &str, arguments: &[&str]) -> Served {
    serve_logging_to(Stdio::null(), stream_listen, arguments)
}

fn serve_logging_to(log: Stdio, stream_listen: &str, arguments: &[&str]) -> Served {
    let control = ["--control-listen", "127.0.0.1:0", "--shards", "1"];
    let mut child = alarmcast(&["serve", "--stream-listen", stream_listen])
        .args(control)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = |prefix: &str| {
        let line = lines.next().expect("a line").expect("text");
        line.strip_prefix(prefix)
            .unwrap_or_else(|| panic!("{line} begins with {prefix}"))
            .to_owned()
    };
    let driver = next("alarmcast 0.1.0 · driver ");
    if let Ok(expected) = std::env::var("ALARMCAST_TEST_DRIVER") {
        assert!(driver.contains(&expected), "on {expected}, not {driver}");
    }
    let stream = next("stream   ");
    let control = next("control  ");
    // Goes on reading, so that the rest finds a reader.
    let rest: Vec<String> = lines.by_ref().map_while(Result::ok).take(5).collect();
    assert!(rest.iter().any(|line| line.contains("alarmcast tail")), "{rest:?}");
    Served { child, stream, control }
}

impl Served {
    fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success());
        await_end(&mut self.child);
        assert!(self.child.wait().expect("ended").success(), "a drained server ends with 0");
    }

    fn publish(&self, message: &str) -> Output {
        run(&["publish", "system", "--message", message, "--control", &self.control])
    }
}

#[allow(clippy::disallowed_methods, reason = "nothing tells when; the deadline is the clock's")]
fn await_end(child: &mut Child) {
    let deadline = Clock::System.now() + Duration::from_secs(30);
    while child.try_wait().expect("a child of this process").is_none() {
        assert!(Clock::System.now() < deadline, "not within 30 s: the server ends");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A started `alarmcast tail`, killed when dropped.
struct Tailing {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    status: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

fn tail(arguments: &[&str]) -> Tailing {
    let mut child = alarmcast(&["tail"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let status = BufReader::new(child.stderr.take().expect("piped")).lines();
    Tailing { child, lines, status }
}

impl Tailing {
    fn wait_for_status(&mut self, part: &str) {
        let said = self.status.by_ref().map_while(Result::ok).find(|line| line.contains(part));
        assert!(said.is_some(), "the end of stderr came before {part:?}");
    }

    fn event(&mut self) -> Value {
        let line = self.lines.next().expect("an event").expect("text");
        serde_json::from_str(&line).expect("one JSON value a line")
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("ended").code()
    }
}

impl Drop for Tailing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines_of_json(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_is_published_is_tailed() {
    let server = serve("127.0.0.1:0");
    let mut tail = tail(&["--url", &server.stream, "--severity", "P0,P1", "--count", "1"]);
    tail.wait_for_status("watching");
    server.publish("filtered away");
    let output = run(&[
        "publish",
        "incident",
        "--severity",
        "P0",
        "--title",
        "Checkout is down",
        "--control",
        &server.control,
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(lines_of_json(&output)[0]["seq"], 2);
    let event = tail.event();
    assert_eq!(event["event"]["incident"]["title"], "Checkout is down");
    assert_eq!(event["priority"], "critical");
    assert_eq!(event["message_id"], lines_of_json(&output)[0]["message_id"]);
    assert_eq!(tail.exit_code(), Some(0));
}

#[test]
fn refused_events_are_named_by_line_and_the_others_are_published() {
    let server = serve("127.0.0.1:0");
    let good = json!({ "event_type": "system_event", "category": "c", "message": "m" });
    let input = format!("{good}\n{{\"event_type\":\"no\"}}\nnonsense\n\n{good}\n");
    let output = run_with_input(&["publish", "--control", &server.control], &input);
    assert_eq!(output.status.code(), Some(1));
    let published = lines_of_json(&output);
    let indexes: Vec<&Value> = published.iter().map(|answer| &answer["index"]).collect();
    assert_eq!(indexes, [0, 3]);
    let errors = text(&output.stderr);
    assert!(errors.contains("line 2: INVALID_MESSAGE at event_type"), "{errors}");
    assert!(errors.contains("line 3: INVALID_MESSAGE"), "{errors}");
    assert!(errors.contains("2 of 4 events were refused"), "{errors}");
}

#[test]
fn an_array_and_a_file_are_published_whole() {
    let server = serve("127.0.0.1:0");
    let event = json!({ "event_type": "system_event", "category": "c", "message": "m" });
    let array = serde_json::to_string_pretty(&vec![event; 1_500]).expect("JSON");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), array).expect("written");
    let path = file.path().to_str().expect("text");
    let output = run(&["publish", path, "--control", &server.control]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let published = lines_of_json(&output);
    assert_eq!(published.len(), 1_500);
    assert_eq!(
        (&published[1_499]["index"], &published[1_499]["seq"]),
        (&json!(1_499), &json!(1_500))
    );
    let both = run(&["publish", path, "incident", "--title", "x", "--control", &server.control]);
    assert_eq!(both.status.code(), Some(1));
    let before = ["publish", "--control", &server.control, "system", "--message", "x"];
    assert!(run(&before).status.success(), "options may stand before the event");
    let empty = run_with_input(&["publish", "-", "--control", &server.control], " \n");
    assert_eq!(empty.status.code(), Some(1));
}

#[test]
fn tail_comes_back_after_a_restart_of_the_server() {
    let mut first = serve("127.0.0.1:0");
    let stream = first.stream.clone();
    let mut tail = tail(&["--url", &stream, "--count", "2"]);
    tail.wait_for_status("watching");
    first.publish("before");
    assert_eq!(tail.event()["event"]["message"], "before");
    first.terminate();
    tail.wait_for_status("next attempt");
    let address = stream.strip_prefix("ws://").and_then(|rest| rest.strip_suffix("/ws"));
    let second = serve(address.expect("an address"));
    tail.wait_for_status("a new stream");
    tail.wait_for_status("watching");
    second.publish("after");
    assert_eq!(tail.event()["event"]["message"], "after");
    assert_eq!(tail.exit_code(), Some(0));
}

#[test]
fn a_demo_publishes_at_its_rate_for_its_time() {
    let server = serve("127.0.0.1:0");
    let output = run(&[
        "demo",
        "--control",
        &server.control,
        "--rate",
        "200",
        "--duration",
        "1",
        "--seed",
        "1",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seq = lines_of_json(&server.publish("after"))[0]["seq"].as_u64().expect("a seq");
    assert!((2..=202).contains(&seq), "{seq}");
    assert!(text(&output.stderr).contains(&format!("{} events sent", seq - 1)));
}

#[test]
fn without_a_server_clients_say_what_to_do() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let (control, url) = (format!("http://{address}"), format!("ws://{address}/ws"));
    for arguments in [
        &["publish", "system", "--message", "x", "--control", &control][..],
        &["demo", "--control", &control],
        &["tail", "--url", &url],
        &["drain", "--control", &control],
        &["replay", "--control", &control],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("start one with `alarmcast serve`"), "{arguments:?}");
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let output =
        run(&["serve", "--stream-listen", "127.0.0.1:0", "--control-listen", address.as_str()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
    let output = run(&["serve", "--set", "server.shrads=2"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("did you mean `server.shards`?"), "{errors}");
}

#[test]
fn a_reader_that_goes_away_ends_tail_quietly() {
    let server = serve("127.0.0.1:0");
    let mut tail = tail(&["--url", &server.stream]);
    tail.wait_for_status("watching");
    server.publish("one");
    tail.event();
    let Tailing { child, lines, status } = &mut tail;
    // The last reader of the pipe.
    let closed = std::mem::replace(lines, BufReader::new(spare_stdout()).lines());
    drop(closed);
    while child.try_wait().expect("a child").is_none() {
        server.publish("more");
    }
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    let mut said = String::new();
    for line in status.by_ref() {
        said += &line.expect("text");
    }
    assert!(!said.contains("error"), "{said}");
}

fn spare_stdout() -> ChildStdout {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().expect("started");
    let stdout = child.stdout.take().expect("piped");
    child.wait().expect("ended");
    stdout
}

#[test]
fn the_configuration_is_printed_and_checked() {
    let defaults = run(&["config", "print", "--defaults"]);
    assert!(defaults.status.success());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &defaults.stdout).expect("written");
    let path = file.path().to_str().expect("text");
    let checked = run(&["config", "check", path]);
    assert!(checked.status.success() && text(&checked.stdout).starts_with("OK"));
    let printed = alarmcast(&["config", "print", "--shards", "3"])
        .env("ALARMCAST_STREAM__LISTEN", "127.0.0.1:7777")
        .output()
        .expect("started");
    let printed = text(&printed.stdout);
    assert!(printed.contains("shards = 3 # flag --shards\n"), "{printed}");
    let variable = "listen = \"127.0.0.1:7777\" # environment variable ALARMCAST_STREAM__LISTEN\n";
    assert!(printed.contains(variable), "{printed}");
    std::fs::write(file.path(), "[limits]\nconections_max = 1\n").expect("written");
    let refused = run(&["config", "check", path]);
    assert_eq!(refused.status.code(), Some(1));
    let errors = text(&refused.stderr);
    assert!(errors.contains(":2:") && errors.contains("did you mean `limits.connections_max`?"));
}

#[test]
fn help_and_version_are_there() {
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["publish", "--help"],
        &["tail", "-h"],
        &["replay", "--help"],
        &["drain", "--help"],
        &["doctor", "--help"],
    ] {
        let output = run(arguments);
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
    let mut version = String::new();
    let mut stdout = &run(&["--version"]).stdout[..];
    stdout.read_to_string(&mut version).expect("text");
    assert_eq!(version, "alarmcast 0.1.0\n");
}
