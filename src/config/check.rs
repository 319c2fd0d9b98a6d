//! Values that are fine alone but not together.

use super::error::ConfigError;
use super::{Config, Loaded, ProxyProtocol};
use crate::base::limits::PUBLISHED_EVENT_BYTES_MAX;

/// Room beside the largest event for its envelope and for control messages.
const ENVELOPE_BYTES: usize = 64 * 1024;

pub fn cross_check(loaded: &Loaded) -> Result<(), ConfigError> {
    let checks = [
        listeners_differ,
        largest_event_fits,
        heartbeat_before_idle,
        bytes_hold_a_message,
        window_within_timeout,
        proxies_for_their_protocol,
    ];
    match checks.iter().find_map(|check| check(&loaded.config)) {
        None => Ok(()),
        Some((keys, why)) => Err(ConfigError::Conflict(format!("{why}{}", origins(loaded, keys)))),
    }
}

type Problem = (&'static [&'static str], String);

fn listeners_differ(config: &Config) -> Option<Problem> {
    let (stream, control) = (config.stream.listen, config.control.listen);
    let same_port = stream.port() == control.port() && stream.port() != 0;
    let either_takes_all = stream.ip().is_unspecified() || control.ip().is_unspecified();
    let overlap = same_port && (stream.ip() == control.ip() || either_takes_all);
    overlap.then(|| {
        let why = format!(
            "`stream.listen` ({stream}) and `control.listen` ({control}) take the same port; \
             give one of them another"
        );
        (&["stream.listen", "control.listen"][..], why)
    })
}

fn largest_event_fits(config: &Config) -> Option<Problem> {
    let least = PUBLISHED_EVENT_BYTES_MAX + ENVELOPE_BYTES;
    let given = config.limits.outbox_bytes_max;
    (given < least).then(|| {
        let why = format!(
            "`limits.outbox_bytes_max` is {given}, but an event of the largest size \
             ({PUBLISHED_EVENT_BYTES_MAX} bytes) must fit: at least {least}"
        );
        (&["limits.outbox_bytes_max"][..], why)
    })
}

fn heartbeat_before_idle(config: &Config) -> Option<Problem> {
    let session = &config.session;
    (session.idle_timeout_secs <= session.heartbeat_interval_secs).then(|| {
        let why = format!(
            "`session.idle_timeout_secs` ({}) must be greater than \
             `session.heartbeat_interval_secs` ({}): a quiet client is heard from only when it \
             answers a heartbeat",
            session.idle_timeout_secs, session.heartbeat_interval_secs
        );
        (&["session.idle_timeout_secs", "session.heartbeat_interval_secs"][..], why)
    })
}

fn bytes_hold_a_message(config: &Config) -> Option<Problem> {
    /// Of the largest frame, and what may have come in one piece with it.
    const AROUND_IT: usize = 4 * 1024;
    let least = config.limits.message_bytes_max + AROUND_IT;
    let given = config.limits.bytes_burst;
    ((given as usize) < least).then(|| {
        let why = format!(
            "`limits.bytes_burst` is {given}, but a message of `limits.message_bytes_max` must fit: \
             at least {least}"
        );
        (&["limits.bytes_burst", "limits.message_bytes_max"][..], why)
    })
}

fn window_within_timeout(config: &Config) -> Option<Problem> {
    let server = &config.server;
    (server.drain_window_secs > server.drain_timeout_secs).then(|| {
        let why = format!(
            "`server.drain_window_secs` ({}) must not be greater than `server.drain_timeout_secs` \
             ({}): who has not been told to leave then would be cut off",
            server.drain_window_secs, server.drain_timeout_secs
        );
        (&["server.drain_window_secs", "server.drain_timeout_secs"][..], why)
    })
}

fn proxies_for_their_protocol(config: &Config) -> Option<Problem> {
    let stream = &config.stream;
    let asks_nobody =
        stream.proxy_protocol != ProxyProtocol::Off && stream.trusted_proxies.is_empty();
    asks_nobody.then(|| {
        let why = "`stream.proxy_protocol` is set, but `stream.trusted_proxies` names nobody who \
                   may use it; list the proxies' addresses"
            .to_owned();
        (&["stream.proxy_protocol"][..], why)
    })
}

fn origins(loaded: &Loaded, keys: &[&str]) -> String {
    let named: Vec<String> = keys
        .iter()
        .filter_map(|key| loaded.origins.get(*key).map(|origin| format!("{key} from {origin}")))
        .collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}
