//! A server of its own for every scenario.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::thread;

use serde_json::{Value, json};
use ureq::Agent;

use super::client::Client;
use super::http::{self, Answer};
use super::metrics::Metrics;
use super::program::Program;
use super::wait::eventually;

/// `alarmcast serve` with two shards on free ports.
#[derive(Debug)]
pub struct Server {
    pub program: Program,
    /// The first line that it printed.
    pub banner: String,
    pub stream_url: String,
    pub control_url: String,
    agent: Agent,
}

/// What the server says of one published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub message_id: String,
    pub seq: u64,
}

/// The driver that the servers of this run must have, as the banner calls it.
pub fn expected_driver() -> &'static str {
    match driver_name().as_str() {
        "uring" => "io_uring",
        "epoll" => "epoll",
        "auto" if is_uring_allowed() => "io_uring",
        "auto" => "epoll",
        other => panic!("ALARMCAST_TEST_DRIVER is `{other}`: it must be uring, epoll or auto"),
    }
}

/// What `--driver` is given: `auto` where it comes to the expected driver.
pub fn driver_argument() -> &'static str {
    match (expected_driver(), is_uring_allowed()) {
        ("epoll", true) => "epoll",
        _ => "auto",
    }
}

fn driver_name() -> String {
    std::env::var("ALARMCAST_TEST_DRIVER").unwrap_or_else(|_| "uring".to_owned())
}

/// Whether this process may use io_uring; its children then may as well.
fn is_uring_allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    // On a thread that then ends: the ring's own end may interrupt system calls of the thread
    // that made it.
    *ALLOWED.get_or_init(|| {
        thread::spawn(|| io_uring::IoUring::new(2).is_ok()).join().expect("no panic")
    })
}

/// A client of either encoding, each with a server to itself: what was published for the one
/// may still be on its way when the other subscribes.
pub fn in_either_encoding() -> impl Iterator<Item = (Server, Client)> {
    [Server::connect, Server::connect_packed].into_iter().map(|connect| {
        let server = Server::start();
        let client = connect(&server);
        (server, client)
    })
}

impl Server {
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With settings, such as `limits.connections_max=2`.
    #[track_caller]
    pub fn with(settings: &[&str]) -> Self {
        Self::at("127.0.0.1:0", settings)
    }

    /// On a given address for the stream.
    #[track_caller]
    pub fn at(stream_listen: &str, settings: &[&str]) -> Self {
        Self::launched(Program::alarmcast_command(), stream_listen, settings)
    }

    /// By a command of [`Program::alarmcast_command`].
    #[track_caller]
    pub fn launched(mut command: Command, stream_listen: &str, settings: &[&str]) -> Self {
        command.args(["serve", "--stream-listen", stream_listen]);
        command.args(["--control-listen", "127.0.0.1:0"]);
        command.args(["--driver", driver_argument(), "--shards", "2"]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let server = Self::announced(Program::start(&mut command));
        let expected = format!(" driver {} ", expected_driver());
        assert!(server.banner.contains(&expected), "not on the driver under test: {server:?}");
        server
    }

    /// Reads what a started server says of itself.
    #[track_caller]
    pub fn announced(program: Program) -> Self {
        let banner = program.line();
        let url = |line: String, name: &str| {
            let url = line.strip_prefix(name).unwrap_or_else(|| panic!("not {name}: {line}"));
            url.trim().to_owned()
        };
        let stream_url = url(program.line(), "stream");
        let control_url = url(program.line(), "control");
        Self { program, banner, stream_url, control_url, agent: http::agent() }
    }

    pub fn stream_addr(&self) -> SocketAddr {
        let rest = self.stream_url.strip_prefix("ws://").expect("a ws URL");
        rest.strip_suffix("/ws").expect("the path").parse().expect("an address")
    }

    /// A client that was welcomed.
    #[track_caller]
    pub fn connect(&self) -> Client {
        let mut client = Client::connect(&self.stream_url);
        client.expect("welcome");
        client
    }

    /// A client that speaks MessagePack and was welcomed.
    #[track_caller]
    pub fn connect_packed(&self) -> Client {
        let mut client = Client::connect_packed(&self.stream_url);
        client.expect("welcome");
        client
    }

    /// A client with one subscription, confirmed.
    #[track_caller]
    pub fn subscriber(&self, filters: &Value) -> Client {
        let mut client = self.connect();
        client.subscribe("only", filters);
        client
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        http::get(&self.agent, &format!("{}{path}", self.control_url))
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        http::delete(&self.agent, &format!("{}{path}", self.control_url))
    }

    #[track_caller]
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        http::post(&self.agent, &format!("{}{path}", self.control_url), content_type, body)
    }

    /// Posts JSON to the publishing endpoint.
    #[track_caller]
    pub fn post_events(&self, body: &Value) -> Answer {
        self.post("/api/v1/events", "application/json", body.to_string().as_bytes())
    }

    /// Publishes one event, which must be taken.
    #[track_caller]
    pub fn publish(&self, event: &Value) -> Receipt {
        let mut receipts = self.publish_all(std::slice::from_ref(event));
        receipts.remove(0)
    }

    /// Publishes events in one request, all of which must be taken.
    #[track_caller]
    pub fn publish_all(&self, events: &[Value]) -> Vec<Receipt> {
        let answer = self.post_events(&json!(events)).assert_status(200);
        let receipts = receipts(&answer.json());
        assert_eq!(receipts.len(), events.len(), "{answer:?}");
        receipts
    }

    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(self.get("/metrics").assert_status(200).body)
    }

    /// Waits until a metric's sum is as it should be.
    #[track_caller]
    pub fn await_metric(&self, name: &str, value: f64) {
        let what = format!("{name} is {value}");
        eventually(&what, || (self.metrics().sum(name) == value).then_some(()));
    }

    /// Asks for the orderly end.
    #[track_caller]
    pub fn terminate(&self) {
        self.program.signal("TERM");
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.program.wait()
    }
}

/// The receipts of an answer in which every event was taken.
#[track_caller]
fn receipts(answer: &Value) -> Vec<Receipt> {
    let results = answer["results"].as_array().unwrap_or_else(|| panic!("no results: {answer}"));
    let receipt = |(index, result): (usize, &Value)| {
        assert_eq!(result["index"], index, "{result}");
        let message_id = result["message_id"].as_str();
        Receipt {
            message_id: message_id.unwrap_or_else(|| panic!("refused: {result}")).to_owned(),
            seq: result["seq"].as_u64().unwrap_or_else(|| panic!("no seq: {result}")),
        }
    };
    results.iter().enumerate().map(receipt).collect()
}
