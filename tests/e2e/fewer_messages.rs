//! Subscriptions that conflate, batch and collapse, over real sockets in both encodings.

use serde_json::{Value, json};

use crate::support::{Client, Server, events, eventually, in_either_encoding};

fn subscribe(client: &mut Client, options: &Value) -> Value {
    let mut message = json!({"type": "subscribe", "subscription_id": "s", "filters": {}});
    let fields = options.as_object().expect("an object").clone();
    message.as_object_mut().expect("an object").extend(fields);
    client.send(&message);
    client.expect("subscribed")
}

fn updated(number: u32) -> Value {
    json!({"event_type": "incident_updated", "incident": events::incident(number, "P3")})
}

#[test]
fn welcome_names_the_bounds_and_subscribed_what_is_in_force() {
    for (_server, mut client) in in_either_encoding() {
        let options = json!({
            "conflate": true, "batch": {"max_events": 256, "max_delay_ms": 10_000},
            "collapse": {"window_ms": 600_000, "after": 1_000},
        });
        let subscribed = subscribe(&mut client, &options);
        for (name, value) in options.as_object().expect("an object") {
            assert_eq!(&subscribed[name], value);
        }
        client.send(&json!({
            "type": "subscribe", "subscription_id": "s", "filters": {},
            "batch": {"max_events": 257, "max_delay_ms": 1},
        }));
        let error = client.expect_error("INVALID_MESSAGE");
        assert_eq!(error["message"], "batch.max_events: must be 1 to 256");
    }
}

#[test]
fn updates_that_wait_make_way_for_newer_ones() {
    for (server, mut client) in in_either_encoding() {
        let conflated =
            || server.metrics().sum_with("alarmcast_events_conflated_total", "priority", "normal");
        subscribe(&mut client, &json!({"conflate": true}));
        let mut other = server.subscriber(&json!({}));
        client.send(&json!({"type": "flow_control", "pause": true}));
        client.expect("flow_control");
        let seqs: Vec<u64> =
            [1, 2, 1, 1].map(|number| server.publish(&updated(number)).seq).to_vec();
        seqs.iter().for_each(|seq| assert_eq!(other.expect_event()["seq"], *seq));
        // The fourth takes the place of the third: then all have come.
        eventually("both have made way", || (conflated() == 2.0).then_some(()));
        client.send(&json!({"type": "flow_control", "pause": false}));
        client.expect("flow_control");
        let dropped = client.expect("dropped");
        assert_eq!(
            (&dropped["reason"], &dropped["counts"]["normal"]),
            (&json!("conflated"), &json!(2))
        );
        assert_eq!((&dropped["from_seq"], &dropped["to_seq"]), (&json!(seqs[0]), &json!(seqs[2])));
        assert_eq!(client.expect_event()["seq"], seqs[1]);
        assert_eq!(client.expect_event()["seq"], seqs[3]);
        assert_eq!(conflated(), 2.0);
    }
}

#[test]
fn events_come_in_batches_and_critical_ones_at_once() {
    for (server, mut client) in in_either_encoding() {
        subscribe(&mut client, &json!({"batch": {"max_events": 4, "max_delay_ms": 10_000}}));
        let low = [0, 1, 2].map(|number| server.publish(&events::system(&number.to_string())).seq);
        let critical = server.publish(&events::created(1, "P0")).seq;
        assert_eq!(client.expect_event()["seq"], critical);
        client.expect_nothing();
        let last = server.publish(&events::system("the fourth")).seq;
        let batch = client.expect("batch");
        let events = batch["events"].as_array().expect("a list");
        let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(seqs, [&low[..], &[last]].concat());
        assert_eq!(events[3]["event"]["message"], "the fourth");
        assert_eq!(server.metrics().sum("alarmcast_batches_sent_total"), 1.0);
    }
}

#[test]
fn a_batch_that_does_not_fill_goes_when_its_time_has_come() {
    for (server, mut client) in in_either_encoding() {
        subscribe(&mut client, &json!({"batch": {"max_events": 100, "max_delay_ms": 50}}));
        let sent = server.publish_all(&[events::system("one"), events::system("two")]);
        let mut came = Vec::new();
        while came.len() < sent.len() {
            let message = client.receive();
            match message["type"].as_str() {
                Some("batch") => came.extend(message["events"].as_array().expect("a list").clone()),
                Some("event") => came.push(message),
                _ => panic!("{message}"),
            }
        }
        assert!(came.iter().map(|event| &event["seq"]).eq(sent.iter().map(|it| it.seq)));
    }
}

#[test]
fn of_a_storm_the_first_come_and_the_rest_is_counted() {
    let mut server = Server::start();
    let mut clients = [server.connect(), server.connect_packed()];
    for client in &mut clients {
        subscribe(client, &json!({"collapse": {"window_ms": 2_000, "after": 2}}));
    }
    let storm: Vec<Value> = (0..20)
        .map(|number| {
            let mut event = events::alert(number, "P3");
            event["alert"]["fingerprint"] = json!("disk");
            event
        })
        .collect();
    let sent = server.publish_all(&storm);
    for client in &mut clients {
        assert_eq!(client.expect_event()["seq"], sent[0].seq);
        assert_eq!(client.expect_event()["seq"], sent[1].seq);
        let collapsed = client.expect("collapsed");
        assert_eq!((&collapsed["fingerprint"], &collapsed["count"]), (&json!("disk"), &json!(18)));
        assert_eq!(collapsed["counts"], json!({"low": 0, "normal": 18, "high": 0}));
        assert_eq!(
            (&collapsed["first_seq"], &collapsed["last_seq"]),
            (&json!(sent[2].seq), &json!(sent[19].seq))
        );
        subscribe(client, &json!({"collapse": {"window_ms": 600_000, "after": 1}}));
    }
    assert_eq!(server.metrics().sum("alarmcast_events_collapsed_total"), 36.0);
    // What the end of the server cuts off is told before it.
    let last = server.publish_all(&storm[..3]);
    server.terminate();
    for client in &mut clients {
        let closed = client.read_to_close();
        let kinds: Vec<&Value> = closed.messages.iter().map(|message| &message["type"]).collect();
        assert_eq!(kinds, ["event", "collapsed", "closing"]);
        assert_eq!(closed.messages[2]["resume"]["after"], last[2].seq);
    }
    assert_eq!(server.wait().code(), Some(0));
}
