//! `unsafe` in four places only.

use crate::source::{Source, words};

/// Beginnings of the paths that may hold unsafe code.
const PLACES: [&str; 4] = ["src/io/uring", "src/io/socket", "src/base/buffers", "src/queue/arena"];

/// Unsafe code elsewhere, in any package of the workspace. Tests may need it:
/// signals and limits are set through the C library.
pub fn outside_its_places(sources: &[Source]) -> Vec<String> {
    let within = |source: &Source, place: &str| source.path.starts_with(place);
    let elsewhere =
        |source: &&Source| !PLACES.iter().chain(&["tests/"]).any(|place| within(source, place));
    let mut violations = Vec::new();
    for source in sources.iter().filter(elsewhere) {
        let found = words(&source.code, "unsafe");
        violations.extend(found.map(|at| source.at(at, "unsafe outside its places")));
        let declares = PLACES.iter().any(|place| {
            let parent = place.rsplit_once('/').map_or("", |(folder, _)| folder);
            source.path == format!("{parent}/mod.rs")
        });
        let allowed = source.code.match_indices("allow(unsafe_code").filter(|_| !declares);
        violations.extend(allowed.map(|(at, _)| source.at(at, "unsafe allowed elsewhere")));
    }
    violations
}

/// Folders of `src/` without `#![forbid(unsafe_code)]` in their `mod.rs`, or in
/// that of a folder around them. A folder with one of the places inside cannot.
pub fn folders_without_forbid(sources: &[Source]) -> Vec<String> {
    let modules: Vec<_> = sources
        .iter()
        .filter_map(|source| Some((source.path.strip_suffix("mod.rs")?, source)))
        .filter(|(folder, _)| folder.starts_with("src/"))
        .collect();
    let forbids = |source: &Source| source.code.contains("#![forbid(unsafe_code)]");
    let covered = |folder: &str| {
        let around =
            |(outer, source): &(&str, &Source)| folder.starts_with(outer) && forbids(source);
        let mixed = |place: &str| place.starts_with(folder) || folder.starts_with(place);
        modules.iter().any(around) || PLACES.iter().any(|place| mixed(place))
    };
    let empty = |source: &Source| source.code.trim().is_empty();
    let bare = modules.iter().filter(|(folder, source)| !covered(folder) && !empty(source));
    bare.map(|(_, source)| source.at(0, "no #![forbid(unsafe_code)]")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_elsewhere_is_found() {
        let found = |path, text| outside_its_places(&[Source::new(path, text)]).len();
        assert_eq!(found("src/ws/mask.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(found("benches/fanout.rs", "unsafe impl Send for A {}"), 1);
        assert_eq!(found("tests/e2e/main.rs", "unsafe { limit() }"), 0);
        assert_eq!(found("src/io/mod.rs", "#[allow(unsafe_code)] mod uring;"), 0);
        assert_eq!(found("src/ws/mod.rs", "#![allow(unsafe_code)]"), 1);
        assert_eq!(found("src/ws/mod.rs", "#![forbid(unsafe_code)] // unsafe"), 0);
        assert_eq!(found("src/io/uring/ring.rs", "unsafe { g() }"), 0);
        assert_eq!(found("src/queue/arena.rs", "unsafe { g() }"), 0);
    }

    #[test]
    fn a_folder_that_does_not_forbid_unsafe_is_found() {
        let bare = |files: &[(&str, &str)]| {
            let sources: Vec<_> =
                files.iter().map(|(path, text)| Source::new(path, text)).collect();
            folders_without_forbid(&sources).len()
        };
        let forbid = "#![forbid(unsafe_code)]";
        assert_eq!(bare(&[("src/ws/mod.rs", "mod frame;")]), 1);
        assert_eq!(bare(&[("src/ws/mod.rs", forbid), ("src/ws/deflate/mod.rs", "")]), 0);
        assert_eq!(bare(&[("src/io/mod.rs", "a"), ("src/io/sim/mod.rs", "mod a;")]), 1);
        assert_eq!(bare(&[("src/hub/mod.rs", "//! Nothing yet.")]), 0);
        assert_eq!(bare(&[("src/io/mod.rs", "mod a;"), ("src/io/uring/mod.rs", "mod a;")]), 0);
    }
}
