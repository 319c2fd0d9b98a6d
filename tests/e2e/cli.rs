//! The program's own clients.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::support::{Program, Server, events, eventually};

fn tail(server: &Server, args: &[&str]) -> Program {
    let mut all = vec!["tail", "--url", &server.stream_url];
    all.extend(args);
    let tail = Program::alarmcast(&all);
    tail.await_stderr("watching");
    tail
}

fn publish(server: &Server, args: &[&str]) -> Program {
    let mut all = vec!["publish", "--control", &server.control_url];
    all.extend(args);
    Program::alarmcast(&all)
}

#[track_caller]
fn json_line(program: &Program) -> Value {
    let line = program.line();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
}

#[test]
fn a_file_of_events_goes_through_publish_and_comes_out_of_tail() {
    let server = Server::start();
    let mut tail = tail(&server, &["--count", "14"]);
    let file = events::samples_file();
    let mut publish = publish(&server, &[file.to_str().expect("a path in UTF-8")]);
    let receipts: Vec<Value> = (0..14).map(|_| json_line(&publish)).collect();
    publish.succeed();
    let mut came: Vec<Value> = (0..14).map(|_| json_line(&tail)).collect();
    came.sort_by_key(|message| message["seq"].as_u64());
    for ((message, sample), receipt) in came.iter().zip(events::samples()).zip(receipts) {
        assert_eq!(message["event"], sample);
        assert_eq!(message["message_id"], receipt["message_id"]);
        assert_eq!(message["seq"], receipt["seq"]);
    }
    tail.succeed();
}

#[test]
fn tail_prints_the_same_lines_whatever_it_speaks() {
    let server = Server::start();
    let mut tails = [tail(&server, &["--count", "14"]), {
        tail(&server, &["--count", "14", "--encoding", "msgpack"])
    }];
    for sample in events::samples() {
        server.publish(&sample);
        let [json, msgpack] = [&tails[0], &tails[1]].map(Program::line);
        assert_eq!(json, msgpack);
        let message: Value = serde_json::from_str(&msgpack).expect("a line of JSON");
        assert_eq!(message["event"], sample);
    }
    tails.iter_mut().for_each(Program::succeed);
}

#[test]
fn publish_reads_a_pipe_and_answers_each_line_at_once() {
    let server = Server::start();
    let tail = tail(&server, &[]);
    let mut publish = publish(&server, &["-"]);
    for number in 1..=3 {
        let line = format!("{}\n", events::system(&number.to_string()));
        publish.write_stdin(line.as_bytes());
        assert_eq!(json_line(&publish)["seq"], number);
        assert_eq!(json_line(&tail)["event"]["message"], number.to_string());
    }
    publish.end_stdin();
    publish.succeed();
}

#[test]
fn publish_makes_events_of_flags() {
    let server = Server::start();
    let tail = tail(&server, &[]);
    let incident = ["incident", "--severity", "P0", "--title", "Checkout is down"];
    publish(&server, &incident).succeed();
    let event = &json_line(&tail)["event"];
    assert_eq!(event["event_type"], "incident_created");
    assert_eq!(event["incident"]["title"], "Checkout is down");
    let id = event["incident"]["id"].as_str().expect("an id");
    publish(&server, &["comment", "--incident", id, "--text", "I am on it"]).succeed();
    assert_eq!(json_line(&tail)["event"]["comment"], "I am on it");
}

#[test]
fn publish_tells_which_line_was_refused_and_fails() {
    let server = Server::start();
    let mut publish = publish(&server, &[]);
    publish
        .write_stdin(format!("{}\n{{\"event_type\":\"x\"}}\n", events::system("good")).as_bytes());
    publish.end_stdin();
    assert_eq!(publish.wait().code(), Some(1));
    assert_eq!(json_line(&publish)["seq"], 1);
    publish.await_stderr("line 2: INVALID_MESSAGE");
    publish.await_stderr("1 of 2 events were refused");
}

