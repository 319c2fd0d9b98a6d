//! The runbook has an entry for every reason that is counted.

use crate::plane::{Options, start};

#[test]
fn every_reason_of_a_refusal_or_a_loss_is_in_the_runbook() {
    let runbook = include_str!("../../docs/RUNBOOK.md");
    let plane = start(Options::default());
    let metrics = plane.get("/metrics").text;
    let mut reasons = 0;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once("{reason=\"") else { continue };
        let reason = rest.split('"').next().expect("a value");
        let is_there = [format!("`{reason}`"), format!("reason=\"{reason}\"")];
        assert!(is_there.iter().any(|text| runbook.contains(text)), "no entry for {reason}");
        reasons += 1;
    }
    assert!(reasons > 20, "{metrics}");
    for name in ["alarmcast_events_shed_total", "alarmcast_shard_stalled"] {
        assert!(runbook.contains(name) && metrics.contains(name), "{name}");
    }
}
