//! `POST /api/v1/webhooks/alertmanager`: notifications of Prometheus Alertmanager, payload
//! version 4.
//!
//! Each alert becomes an `alert_received`, a resolved one too: the same alert id again with
//! `status: "resolved"` and `ends_at`, so that who shows alerts can strike it out.
//! Alertmanager repeats notifications and sends them from each instance of a cluster; the
//! idempotency key `alertmanager:<fingerprint>:<startsAt>:<status>` lets each change of an
//! alert enter the stream once.
//!
//! Alertmanager gives up on 4xx and comes back after 5xx: a full server answers 503, and
//! 400 means that a repetition would be refused as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::base::logged::Logged;
use crate::config;
use crate::control::State;
use crate::control::answer::Refusal;
use crate::control::batch::{self, Items};
use crate::control::body::{self, Kind};
use crate::event::IncidentType;
use crate::protocol::{ErrorCode, PublishItemError, parse_item};

const VERSION: &str = "4";
/// Alert ids are UUIDv5 (RFC 9562 section 5.5) of fingerprint and start within this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_0d9c_4f6e_4c26_9a3f_7a1d_52c8_e0b1);
/// Characters of a title.
const TITLE_MAX: usize = 500;
/// Labels that name what is affected, the most telling first.
const SERVICE_LABELS: [&str; 3] = ["service", "job", "instance"];

/// The payload, as far as it is used.
#[derive(Debug, Deserialize)]
struct Notification {
    version: String,
    #[serde(default)]
    receiver: String,
    #[serde(default, rename = "truncatedAlerts")]
    truncated_alerts: u64,
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    status: Status,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(default, rename = "endsAt")]
    ends_at: String,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
    #[serde(default)]
    fingerprint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

pub(in crate::control) async fn receive(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    if body::kind(&headers)? != Kind::Json {
        let message = "Content-Type must be application/json";
        return Err(Refusal::new(415, ErrorCode::Unsupported, message));
    }
    let read = state.bodies.read(&headers, body).await;
    let (bytes, _budget) = read.map_err(Refusal::into_server_error)?;
    let reader = Arc::clone(&state);
    let items = body::process(bytes, move |bytes| read_items(&reader, bytes)).await??;
    let published = batch::publish(&state.context, items).await;
    let answer = published.map_err(Refusal::into_server_error)?;
    if answer.rejected() > 0
        && let Some(withheld) = state.refused_alerts.admit(state.context.clock.now())
    {
        let rejected = answer.rejected();
        tracing::warn!(rejected, withheld, "alerts of Alertmanager were refused");
    }
    Ok(answer.into_response())
}

fn read_items(state: &State, bytes: &[u8]) -> Result<Items, Refusal> {
    let context = &state.context;
    let notification = read_notification(bytes)?;
    if notification.truncated_alerts > 0
        && let Some(withheld) = state.truncated_alerts.admit(context.clock.now())
    {
        tracing::warn!(
            receiver = %Logged(&notification.receiver),
            truncated = notification.truncated_alerts,
            withheld,
            "Alertmanager left out alerts: raise max_alerts of this receiver"
        );
    }
    let settings = &context.config.webhooks.alertmanager;
    let now = context.clock.wall();
    let alerts = notification.alerts.into_iter();
    Ok(alerts.map(|alert| parse_item(alert.into_event(settings), now)).collect())
}

fn read_notification(bytes: &[u8]) -> Result<Notification, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read: Result<Notification, _> = serde_path_to_error::deserialize(&mut reader);
    let invalid = |path: String, message: String| {
        Refusal::from(PublishItemError { code: ErrorCode::InvalidMessage, path, message })
    };
    let notification = read.map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { Logged(&path).to_string() };
        invalid(path, Logged(&error.inner().to_string()).to_string())
    })?;
    reader.end().map_err(|error| invalid(String::new(), error.to_string()))?;
    if notification.version != VERSION {
        let message = format!(
            "payload version {VERSION} is understood, not {}",
            Logged(&notification.version)
        );
        return Err(invalid("version".into(), message));
    }
    Ok(notification)
}

impl Alert {
    /// The event as a publisher would send it.
    fn into_event(self, settings: &config::Alertmanager) -> Value {
        let fingerprint = self.fingerprint();
        let status = match self.status {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        };
        let id = Uuid::new_v5(&NAMESPACE, format!("{fingerprint}/{}", self.starts_at).as_bytes());
        let key = format!("alertmanager:{fingerprint}:{}:{status}", self.starts_at);
        let mut alert = Map::new();
        let mut put = |name: &str, value: Value| alert.insert(name.to_owned(), value);
        put("id", json!(id));
        put("external_id", json!(fingerprint));
        put("source", json!(settings.source));
        put("timestamp", json!(self.starts_at));
        put("severity", json!(self.severity(settings).as_str()));
        put("alert_type", json!(self.alert_type()));
        put("title", json!(self.title()));
        put("description", json!(self.annotation(&["description", "message"])));
        put("affected_services", json!(self.services()));
        put("status", json!(status));
        if self.status == Status::Resolved {
            put("ends_at", json!(self.ends_at));
        }
        if !self.generator_url.is_empty() {
            put("generator_url", json!(self.generator_url));
        }
        if let Some(url) = self.annotations.get("runbook_url") {
            put("runbook_url", json!(url));
        }
        put("labels", json!(self.labels));
        put("annotations", json!(self.annotations));
        json!({
            "event": { "event_type": "alert_received", "alert": alert },
            "idempotency_key": key,
        })
    }

    /// What Alertmanager calls it, or its labels where it has no name.
    fn fingerprint(&self) -> String {
        // The key that is made of it has a limit; Alertmanager's own has 16 digits.
        const USABLE_BYTES: usize = 64;
        if (1..=USABLE_BYTES).contains(&self.fingerprint.len()) {
            return self.fingerprint.clone();
        }
        let labels = json!(self.labels).to_string();
        Uuid::new_v5(&NAMESPACE, labels.as_bytes()).simple().to_string()
    }

    fn severity(&self, settings: &config::Alertmanager) -> config::SeverityName {
        let label = self.labels.get(&settings.severity_label);
        let listed = label.and_then(|label| {
            let mut names = settings.severities.iter();
            names.find(|(name, _)| name.eq_ignore_ascii_case(label)).map(|(_, severity)| *severity)
        });
        listed.unwrap_or(settings.default_severity)
    }

    fn alert_type(&self) -> IncidentType {
        let label = self.labels.get("alert_type").or_else(|| self.labels.get("incident_type"));
        label.and_then(|name| name.parse().ok()).unwrap_or(IncidentType::Unknown)
    }

    fn title(&self) -> String {
        let name = self.labels.get("alertname").map_or("", String::as_str).trim();
        let title = match self.annotation(&["summary", "title"]) {
            "" if name.is_empty() => "Alert without a name",
            "" => name,
            summary => summary,
        };
        title.chars().take(TITLE_MAX).collect()
    }

    /// The first of these annotations that says something.
    fn annotation(&self, names: &[&str]) -> &str {
        let found = names.iter().filter_map(|name| self.annotations.get(*name));
        found.map(|text| text.trim()).find(|text| !text.is_empty()).unwrap_or_default()
    }

    fn services(&self) -> Vec<&str> {
        let mut services = Vec::new();
        for name in SERVICE_LABELS {
            let Some(value) = self.labels.get(name) else { continue };
            if !value.is_empty() && !services.contains(&value.as_str()) {
                services.push(value.as_str());
            }
        }
        services
    }
}
