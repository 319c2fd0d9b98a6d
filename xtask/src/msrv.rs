//! The promised compiler version is true.

use serde_json::Value;

use crate::Result;
use crate::command::{cargo, command, exists, read, run};
use crate::context::Context;
use crate::metadata::{Scope, packages};

/// Fails when a dependency asks for a newer compiler than the workspace
/// promises, or when the workspace does not compile on the promised one. When
/// that is the compiler in use, all the other steps have shown the latter.
pub fn check(context: &Context) -> Result {
    let promised = promised(context)?;
    let demanding = demanding(&packages(context, &Scope::Everything)?, promised);
    if !demanding.is_empty() {
        return Err(format!("need a compiler newer than promised: {}", demanding.join(", ")));
    }
    let used = read(command(context, "rustc").arg("--version"))?;
    let used = used.split_whitespace().nth(1).and_then(version).ok_or("rustc --version?")?;
    println!("promised {promised:?}, in use {used:?}");
    if (used.0, used.1) == (promised.0, promised.1) {
        return Ok(());
    }
    if used < promised {
        return Err(format!("rustc {used:?} is older than the promised {promised:?}"));
    }
    check_on(context, promised)
}

type Version = (u64, u64, u64);

fn promised(context: &Context) -> Result<Version> {
    let packages = packages(context, &Scope::Workspace)?;
    let main = packages.iter().find(|package| package["name"] == "alarmcast");
    let text = main.and_then(|package| package["rust_version"].as_str());
    text.and_then(version).ok_or_else(|| "alarmcast has no rust-version".to_owned())
}

/// `1.95` or `1.95.2`, also with a suffix such as `-nightly`.
fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split('-').next()?.split('.').map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    Some((major, minor, numbers.next().unwrap_or(Ok(0)).ok()?))
}

fn demanding(packages: &[Value], promised: Version) -> Vec<String> {
    let too_new = |package: &&Value| {
        let needs = package["rust_version"].as_str().and_then(version);
        needs.is_some_and(|needs| needs > promised)
    };
    let name = |p: &Value| format!("{} ({})", p["name"], p["rust_version"]).replace('"', "");
    packages.iter().filter(too_new).map(name).collect()
}

/// Compiles with the promised toolchain where rustup has it.
fn check_on(context: &Context, (major, minor, patch): Version) -> Result {
    let toolchain = format!("{major}.{minor}.{patch}");
    let installed = exists("rustup")
        && read(command(context, "rustup").args(["toolchain", "list"]))?
            .lines()
            .any(|line| line.starts_with(&toolchain));
    if !installed {
        println!("toolchain {toolchain} is not installed: only the dependencies were checked");
        return Ok(());
    }
    let mut check = cargo(context, &["check", "--workspace", "--locked"]);
    check.env("RUSTUP_TOOLCHAIN", toolchain).arg("--target-dir").arg(context.target.join("msrv"));
    run(&mut check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("1.95"), Some((1, 95, 0)));
        assert_eq!(version("1.97.0-nightly"), Some((1, 97, 0)));
        assert!(version("1.100") > version("1.95.3"));
        assert_eq!(version("stable"), None);
    }

    #[test]
    fn a_dependency_that_needs_more_than_promised_is_named() {
        let packages = [
            serde_json::json!({"name": "new", "rust_version": "1.96"}),
            serde_json::json!({"name": "same", "rust_version": "1.95"}),
            serde_json::json!({"name": "silent", "rust_version": null}),
        ];
        assert_eq!(demanding(&packages, (1, 95, 0)), ["new (1.96)"]);
    }
}
