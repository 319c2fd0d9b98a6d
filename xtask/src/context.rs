//! Where things are: the repository, its target folder, the tool cache.

use std::env;
use std::path::{Path, PathBuf};

use crate::Result;

/// What every step is given.
pub struct Context {
    /// The repository's root; every command runs there.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// Installed tools, shared by all clones: `$XDG_CACHE_HOME/alarmcast-tools`.
    pub cache: PathBuf,
    /// This program. Asked for once, at the start, since a later build may
    /// replace the file; whatever is at this path then serves as well.
    pub xtask: PathBuf,
    /// How long each fuzz target runs.
    pub fuzz_seconds: u32,
}

impl Context {
    pub fn find(fuzz_seconds: u32) -> Result<Self> {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest_dir.parent().ok_or("xtask has no parent folder")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        let xtask = env::current_exe().map_err(|error| format!("no path to xtask: {error}"))?;
        Ok(Self { root, target, cache: cache_dir()?, xtask, fuzz_seconds })
    }
}

fn cache_dir() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("alarmcast-tools"))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".to_owned())
}
