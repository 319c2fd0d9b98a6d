//! A server that misbehaves is found out, in each way that counts.

mod fake;
mod program;

use alarmcast_loadtest::fanout::READY_FOR_DRAIN;
use alarmcast_loadtest::outcome::Outcome;
use fake::{Fake, Misdeed};
use program::{arguments, run};

const EVENTS: u64 = 4;

/// Two honest connections and one with `misdeed`.
fn outcome_with(misdeed: Misdeed) -> (Option<i32>, Outcome) {
    outcome_of(vec![Misdeed::None, misdeed, Misdeed::None], "1")
}

/// Three connections, of which each is tried `attempts` times.
fn outcome_of(misdeeds: Vec<Misdeed>, attempts: &str) -> (Option<i32>, Outcome) {
    let fake = Fake::start(misdeeds);
    fanout(&fanout_args(&fake, attempts), || fake.drain())
}

fn fanout_args(fake: &Fake, attempts: &str) -> Vec<String> {
    arguments([
        "--url",
        &fake.stream,
        "--control",
        &fake.control,
        "--connections",
        "3",
        "--window",
        "1",
        "--attempts",
        attempts,
        "--events",
        &EVENTS.to_string(),
        "--rate",
        "1000",
        "--quiet",
        "1",
        "--expect-drain",
        "--drain-timeout",
        "2",
    ])
}

fn complaints(misdeed: Misdeed) -> Vec<String> {
    let (code, outcome) = outcome_with(misdeed);
    assert_eq!(code, Some(1), "{outcome:#?}");
    outcome.complaints
}

#[test]
fn an_honest_server_passes() {
    let (code, outcome) = outcome_with(Misdeed::None);
    assert_eq!((code, outcome.ok), (Some(0), true), "{outcome:#?}");
    assert_eq!(outcome.deliveries.delivered, 3 * EVENTS);
    assert_eq!(outcome.drain.map(|drain| drain.endings.orderly), Some(3));
}

#[test]
fn an_event_kept_from_one_connection_is_missing_and_a_gap() {
    let expected = ["1 deliveries are missing", "1 gaps are in seq"];
    assert_eq!(complaints(Misdeed::SkipsSecondEvent), expected);
}

#[test]
fn the_last_event_kept_from_one_connection_is_missing() {
    assert_eq!(complaints(Misdeed::SkipsLastEvent), ["1 deliveries are missing"]);
}

#[test]
fn an_event_sent_twice_is_a_duplicate() {
    let expected = ["1 deliveries are duplicates", "1 events had a seq not above the one before"];
    assert_eq!(complaints(Misdeed::RepeatsSecondEvent), expected);
}

#[test]
fn a_connection_cut_off_is_lost_and_its_events_are_missing() {
    let (_, outcome) = outcome_with(Misdeed::CutsOffAtSecondEvent);
    let expected = ["1 connections were lost", "3 deliveries are missing"];
    assert_eq!(outcome.complaints, expected);
    let reason = "subscribed, then ended without a close frame";
    assert_eq!(outcome.failures.get(reason), Some(&1), "{outcome:#?}");
}

#[test]
fn a_connection_closed_before_its_time_is_lost() {
    let (_, outcome) = outcome_with(Misdeed::ClosesAfterLastEvent);
    assert_eq!(outcome.complaints, ["1 connections were lost"]);
    let reason = "subscribed, then closed with 4009";
    assert_eq!(outcome.failures.get(reason), Some(&1), "{outcome:#?}");
}

#[test]
fn an_end_without_the_closing_message_is_not_in_order() {
    assert_eq!(complaints(Misdeed::EndsUntold), ["1 connections were not ended in order"]);
}

#[test]
fn an_end_with_another_code_is_not_in_order() {
    assert_eq!(complaints(Misdeed::EndsWithNormal), ["1 connections were not ended in order"]);
}

#[test]
fn an_end_that_never_comes_is_not_in_order() {
    assert_eq!(complaints(Misdeed::NeverEnds), ["1 connections were not ended in order"]);
}

#[test]
fn a_wrong_accept_key_is_no_connection() {
    let (code, outcome) = outcome_with(Misdeed::AnswersWrongKey);
    assert_eq!(code, Some(1));
    assert_eq!(outcome.complaints, ["1 connections were not subscribed"]);
    let reason = "upgrade: the 101 lacks `Sec-WebSocket-Accept`, or has it wrong";
    assert_eq!(outcome.failures.get(reason), Some(&1), "{outcome:#?}");
}

#[test]
fn a_refused_connection_is_tried_again() {
    let misdeeds = vec![Misdeed::None, Misdeed::Refuses, Misdeed::None, Misdeed::None];
    let (code, outcome) = outcome_of(misdeeds, "2");
    assert_eq!((code, outcome.ok), (Some(0), true), "{outcome:#?}");
    assert_eq!(outcome.connections.retries.get("refused with HTTP 503"), Some(&1));
}

#[test]
fn a_connection_refused_to_the_last_attempt_is_given_up() {
    let (code, outcome) = outcome_with(Misdeed::Refuses);
    assert_eq!(code, Some(1));
    assert_eq!(outcome.complaints, ["1 connections were not subscribed"]);
    assert_eq!(outcome.failures.get("refused with HTTP 503"), Some(&1), "{outcome:#?}");
}

#[test]
fn a_publisher_without_a_server_keeps_what_was_counted() {
    let mut fake = Fake::start(vec![Misdeed::None; 3]);
    // A port that was free a moment ago, and is not listened on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    fake.control = format!("http://{}", closed.expect("loopback has ports"));
    let (code, outcome) = fanout(&fanout_args(&fake, "1"), || fake.drain());
    assert_eq!(code, Some(1));
    assert_eq!(outcome.connections.subscribed, 3);
    assert_eq!(outcome.drain.map(|drain| drain.endings.orderly), Some(3));
    assert!(outcome.publishing.failure.is_some());
    assert_eq!(outcome.complaints[1..], ["4 events were not accepted"]);
}

/// Runs `fanout` with `args`, and `at_drain` once it is ready for it.
fn fanout(args: &[String], mut at_drain: impl FnMut()) -> (Option<i32>, Outcome) {
    run("fanout", args, |line| {
        if line == READY_FOR_DRAIN {
            at_drain();
        }
    })
}
