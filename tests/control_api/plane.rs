//! A control plane on a real socket, with a real hub and a shard that only listens.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use alarmcast::base::clock::Clock;
use alarmcast::base::lifecycle::{Lifecycle, Stage};
use alarmcast::config::Config;
use alarmcast::control;
use alarmcast::hub::{DrainPlan, Hub, HubSettings, Publisher};
use alarmcast::io::Waker;
use alarmcast::shard::stats::{Histograms, ShardStats};
use alarmcast::shard::{Handle, Inbox, Page, Request};
use alarmcast::stream::history::Limits;
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub const EVENTS: &str = "/api/v1/events";
pub const ALERTMANAGER: &str = "/api/v1/webhooks/alertmanager";

/// What a shard was handed, by `seq`.
type Delivered = Arc<Mutex<BTreeMap<u64, Value>>>;

/// A control plane before a hub, and a shard that keeps what it is handed.
pub struct Plane {
    pub address: SocketAddr,
    pub lifecycle: Lifecycle,
    pub publisher: Publisher,
    pub stats: Arc<ShardStats>,
    delivered: Delivered,
    pub deaf: Arc<AtomicBool>,
    pub hub: Option<JoinHandle<()>>,
    /// A hub that does not run yet, and what it needs to.
    pub idle_hub: Option<(Hub, Handle)>,
    pub shard: Option<JoinHandle<()>>,
    pub server: Option<JoinHandle<()>>,
    pub stop: Option<oneshot::Sender<()>>,
}

pub struct Options {
    pub ingest_events_max: usize,
    pub history: Limits,
    pub hub_runs: bool,
    pub config: Config,
    pub fallback: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ingest_events_max: 20_000,
            history: Limits::default(),
            hub_runs: true,
            config: Config::default(),
            fallback: None,
        }
    }
}

pub fn start(options: Options) -> Plane {
    let lifecycle = Lifecycle::new();
    let clock = Clock::System;
    let settings = HubSettings {
        epoch: "test".into(),
        ingest_events_max: options.ingest_events_max,
        history: options.history,
        drain: DrainPlan { window: Duration::from_secs(1), timeout: Duration::from_secs(3) },
    };
    let hub = Hub::new(settings, lifecycle.clone(), clock.clone());
    let publisher = hub.publisher();
    let stats = Arc::new(ShardStats::default());
    let delivered = Delivered::default();
    let deaf = Arc::new(AtomicBool::new(false));
    let inbox = Arc::new(Inbox::new(1_000));
    let shard = listening_shard(&inbox, &stats, &delivered, &deaf, &lifecycle, hub.waker());
    let thread = shard.thread().clone();
    let waker = Waker::new(move || thread.unpark());
    waker.park();
    let handle = Handle::new(0, "sim", Arc::clone(&stats), inbox, waker);
    let context = control::Context {
        publisher: publisher.clone(),
        drainer: hub.drainer(),
        history: hub.history(),
        epoch: "test".into(),
        shards: vec![handle.clone()],
        lifecycle: lifecycle.clone(),
        clock,
        config: Arc::new(options.config),
        driver: "sim",
        driver_fallback_reason: options.fallback,
    };
    let (stop, stopped) = oneshot::channel();
    let (address, server) = serve(context, stopped);
    lifecycle.advance(Stage::Serving);
    let mut plane = Plane {
        address,
        lifecycle,
        publisher,
        stats,
        delivered,
        deaf,
        hub: None,
        idle_hub: Some((hub, handle)),
        shard: Some(shard),
        server: Some(server),
        stop: Some(stop),
    };
    if options.hub_runs {
        plane.run_hub();
    }
    plane
}

