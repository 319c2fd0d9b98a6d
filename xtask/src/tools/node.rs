//! Packages from npm, each set in a folder of its own.

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::command::{command, run};
use crate::context::Context;
use crate::tools::debian;

/// A `node_modules` folder with what the clients in `tests/clients` need.
pub fn clients(context: &Context) -> Result<PathBuf> {
    packages(context, "tests/clients", "node")
}

/// A `node_modules` folder with what `package-lock.json` in a folder of the repository names,
/// in a folder called `name` of the cache.
pub fn packages(context: &Context, folder: &str, name: &str) -> Result<PathBuf> {
    debian::ensure(context, "node", "nodejs")?;
    debian::ensure(context, "npm", "npm")?;
    let source = context.root.join(folder);
    let dir = context.cache.join(name);
    let modules = dir.join("node_modules");
    let lock = source.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    let stamp = modules.join(".installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(modules);
    }
    println!("installing {folder}'s packages into {}", dir.display());
    fs::create_dir_all(&dir)
        .and_then(|()| fs::copy(source.join("package.json"), dir.join("package.json")))
        .and_then(|_| fs::copy(&lock, dir.join("package-lock.json")))
        .map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut npm = command(context, "npm");
    npm.current_dir(&dir).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(&mut npm).map_err(|reason| {
        format!("{reason}\ninstall by hand what {folder}/package.json lists, with `npm ci`")
    })?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(modules)
}
