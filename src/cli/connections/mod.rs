//! `alarmcast connections`: who is connected, how they keep up, and their end.

mod table;

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use form_urlencoded::Serializer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Failure;
use super::http::{Api, DEFAULT_CONTROL, Reply};
use super::stop::Stop;
use crate::base::logged::Logged;

/// The server gives no more at once.
const PAGE_MAX: usize = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        alarmcast connections list --sort lag --limit 10\n  \
        alarmcast connections list --address 10.1.0.0/16 --state congested --watch 2\n  \
        alarmcast connections show 019ca8e1-9f40-7000-8000-0000000000aa\n  \
        alarmcast connections close 019ca8e1-9f40-7000-8000-0000000000aa --reconnect")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The control endpoint of the server
    #[arg(long, value_name = "URL", default_value = DEFAULT_CONTROL, global = true)]
    control: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List connections, the ones to look at first where --sort says so
    List(List),
    /// Show one connection with its subscriptions
    Show {
        /// The session_id of the client's welcome
        session_id: String,
        /// Print the server's answer as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Close one connection; its client is told why, and where to resume
    Close {
        /// The session_id of the client's welcome
        session_id: String,
        /// Ask the client to connect again (4001)
        #[arg(long)]
        reconnect: bool,
        /// Tell the client to stay away (4503)
        #[arg(long, conflicts_with = "reconnect")]
        refuse: bool,
        /// Print the server's answer as a line of JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct List {
    /// What comes first: the oldest, the furthest behind, the most bytes waiting, the most events
    /// lost, or the lowest address
    #[arg(long, value_enum, default_value_t = Sort::Age)]
    sort: Sort,
    /// Show so many at most
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only from this address, or range such as 10.0.0.0/8
    #[arg(long)]
    address: Option<String>,
    /// Only in this state
    #[arg(long, value_name = "STATE",
          value_parser = ["handshake", "open", "catching_up", "congested", "closing"])]
    state: Option<String>,
    /// Only of this shard
    #[arg(long, value_name = "N")]
    shard: Option<u32>,
    /// Print each connection as a line of JSON
    #[arg(long)]
    json: bool,
    /// Look again every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watch: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    Age,
    Lag,
    Backlog,
    Losses,
    Address,
}

#[derive(Deserialize)]
struct Page {
    connections: Vec<Value>,
    next_cursor: Option<String>,
}

/// # Errors
/// When no server answers, or it refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let api = Api::new(&arguments.control)?;
    match &arguments.command {
        Command::List(list) => list.run(&api),
        Command::Show { session_id, json } => {
            let shown: Value = read(&api, api.get(&path_of(session_id)?)?)?;
            print(&if *json { format!("{shown}\n") } else { table::details(&shown) })
        }
        Command::Close { session_id, reconnect, refuse, json } => {
            let code = match (reconnect, refuse) {
                (true, _) => 4001,
                (_, true) => 4503,
                _ => 1008,
            };
            let reply = api.delete(&format!("{}?code={code}", path_of(session_id)?))?;
            let closed: Value = read(&api, Some(reply))?;
            print(&if *json { format!("{closed}\n") } else { table::closed(&closed) })
        }
    }
}

impl List {
    fn run(&self, api: &Api) -> Result<(), Failure> {
        let Some(seconds) = self.watch else { return print(&self.look(api)?) };
        let stop = Stop::on_interrupt();
        let clears = stdout().is_terminal() && !self.json;
        loop {
            let seen = self.look(api)?;
            // Home, and everything below it is old.
            print(&if clears { format!("\x1b[H\x1b[2J{seen}") } else { seen })?;
            if stop.wait(Duration::from_secs(seconds)) {
                return Ok(());
            }
        }
    }

    fn look(&self, api: &Api) -> Result<String, Failure> {
        let (connections, more) = self.collect(api)?;
        if self.json {
            return Ok(connections.iter().map(|connection| format!("{connection}\n")).collect());
        }
        let note = match (connections.is_empty(), more) {
            (true, _) => "no connections\n",
            (_, true) => "there are more: pass a larger --limit\n",
            (_, false) => "",
        };
        Ok(table::list(&connections) + note)
    }

    /// Up to the limit, and whether there are more.
    fn collect(&self, api: &Api) -> Result<(Vec<Value>, bool), Failure> {
        let limit = self.limit as usize;
        let (mut connections, mut cursor) = (Vec::new(), None);
        loop {
            let wanted = (limit - connections.len()).min(PAGE_MAX);
            let page: Page = read(api, api.get(&self.path(wanted, cursor.as_deref()))?)?;
            connections.extend(page.connections);
            cursor = page.next_cursor;
            if cursor.is_none() || connections.len() >= limit {
                return Ok((connections, cursor.is_some()));
            }
        }
    }

    fn path(&self, limit: usize, cursor: Option<&str>) -> String {
        let sort = self.sort.to_possible_value();
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        query.extend_pairs(sort.iter().map(|sort| ("sort", sort.get_name())));
        query.extend_pairs(self.address.iter().map(|address| ("address", address)));
        query.extend_pairs(self.state.iter().map(|state| ("state", state)));
        query.extend_pairs(self.shard.iter().map(|shard| ("shard", shard.to_string())));
        query.extend_pairs(cursor.iter().map(|cursor| ("cursor", *cursor)));
        format!("/api/v1/connections?{}", query.finish())
    }
}

fn read<T: DeserializeOwned>(api: &Api, reply: Option<Reply>) -> Result<T, Failure> {
    let reply = reply.ok_or_else(|| api.nobody())?;
    match serde_json::from_slice(&reply.body) {
        Ok(answer) if reply.status == 200 => Ok(answer),
        _ => Err(Failure::new(reply.refusal())),
    }
}

fn path_of(session_id: &str) -> Result<String, Failure> {
    let id: uuid::Uuid = session_id.parse().map_err(|_| {
        Failure::new(format!(
            "`{}` is no session_id: it is the UUID in the first column of `alarmcast connections \
             list`, and in a client's welcome",
            Logged(session_id)
        ))
    })?;
    Ok(format!("/api/v1/connections/{id}"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
