//! What editing, merging and other people's machines leave behind.

use crate::source::Source;

const ENDINGS: [&str; 7] = [".orig", ".rej", ".bak", ".swp", ".tmp", ".log", "~"];

/// Files that tools leave, and conflict markers.
pub fn files_and_markers(sources: &[Source]) -> Vec<String> {
    let marker = |line: &str| ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark));
    let mut violations = Vec::new();
    for source in sources {
        if ENDINGS.iter().any(|ending| source.path.ends_with(ending)) {
            violations.push(format!("{}: a leftover", source.path));
        }
        for (number, line) in source.text.lines().enumerate().filter(|(_, line)| marker(line)) {
            violations.push(format!("{}:{}: conflict: {line}", source.path, number + 1));
        }
    }
    violations
}

/// Absolute paths that exist for one person only.
pub fn machine_paths(sources: &[Source]) -> Vec<String> {
    let paths = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
    let within_a_path = |before: Option<char>| {
        before.is_some_and(|c| c.is_alphanumeric() || "_-.}])~*".contains(c))
    };
    let mut violations = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            for path in paths {
                let mut found = line.match_indices(path);
                if found.any(|(at, _)| !within_a_path(line[..at].chars().next_back())) {
                    violations.push(format!("{}:{}: mentions {path}", source.path, number + 1));
                }
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftover_files_and_conflict_markers_are_found() {
        let count = |path, text| files_and_markers(&[Source::new(path, text)]).len();
        assert_eq!(count("src/x.rs.orig", ""), 1);
        assert_eq!(count("docs/a.md~", ""), 1);
        assert_eq!(count("src/x.rs", "a\n<<<<<<< HEAD\nb\n"), 1);
        assert_eq!(count("src/x.rs", "a << b"), 0);
    }

    #[test]
    fn a_path_of_somebodys_machine_is_found() {
        let count = |text: &str| machine_paths(&[Source::new("docs/x.md", text)]).len();
        assert_eq!(count(concat!("see /ho", "me/alice/notes")), 1);
        assert_eq!(count(concat!("\"/ro", "ot/.cache\"")), 1);
        assert_eq!(count(concat!("https://example.com/ho", "me/page")), 0);
    }
}
