//! `alarmcast serve`: the server, and the first words that a newcomer reads.

use std::fmt::{self, Display, Formatter};
use std::io::{Write, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::logging::{self, Level};
use crate::config::{Config, ConfigError, Flag, Loaded, Sources};
use crate::server;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

/// Flags over the environment (ALARMCAST_STREAM__LISTEN=…), over the file, over the defaults.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The configuration file [default: ./alarmcast.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where WebSocket clients connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    stream_listen: Option<String>,
    /// Where the HTTP API and metrics are served [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    control_listen: Option<String>,
    /// auto, uring or epoll [default: auto]
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Threads that hold connections [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// auto, text or json [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other key, such as limits.connections_max=20000; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// # Errors
    /// When the configuration cannot be used.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut sources = Sources::of_process();
        sources.file.clone_from(&self.config);
        let named = [
            ("--stream-listen", "stream.listen", &self.stream_listen),
            ("--control-listen", "control.listen", &self.control_listen),
            ("--driver", "server.driver", &self.driver),
            ("--shards", "server.shards", &self.shards),
            ("--log-format", "log.format", &self.log_format),
        ];
        for setting in &self.set {
            sources.add_setting(setting)?;
        }
        for (typed, key, value) in named {
            let Some(value) = value else { continue };
            sources.flags.push(Flag { key: key.into(), value: value.clone(), typed: typed.into() });
        }
        Config::load(&sources)
    }
}

/// # Errors
/// When the configuration cannot be used or the server cannot start.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.settings.load()?.config;
    let level = logging::start(&config.log);
    let path = config.stream.path.clone();
    let announce = |server: &server::Announcement| {
        let banner = Banner {
            driver: server.driver,
            shards: server.shards,
            stream: server.stream,
            path: &path,
            control: server.control,
        };
        // A server without a reader of its stdout still serves.
        let _ = write!(stdout(), "{banner}").and_then(|()| stdout().flush());
    };
    let (settings, mut running) = (arguments.settings.clone(), config.clone());
    let reload = move || reload(&settings, &mut running, &level);
    server::run(config, announce, reload).map_err(|error| Failure::new(error.to_string()))
}

/// Reads the configuration again. The level of the log is changed at once; what else is new is
/// named, because only a restart applies it. A configuration that cannot be used changes nothing.
fn reload(settings: &Settings, running: &mut Config, level: &Level) {
    let mut config = match settings.load() {
        Ok(loaded) => loaded.config,
        Err(error) => {
            tracing::error!(%error, "SIGHUP: not reloaded; the configuration stays as it was");
            return;
        }
    };
    if config.log.level != running.log.level {
        level.set(&config.log.level);
        running.log.level = std::mem::take(&mut config.log.level);
        tracing::info!(level = running.log.level, "SIGHUP: log.level is changed");
    }
    config.log.level.clone_from(&running.log.level);
    let waiting = config.differences(running);
    match waiting.is_empty() {
        true => tracing::info!("SIGHUP: reloaded"),
        false => tracing::warn!(
            keys = waiting.join(", "),
            "SIGHUP: reloaded, but these keys are changed only by a restart"
        ),
    }
}

/// The first lines on stdout. The first three are read by programs too; their form is settled.
#[derive(Clone, Copy, Debug)]
pub struct Banner<'a> {
    pub driver: &'a str,
    pub shards: usize,
    pub stream: SocketAddr,
    pub path: &'a str,
    pub control: SocketAddr,
}

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { driver, shards, path, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        let plural = if *shards == 1 { "" } else { "s" };
        writeln!(f, "alarmcast {version} · driver {driver} · {shards} shard{plural}")?;
        writeln!(f, "stream   ws://{}{path}", self.stream)?;
        writeln!(f, "control  http://{}", self.control)?;
        let url = format!("ws://{}{path}", reachable(self.stream));
        let control = format!("http://{}", reachable(self.control));
        let at_url = option("--url", &url, super::tail::DEFAULT_URL);
        let at_control = option("--control", &control, super::http::DEFAULT_CONTROL);
        writeln!(f)?;
        writeln!(f, "Try it from another terminal:")?;
        writeln!(f, "  alarmcast tail{at_url}")?;
        writeln!(
            f,
            "  alarmcast publish incident --severity P0 --title \"Checkout is down\"{at_control}"
        )?;
        writeln!(f, "  alarmcast demo{at_control}")
    }
}

fn option(flag: &str, value: &str, default: &str) -> String {
    if value == default { String::new() } else { format!(" {flag} {value}") }
}

/// An address of this machine at which a listener on all addresses can be reached.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(stream: &str, control: &str) -> String {
        Banner {
            driver: "io_uring",
            shards: 2,
            stream: stream.parse().expect("an address"),
            path: "/ws",
            control: control.parse().expect("an address"),
        }
        .to_string()
    }

    #[test]
    fn the_first_lines_keep_their_form() {
        let text = banner("127.0.0.1:8080", "127.0.0.1:9090");
        let lines: Vec<&str> = text.lines().collect();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(lines[0], format!("alarmcast {version} · driver io_uring · 2 shards"));
        assert_eq!(lines[1], "stream   ws://127.0.0.1:8080/ws");
        assert_eq!(lines[2], "control  http://127.0.0.1:9090");
        assert!(text.contains("\n  alarmcast tail\n"), "{text}");
        assert!(text.ends_with("\n  alarmcast demo\n"), "{text}");
    }

    #[test]
    fn what_to_type_names_the_ports_that_were_obtained() {
        let text = banner("0.0.0.0:40001", "[::]:40002");
        assert!(text.contains("stream   ws://0.0.0.0:40001/ws\n"), "{text}");
        assert!(text.contains("alarmcast tail --url ws://127.0.0.1:40001/ws\n"), "{text}");
        assert!(text.contains("alarmcast demo --control http://[::1]:40002\n"), "{text}");
    }
}
