//! Two servers behind one nginx, restarted one after the other, under clients that resume: each
//! is told to leave, comes back when it was told to, learns that the sequence is another one, and
//! has all of every sequence that it met.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

use crate::support::{DEADLINE, Program, Server, UPGRADE, events, eventually, tools};

const CLIENTS: usize = 1_000;
/// The last event of all.
const END: &str = "the end";

/// nginx before two servers, on a socket in a folder of its own.
struct Proxy {
    folder: tempfile::TempDir,
    program: Program,
}

impl Proxy {
    fn start(servers: [&Server; 2]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().display();
        let [first, second] = servers.map(Server::stream_addr);
        // A server that drains answers 503, one that is gone refuses: the other one is asked.
        let text = format!(
            "daemon off; pid {path}/pid; error_log stderr crit; user root;\n\
             worker_rlimit_nofile 8192; events {{ worker_connections 4096; }}\n\
             http {{\n\
             access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
             fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
             upstream both {{ server {first} max_fails=0; server {second} max_fails=0; }}\n\
             server {{ listen unix:{path}/socket backlog=4096; location / {{\n\
             proxy_pass http://both; proxy_http_version 1.1; proxy_read_timeout 300s;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;\n\
             proxy_next_upstream error timeout http_503;\n\
             }} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).expect("writable");
        let mut nginx = tools::nginx();
        let program = Program::start(nginx.arg("-c").arg(&file).arg("-p").arg(folder.path()));
        let proxy = Self { folder, program };
        eventually("nginx listens", || UnixStream::connect(proxy.socket()).ok());
        proxy
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Told so, nginx ends its workers too; killed, it leaves them behind.
        self.program.signal("TERM");
        self.program.wait();
    }
}

/// What one client went through.
#[derive(Debug, Default)]
struct Account {
    /// By epoch: what came.
    seqs: BTreeMap<String, BTreeSet<u64>>,
    /// The position of each `closing`, in order.
    closings: Vec<(String, u64)>,
    /// Handshakes that were refused.
    refusals: usize,
}

/// How a connection ended.
enum Ended {
    /// As the last event asks for.
    Done,
    /// Told to leave, and when to come back.
    Told(Duration),
}

/// Lives through everything until the last event.
#[allow(clippy::disallowed_methods, reason = "the server says how long to wait")]
fn live(socket: &Path) -> Account {
    let mut account = Account::default();
    loop {
        let pause = match connect(socket) {
            Some(mut connection) => match account.follow(&mut connection) {
                Ended::Done => return account,
                Ended::Told(pause) => pause,
            },
            None => {
                account.refusals += 1;
                Duration::from_millis(200)
            }
        };
        thread::sleep(pause);
    }
}

/// None where the proxy found no server that takes it.
fn connect(socket: &Path) -> Option<WebSocket<UnixStream>> {
    let mut stream = UnixStream::connect(socket).expect("the proxy listens");
    stream.set_read_timeout(Some(4 * DEADLINE)).expect("a socket option");
    stream.write_all(UPGRADE.as_bytes()).expect("the proxy takes a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer to the upgrade");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head in ASCII");
    match head.get(9..12) {
        Some("101") => Some(WebSocket::from_raw_socket(stream, Role::Client, None)),
        Some("502" | "503") => None,
        _ => panic!("{head}"),
    }
}

fn receive(connection: &mut WebSocket<UnixStream>) -> Result<Value, u16> {
    loop {
        match connection.read() {
            Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Ok(Message::Close(frame)) => {
                let code = frame.map_or(1005, |frame| frame.code.into());
                // The answer goes out, and the server ends the connection.
                assert!(matches!(connection.read(), Err(Error::ConnectionClosed)));
                return Err(code);
            }
            Ok(_) => {}
            Err(error) => panic!("an end without a close frame: {error}"),
        }
    }
}

fn resume(connection: &mut WebSocket<UnixStream>, epoch: &str, after: u64) {
    let message = json!({
        "type": "subscribe", "subscription_id": "all", "filters": {},
        "resume": {"epoch": epoch, "after": after},
    });
    connection.send(Message::text(message.to_string())).expect("the connection lives");
}

impl Account {
    fn follow(&mut self, connection: &mut WebSocket<UnixStream>) -> Ended {
        if let Some((epoch, after)) = self.closings.last() {
            resume(connection, epoch, *after);
        }
        let welcome = receive(connection).expect("a welcome");
        let epoch = welcome["epoch"].as_str().expect("an epoch").to_owned();
        if !self.closings.is_empty() {
            let subscribed = receive(connection).expect("an answer");
            let told = (&subscribed["resumed"], &subscribed["reason"], &subscribed["first_seq"]);
            assert_eq!(told, (&json!(false), &json!("epoch_changed"), &json!(1)), "{subscribed}");
        }
        // Told that it has to reload, it takes all that this server holds.
        resume(connection, &epoch, 0);
        self.read(&epoch, connection)
    }

    fn read(&mut self, epoch: &str, connection: &mut WebSocket<UnixStream>) -> Ended {
        loop {
            let message = receive(connection).expect("`closing` comes before the close frame");
            match message["type"].as_str() {
                Some("event") => {
                    let seqs = self.seqs.entry(epoch.to_owned()).or_default();
                    seqs.insert(message["seq"].as_u64().expect("a seq"));
                    if message["event"]["message"] == END {
                        connection.close(None).expect("a close frame can be sent");
                        return Ended::Done;
                    }
                }
                Some("subscribed") => assert_ne!(message["resumed"], false, "{message}"),
                Some("closing") => {
                    assert_eq!(message["code"], 1001, "{message}");
                    assert_eq!(message["resume"]["epoch"], epoch, "{message}");
                    let after = message["resume"]["after"].as_u64().expect("a position");
                    self.closings.push((epoch.to_owned(), after));
                    assert_eq!(receive(connection), Err(1001));
                    let pause = message["retry_after_ms"].as_u64().expect("an invitation");
                    return Ended::Told(Duration::from_millis(pause));
                }
                _ => {}
            }
        }
    }
}

/// What was acknowledged, by epoch.
#[derive(Debug, Default)]
struct Acknowledged(BTreeMap<String, u64>);

impl Acknowledged {
    fn publish(&mut self, server: &Server, texts: &[&str]) {
        let epoch = server.get("/health").json()["epoch"].as_str().expect("an epoch").to_owned();
        for text in texts {
            let seq = server.publish(&events::system(text)).seq;
            assert_eq!(self.0.insert(epoch.clone(), seq).unwrap_or_default() + 1, seq);
        }
    }
}

fn serve(stream_listen: &str) -> Server {
    Server::at(stream_listen, &["server.drain_window_secs=2"])
}

/// Ends a server as its clients leave, and starts another one at its address.
fn restart(mut server: Server, drain: impl FnOnce(&Server)) -> Server {
    let address = server.stream_addr().to_string();
    drain(&server);
    assert_eq!(server.wait().code(), Some(0), "all have left in time");
    serve(&address)
}

fn await_connections(servers: [&Server; 2], count: usize) {
    eventually("all clients are there", || {
        let open = servers.map(|it| it.metrics().sum("websocket_active_connections") as usize);
        (open.iter().sum::<usize>() == count).then_some(())
    });
}

#[test]
fn a_rolling_restart_closes_everyone_properly_and_loses_nothing_of_any_servers_life() {
    let (first, second) = (serve("127.0.0.1:0"), serve("127.0.0.1:0"));
    let proxy = Proxy::start([&first, &second]);
    let mut acknowledged = Acknowledged::default();
    acknowledged.publish(&first, &["before anyone came"; 5]);
    let spawn = |_| {
        let socket = proxy.socket();
        let thread = thread::Builder::new().stack_size(512 * 1024);
        thread.spawn(move || live(&socket)).expect("a thread")
    };
    let clients: Vec<JoinHandle<Account>> = (0..CLIENTS).map(spawn).collect();
    await_connections([&first, &second], CLIENTS);
    acknowledged.publish(&first, &["to those of the first"; 10]);
    acknowledged.publish(&second, &["to those of the second"; 10]);
    let first = restart(first, |server| {
        server.post("/api/v1/drain", "application/json", b"").assert_status(202);
        acknowledged.publish(&second, &["meanwhile"; 10]);
    });
    await_connections([&first, &second], CLIENTS);
    acknowledged.publish(&second, &["to all"; 10]);
    let second = restart(second, |server| {
        server.terminate();
        acknowledged.publish(&first, &["meanwhile"; 10]);
    });
    await_connections([&first, &second], CLIENTS);
    acknowledged.publish(&first, &["almost", END]);
    acknowledged.publish(&second, &["almost", END]);
    let (mut closings, mut refusals) = (0, 0);
    for client in clients {
        let account = client.join().expect("no connection ended otherwise than it should");
        for (epoch, seqs) in &account.seqs {
            let newest = acknowledged.0[epoch];
            assert!(seqs.iter().copied().eq(1..=newest), "of {epoch}, up to {newest}: {seqs:?}");
        }
        for (epoch, after) in &account.closings {
            assert_eq!(*after, acknowledged.0[epoch], "its place is the end of that sequence");
        }
        assert!((1..=2).contains(&account.closings.len()), "{:?}", account.closings);
        closings += account.closings.len();
        refusals += account.refusals;
    }
    assert!((CLIENTS + 1..2 * CLIENTS).contains(&closings), "both had clients: {closings}");
    // A connection that was waiting to be accepted when its server ended may be refused.
    assert!(refusals <= CLIENTS / 20, "one of the two was always there: {refusals}");
}
