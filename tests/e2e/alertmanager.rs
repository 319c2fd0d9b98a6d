//! A real Alertmanager, from its own API to a line of `alarmcast tail`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Program, Server, eventually, tools};

const CONFIG: &str = "
route:
  receiver: alarmcast
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: alarmcast
    webhook_configs:
      - url: CONTROL/api/v1/webhooks/alertmanager
        send_resolved: true
";

/// Debian's program with its state in `dir`, and the URL of its API.
fn start_alertmanager(dir: &Path, server: &Server) -> (Program, String) {
    let file = dir.join("alertmanager.yml");
    let config = CONFIG.replace("CONTROL", &server.control_url);
    std::fs::write(&file, config).expect("a temporary file");
    let mut command = Command::new(tools::alertmanager());
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.path={}", dir.join("data").display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
    let program = Program::start(&mut command);
    let url = eventually("Alertmanager says where it listens", || {
        let log = program.stderr();
        let (_, rest) = log.split_once("msg=\"Listening on\" address=")?;
        let (addr, _) = rest.split_once('\n')?;
        Some(format!("http://{addr}"))
    });
    (program, url)
}

fn alert(starts_at: jiff::Timestamp, ends_at: jiff::Timestamp) -> Value {
    json!([{
        "labels": {"alertname": "InstanceDown", "severity": "critical", "instance": "node-7:9100"},
        "annotations": {"summary": "node-7 ist weg", "runbook_url": "https://runbooks.example.com/1"},
        "startsAt": starts_at.to_string(), "endsAt": ends_at.to_string(),
        "generatorURL": "http://prometheus.example.com/graph",
    }])
}

fn post(url: &str, alerts: &Value) {
    let url = format!("{url}/api/v2/alerts");
    let response = ureq::post(&url).send_json(alerts);
    response.unwrap_or_else(|error| panic!("Alertmanager refuses {alerts}: {error}"));
}

#[test]
fn an_alert_of_a_real_alertmanager_is_printed_by_tail_and_so_is_its_end() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut tail = Program::alarmcast(&["tail", "--url", &server.stream_url, "--count", "2"]);
    tail.await_stderr("watching");
    let (_alertmanager, url) = start_alertmanager(dir.path(), &server);

    let starts_at = alarmcast::base::clock::Clock::System.wall();
    post(&url, &alert(starts_at, starts_at + Duration::from_secs(3_600)));
    let firing: Value = serde_json::from_str(&tail.line()).expect("NDJSON");
    assert_eq!((&firing["type"], &firing["priority"]), (&json!("event"), &json!("high")));
    let received = &firing["event"]["alert"];
    assert_eq!(firing["event"]["event_type"], "alert_received");
    assert_eq!(received["severity"], "P0");
    assert_eq!(received["source"], "alertmanager");
    assert_eq!(received["title"], "node-7 ist weg");
    assert_eq!(received["labels"]["alertname"], "InstanceDown");
    assert_eq!(received["affected_services"], json!(["node-7:9100"]));
    assert_eq!(received["runbook_url"], "https://runbooks.example.com/1");
    assert_eq!(received["status"], "firing");

    post(&url, &alert(starts_at, alarmcast::base::clock::Clock::System.wall()));
    let resolved: Value = serde_json::from_str(&tail.line()).expect("NDJSON");
    assert_eq!(resolved["event"]["alert"]["status"], "resolved");
    assert_eq!(resolved["event"]["alert"]["id"], received["id"], "the same alert");
    tail.succeed();
}
