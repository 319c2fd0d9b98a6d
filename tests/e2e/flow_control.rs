//! Clients that pause their events, over real sockets.

use serde_json::{Value, json};

use crate::support::{Client, Server, events, eventually, in_either_encoding};

fn pause(client: &mut Client, pause: bool) -> Value {
    client.send(&json!({"type": "flow_control", "pause": pause, "ref": 1}));
    let answer = client.expect("flow_control");
    assert_eq!((&answer["pause"], &answer["ref"]), (&json!(pause), &json!(1)));
    answer
}

/// Messages that wait for any connection.
fn waiting(server: &Server) -> u64 {
    let page = server.get("/api/v1/connections").assert_status(200).json();
    let connections = page["connections"].as_array().expect("a list");
    connections.iter().filter_map(|connection| connection["waiting"]["messages"].as_u64()).sum()
}

#[test]
fn a_paused_client_is_answered_and_gets_what_waited_when_it_goes_on() {
    for (server, mut client) in in_either_encoding() {
        client.subscribe("s", &json!({}));
        let mut other = server.subscriber(&json!({}));
        pause(&mut client, true);
        assert_eq!(server.metrics().sum("alarmcast_connections_paused"), 1.0);
        let low = server.publish(&events::system("waits")).seq;
        let critical = server.publish(&events::created(1, "P0")).seq;
        other.expect_event();
        other.expect_event();
        eventually("both wait", || (waiting(&server) == 2).then_some(()));
        client.expect_nothing();
        pause(&mut client, false);
        let came = [client.expect_event(), client.expect_event()];
        assert_eq!(came.map(|event| event["seq"].as_u64()), [Some(critical), Some(low)]);
        assert_eq!(server.metrics().sum("alarmcast_connections_paused"), 0.0);
    }
}

#[test]
fn what_is_shed_while_a_client_pauses_is_told_when_it_goes_on() {
    const EVENTS: usize = 100;
    let server = Server::with(&["limits.outbox_messages_max=32"]);
    let mut client = server.connect_packed();
    client.subscribe("s", &json!({}));
    pause(&mut client, true);
    let batch: Vec<Value> = (0..EVENTS).map(|_| events::system("many")).collect();
    let receipts = server.publish_all(&batch);
    let shed = |server: &Server| server.metrics().sum("alarmcast_events_shed_total");
    eventually("some are shed", || (shed(&server) == 84.0).then_some(()));
    client.expect_nothing();
    pause(&mut client, false);
    let dropped = client.expect("dropped");
    assert_eq!(dropped["counts"], json!({"low": 84, "normal": 0, "high": 0}));
    assert_eq!(dropped["from_seq"], receipts[0].seq);
    for receipt in &receipts[84..] {
        assert_eq!(client.expect_event()["seq"], receipt.seq);
    }
}

#[test]
fn a_drain_ends_a_paused_client_with_the_position_before_what_it_was_not_sent() {
    let mut server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let sent = server.publish(&events::system("sent")).seq;
    client.expect_event();
    pause(&mut client, true);
    server.publish(&events::created(1, "P0"));
    server.terminate();
    let closed = client.read_to_close();
    assert_eq!(closed.code, 1001);
    assert!(closed.assert_announced().is_empty());
    assert_eq!(closed.messages[0]["resume"]["after"], sent);
    assert_eq!(server.wait().code(), Some(0));
}
