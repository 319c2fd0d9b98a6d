//! What `cargo metadata` tells about the workspace.

use serde_json::Value;

use crate::Result;
use crate::command::{cargo, read};
use crate::context::Context;

/// The workspace's packages only, or those of its whole dependency tree.
pub enum Scope {
    Workspace,
    Everything,
}

/// The `packages` list of `cargo metadata`.
pub fn packages(context: &Context, scope: &Scope) -> Result<Vec<Value>> {
    let mut command = cargo(context, &["metadata", "--format-version=1", "--locked"]);
    if matches!(scope, Scope::Workspace) {
        command.arg("--no-deps");
    }
    let metadata: Value = serde_json::from_str(&read(&mut command)?)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().cloned();
    packages.ok_or_else(|| "cargo metadata: no packages".to_owned())
}

/// The names of all targets of `kind` (`test`, `bench`, …) in the workspace.
pub fn targets(context: &Context, kind: &str) -> Result<Vec<String>> {
    Ok(packages(context, &Scope::Workspace)?.iter().flat_map(|p| of_kind(p, kind)).collect())
}

fn of_kind(package: &Value, kind: &str) -> Vec<String> {
    let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_kind = |target: &&Value| {
        target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind))
    };
    let name = |target: &Value| target["name"].as_str().map(str::to_owned);
    targets.iter().filter(has_kind).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_picked_by_kind() {
        let package = serde_json::json!({"targets": [
            {"kind": ["test"], "name": "tidy"},
            {"kind": ["lib"], "name": "alarmcast"},
        ]});
        assert_eq!(of_kind(&package, "test"), ["tidy"]);
        assert!(of_kind(&package, "bench").is_empty());
    }
}
