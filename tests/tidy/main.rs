//! Rules of the house that no compiler checks: layers, sizes, bans, leftovers.
//! Each rule is a function from sources to violations, and has a test that
//! plants one.

mod bans;
mod layers;
mod leftovers;
mod named_tests;
mod sizes;
mod source;
mod unsafety;

use std::fs;
use std::path::Path;

use source::Source;

/// Folders that hold nothing of ours: build output, downloads, random bytes.
const SKIPPED: [&str; 6] = [".git", "target", "node_modules", "__pycache__", "corpus", "artifacts"];

/// Every file of the repository that is text, by path from the root.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut found);
    assert!(found.iter().any(|source| source.path == "src/lib.rs"), "the tree was not found");
    found
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<Source>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().expect("a file name in UTF-8");
        // In a worktree `.git` is a file.
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(Source::new(&path, &text));
        }
    }
}

fn check(rule: fn(&[Source]) -> Vec<String>) {
    let violations = rule(&sources());
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn a_file_imports_its_own_folder_and_lower_layers() {
    check(layers::imports);
}

#[test]
fn the_inner_layers_know_no_sockets_files_threads_or_runtimes() {
    check(layers::sans_io);
}

#[test]
fn files_and_functions_are_short() {
    check(sizes::too_long);
}

#[test]
fn only_the_clock_reads_time() {
    check(bans::clocks);
}

#[test]
fn shards_queues_and_drivers_take_no_locks() {
    check(bans::locks);
}

#[test]
fn a_lint_is_silenced_only_with_a_reason() {
    check(bans::allows_without_reason);
}

#[test]
fn no_work_is_left_open() {
    check(bans::unfinished);
}

#[test]
fn unsafe_stays_in_its_four_places() {
    check(unsafety::outside_its_places);
}

#[test]
fn every_other_folder_forbids_unsafe() {
    check(unsafety::folders_without_forbid);
}

#[test]
fn documents_name_tests_that_are_there() {
    check(named_tests::missing);
}

#[test]
fn nothing_is_left_over_from_merging_and_editing() {
    check(leftovers::files_and_markers);
}

#[test]
fn no_file_mentions_somebodys_machine() {
    check(leftovers::machine_paths);
}