pub fn serve(
    context: control::Context,
    stopped: oneshot::Receiver<()>,
) -> (SocketAddr, JoinHandle<()>) {
    let (bound, address) = std::sync::mpsc::sync_channel(1);
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            bound.send(listener.local_addr().expect("bound")).expect("awaited");
            let stop = async { drop(stopped.await) };
            control::serve(listener, context, stop).await.expect("served");
        });
    });
    (address.recv().expect("bound"), server)
}

fn listening_shard(
    inbox: &Arc<Inbox>,
    stats: &Arc<ShardStats>,
    delivered: &Delivered,
    deaf: &Arc<AtomicBool>,
    lifecycle: &Lifecycle,
    hub: Waker,
) -> JoinHandle<()> {
    let (inbox, delivered) = (Arc::clone(inbox), Arc::clone(delivered));
    let (deaf, lifecycle, stats) = (Arc::clone(deaf), lifecycle.clone(), Arc::clone(stats));
    thread::spawn(move || {
        while lifecycle.stage() < Stage::Stopped {
            while let Some(event) = inbox.pop_urgent().or_else(|| inbox.pop_event()) {
                let payload = serde_json::to_value(&event.event.payload).expect("JSON");
                delivered.lock().expect("no panic").insert(event.event.seq, payload);
            }
            if inbox.relieve() {
                hub.wake();
            }
            let is_deaf = deaf.load(Ordering::Acquire);
            stats.turns.add(u64::from(!is_deaf));
            match inbox.pop_request() {
                Some(Request::Histograms(answer)) if !is_deaf => {
                    let _ = answer.send(Box::new(some_histograms()));
                }
                Some(Request::Connections(_, answer)) if !is_deaf => {
                    let _ = answer.send(Page::default());
                }
                Some(Request::Connection(_, answer)) if !is_deaf => drop(answer.send(None)),
                Some(Request::Close(_, _, answer)) if !is_deaf => drop(answer.send(None)),
                // Kept unanswered, as a stuck shard would.
                Some(request) => std::mem::forget(request),
                None => thread::park_timeout(Duration::from_millis(1)),
            }
        }
    })
}

fn some_histograms() -> Histograms {
    let mut histograms = Histograms::new();
    histograms.delivery[0].record(2_000_000).expect("in range");
    histograms.delivery[3].record(40_000_000).expect("in range");
    histograms.session.record(7_000_000_000).expect("in range");
    histograms
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.lifecycle.advance(Stage::Stopped);
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        for thread in [self.hub.take(), self.shard.take(), self.server.take()] {
            let ended = thread.map(JoinHandle::join);
            assert!(ended.is_none_or(|ended| ended.is_ok()) || thread::panicking());
        }
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Plane {
    pub fn run_hub(&mut self) {
        let (hub, shard) = self.idle_hub.take().expect("not yet running");
        self.hub = Some(thread::spawn(move || hub.run(vec![shard])));
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("connected")
    }

    pub fn agent() -> ureq::Agent {
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
    }

    pub fn get(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.address);
        read(Self::agent().get(&url).call().expect("answered"))
    }

    pub fn delete(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.address);
        read(Self::agent().delete(&url).call().expect("answered"))
    }

    pub fn post(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_with(path, &[("content-type", kind)], body)
    }

    pub fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let mut request = Self::agent().post(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body.as_ref()).expect("answered"))
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string())
    }

    /// What the shard was handed, once it is `count` events; in the order of `seq`, since urgent
    /// ones may have overtaken others.
    pub fn delivered(&self, count: usize) -> Vec<Value> {
        loop {
            let delivered = self.delivered.lock().expect("no panic");
            if delivered.len() >= count {
                return delivered.values().cloned().collect();
            }
            drop(delivered);
            thread::yield_now();
        }
    }
}

pub fn read(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.body_mut().read_to_string().expect("text");
    Answer { status, headers, text }
}

pub fn system_event(message: &str) -> Value {
    json!({ "event_type": "system_event", "category": "test", "message": message })
}

#[track_caller]
pub fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let body = answer.json();
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{}", answer.text);
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
    body
}
