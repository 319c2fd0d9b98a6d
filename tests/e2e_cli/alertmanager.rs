//! A real Alertmanager posts to the webhook, and `alarmcast tail` prints the alert.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::{Value, json};

use crate::{serve, tail};

const PROGRAM: &str = "prometheus-alertmanager";

/// A started Alertmanager, killed when dropped.
struct Alertmanager {
    child: Child,
    address: String,
    /// Kept open, so that it can go on writing.
    log: BufReader<ChildStderr>,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &Path, webhook: &str) -> Alertmanager {
    let config = folder.join("alertmanager.yml");
    let text = format!(
        "route: {{receiver: alarmcast, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: alarmcast, webhook_configs: [{{url: \"{webhook}\"}}]}}]\n"
    );
    std::fs::write(&config, text).expect("written");
    let mut command = Command::new(PROGRAM);
    command.arg("--config.file").arg(&config).arg("--storage.path").arg(folder);
    command.args(["--web.listen-address", "127.0.0.1:0", "--cluster.listen-address="]);
    match command.stderr(Stdio::piped()).spawn() {
        Ok(mut child) => {
            let log = BufReader::new(child.stderr.take().expect("piped"));
            let mut started = Alertmanager { child, address: String::new(), log };
            started.address = started.find_address();
            started
        }
        Err(error) => panic!("Debian's package {PROGRAM} is needed: {error}"),
    }
}

impl Alertmanager {
    /// From the log: it was told to take any port.
    fn find_address(&mut self) -> String {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            assert!(self.log.read_line(&mut seen).expect("text") > 0, "it ended:\n{seen}");
            let line = &seen[start..];
            let address = line.split("address=").nth(1).filter(|_| line.contains("Listening on"));
            if let Some(address) = address.and_then(|rest| rest.split_whitespace().next()) {
                return address.to_owned();
            }
        }
    }

    /// What Prometheus posts when a rule begins to fire, or ends.
    fn post(&self, alert: &Value) {
        let url = format!("http://{}/api/v2/alerts", self.address);
        ureq::post(&url).send_json(json!([alert])).expect("taken");
    }
}

#[test]
fn an_alert_reaches_tail_when_it_fires_and_when_it_is_resolved() {
    let server = serve("127.0.0.1:0");
    let mut tail = tail(&["--url", &server.stream, "--source", "alertmanager", "--count", "2"]);
    tail.wait_for_status("watching");
    let folder = tempfile::tempdir().expect("a folder");
    let webhook = format!("{}/api/v1/webhooks/alertmanager", server.control);
    let alertmanager = start(folder.path(), &webhook);
    let mut alert = json!({
        "labels": { "alertname": "TimeToFirstTokenHigh", "severity": "critical", "service": "chat" },
        "annotations": { "summary": "First-token latency of chat above 4s" },
        "generatorURL": "http://prometheus.example/graph",
    });
    alertmanager.post(&alert);
    let fired = tail.event();
    assert_eq!(fired["event"]["event_type"], "alert_received");
    assert_eq!(fired["priority"], "high");
    let fired = &fired["event"]["alert"];
    assert_eq!(fired["title"], "First-token latency of chat above 4s");
    assert_eq!((&fired["severity"], &fired["status"]), (&json!("P0"), &json!("firing")));
    assert_eq!(fired["affected_services"], json!(["chat"]));
    assert_eq!(fired["labels"], alert["labels"]);

    alert["startsAt"] = fired["timestamp"].clone();
    alert["endsAt"] = fired["timestamp"].clone();
    alertmanager.post(&alert);
    let resolved = tail.event();
    let resolved = &resolved["event"]["alert"];
    assert_eq!((&resolved["id"], &resolved["status"]), (&fired["id"], &json!("resolved")));
    assert_eq!(tail.exit_code(), Some(0));
}
