//! A file imports its own folder and lower layers.

use crate::source::{Source, closing, words};

const L0_L1: &[&str] = &["base", "event", "ws", "filter", "protocol", "queue"];
const L0_L3: &[&str] = &[
    "base", "event", "ws", "filter", "protocol", "queue", "session", "stream", "journal", "auth",
    "io",
];

/// What the files of each folder of `src/` may import beside their own folder.
/// `None`: everything.
fn allowed(folder: &str) -> Result<Option<Vec<&'static str>>, ()> {
    let with = |more: &[&'static str]| Some([L0_L3, more].concat());
    Ok(match folder {
        "base" => Some(vec![]),
        "event" | "ws" | "io" | "config" => Some(vec!["base"]),
        "filter" | "queue" => Some(vec!["base", "event"]),
        "protocol" => Some(vec!["base", "event", "ws", "filter"]),
        "session" | "stream" | "journal" | "auth" => Some(L0_L1.to_vec()),
        "shard" => with(&[]),
        "hub" => with(&["shard"]),
        "control" => with(&["shard", "hub", "config"]),
        "server" | "cli" | "main" | "lib" => None,
        _ => return Err(()),
    })
}

/// Single names that a folder may import all the same: they hold nothing but a
/// choice, and are read by people who configure.
const PLAIN_TYPES: [(&str, &str); 1] = [("config", "crate::io::DriverChoice;")];

/// The folders whose code has neither input nor output.
const SANS_IO: [&str; 9] =
    ["event", "ws", "filter", "protocol", "queue", "session", "stream", "journal", "auth"];

const OUTSIDE_WORLD: [&str; 18] = [
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "tokio",
    "tokio_uring",
    "mio",
    "io_uring",
    "socket2",
    "axum",
    "ureq",
    "libc",
    "rustix",
];

/// Imports that the layer table does not allow.
pub fn imports(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let Some(folder) = source.folder() else { continue };
        let Ok(allowed) = allowed(folder) else {
            violations.push(source.at(0, &format!("`{folder}` has no place in the layer table")));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for (offset, name) in crate_paths(source) {
            let rest = &source.code[offset..];
            if PLAIN_TYPES.iter().any(|(by, path)| *by == folder && rest.starts_with(path)) {
                continue;
            }
            if name != folder && !allowed.contains(&name.as_str()) {
                violations.push(source.at(offset, &format!("{folder} may not import {name}")));
            }
        }
    }
    violations
}

/// Code of the inner layers that reaches for the outside world.
pub fn sans_io(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    let inner = |source: &&Source| source.folder().is_some_and(|name| SANS_IO.contains(&name));
    for source in sources.iter().filter(inner) {
        let code = source.shipped_code();
        for name in OUTSIDE_WORLD {
            let is_type = name.starts_with(char::is_uppercase);
            let used = |at: &usize| {
                let alone = !code[..*at].ends_with("::") && !code[..*at].ends_with('.');
                is_type || (alone && code[at + name.len()..].starts_with("::"))
            };
            let found = words(&code, name).filter(used);
            violations.extend(found.map(|at| source.at(at, &format!("no {name} in this layer"))));
        }
        for (at, name) in std_groups(&code) {
            if ["fs", "thread", "process", "env"].contains(&name.as_str()) {
                violations.push(source.at(at, &format!("no std::{name} in this layer")));
            }
        }
    }
    violations
}

/// The first name after each way to the crate's root: `crate::name`,
/// `crate::{name, other::…}`, and enough `super::` to climb there.
fn crate_paths(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    for at in words(code, "crate") {
        if let Some(rest) = code[at..].strip_prefix("crate::") {
            found.extend(first_names(rest).into_iter().map(|name| (at, name)));
        }
    }
    let inner = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let depth = inner.trim_end_matches("/mod").split('/').count();
    for at in words(code, "super").filter(|at| !code[..*at].ends_with("::")) {
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            rest = next;
            climbed += 1;
        }
        // Inside a nested module more `super` are needed: only names of folders count.
        if climbed >= depth {
            let folders = first_names(rest).into_iter().filter(|name| allowed(name).is_ok());
            found.extend(folders.map(|name| (at, name)));
        }
    }
    found
}

fn std_groups(code: &str) -> Vec<(usize, String)> {
    let groups = words(code, "std").filter(|at| code[*at..].starts_with("std::{"));
    groups
        .flat_map(|at| first_names(&code[at + 5..]).into_iter().map(move |name| (at, name)))
        .collect()
}

/// `name` of `name::…`, or each first name of `{name::…, other}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    if !path.starts_with('{') {
        return Some(name(path)).filter(|name| !name.is_empty()).into_iter().collect();
    }
    let group = &path[1..closing(path, 0).saturating_sub(1).max(1)];
    let mut depth = 0usize;
    let parts = group.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(name).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports_of(path: &str, text: &str) -> Vec<String> {
        imports(&[Source::new(path, text)])
    }

    #[test]
    fn an_import_from_a_higher_layer_is_found_however_it_is_written() {
        let planted = [
            ("src/ws/frame.rs", "use crate::io::Driver;"),
            ("src/ws/frame.rs", "fn f() { crate::io::f() }"),
            ("src/ws/frame.rs", "use crate::{base::ids, io::{a, b}};"),
            ("src/ws/mod.rs", "use super::io;"),
            ("src/ws/frame.rs", "use super::super::io;"),
            ("src/base/slab.rs", "use crate::event::Event;"),
            ("src/shard/turn.rs", "use crate::hub::Hub;"),
            ("src/config/mod.rs", "use crate::event::Severity;"),
            ("src/config/mod.rs", "use crate::io::Driver;"),
            ("src/session/mod.rs", "use crate::stream::Position;"),
            ("src/event/mod.rs", "use crate::Server;"),
        ];
        for (path, text) in planted {
            assert_eq!(imports_of(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn lower_layers_the_own_folder_and_words_in_comments_pass() {
        let fine = [
            ("src/ws/frame.rs", "use crate::base::limits; use crate::ws::mask; use super::mask;"),
            ("src/ws/frame.rs", "// crate::io::Driver\nconst A: &str = \"crate::io::x\";"),
            ("src/hub/run.rs", "use crate::{shard::Inbox, stream::Sequencer};"),
            ("src/server/mod.rs", "use crate::control::Control;"),
            ("src/main.rs", "use alarmcast::cli;"),
            ("src/config/mod.rs", "use crate::io::DriverChoice;"),
            ("src/io/mod.rs", "pub(crate) mod uring;"),
        ];
        for (path, text) in fine {
            assert_eq!(imports_of(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn a_new_folder_must_be_given_a_place() {
        assert_eq!(imports_of("src/misc/mod.rs", "").len(), 1);
    }

    #[test]
    fn the_outside_world_is_found_in_an_inner_layer() {
        let count = |path, text| sans_io(&[Source::new(path, text)]).len();
        assert_eq!(count("src/ws/mod.rs", "use std::fs::File;"), 1);
        assert_eq!(count("src/ws/mod.rs", "use std::{fmt, fs};"), 1);
        assert_eq!(count("src/ws/mod.rs", "use std::net::{IpAddr, TcpStream};"), 1);
        assert_eq!(count("src/ws/mod.rs", "fn f() { tokio::spawn(x) }"), 1);
        assert_eq!(count("src/ws/mod.rs", "use std::net::IpAddr; let mio = 1;"), 0);
        assert_eq!(count("src/ws/mod.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), 0);
        assert_eq!(count("src/io/mod.rs", "use std::fs::File;"), 0);
    }
}
