//! The whole server side in virtual time: the hub, two shards, and clients that stall, break off,
//! come back and change their minds, stepped one at a time in an order that follows from the seed.

mod fault;
mod traveller;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;

use fault::Fault;
use world::Whole;

use crate::random::{caught, for_seeds};
use crate::resuming::{self, Totals};

const STEPS: usize = 100;

/// One run: what was wrong in it, and what it consisted of.
fn run(seed: u64, fault: Option<Fault>) -> (Vec<String>, Totals, Vec<(&'static str, u64)>) {
    let mut whole = Whole::new(seed, fault);
    (0..STEPS).for_each(|_| whole.step());
    let late = whole.settle();
    let reached = whole.reached();
    let (mut findings, totals) = whole.end();
    findings.extend(late);
    (findings, totals, reached)
}

#[test]
fn through_hub_and_shards_nothing_is_missing_or_comes_twice_whoever_resumes_from_wherever() {
    let reached: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
    let seeds = for_seeds(2_000, |seed| {
        let (findings, totals, counts) = run(seed, None);
        assert!(findings.is_empty(), "{}", findings.join("\n"));
        let mut reached = reached.lock().expect("no panic while it is held");
        for (name, count) in counts.into_iter().chain([
            ("resumes", totals.resumes),
            ("positions not held", totals.not_resumed),
            ("changes", totals.changes),
            ("events", totals.events),
            ("repeats", totals.repeats),
            ("checkpoints", totals.checkpoints),
            ("closings", totals.closings),
            ("told as dropped", totals.dropped),
        ]) {
            *reached.entry(name).or_default() += count;
        }
    });
    let reached = reached.into_inner().expect("no panic while it is held");
    println!("{seeds} seeds: {reached:?}");
    let missed: Vec<_> = reached.iter().filter(|(_, count)| **count == 0).collect();
    assert!(seeds < 200 || missed.is_empty(), "never happened: {missed:?}");
}

#[test]
fn a_run_of_the_whole_is_the_same_for_the_same_seed() {
    let trace = |seed| format!("{:?}", run(seed, None));
    assert_eq!(trace(7), trace(7));
}

/// What is said of the first run with this fault that is found wrong.
fn first_findings(fault: Fault) -> Vec<String> {
    const SEEDS: u64 = 200;
    for seed in 0..SEEDS {
        let mut findings = Vec::new();
        let said = caught(|| findings = run(seed, Some(fault)).0);
        findings.extend(said);
        if let Some(first) = findings.first() {
            println!("{fault:?} in seed {seed}: {first}");
            return findings;
        }
    }
    panic!("{fault:?} was not found in {SEEDS} seeds")
}

#[test]
fn each_fault_of_hub_history_and_wire_is_found() {
    for (fault, expected) in [
        (Fault::CompleteTooEarly, &["twice", "a hole", "out of order"][..]),
        (Fault::CompleteBeyond, &["a hole", "late"]),
        (Fault::ReadOneShort, &["a hole"]),
        (Fault::ReadOneTooFar, &["a hole"]),
        (Fault::Wire(resuming::Fault::Lost), &["a hole"]),
        (Fault::Wire(resuming::Fault::Twice), &["twice"]),
        (Fault::Wire(resuming::Fault::Swapped), &["out of order"]),
        (Fault::Wire(resuming::Fault::Ahead), &["a hole"]),
    ] {
        let findings = first_findings(fault);
        let is_expected = |finding: &String| expected.iter().any(|part| finding.contains(part));
        assert!(findings.iter().any(is_expected), "{fault:?}: {findings:?}");
    }
}
