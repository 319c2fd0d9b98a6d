//! The configuration as the rest of the program sees it: one struct per section. What each
//! key means and allows stands in the schema, which `alarmcast config print --defaults` prints.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::ConfigError;
use super::layers::Leaf;
use crate::base::limits;
use crate::base::network::Network;
use crate::base::origin::AllowedOrigin;
pub use crate::io::DriverChoice;

/// Everything that can be configured; see [`super::Loaded::documented_defaults`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub stream: Stream,
    pub control: Control,
    pub server: Server,
    pub limits: Limits,
    pub session: Session,
    pub hub: Hub,
    pub history: History,
    pub webhooks: Webhooks,
    pub log: Log,
}

/// The WebSocket endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stream {
    pub listen: SocketAddr,
    pub path: String,
    pub allowed_origins: Vec<AllowedOrigin>,
    pub trusted_proxies: Vec<Network>,
    pub proxy_protocol: ProxyProtocol,
}

/// What trusted proxies put before a connection's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    #[default]
    Off,
    /// The header of the PROXY protocol, version 2.
    V2,
}

/// The HTTP API, metrics and health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    pub listen: SocketAddr,
}

/// Threads and their drivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    pub driver: DriverChoice,
    /// Zero: one per core.
    pub shards: usize,
    pub pin: bool,
    pub drain_timeout_secs: u64,
    pub drain_window_secs: u64,
}

/// Bounds of what one client, and all together, may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub connections_max: usize,
    /// Zero: no limit. The same holds for the rate.
    pub connections_per_address_max: u32,
    pub connects_per_address_per_second: u32,
    pub connects_per_address_burst: u32,
    pub handshakes_per_shard_max: usize,
    /// Zero: no limit.
    pub handshakes_per_shard_per_second: u32,
    pub handshakes_per_shard_burst: u32,
    pub catch_ups_per_shard_max: usize,
    pub catch_ups_waiting_per_shard_max: usize,
    pub listen_backlog: u32,
    pub message_bytes_max: usize,
    pub subscriptions_per_connection_max: usize,
    pub outbox_messages_max: usize,
    pub outbox_bytes_max: usize,
    pub shed_below: ShedBelow,
    pub backlog_bytes_max: usize,
    pub handshake_timeout_secs: u64,
    pub write_timeout_secs: u64,
    pub message_timeout_secs: u64,
    pub partial_messages_bytes_max: usize,
    pub messages_per_second: u32,
    pub messages_burst: u32,
    pub frames_per_second: u32,
    pub frames_burst: u32,
    pub bytes_per_second: u32,
    pub bytes_burst: u32,
    pub subscription_changes_per_second: u32,
    pub subscription_changes_burst: u32,
}

/// The priority below which events are shed for a client that does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShedBelow {
    #[default]
    Critical,
    High,
    Normal,
    /// Nothing is shed.
    Low,
}

/// How long a connection lives without a sign of its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    pub heartbeat_interval_secs: u64,
    pub idle_timeout_secs: u64,
}

/// The queues on an event's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hub {
    pub ingest_events_max: usize,
    pub inbox_events_max: usize,
}

/// How much of the past can be replayed: whatever is reached first counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    pub bytes_max: usize,
    pub events_max: usize,
    pub age_max_secs: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    pub alertmanager: Alertmanager,
}

/// How alerts of Prometheus Alertmanager become events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alertmanager {
    pub source: String,
    pub severity_label: String,
    /// For alerts whose severity label is missing or not among `severities`.
    pub default_severity: SeverityName,
    /// From the label's value, compared without regard to case.
    pub severities: BTreeMap<String, SeverityName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeverityName {
    P0,
    P1,
    P2,
    P3,
    P4,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            path: "/ws".into(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 9090).into() }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            driver: DriverChoice::Auto,
            shards: 0,
            pin: true,
            drain_timeout_secs: 10,
            drain_window_secs: 5,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            connections_per_address_max: 0,
            connects_per_address_per_second: 0,
            connects_per_address_burst: 100,
            handshakes_per_shard_max: 10_000,
            handshakes_per_shard_per_second: 20_000,
            handshakes_per_shard_burst: 20_000,
            catch_ups_per_shard_max: 256,
            catch_ups_waiting_per_shard_max: 20_000,
            listen_backlog: 4_096,
            message_bytes_max: limits::CLIENT_MESSAGE_BYTES_MAX,
            subscriptions_per_connection_max: limits::SUBSCRIPTIONS_PER_CONNECTION_MAX,
            outbox_messages_max: limits::OUTBOX_MESSAGES_MAX,
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            shed_below: ShedBelow::Critical,
            backlog_bytes_max: limits::BACKLOGS_BYTES_MAX,
            handshake_timeout_secs: 10,
            write_timeout_secs: 60,
            message_timeout_secs: 30,
            partial_messages_bytes_max: limits::PARTIAL_MESSAGES_BYTES_MAX,
            messages_per_second: 100,
            messages_burst: 200,
            frames_per_second: 500,
            frames_burst: 2_000,
            bytes_per_second: 1024 * 1024,
            bytes_burst: 8 * 1024 * 1024,
            subscription_changes_per_second: 10,
            subscription_changes_burst: 100,
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self { heartbeat_interval_secs: 30, idle_timeout_secs: 300 }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            ingest_events_max: limits::INGEST_EVENTS_MAX,
            inbox_events_max: limits::INBOX_EVENTS_MAX,
        }
    }
}

impl Default for History {
    fn default() -> Self {
        Self {
            bytes_max: limits::HISTORY_BYTES_MAX,
            events_max: limits::HISTORY_EVENTS_MAX,
            age_max_secs: 24 * 3_600,
        }
    }
}

impl Default for Alertmanager {
    fn default() -> Self {
        use SeverityName::{P0, P1, P2, P3, P4};
        let severities = [
            ("critical", P0),
            ("page", P0),
            ("high", P1),
            ("error", P1),
            ("warning", P2),
            ("medium", P2),
            ("low", P3),
            ("info", P4),
            ("none", P4),
        ];
        Self {
            source: "alertmanager".into(),
            severity_label: "severity".into(),
            default_severity: P3,
            severities: severities.map(|(label, severity)| (label.into(), severity)).into(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

impl Server {
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_secs)
    }
}

impl Limits {
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_secs)
    }

    pub fn write_timeout(&self) -> Duration {
        Duration::from_secs(self.write_timeout_secs)
    }
}

impl Session {
    pub fn heartbeat_interval(&self) -> Duration {
        Duration::from_secs(self.heartbeat_interval_secs)
    }

    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_secs)
    }
}

impl SeverityName {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
        }
    }
}

/// The defaults as a table: what the schema is held against.
pub fn default_table() -> Table {
    table_of(&Config::default())
}

pub fn table_of(config: &Config) -> Table {
    Table::try_from(config).expect("a configuration is always a table")
}

/// Puts the chosen values over the defaults.
pub fn build(leaves: &[Leaf]) -> Result<Config, ConfigError> {
    let mut table = default_table();
    for leaf in leaves {
        insert(&mut table, &leaf.path, leaf.value.clone());
    }
    table.try_into().map_err(|error: toml::de::Error| ConfigError::Invalid(error.to_string()))
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    let Some((last, sections)) = path.split_last() else { return };
    let mut place = table;
    for section in sections {
        let entry = place
            .entry(section.clone())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut();
        let Some(inner) = entry else { return };
        place = inner;
    }
    place.insert(last.clone(), value);
}
