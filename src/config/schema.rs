//! Every key with its kind of value and its description. A test holds this table
//! against the default configuration, so neither can gain a key alone.

use std::net::SocketAddr;

use toml::Value;

use crate::base::limits;
use crate::base::network::Network;
use crate::base::origin::AllowedOrigin;

/// What values a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    Choice(&'static [&'static str]),
    Address,
    /// The path of a URL.
    UrlPath,
    /// Some text of at most 255 characters.
    Text,
    LogFilter,
    /// Any number of such values; as text, with commas between them.
    List(Item),
    /// From any text to one of these.
    Map(&'static [&'static str]),
}

/// What stands in a list.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    Origin,
    Network,
}

#[derive(Debug)]
pub struct Key {
    pub path: &'static str,
    pub kind: Kind,
    pub about: &'static str,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Place {
    Key(&'static Key),
    /// Has keys below it.
    Section,
    Unknown,
}

const SEVERITIES: &[&str] = &["P0", "P1", "P2", "P3", "P4"];
const BYTES: i64 = i64::MAX / 2;

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn key(path: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { path, kind, about }
}

/// In the order in which they are printed.
pub const KEYS: &[Key] = &[
    key(
        "stream.listen",
        Kind::Address,
        "Where WebSocket clients connect; port 0 takes any free port.",
    ),
    key("stream.path", Kind::UrlPath, "The path of the WebSocket endpoint."),
    key(
        "stream.allowed_origins",
        Kind::List(Item::Origin),
        "Origins of web pages that may connect, beside those of the host that the request names.",
    ),
    key(
        "stream.trusted_proxies",
        Kind::List(Item::Network),
        "Proxies whose X-Forwarded-For and PROXY header tell a client's address.",
    ),
    key(
        "stream.proxy_protocol",
        Kind::Choice(&["off", "v2"]),
        "What trusted proxies begin each connection with; v2 is required of them once it is set.",
    ),
    key(
        "control.listen",
        Kind::Address,
        "Where the HTTP API, webhooks, health and metrics are served; port 0 takes any free port.",
    ),
    key(
        "server.driver",
        Kind::Choice(&["auto", "uring", "epoll"]),
        "How shards talk to the kernel; auto takes io_uring where it is allowed, else epoll.",
    ),
    key("server.shards", integer(0, 1_024), "Threads that hold connections; 0 is one per core."),
    key("server.pin", Kind::Boolean, "Pin each shard to a core."),
    key(
        "server.drain_timeout_secs",
        integer(0, 3_600),
        "How long a stopping server waits for what is queued to be sent, and for its clients to leave.",
    ),
    key(
        "server.drain_window_secs",
        integer(0, 3_600),
        "Clients of a stopping server are told to leave one after the other, over so long; at most the timeout.",
    ),
    key("limits.connections_max", integer(1, 10_000_000), "Connections of all shards together."),
    key(
        "limits.connections_per_address_max",
        integer(0, 10_000_000),
        "Connections from one IPv4 address or IPv6 /64, trusted proxies excepted; 0 is no limit.",
    ),
    key(
        "limits.connects_per_address_per_second",
        integer(0, 1_000_000),
        "New connections from one IPv4 address or IPv6 /64, on average; 0 is no limit.",
    ),
    key(
        "limits.connects_per_address_burst",
        integer(1, 1_000_000),
        "New connections from one IPv4 address or IPv6 /64 at once.",
    ),
    key(
        "limits.handshakes_per_shard_max",
        integer(1, 10_000_000),
        "Connections between their accept and the end of their handshake, for each shard; others get 503.",
    ),
    key(
        "limits.handshakes_per_shard_per_second",
        integer(0, 1_000_000),
        "New connections of each shard, on average; others get 503. 0 is no limit.",
    ),
    key(
        "limits.handshakes_per_shard_burst",
        integer(1, 1_000_000),
        "New connections of each shard at once.",
    ),
    key(
        "limits.catch_ups_per_shard_max",
        integer(1, 1_000_000),
        "Connections that catch up with the past at the same time, for each shard; others wait their turn.",
    ),
    key(
        "limits.catch_ups_waiting_per_shard_max",
        integer(0, 10_000_000),
        "Connections that wait for that, for each shard; others are told to subscribe again later.",
    ),
    key(
        "limits.listen_backlog",
        integer(1, 65_535),
        "Connections that the kernel holds before a shard accepts them; net.core.somaxconn caps it.",
    ),
    key(
        "limits.message_bytes_max",
        integer(1_024, limits::PUBLISHED_EVENT_BYTES_MAX as i64),
        "Bytes of one message from a client.",
    ),
    key(
        "limits.subscriptions_per_connection_max",
        integer(1, 10_000),
        "Subscriptions of one connection.",
    ),
    key(
        "limits.outbox_messages_max",
        integer(16, 1_000_000),
        "Messages that wait for one connection before it counts as too slow.",
    ),
    key(
        "limits.outbox_bytes_max",
        integer(1, BYTES),
        "Bytes that wait for one connection before it counts as too slow; the largest event must fit.",
    ),
    key(
        "limits.shed_below",
        Kind::Choice(&["critical", "high", "normal", "low"]),
        "Events below this priority are shed for clients that do not keep up; others come later.",
    ),
    key(
        "limits.backlog_bytes_max",
        integer(16 * 1024 * 1024, BYTES),
        "Bytes that wait for all connections together, each event counted once; above, the largest backlogs are shed.",
    ),
    key(
        "limits.handshake_timeout_secs",
        integer(1, 300),
        "From connecting to the end of the handshake, whatever is sent meanwhile.",
    ),
    key(
        "limits.write_timeout_secs",
        integer(1, 3_600),
        "How long a client may take nothing of what is sent to it.",
    ),
    key(
        "limits.message_timeout_secs",
        integer(1, 3_600),
        "From the first byte of a client's message to its last, where it comes in pieces.",
    ),
    key(
        "limits.partial_messages_bytes_max",
        integer(1024 * 1024, BYTES),
        "Bytes that clients' incomplete messages may take together; above, the largest are closed.",
    ),
    key(
        "limits.messages_per_second",
        integer(1, 1_000_000),
        "Messages from one connection, on average; those beyond are refused.",
    ),
    key("limits.messages_burst", integer(1, 1_000_000), "Messages from one connection at once."),
    key(
        "limits.frames_per_second",
        integer(1, 1_000_000),
        "Frames from one connection beside its messages, on average: fragments, pings and pongs; beyond, it is closed.",
    ),
    key(
        "limits.frames_burst",
        integer(1, 1_000_000),
        "Frames from one connection at once, beside its messages.",
    ),
    key(
        "limits.bytes_per_second",
        integer(1, u32::MAX as i64),
        "Bytes from one connection, on average; beyond, it is closed.",
    ),
    key(
        "limits.bytes_burst",
        integer(1, u32::MAX as i64),
        "Bytes from one connection at once; the largest message must fit.",
    ),
    key(
        "limits.subscription_changes_per_second",
        integer(1, 1_000_000),
        "Subscription changes by one connection, on average.",
    ),
    key(
        "limits.subscription_changes_burst",
        integer(1, 1_000_000),
        "Subscription changes by one connection at once.",
    ),
    key(
        "session.heartbeat_interval_secs",
        integer(1, 3_600),
        "Between pings to a connection; one that answers none until the next is dead.",
    ),
    key(
        "session.idle_timeout_secs",
        integer(1, 86_400),
        "A connection from which nothing came for this long is closed.",
    ),
    key(
        "hub.ingest_events_max",
        integer(1, 10_000_000),
        "Published events that wait to be sequenced: urgent ones and others each; when full, publishers are told to wait.",
    ),
    key(
        "hub.inbox_events_max",
        integer(1, 10_000_000),
        "Events that wait for one shard: urgent ones and others each.",
    ),
    key(
        "history.bytes_max",
        integer(1024 * 1024, BYTES),
        "Bytes of memory for events that can be replayed, estimated; the oldest go first.",
    ),
    key("history.events_max", integer(1, 1_000_000_000), "Events that can be replayed."),
    key("history.age_max_secs", integer(1, 31_536_000), "How long an event can be replayed."),
    key("webhooks.alertmanager.source", Kind::Text, "The source of alerts from Alertmanager."),
    key(
        "webhooks.alertmanager.severity_label",
        Kind::Text,
        "The label of an alert that holds its severity.",
    ),
    key(
        "webhooks.alertmanager.default_severity",
        Kind::Choice(SEVERITIES),
        "For alerts whose severity label is missing or not listed below.",
    ),
    key(
        "webhooks.alertmanager.severities",
        Kind::Map(SEVERITIES),
        "From the value of the severity label to the severity; adds to these or replaces them one by one.",
    ),
    key(
        "log.level",
        Kind::LogFilter,
        "off, error, warn, info, debug or trace; or per module: info,alarmcast::control=debug.",
    ),
    key(
        "log.format",
        Kind::Choice(&["auto", "text", "json"]),
        "Of the log on stderr; auto is text on a terminal and json elsewhere.",
    ),
];

/// What `path` leads to.
pub fn find(path: &[String]) -> Place {
    let dotted = path.join(".");
    if let Some(key) = KEYS.iter().find(|key| key.path == dotted) {
        return match key.kind {
            Kind::Map(_) => Place::Section,
            _ => Place::Key(key),
        };
    }
    let inside = KEYS.iter().find(|key| {
        matches!(key.kind, Kind::Map(_))
            && path.len() == key.path.split('.').count() + 1
            && dotted.strip_prefix(key.path).is_some_and(|rest| rest.starts_with('.'))
    });
    if let Some(key) = inside {
        return Place::Key(key);
    }
    let is_section =
        KEYS.iter().any(|key| key.path.strip_prefix(&dotted).is_some_and(|r| r.starts_with('.')));
    if is_section { Place::Section } else { Place::Unknown }
}

/// The key that was probably meant by `dotted`.
pub fn suggest(dotted: &str) -> Option<&'static str> {
    let spelled = dotted.to_lowercase().replace(['-', ' '], "_");
    let by_last_name = KEYS.iter().find(|key| last_name(key.path) == last_name(&spelled));
    let distance = |key: &&Key| {
        let whole = strsim::damerau_levenshtein(&spelled, key.path);
        let last = strsim::damerau_levenshtein(last_name(&spelled), last_name(key.path));
        // A wrong section costs little: the last name is what people remember.
        whole.min(last + 2)
    };
    let nearest = KEYS.iter().min_by_key(distance)?;
    let near_enough = distance(&nearest) <= 2 + last_name(nearest.path).len() / 5;
    near_enough.then_some(nearest).or(by_last_name).map(|key| key.path)
}

fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

impl Kind {
    /// What is allowed, to follow "must be".
    pub fn allowed(self) -> String {
        match self {
            Self::Boolean => "true or false".into(),
            Self::Integer { min, max: BYTES } => format!("a whole number of at least {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(names) | Self::Map(names) => format!("one of {}", quoted(names)),
            Self::Address => {
                "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"".into()
            }
            Self::UrlPath => {
                "a path such as \"/ws\": it begins with / and has no ?, # or space".into()
            }
            Self::Text => "a text of 1 to 255 characters".into(),
            Self::List(item) => format!("a list of {}", item.allowed()),
            Self::LogFilter => "off, error, warn, info, debug, trace or a list of \
                                module=level, such as \"info,alarmcast=debug\""
                .into(),
        }
    }

    /// Whether `value` may be given to a key of this kind.
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Boolean, Value::Boolean(_)) => true,
            (Self::Integer { min, max }, Value::Integer(number)) => (min..=max).contains(number),
            (Self::Choice(names) | Self::Map(names), Value::String(text)) => {
                names.contains(&text.as_str())
            }
            (Self::Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Self::UrlPath, Value::String(text)) => is_url_path(text),
            (Self::Text, Value::String(text)) => {
                !text.is_empty() && text.chars().count() <= 255 && !text.contains(char::is_control)
            }
            (Self::LogFilter, Value::String(text)) => is_log_filter(text),
            (Self::List(item), Value::Array(values)) => {
                values.iter().all(|value| value.as_str().is_some_and(|text| item.accepts(text)))
            }
            _ => false,
        }
    }

    /// Reads what a flag or the environment says.
    pub fn parse(self, text: &str) -> Value {
        let parsed = match self {
            Self::Boolean => text.parse().ok().map(Value::Boolean),
            Self::Integer { .. } => text.replace('_', "").parse().ok().map(Value::Integer),
            Self::List(_) => {
                let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
                Some(Value::Array(values.map(Value::from).collect()))
            }
            _ => None,
        };
        parsed.unwrap_or_else(|| Value::String(text.into()))
    }
}

