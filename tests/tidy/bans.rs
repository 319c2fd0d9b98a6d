//! Things that are not used here.

use crate::source::{Source, closing, words};

/// Readers of time in `src/` beside `base::clock`.
pub fn clocks(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    let concerned =
        |source: &&Source| source.folder().is_some() && source.path != "src/base/clock.rs";
    for source in sources.iter().filter(concerned) {
        let code = source.shipped_code();
        let mut found: Vec<usize> = words(&code, "SystemTime").collect();
        found.extend(words(&code, "Timestamp::now").chain(words(&code, "Zoned::now")));
        found.extend(words(&code, "time::Instant"));
        found.extend(code.match_indices("time::{").map(|(at, _)| at).filter(|at| {
            let group = &code[*at..closing(&code, at + "time::".len())];
            words(group, "Instant").next().is_some()
        }));
        violations.extend(found.into_iter().map(|at| source.at(at, "time comes from base::clock")));
    }
    violations
}

/// Locks where one thread owns everything. The simulator is a test's network.
pub fn locks(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    let concerned = |source: &&Source| {
        let path = source.path.as_str();
        matches!(source.folder(), Some("shard" | "queue" | "io")) && !path.starts_with("src/io/sim")
    };
    for source in sources.iter().filter(concerned) {
        let code = source.shipped_code();
        for name in ["Mutex", "RwLock", "RefCell"] {
            violations
                .extend(words(&code, name).map(|at| source.at(at, &format!("no {name} here"))));
        }
    }
    violations
}

/// `allow` and `expect` of lints on unused code or of clippy's, unexplained.
pub fn allows_without_reason(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for opening in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for (at, _) in source.code.match_indices(opening) {
                let list = &source.code[at..closing(&source.code, at + opening.len() - 1)];
                let concerned =
                    ["dead_code", "unused", "clippy::"].iter().any(|n| list.contains(n));
                if concerned && words(list, "reason").next().is_none() {
                    violations.push(source.at(at, "say why, with `reason = \"…\"`"));
                }
            }
        }
    }
    violations
}

/// Marks and macros of unfinished work, and tests that are switched off.
pub fn unfinished(sources: &[Source]) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut violations = Vec::new();
    for source in sources {
        for (name, followed_by) in [("todo", '!'), ("unimplemented", '!'), ("dbg", '!')] {
            let used = words(&source.code, name)
                .filter(|at| source.code[at + name.len()..].starts_with(followed_by));
            violations.extend(used.map(|at| source.at(at, &format!("{name}! is left"))));
        }
        let ignored = source.code.match_indices("#[ignore").map(|(at, _)| at);
        violations.extend(ignored.map(|at| source.at(at, "a test that is never run")));
        for (number, line) in source.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| words(line, mark).next().is_some()) {
                violations.push(format!("{}:{}: {mark} is left", source.path, number + 1));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rule: fn(&[Source]) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&[Source::new(path, text)]).len()
    }

    #[test]
    fn a_second_reader_of_time_is_found() {
        let planted = [
            "use std::time::Instant;",
            "use std::time::{Duration, Instant};",
            "let a = std::time::SystemTime::now();",
            "let a = jiff::Timestamp::now();",
            "use tokio::time::Instant;",
        ];
        for text in planted {
            assert_eq!(count(clocks, "src/shard/turn.rs", text), 1, "{text}");
            assert_eq!(count(clocks, "src/base/clock.rs", text), 0, "{text}");
        }
        let fine = "use std::time::Duration; use crate::base::clock::Instant;";
        assert_eq!(count(clocks, "src/shard/turn.rs", fine), 0);
    }

    #[test]
    fn a_lock_on_a_shard_is_found() {
        assert_eq!(count(locks, "src/shard/turn.rs", "use std::sync::Mutex;"), 1);
        assert_eq!(count(locks, "src/queue/lanes.rs", "a: RefCell<u8>"), 1);
        assert_eq!(count(locks, "src/io/epoll.rs", "a: RwLock<u8>"), 1);
        assert_eq!(count(locks, "src/io/sim/mod.rs", "use std::sync::Mutex;"), 0);
        assert_eq!(count(locks, "src/control/mod.rs", "use std::sync::Mutex;"), 0);
    }

    #[test]
    fn a_silenced_lint_needs_a_reason() {
        let bare = "#[allow(dead_code)]\nfn f() {}\n#![expect(clippy::x, unused)]";
        assert_eq!(count(allows_without_reason, "src/x.rs", bare), 2);
        let explained = "#[allow(clippy::x, reason = \"because\")]\n#[allow(unsafe_code)]";
        assert_eq!(count(allows_without_reason, "src/x.rs", explained), 0);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_text() {
        assert_eq!(count(unfinished, "src/x.rs", "fn f() { todo!() }"), 1);
        assert_eq!(count(unfinished, "src/x.rs", "fn f() { dbg!(1); unimplemented!() }"), 2);
        assert_eq!(count(unfinished, "tests/x.rs", "#[ignore = \"slow\"]\nfn f() {}"), 1);
        let mark = concat!("// TO", "DO: more\n");
        assert_eq!(count(unfinished, "docs/x.md", mark), 1);
        assert_eq!(count(unfinished, "src/x.rs", "// todo!() in words, `dbg`"), 0);
    }
}
