//! Tools from crates.io.

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::command::{command, run};
use crate::context::Context;

/// A binary crate at a fixed version.
pub struct Tool {
    name: &'static str,
    version: &'static str,
    args: &'static [&'static str],
}

pub const DENY: Tool =
    Tool { name: "cargo-deny", version: "0.20.2", args: &["--no-default-features"] };
pub const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2", args: &[] };
pub const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", args: &[] };

/// Where `tool` is in the cache folder, after installing it when this version
/// is not there.
pub fn ensure(context: &Context, tool: &Tool) -> Result<PathBuf> {
    let Tool { name, version, args } = tool;
    let binary = context.cache.join("bin").join(name);
    let stamp = context.cache.join("bin").join(format!(".{name}-{version}"));
    if binary.is_file() && stamp.is_file() {
        return Ok(binary);
    }
    println!("installing {name} {version} into {} (a minute or so)", context.cache.display());
    let mut install = command(context, "cargo");
    install.args(["install", "--quiet", "--locked", "--force", "--root"]).arg(&context.cache);
    install.arg("--target-dir").arg(context.cache.join("build"));
    install.arg(format!("{name}@{version}")).args(*args);
    // These run for seconds: compile quickly rather than well.
    install
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    run(&mut install).map_err(|reason| {
        format!("{reason}\ninstall it by hand: cargo install --locked {name}@{version}")
    })?;
    fs::write(&stamp, "").map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(binary)
}
