//! The servers that are compared. Another one is another entry here, and where it does not speak
//! Alarmcast's protocol a file in loadtest/servers. It takes connections on 127.0.0.1 and may be
//! ended by a signal at any time.

use std::path::PathBuf;

use super::others;
use super::{AXUM_MANIFEST, build};
use crate::Result;
use crate::command::{cargo, run};
use crate::context::Context;

/// A server.
pub struct Contender {
    pub name: &'static str,
    pub about: &'static str,
    pub dialect: Dialect,
    pub threads: Threads,
    /// Builds or installs what it needs.
    pub prepare: fn(&Context) -> Result,
    /// How it is started on free ports with so many threads for connections.
    pub start: fn(&Context, shards: u32) -> Result<Start>,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Alarmcast,
    /// As this file in loadtest/servers says.
    Template(&'static str),
}

impl Dialect {
    /// The load tester's file, where it needs one.
    pub fn template(self, context: &Context) -> Option<PathBuf> {
        match self {
            Self::Alarmcast => None,
            Self::Template(file) => Some(context.root.join("loadtest/servers").join(file)),
        }
    }
}

/// How many threads for connections it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    One,
    AsAsked,
}

/// A command, and where its server listens.
#[derive(Debug)]
pub struct Start {
    pub command: Vec<String>,
    /// Ports of 127.0.0.1; absent: the server prints `ws://…` and `http://…` on standard output.
    pub ports: Option<Ports>,
}

#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub stream: u16,
    pub control: u16,
}

const CONTENDERS: &[Contender] = &[
    Contender {
        name: "uring",
        about: "Alarmcast on io_uring",
        dialect: Dialect::Alarmcast,
        threads: Threads::AsAsked,
        prepare: build_alarmcast,
        start: |context, shards| Ok(alarmcast(context, shards, "uring")),
    },
    Contender {
        name: "epoll",
        about: "Alarmcast on epoll",
        dialect: Dialect::Alarmcast,
        threads: Threads::AsAsked,
        prepare: build_alarmcast,
        start: |context, shards| Ok(alarmcast(context, shards, "epoll")),
    },
    Contender {
        name: "plain-mio",
        about: "benches/plain_mio: fan-out on mio without filters, lanes or metrics",
        dialect: Dialect::Alarmcast,
        threads: Threads::AsAsked,
        prepare: |context| build(context, &["--example", "plain_mio"]),
        start: |context, shards| Ok(plain(context, shards, "plain_mio")),
    },
    Contender {
        name: "plain-tokio-uring",
        about: "benches/plain_tokio_uring: the same on tokio-uring",
        dialect: Dialect::Alarmcast,
        threads: Threads::AsAsked,
        prepare: |context| build(context, &["--example", "plain_tokio_uring"]),
        start: |context, shards| Ok(plain(context, shards, "plain_tokio_uring")),
    },
    Contender {
        name: "axum",
        about: "loadtest/compare/axum: broadcast channel, three tasks each, on axum and tokio",
        dialect: Dialect::Alarmcast,
        threads: Threads::AsAsked,
        prepare: build_axum,
        start: |context, shards| Ok(axum(context, shards)),
    },
    Contender {
        name: "bun",
        about: "Bun (npm), whose WebSockets are uWebSockets: its publish()",
        dialect: Dialect::Template("bun.toml"),
        threads: Threads::One,
        prepare: others::install_bun,
        start: |context, _| Ok(others::bun(context)),
    },
    Contender {
        name: "node-ws",
        about: "ws (npm) on Node: its README's broadcast",
        dialect: Dialect::Template("node-ws.toml"),
        threads: Threads::One,
        prepare: others::install_node_ws,
        start: |context, _| Ok(others::node_ws(context)),
    },
    Contender {
        name: "nchan",
        about: "nginx with nchan (Debian), one process",
        dialect: Dialect::Template("nchan.toml"),
        threads: Threads::One,
        prepare: others::install_nchan,
        start: |context, _| others::nchan(context),
    },
    Contender {
        name: "nats",
        about: "nats-server (Debian) over WebSockets, GOMAXPROCS=1",
        dialect: Dialect::Template("nats.toml"),
        threads: Threads::One,
        prepare: others::install_nats,
        start: |context, _| others::nats(context),
    },
];