#[test]
fn the_flags_of_tail_are_a_filter() {
    let server = Server::start();
    let severe = tail(&server, &["--severity", "P0,P1", "--type", "incident_created"]);
    let about = tail(&server, &["--incident", &events::id(3)]);
    let labelled = tail(&server, &["--label", "team=sre", "--source", "tests"]);
    let mut with_label = events::created(4, "P4");
    with_label["incident"]["labels"] = json!({"team": "sre"});
    server.publish(&events::alert(1, "P0"));
    server.publish(&events::created(2, "P2"));
    server.publish(&events::created(3, "P1"));
    server.publish(&with_label);
    // Of the priority of the one before: another would be free to overtake it.
    server.publish(&events::created(5, "P1"));
    let incident_id = |program: &Program| json_line(program)["event"]["incident"]["id"].clone();
    // The critical one may overtake the other.
    let both = [incident_id(&severe), incident_id(&severe)];
    assert!([3, 5].into_iter().all(|n| both.iter().any(|id| *id == events::id(n))), "{both:?}");
    assert_eq!(incident_id(&about), events::id(3));
    assert_eq!(incident_id(&labelled), events::id(4));
}

#[test]
fn a_filter_that_the_server_refuses_is_final() {
    let server = Server::start();
    let too_long = "x".repeat(1025);
    let mut tail =
        Program::alarmcast(&["tail", "--url", &server.stream_url, "--source", &too_long]);
    assert_eq!(tail.wait().code(), Some(1));
    tail.await_stderr("INVALID_FILTER");
}

#[test]
fn tail_comes_back_after_the_server_was_restarted() {
    let mut server = Server::start();
    let addr = server.stream_addr().to_string();
    let mut tail = tail(&server, &["--count", "2"]);
    server.publish(&events::system("before"));
    assert_eq!(json_line(&tail)["event"]["message"], "before");
    server.terminate();
    assert!(server.wait().success());
    tail.await_stderr("next attempt");
    let server = Server::at(&addr, &[]);
    tail.await_stderr("connected again");
    server.await_metric("websocket_active_subscriptions", 1.0);
    server.publish(&events::system("after"));
    assert_eq!(json_line(&tail)["event"]["message"], "after");
    tail.succeed();
}

#[test]
fn tail_ends_quietly_when_nobody_reads_it_any_more() {
    let server = Server::start();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Program::alarmcast_command();
    command.args(["tail", "--url", &server.stream_url]);
    let mut tail = Program::start_into(&mut command, writer.into());
    // The command holds the writing end too.
    drop(command);
    tail.await_stderr("watching");
    server.publish(&events::system("the only one that is read"));
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).expect("a line");
    let message: Value = serde_json::from_str(&line).expect("NDJSON");
    assert_eq!(message["event"]["message"], "the only one that is read");
    // More than one: a process that another test is just starting may hold the reading end
    // for a moment.
    eventually("tail notices", || {
        server.publish(&events::system("nobody reads this"));
        (!tail.is_running()).then_some(())
    });
    tail.succeed();
    assert!(!tail.stderr().contains("error"), "{}", tail.stderr());
}

#[test]
fn without_a_server_the_clients_say_what_to_do() {
    // Bound and not listening: connecting is refused, and nobody else gets the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let addr = socket.local_addr().ok().and_then(|addr| addr.as_socket()).expect("an address");
    let port = addr.port();
    let (url, control) = (format!("ws://127.0.0.1:{port}/ws"), format!("http://127.0.0.1:{port}"));
    for args in [
        &["tail", "--url", &url][..],
        &["publish", "--control", &control, "system", "--message", "m"],
        &["demo", "--control", &control, "--duration", "1"],
    ] {
        let mut program = Program::alarmcast(args);
        assert_eq!(program.wait().code(), Some(1), "{args:?}");
        program.await_stderr("no server answers at");
        program.await_stderr("alarmcast serve");
    }
}

#[test]
fn a_demo_shows_every_type_of_event() {
    let server = Server::start();
    let tail = tail(&server, &[]);
    let args = ["demo", "--control", &server.control_url, "--rate", "400", "--seed", "7"];
    let mut demo = Program::alarmcast(&args);
    let mut kinds = BTreeSet::new();
    while kinds.len() < 14 {
        let kind = json_line(&tail)["event"]["event_type"].as_str().map(str::to_owned);
        kinds.insert(kind.expect("a type"));
    }
    demo.signal("INT");
    demo.succeed();
    demo.await_stderr("events sent in");
}

#[test]
fn an_address_in_use_is_named() {
    let server = Server::start();
    let addr = server.control_url.strip_prefix("http://").expect("a URL");
    let args = ["serve", "--stream-listen", "127.0.0.1:0", "--control-listen", addr];
    let mut second = Program::alarmcast(&args);
    assert_eq!(second.wait().code(), Some(1));
    second.await_stderr(addr);
}
