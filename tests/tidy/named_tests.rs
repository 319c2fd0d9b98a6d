//! Documents that say which test proves what: the tests are there.

use std::collections::HashSet;

use crate::source::{Source, words};

const DOCUMENTS: [&str; 2] = ["docs/DELIVERY.md", "docs/HOSTILE.md"];

/// A word in backticks with so many underscores is a test's name.
const UNDERSCORES_MIN: usize = 3;

/// Tests that are named and are not there.
pub fn missing(sources: &[Source]) -> Vec<String> {
    let functions: HashSet<&str> = sources.iter().flat_map(functions).collect();
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| DOCUMENTS.contains(&source.path.as_str())) {
        for (number, line) in source.text.lines().enumerate() {
            let names = line.split('`').skip(1).step_by(2).filter(|span| is_name(span));
            for name in names.filter(|name| !functions.contains(name)) {
                violations.push(format!("{}:{}: no test {name}", source.path, number + 1));
            }
        }
    }
    violations
}

fn is_name(span: &str) -> bool {
    let is_of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    span.chars().all(is_of_a_name) && span.matches('_').count() >= UNDERSCORES_MIN
}

fn functions(source: &Source) -> impl Iterator<Item = &str> {
    words(&source.code, "fn").map(|at| {
        let head = source.code[at + 2..].trim_start();
        let end = head.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(head.len());
        &head[..end]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_test_that_is_not_there_is_found() {
        let code = "fn one_that_is_not_lost() {}\n// fn a_b_c_d()";
        let of = |text: &str| {
            missing(&[Source::new("docs/HOSTILE.md", text), Source::new("tests/x.rs", code)]).len()
        };
        assert_eq!(of("| x | `one_that_is_not_lost`, `guard.rs` `NAME` `a_b` |"), 0);
        assert_eq!(of("| `one_that_is_lost_here` | `a_b_c_d` |"), 2);
    }
}
