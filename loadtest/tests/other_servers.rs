//! Servers that are not Alarmcast, measured by a template: here one that sends to all who are
//! connected what is posted, or sent by a publisher.

mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::{env, fs, process, thread};

use alarmcast_loadtest::outcome::Outcome;
use program::{arguments, run};
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};

const BY_HTTP: &str = r#"
subscribe = { path = "/stream", text = "me too", confirmed_by = "welcome" }
publish = { over = "http", path = "/all", body = "{\"wrapped\":{event},\"bytes\":{event_bytes}}" }
"#;
const BY_MESSAGE: &str = r#"
subscribe = { path = "/stream", text = "me too", confirmed_by = "welcome" }
publish = { over = "websocket", path = "/all", first = "hello" }
"#;

type Subscribers = Arc<Mutex<Vec<Sender<String>>>>;

/// A server's endpoints for streams and for requests.
fn start() -> (String, String) {
    let listen = || TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let (stream, control) = (listen(), listen());
    let address = |listener: &TcpListener| listener.local_addr().expect("it is bound");
    let addresses = (format!("ws://{}", address(&stream)), format!("http://{}", address(&control)));
    let subscribers = Subscribers::default();
    let to = Arc::clone(&subscribers);
    thread::spawn(move || {
        for socket in stream.incoming() {
            let (socket, subscribers) = (socket.expect("a connection"), Arc::clone(&subscribers));
            thread::spawn(move || serve(socket, &subscribers));
        }
    });
    thread::spawn(move || control.incoming().for_each(|s| answer(s.expect("a connection"), &to)));
    addresses
}

fn serve(socket: TcpStream, subscribers: &Subscribers) {
    let mut path = String::new();
    #[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
    let note_path = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let mut socket = tungstenite::accept_hdr(socket, note_path).expect("an upgrade");
    let first = socket.read().expect("the first message");
    if path == "/all" {
        assert_eq!(first, Message::text("hello"));
        while let Ok(Message::Text(text)) = socket.read() {
            send_to_all(subscribers, text.as_str());
        }
        return;
    }
    assert_eq!((path.as_str(), first), ("/stream", Message::text("me too")));
    let (sender, texts) = channel();
    subscribers.lock().expect("nobody panicked").push(sender);
    socket.send(Message::text("welcome")).expect("the load tester listens");
    let mut end = socket.get_ref().try_clone().expect("descriptors are left");
    thread::spawn(move || {
        // All that comes now is goodbye.
        let _ = end.read(&mut [0; 16]);
        let _ = end.shutdown(Shutdown::Both);
    });
    for text in texts {
        // The load tester leaves when it has counted up.
        let _ = socket.send(Message::text(text));
    }
}

fn send_to_all(subscribers: &Subscribers, text: &str) {
    for subscriber in subscribers.lock().expect("nobody panicked").iter() {
        // Whoever has left does not listen.
        let _ = subscriber.send(text.to_owned());
    }
}

/// Answers a connection's requests until it ends.
fn answer(mut socket: TcpStream, subscribers: &Subscribers) {
    let mut input = BufReader::new(socket.try_clone().expect("descriptors are left"));
    loop {
        let lines = input.by_ref().lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let Some(start) = head.first() else { return };
        assert!(start.starts_with("POST /all "), "{start}");
        let length = head.iter().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
        });
        let mut body = vec![0; length.expect("a length")];
        input.read_exact(&mut body).expect("the body");
        send_to_all(subscribers, &String::from_utf8(body).expect("text"));
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        socket.write_all(answer).expect("the load tester listens");
    }
}

fn measure(template: &str) -> (Option<i32>, Outcome) {
    let (stream, control) = start();
    let name = format!("alarmcast-template-{}-{:p}.toml", process::id(), template);
    let file: PathBuf = env::temp_dir().join(name);
    fs::write(&file, template).expect("a file can be written");
    let path = file.to_str().expect("a path in UTF-8");
    let args = ["--connections", "5", "--events", "4", "--rate", "200", "--event-bytes", "300"];
    let more = ["--url", &stream, "--control", &control, "--server", path];
    let args = [arguments(args), arguments(more)].concat();
    let result = run("fanout", &args, |_| {});
    fs::remove_file(&file).expect("it is ours");
    result
}

#[test]
fn events_that_are_posted_are_counted_at_every_subscriber() {
    let (code, outcome) = measure(BY_HTTP);
    assert_eq!((code, outcome.ok), (Some(0), true), "{outcome:?}");
    assert_eq!((outcome.publishing.accepted, outcome.deliveries.delivered), (4, 20));
}

#[test]
fn events_that_are_sent_as_messages_are_counted_at_every_subscriber() {
    let (code, outcome) = measure(BY_MESSAGE);
    assert_eq!((code, outcome.ok), (Some(0), true), "{outcome:?}");
    assert_eq!((outcome.publishing.accepted, outcome.deliveries.delivered), (4, 20));
    assert_eq!(outcome.deliveries.other_messages, 0);
}

#[test]
fn a_server_that_refuses_what_is_published_is_told_with_its_status() {
    let refusing = BY_HTTP.replace("\"/all\"", "\"/none\"");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let control = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut head = BufReader::new(socket.try_clone().expect("descriptors are left")).lines();
        while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nnothing";
        socket.write_all(answer).expect("the load tester listens");
    });
    let (stream, _) = start();
    let file = env::temp_dir().join(format!("alarmcast-refused-{}.toml", process::id()));
    fs::write(&file, refusing).expect("a file can be written");
    let path = file.to_str().expect("a path in UTF-8");
    let args = ["--connections", "1", "--quiet", "0", "--url", &stream, "--control", &control];
    let args = [arguments(args), arguments(["--server", path])].concat();
    let (code, outcome): (_, Outcome) = run("fanout", &args, |_| {});
    fs::remove_file(&file).expect("it is ours");
    assert_eq!(code, Some(1));
    let failure = outcome.publishing.failure.expect("publishing failed");
    assert!(failure.ends_with("HTTP 404: nothing"), "{failure}");
}
