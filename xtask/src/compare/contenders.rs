//! The servers that are compared. Another one is another entry: it takes connections on
//! 127.0.0.1, prints `ws://…` and `http://…` on standard output when it does, speaks what
//! `alarmcast-loadtest fanout` listens to, and may be ended by a signal at any time.

use super::build;
use crate::Result;
use crate::context::Context;

/// A server.
pub struct Contender {
    pub name: &'static str,
    pub about: &'static str,
    /// Builds or installs what it needs.
    pub prepare: fn(&Context) -> Result,
    /// The command that starts it on free ports with so many threads for connections.
    pub command: fn(&Context, shards: u32) -> Vec<String>,
}

const CONTENDERS: &[Contender] = &[
    Contender {
        name: "uring",
        about: "Alarmcast on io_uring",
        prepare: build_alarmcast,
        command: |context, shards| alarmcast(context, shards, "uring"),
    },
    Contender {
        name: "epoll",
        about: "Alarmcast on epoll",
        prepare: build_alarmcast,
        command: |context, shards| alarmcast(context, shards, "epoll"),
    },
    Contender {
        name: "plain-mio",
        about: "benches/plain_mio: fan-out on mio without filters, lanes or metrics",
        prepare: |context| build(context, &["--example", "plain_mio"]),
        command: plain_mio,
    },
];

/// Prints the servers.
pub fn list() {
    for Contender { name, about, .. } in CONTENDERS {
        println!("{name:<12} {about}");
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

fn build_alarmcast(context: &Context) -> Result {
    build(context, &["--bin", "alarmcast"])
}

fn alarmcast(context: &Context, shards: u32, driver: &str) -> Vec<String> {
    let mut command = vec![context.target.join("release/alarmcast").display().to_string()];
    command.extend(["serve".to_owned(), "--driver".to_owned(), driver.to_owned()]);
    command.extend(listening(shards));
    command
}

fn plain_mio(context: &Context, shards: u32) -> Vec<String> {
    let mut command = vec![context.target.join("release/examples/plain_mio").display().to_string()];
    command.extend(listening(shards));
    command
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
        assert!(choose(&["nginx".to_owned()]).is_err());
    }
}