/// Prints the servers.
pub fn list() {
    for Contender { name, about, .. } in CONTENDERS {
        println!("{name:<18} {about}");
    }
}

/// The servers of these names, in the table's order; all when no name is given.
pub fn choose(names: &[String]) -> Result<Vec<&'static Contender>> {
    let is_known = |name: &String| CONTENDERS.iter().any(|contender| contender.name == name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        return Err(format!("no server is called `{name}`; see `cargo xtask compare --list`"));
    }
    let is_chosen = |contender: &&Contender| {
        names.is_empty() || names.iter().any(|name| name == contender.name)
    };
    Ok(CONTENDERS.iter().filter(is_chosen).collect())
}

impl Contender {
    /// Gets it ready for so many threads.
    ///
    /// # Errors
    /// When it has not as many, or what it needs cannot be built or installed.
    pub fn get_ready(&self, context: &Context, shards: u32) -> Result {
        if self.threads == Threads::One && shards > 1 {
            return Err("it is run with one thread only; take --shards 1".to_owned());
        }
        (self.prepare)(context)
    }
}

fn build_alarmcast(context: &Context) -> Result {
    build(context, &["--bin", "alarmcast"])
}

fn build_axum(context: &Context) -> Result {
    let mut build = cargo(context, &["build", "--locked", "--release", "--manifest-path"]);
    run(build.args([AXUM_MANIFEST, "--target-dir"]).arg(&context.target))
}

fn alarmcast(context: &Context, shards: u32, driver: &str) -> Start {
    let command = [&release(context, "alarmcast"), "serve", "--driver", driver];
    telling(command.map(str::to_owned).into_iter().chain(listening(shards)))
}

fn plain(context: &Context, shards: u32, example: &str) -> Start {
    let program = release(context, &format!("examples/{example}"));
    telling([program].into_iter().chain(listening(shards)))
}

fn axum(context: &Context, shards: u32) -> Start {
    telling([release(context, "alarmcast-compare-axum"), shards.to_string()])
}

fn release(context: &Context, program: &str) -> String {
    context.target.join("release").join(program).display().to_string()
}

/// A server that prints where it listens.
pub fn telling(command: impl IntoIterator<Item = String>) -> Start {
    Start { command: command.into_iter().collect(), ports: None }
}

fn listening(shards: u32) -> Vec<String> {
    let any = "127.0.0.1:0";
    let shards = shards.to_string();
    ["--stream-listen", any, "--control-listen", any, "--shards", &shards]
        .map(str::to_owned)
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_chosen_by_name_and_an_unknown_one_is_an_error() {
        let chosen = choose(&["plain-mio".to_owned(), "uring".to_owned()]).unwrap();
        assert_eq!(chosen.iter().map(|c| c.name).collect::<Vec<_>>(), ["uring", "plain-mio"]);
        assert_eq!(choose(&[]).unwrap().len(), CONTENDERS.len());
        assert!(choose(&["apache".to_owned()]).is_err());
    }

    #[test]
    fn every_template_that_is_named_is_there() {
        let context = Context::find(0).unwrap();
        for contender in CONTENDERS {
            let template = contender.dialect.template(&context);
            assert!(template.is_none_or(|file| file.is_file()), "{}", contender.name);
        }
    }

    #[test]
    fn a_server_of_one_thread_is_not_measured_with_more() {
        let context = Context::find(0).unwrap();
        let nats = choose(&["nats".to_owned()]).unwrap()[0];
        assert!(nats.get_ready(&context, 2).unwrap_err().contains("--shards 1"));
    }
}
