//! Fuzzing from the stored corpus, on the stable compiler.

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::command::{command, path_with, read, run};
use crate::context::Context;
use crate::tools::{cargo, debian};

/// Runs each target for [`Context::fuzz_seconds`]. New inputs go to the target
/// folder; what breaks a target is kept in `fuzz/artifacts` and named.
pub fn run_all(context: &Context) -> Result {
    debian::ensure(context, "c++", "g++")?;
    let fuzzer = cargo::ensure(context, &cargo::FUZZ)?;
    let listed = read(command(context, &fuzzer).args(["list"]))?;
    let names: Vec<_> = listed.lines().filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err("cargo fuzz lists no target".to_owned());
    }
    let mut failures = Vec::new();
    for name in names {
        if let Err(reason) = run_one(context, &fuzzer, name) {
            failures.push(format!("{name}: {reason}"));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn run_one(context: &Context, fuzzer: &PathBuf, name: &str) -> Result {
    let found = context.target.join("fuzz-corpus").join(name);
    fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let stored = context.root.join("fuzz").join("corpus").join(name);
    if !stored.is_dir() {
        return Err(format!("no stored corpus at {}", stored.display()));
    }
    let mut fuzz = command(context, fuzzer);
    // The sanitizer needs an unstable compiler flag.
    fuzz.env("RUSTC_BOOTSTRAP", "1").env("PATH", path_with(&context.cache.join("bin"))?);
    fuzz.args(["run", name]).arg(found).arg(stored).arg("--");
    fuzz.arg(format!("-max_total_time={}", context.fuzz_seconds));
    fuzz.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"]);
    fuzz.args(["-verbosity=0", "-print_final_stats=1"]);
    run(&mut fuzz)
}
