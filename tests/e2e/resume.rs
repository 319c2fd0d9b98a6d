//! Clients that come back: what they missed, in order, then what is live.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Client, Program, Raw, Server, events, eventually};

fn subscribe(client: &mut Client, from: &Value) -> Value {
    let mut message = json!({"type": "subscribe", "subscription_id": "s", "filters": {}});
    let fields = message.as_object_mut().expect("an object");
    fields.extend(from.as_object().expect("an object").clone());
    client.send(&message);
    client.expect("subscribed")
}

/// So many events of changing priority, in batches.
fn publish(server: &Server, count: usize) {
    let events: Vec<Value> = (0..count)
        .map(|number| match number % 5 {
            0 => events::created(number as u32, "P0"),
            1 => events::created(number as u32, "P3"),
            _ => events::system(&format!("number {number}")),
        })
        .collect();
    events.chunks(100).for_each(|batch| drop(server.publish_all(batch)));
}

fn expect_seqs(client: &mut Client, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        assert_eq!(client.expect_event()["seq"], seq);
    }
}

#[test]
fn one_that_was_cut_off_gets_what_it_missed_and_goes_on_live_in_either_encoding() {
    let server = Server::start();
    for is_packed in [false, true] {
        let connect = || if is_packed { server.connect_packed() } else { server.connect() };
        let mut first = connect();
        let subscribed = subscribe(&mut first, &json!({"checkpoints": true}));
        assert_eq!(subscribed.get("resumed"), None);
        let newest = server.get("/health").json()["seq"].as_u64().expect("a seq");
        publish(&server, 10);
        for _ in 0..10 {
            first.expect_event();
        }
        // No farewell: what the network does.
        drop(first);
        publish(&server, 3_000);
        let epoch = server.get("/health").json()["epoch"].clone();
        let mut second = connect();
        let subscribed =
            subscribe(&mut second, &json!({"resume": {"epoch": epoch, "after": newest + 4}}));
        assert_eq!((&subscribed["resumed"], subscribed.get("reason")), (&json!(true), None));
        expect_seqs(&mut second, newest + 5..=newest + 3_010);
        assert_eq!(second.expect("caught_up")["seq"], newest + 3_010);
        server.publish(&events::system("live"));
        assert_eq!(second.expect_event()["event"]["message"], "live");
    }
    assert_eq!(server.metrics().sum("alarmcast_events_replayed_total"), 2.0 * 3_006.0);
}

#[test]
fn many_that_come_back_at_once_all_catch_up_while_events_go_on() {
    const CLIENTS: usize = 200;
    let server = Server::start();
    publish(&server, 500);
    let epoch = server.get("/health").json()["epoch"].clone();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let after = number as u64 * 2;
        client.send(&json!({
            "type": "subscribe", "subscription_id": "s", "filters": {},
            "resume": {"epoch": epoch, "after": after},
        }));
    }
    publish(&server, 100);
    for (number, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.expect("subscribed")["resumed"], true);
        let (mut seqs, mut caught_up) = (Vec::new(), 0);
        let expected = number as u64 * 2 + 1..=600;
        while seqs.len() < expected.clone().count() || caught_up == 0 {
            let message = client.receive();
            match message["type"].as_str() {
                Some("event") => seqs.push(message["seq"].as_u64().expect("a seq")),
                Some("caught_up") => caught_up += 1,
                Some("checkpoint") => {}
                _ => panic!("{message}"),
            }
        }
        seqs.sort_unstable();
        assert!(seqs.into_iter().eq(expected), "client {number}");
    }
}

