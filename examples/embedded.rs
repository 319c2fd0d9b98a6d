//! Alarmcast inside a host program: starts a server, publishes through its handlers, and
//! ends it in order.
//!
//! ```sh
//! cargo run --example embedded
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use alarmcast::Server;
use alarmcast::event::{Incident, IncidentState, Severity};
use uuid::Uuid;

fn main() -> Result<(), Box<dyn Error>> {
    let any_port = "127.0.0.1:0".parse()?;
    let server =
        Server::builder().stream_listen(any_port).control_listen(any_port).shards(1).start()?;
    println!("watch it with: alarmcast tail --url ws://{}/ws", server.stream_addr());

    let events = server.publishing();
    let mut incident = Incident::new(
        Uuid::now_v7(),
        Severity::P1,
        "embedded-example",
        "Answers of the support model take 40 s",
        events.now(),
    );
    incident.affected_resources = vec!["support-model".to_owned()];
    let id = incident.id;

    let created = events.incidents().created(incident.clone())?.wait()?;
    println!("created as event {} of the stream", created[0].seq);
    events.escalations().escalated(id, Severity::P1, Severity::P0, "customers notice")?.wait()?;
    events.playbooks().started(id, "pb-7", "Shift traffic to the fallback model")?.wait()?;
    events.comments().added(id, "dana", "the fallback holds")?.wait()?;
    incident.state = IncidentState::Resolved;
    let resolved = events.incidents().resolved(incident)?.wait()?;
    println!("resolved as event {}", resolved[0].seq);

    if std::env::args().any(|argument| argument == "--stay") {
        std::thread::park_timeout(Duration::from_secs(600));
    }
    server.stop()?;
    Ok(())
}
