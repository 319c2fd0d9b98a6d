//! The checks, in the order in which they run: the quick ones first.

use std::process::Command;

use crate::command::{cargo, command, exists, run, run_tests};
use crate::context::Context;
use crate::metadata::targets;
use crate::{Result, autobahn, compare, fuzz, instructions, loom, msrv, tools};

/// One check.
pub struct Step {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Context) -> Result,
}

/// Lanes that go side by side, each with its steps one after the other.
pub type Stage = Vec<Vec<&'static Step>>;

/// What waits for registries or for one long compilation goes beside another that does. Tests,
/// simulation and end-to-end tests use every core, and have the machine to themselves.
const STAGES: &[&[&[Step]]] = &[
    &[
        &[
            Step { name: "fmt", about: "formatting", run: fmt },
            Step { name: "tidy", about: "layers, sizes, bans, leftovers", run: tidy },
            Step { name: "clippy", about: "lints", run: clippy },
            Step { name: "docs", about: "documentation builds, links hold", run: docs },
            Step { name: "build-tests", about: "every test compiles", run: build_tests },
            Step { name: "loom", about: "the wake protocol in every interleaving", run: loom::run },
            Step { name: "benches", about: "benches compile and run once", run: benches },
        ],
        &[
            Step { name: "tools", about: "what the checks need", run: tools::install_all },
            Step { name: "shellcheck", about: "shell scripts", run: shellcheck },
            Step { name: "machete", about: "no unused dependency", run: machete },
            Step { name: "deny", about: "bans, licences, sources", run: deny },
            Step { name: "msrv", about: "the promised compiler version is true", run: msrv::check },
            Step { name: "build-checks", about: "for Autobahn and valgrind", run: build_checks },
            Step { name: "build-fuzz", about: "fuzz targets compile", run: fuzz::build },
        ],
    ],
    &[&[
        Step { name: "tests", about: "unit and integration tests", run: tests },
        Step { name: "simulation", about: "thousands of seeds in virtual time", run: simulation },
        Step { name: "doc-tests", about: "examples in the documentation", run: doc_tests },
        Step { name: "e2e-uring", about: "end to end on io_uring", run: e2e_uring },
        Step { name: "e2e-epoll", about: "end to end, io_uring refused", run: e2e_epoll },
    ]],
    &[
        &[
            Step { name: "autobahn-uring", about: "RFC 6455 on io_uring", run: autobahn_uring },
            Step { name: "instructions", about: "instructions, memory", run: instructions::check },
        ],
        &[Step { name: "autobahn-epoll", about: "RFC 6455 on epoll", run: autobahn_epoll }],
    ],
    &[&[Step { name: "fuzz", about: "each target from its stored corpus", run: fuzz::run_all }]],
];

fn all() -> impl Iterator<Item = &'static Step> {
    STAGES.iter().copied().flatten().copied().flatten()
}

/// Prints the steps.
pub fn list() {
    for step in all() {
        println!("{:<16} {}", step.name, step.about);
    }
}

/// The step of this name.
pub fn find(name: &str) -> Result<&'static Step> {
    let unknown = || format!("no step is called `{name}`; see `cargo xtask test --list`");
    all().find(|step| step.name == name).ok_or_else(unknown)
}

/// The steps of these names, in running order; all when no name is given.
pub fn choose(names: &[String]) -> Result<Vec<Stage>> {
    for name in names {
        find(name)?;
    }
    let chosen = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    let lane = |steps: &&'static [Step]| steps.iter().filter(chosen).collect::<Vec<_>>();
    let stage = |lanes: &&'static [&'static [Step]]| {
        lanes.iter().map(lane).filter(|lane| !lane.is_empty()).collect::<Stage>()
    };
    Ok(STAGES.iter().map(stage).filter(|stage| !stage.is_empty()).collect())
}

fn fmt(context: &Context) -> Result {
    run(&mut cargo(context, &["fmt", "--all", "--check"]))?;
    run(&mut cargo(context, &["fmt", "--check", "--manifest-path", compare::AXUM_MANIFEST]))
}

fn tidy(context: &Context) -> Result {
    run_tests(&mut cargo(context, &["test", "--locked", "--workspace", "--test", "tidy"])).map(drop)
}

fn clippy(context: &Context) -> Result {
    let args = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run(&mut cargo(context, &args))?;
    // A workspace of its own, which nothing else builds.
    let mut other = cargo(context, &["clippy", "--locked", "--manifest-path"]);
    other.args([compare::AXUM_MANIFEST, "--target-dir"]).arg(&context.target);
    run(other.args(["--", "-D", "warnings"]))
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
        .filter(|name| name != "tidy" && name != "simulation" && !name.starts_with("e2e"))
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

/// So that the steps which run them need not, and have nothing beside them.
fn build_tests(context: &Context) -> Result {
    let kinds = ["--lib", "--bins", "--examples", "--tests"];
    run(cargo(context, &["test", "--locked", "--no-run", "--workspace"]).args(kinds))
}

/// Optimised, in little time: what Autobahn and valgrind run.
fn build_checks(context: &Context) -> Result {
    let examples = ["--example", "echo", "--example", "instructions"];
    run(cargo(context, &["build", "--locked", "--profile", "checks"]).args(examples))
}

/// Somewhat optimised: it takes a tenth of the time then, and with all checks of debug builds.
fn simulation(context: &Context) -> Result {
    let optimised = "profile.dev.package.alarmcast.opt-level=1";
    let args = ["--config", optimised, "test", "--locked", "--test", "simulation"];
    run_tests(&mut cargo(context, &args)).map(drop)
}

fn doc_tests(context: &Context) -> Result {
    run(&mut cargo(context, &["test", "--locked", "--workspace", "--doc"]))
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
    test.args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(names.iter().flat_map(|name| ["--test", name]));
    // They wait more than they work.
    test.env("RUST_TEST_THREADS", "4")
        .env("ALARMCAST_TEST_DRIVER", driver)
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

    fn names(stages: &[Stage]) -> Vec<Vec<Vec<&'static str>>> {
        let lane = |lane: &Vec<&Step>| lane.iter().map(|step| step.name).collect();
        stages.iter().map(|stage| stage.iter().map(lane).collect()).collect()
    }

    #[test]
    fn steps_are_chosen_by_name_and_keep_their_stage_lane_and_order() {
        let chosen = ["deny", "tests", "tidy", "fmt"].map(str::to_owned);
        let stages = choose(&chosen).unwrap();
        assert_eq!(names(&stages), [vec![vec!["fmt", "tidy"], vec!["deny"]], vec![vec!["tests"]]]);
        let whole = names(&choose(&[]).unwrap());
        assert_eq!(whole.into_iter().flatten().flatten().count(), all().count());
    }

    #[test]
    fn no_two_steps_have_one_name() {
        let names: std::collections::BTreeSet<_> = all().map(|step| step.name).collect();
        assert_eq!(names.len(), all().count());
    }

    #[test]
    fn what_uses_every_core_runs_alone() {
        for stage in choose(&[]).unwrap() {
            let busy = ["tests", "e2e-uring", "e2e-epoll", "fuzz"];
            let is_busy = stage.iter().flatten().any(|step| busy.contains(&step.name));
            assert!(!is_busy || stage.len() == 1);
        }
    }

    #[test]
    fn an_unknown_step_is_an_error_not_an_empty_run() {
        assert!(choose(&["lint".to_owned()]).is_err());
    }
}