#[test]
fn what_is_not_held_is_told_with_its_reason() {
    let server = Server::with(&["history.events_max=50"]);
    publish(&server, 100);
    let epoch = server.get("/health").json()["epoch"].clone();
    for (from, reason) in [
        (json!({"resume": {"epoch": epoch, "after": 10}}), "history_expired"),
        (json!({"resume": {"epoch": epoch, "after": 1_000}}), "epoch_changed"),
        (json!({"resume": {"epoch": "of another process", "after": 90}}), "epoch_changed"),
        (json!({"since": "2020-01-01T00:00:00Z"}), "history_expired"),
    ] {
        let mut client = server.connect();
        let subscribed = subscribe(&mut client, &from);
        assert_eq!(subscribed["resumed"], false, "{from}");
        assert_eq!((&subscribed["reason"], &subscribed["first_seq"]), (&json!(reason), &json!(51)));
        client.expect_nothing();
    }
    let mut client = server.connect();
    let oldest = server.get("/api/v1/events?limit=1").json()["events"][0]["timestamp"].clone();
    let subscribed = subscribe(&mut client, &json!({"since": oldest}));
    assert_eq!(subscribed["resumed"], false, "older ones may be as young");
    let mut client = server.connect();
    subscribe(&mut client, &json!({"resume": {"epoch": epoch, "after": 50}}));
    expect_seqs(&mut client, 51..=100);
    assert_eq!(client.expect("caught_up")["seq"], 100);
}

/// A way to the server that can be cut.
struct Relay {
    url: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}/ws", listener.local_addr().expect("bound"));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (addr, opened) = (server.stream_addr(), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(addr) else { return };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let mut from = from.try_clone().expect("a descriptor");
                    let mut to = to.try_clone().expect("a descriptor");
                    thread::spawn(move || io::copy(&mut from, &mut to));
                }
                opened.lock().expect("no panic").extend([client, server]);
            }
        });
        Self { url, open }
    }

    /// Cuts all connections, without a farewell to either side.
    fn cut(&self) {
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn tail_prints_what_it_missed_while_it_was_cut_off_once_and_in_order() {
    let server = Server::start();
    let relay = Relay::start(&server);
    for encoding in ["json", "msgpack"] {
        let mut tail = Program::alarmcast(&[
            "tail",
            "--url",
            &relay.url,
            "--encoding",
            encoding,
            "--json",
            "--count",
            "302",
        ]);
        tail.await_stderr("watching");
        server.publish(&events::system("first"));
        let message = |tail: &Program| -> Value {
            let line: Value = serde_json::from_str(&tail.line()).expect("JSON");
            line["event"]["message"].clone()
        };
        assert_eq!(message(&tail), "first");
        relay.cut();
        for round in 0..3 {
            let batch: Vec<Value> =
                (0..100).map(|n| events::system(&format!("{}", round * 100 + n))).collect();
            server.publish_all(&batch);
        }
        tail.await_stderr("connected again");
        for number in 0..300 {
            assert_eq!(message(&tail), number.to_string());
        }
        relay.cut();
        server.publish(&events::system("last"));
        assert_eq!(message(&tail), "last");
        tail.succeed();
    }
}

#[test]
fn where_too_many_ask_for_the_past_the_others_are_told_when_to_ask_again() {
    const ASKING: usize = 8;
    let settings = ["limits.catch_ups_per_shard_max=1", "limits.catch_ups_waiting_per_shard_max=1"];
    let server = Server::with(&settings);
    let batch: Vec<Value> = (0..400).map(|_| events::large("past", 5_000)).collect();
    server.publish_all(&batch);
    let ask = json!({
        "type": "subscribe", "subscription_id": "s", "filters": {}, "ref": 7,
        "since": "2020-01-01T00:00:00Z",
    });
    // They read no further than the answer, so that nobody gets to the end.
    let mut asking: Vec<Raw> = (0..ASKING)
        .map(|_| {
            let mut raw = Raw::connect_with_little_room(server.stream_addr()).upgrade();
            raw.send(&ask);
            raw
        })
        .collect();
    let mut refused = Vec::new();
    let mut served = Vec::new();
    for mut raw in asking.drain(..) {
        let answer = raw.message();
        assert_eq!(answer["ref"], 7);
        if answer["type"] == "subscribed" {
            served.push(raw);
            continue;
        }
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("UNAVAILABLE")));
        assert!(answer["retry_after_ms"].as_u64() >= Some(250), "{answer}");
        refused.push(raw);
    }
    assert!((ASKING - 4..ASKING).contains(&refused.len()), "two of each shard: {}", refused.len());
    let of_outcome = |outcome| {
        server.metrics().sum_with("alarmcast_catch_ups_total", "outcome", outcome) as usize
    };
    assert_eq!(of_outcome("refused"), refused.len());
    served.clear();
    let mut again = refused.swap_remove(0);
    eventually("there is room again", || {
        again.send(&ask);
        (again.message()["type"] == "subscribed").then_some(())
    });
}
