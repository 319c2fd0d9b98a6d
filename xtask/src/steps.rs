//! The checks, in the order in which they run: the quick ones first.

use std::process::Command;

use crate::command::{cargo, command, exists, run, run_tests};
use crate::context::Context;
use crate::metadata::targets;
use crate::{Result, autobahn, fuzz, msrv, tools};

/// One check.
pub struct Step {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Context) -> Result,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", about: "formatting", run: fmt },
    Step { name: "tidy", about: "layers, sizes, bans, leftovers", run: tidy },
    Step { name: "clippy", about: "lints", run: clippy },
    Step { name: "shellcheck", about: "shell scripts", run: shellcheck },
    Step { name: "docs", about: "documentation builds, links hold", run: docs },
    Step { name: "tests", about: "unit, simulation and integration tests", run: tests },
    Step { name: "doc-tests", about: "examples in the documentation", run: doc_tests },
    Step { name: "loom", about: "the wake protocol in every interleaving", run: loom },
    Step { name: "e2e-uring", about: "end to end on io_uring", run: e2e_uring },
    Step { name: "e2e-epoll", about: "end to end, io_uring refused by seccomp", run: e2e_epoll },
    Step { name: "autobahn-uring", about: "RFC 6455 conformance on io_uring", run: autobahn_uring },
    Step { name: "autobahn-epoll", about: "RFC 6455 conformance on epoll", run: autobahn_epoll },
    Step { name: "fuzz", about: "each target from its stored corpus", run: fuzz::run_all },
    Step { name: "benches", about: "benches compile and run once", run: benches },
    Step { name: "deny", about: "bans, licences, sources", run: deny },
    Step { name: "machete", about: "no unused dependency", run: machete },
    Step { name: "msrv", about: "the promised compiler version is true", run: msrv::check },
];

/// Prints the steps.
pub fn list() {
    for step in STEPS {
        println!("{:<16} {}", step.name, step.about);
    }
}

/// The steps of these names, in running order; all when no name is given.
pub fn choose(names: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(name) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Err(format!("no step is called `{name}`; see `cargo xtask test --list`"));
    }
    let chosen = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(chosen).collect())
}

fn fmt(context: &Context) -> Result {
    run(&mut cargo(context, &["fmt", "--all", "--check"]))
}

fn tidy(context: &Context) -> Result {
    run_tests(&mut cargo(context, &["test", "--locked", "--test", "tidy"])).map(drop)
}

fn clippy(context: &Context) -> Result {
    let args = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run(&mut cargo(context, &args))
}

fn shellcheck(context: &Context) -> Result {
    tools::debian::ensure(context, "shellcheck", "shellcheck")?;
    run(command(context, "shellcheck").args(["tuning/apply.sh", "tuning/revert.sh"]))
}

fn docs(context: &Context) -> Result {
    let mut doc = cargo(context, &["doc", "--locked", "--no-deps", "--workspace"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Everything but the targets that have a step of their own.
fn tests(context: &Context) -> Result {
    let others = targets(context, "test")?
        .into_iter()
        .filter(|name| name != "tidy" && !name.starts_with("e2e"))
        .flat_map(|name| ["--test".to_owned(), name]);
    let kinds = ["--locked", "--no-fail-fast", "--workspace", "--lib", "--bins", "--examples"];
    // Built for the integration tests in any case: the scale tests need not build their own.
    let server = context.target.join("debug").join("alarmcast");
    if exists("cargo-nextest") {
        let mut nextest = cargo(context, &["nextest", "run"]);
        return run(nextest.args(kinds).args(others).env("ALARMCAST_BIN", server));
    }
    let mut test = cargo(context, &["test"]);
    run_tests(test.args(kinds).args(others).env("ALARMCAST_BIN", server)).map(drop)
}

fn doc_tests(context: &Context) -> Result {
    run(&mut cargo(context, &["test", "--locked", "--workspace", "--doc"]))
}

/// The models are small: an optimised build costs more than it saves.
fn loom(context: &Context) -> Result {
    let mut test = cargo(context, &["test", "--locked", "--lib", "--target-dir"]);
    test.arg(context.target.join("loom")).arg("model::");
    run_tests(test.env("RUSTFLAGS", "--cfg alarmcast_loom")).map(drop)
}

fn e2e_uring(context: &Context) -> Result {
    e2e(context, command(context, "cargo"), "uring")
}

fn e2e_epoll(context: &Context) -> Result {
    let mut refused = command(context, &context.xtask);
    refused.args(["seccomp-no-uring", "--", "cargo"]);
    e2e(context, refused, "epoll")
}

/// Runs the end-to-end targets with the clients that they start. Servers run
/// with `--driver auto`; the tests compare what it chose with
/// `ALARMCAST_TEST_DRIVER`.
fn e2e(context: &Context, mut test: Command, driver: &str) -> Result {
    let names: Vec<_> =
        targets(context, "test")?.into_iter().filter(|name| name.starts_with("e2e")).collect();
    if names.is_empty() {
        return Err("there is no end-to-end test target".to_owned());
    }
    tools::debian::ensure(context, "prometheus-alertmanager", "prometheus-alertmanager")?;
    tools::debian::ensure(context, "faketime", "faketime")?;
    tools::debian::ensure(context, "nginx", "nginx-light")?;
    let promtool = tools::debian::promtool(context)?;
    test.args(["test", "--locked", "--no-fail-fast"])
        .args(names.iter().flat_map(|name| ["--test", name]));
    test.env("ALARMCAST_TEST_DRIVER", driver)
        .env("ALARMCAST_TEST_PYTHON", tools::python::clients(context)?)
        .env("NODE_PATH", tools::node::clients(context)?)
        .env("ALARMCAST_TEST_PROMTOOL", promtool);
    run_tests(&mut test).map(drop)
}

fn autobahn_uring(context: &Context) -> Result {
    autobahn::run(context, "uring")
}

fn autobahn_epoll(context: &Context) -> Result {
    autobahn::run(context, "epoll")
}

/// `cargo test` runs each benchmark once, without measuring.
fn benches(context: &Context) -> Result {
    let names = targets(context, "bench")?;
    if names.is_empty() {
        return Err("there is no bench target".to_owned());
    }
    let mut test = cargo(context, &["test", "--locked", "--workspace"]);
    run(test.args(names.iter().flat_map(|name| ["--bench", name])))
}

fn deny(context: &Context) -> Result {
    let deny = tools::cargo::ensure(context, &tools::cargo::DENY)?;
    let args = ["--workspace", "--locked", "check", "--hide-inclusion-graph"];
    run(command(context, deny).args(args).args(["bans", "licenses", "sources"]))
}

fn machete(context: &Context) -> Result {
    let machete = tools::cargo::ensure(context, &tools::cargo::MACHETE)?;
    run(command(context, machete).arg("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name_and_keep_their_order() {
        let names = ["deny".to_owned(), "fmt".to_owned()];
        let chosen: Vec<_> = choose(&names).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(chosen, ["fmt", "deny"]);
        assert_eq!(choose(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn an_unknown_step_is_an_error_not_an_empty_run() {
        assert!(choose(&["lint".to_owned()]).is_err());
    }
}