impl Item {
    fn allowed(self) -> &'static str {
        match self {
            Self::Origin => {
                "origins: scheme, host and port where it is not the scheme's own, such as \
                 [\"https://ops.example.com\", \"http://localhost:3000\"], without a path; \"*\" \
                 is every origin but \"null\""
            }
            Self::Network => {
                "IP addresses and ranges, such as [\"127.0.0.1\", \"10.0.0.0/8\", \"2001:db8::/32\"]"
            }
        }
    }

    fn accepts(self, text: &str) -> bool {
        match self {
            Self::Origin => text.parse::<AllowedOrigin>().is_ok(),
            Self::Network => text.parse::<Network>().is_ok(),
        }
    }
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}

fn is_url_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#')
}

fn is_log_filter(text: &str) -> bool {
    const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
    let known_words = text.split(',').all(|directive| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
    });
    known_words && tracing_subscriber::EnvFilter::builder().parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::model::default_table;
    use super::*;

    fn leaves(table: &toml::Table, prefix: &str, into: &mut Vec<(String, Value)>) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) if !KEYS.iter().any(|key| key.path == path) => {
                    leaves(inner, &path, into);
                }
                other => into.push((path, other.clone())),
            }
        }
    }

    #[test]
    fn schema_and_default_configuration_have_the_same_keys() {
        let mut found = Vec::new();
        leaves(&default_table(), "", &mut found);
        let mut paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        let mut expected: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
        paths.sort_unstable();
        expected.sort_unstable();
        assert_eq!(paths, expected);
    }

    #[test]
    fn every_default_is_allowed() {
        let mut found = Vec::new();
        leaves(&default_table(), "", &mut found);
        for (path, value) in found {
            let key = KEYS.iter().find(|key| key.path == path).expect("in the schema");
            match value {
                Value::Table(map) => assert!(map.values().all(|v| key.kind.accepts(v)), "{path}"),
                value => assert!(key.kind.accepts(&value), "{path} = {value}"),
            }
        }
    }

    #[test]
    fn misspelt_keys_find_their_neighbour() {
        for (typed, meant) in [
            ("stream.listn", Some("stream.listen")),
            ("limits.max_connections", None),
            ("limits.conections_max", Some("limits.connections_max")),
            ("server.connections_max", Some("limits.connections_max")),
            ("shards", Some("server.shards")),
            ("log.Format", Some("log.format")),
            ("session.idle-timeout-secs", Some("session.idle_timeout_secs")),
            ("entirely.different", None),
        ] {
            assert_eq!(suggest(typed), meant, "{typed}");
        }
    }
}
