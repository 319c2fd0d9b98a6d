//! The checks of the random worlds bite: each planted fault is caught, by the check that is
//! there for it.

use crate::planted::{Fault, Planting};
use crate::random::caught;
use crate::random_worlds::Run;

/// Runs worlds with this fault until one is found wrong; what was said then.
fn first_complaint(fault: Fault) -> String {
    const SEEDS: u64 = 100;
    const STEPS: usize = 250;
    let mut planted = 0;
    for seed in 0..SEEDS {
        let planting = Planting::of(fault);
        let said = caught(|| {
            let mut run = Run::new(seed, planting.clone());
            for _ in 0..STEPS {
                run.step();
            }
            run.end();
        });
        planted += planting.count();
        if let Some(said) = said {
            assert!(planting.count() > 0, "seed {seed} fails without a fault: {said}");
            println!("{fault:?}: seed {seed}, after {planted}: {said}");
            return said;
        }
    }
    panic!("{fault:?} was planted {planted} times and never caught");
}

#[track_caller]
fn assert_caught(fault: Fault, expected: &[&str]) {
    let said = first_complaint(fault);
    assert!(expected.iter().any(|part| said.contains(part)), "{fault:?}: {said}");
}

#[test]
fn a_filter_that_misses_or_finds_too_much_is_caught() {
    assert_caught(Fault::FilterMisses, &["who gets event"]);
    assert_caught(Fault::FilterFinds, &["who gets event"]);
}

#[test]
fn subscriptions_that_outlive_their_connection_in_its_slot_are_caught() {
    assert_caught(Fault::SlotRemembers, &["who gets event"]);
}

#[test]
fn an_event_that_is_not_delivered_is_caught() {
    assert_caught(Fault::DeliveryLost, &["nobody was told", "matched"]);
}

#[test]
fn an_event_that_is_delivered_twice_is_caught() {
    assert_caught(Fault::DeliveryTwice, &["came twice"]);
}

#[test]
fn an_event_for_another_connection_is_caught() {
    assert_caught(Fault::DeliveryStray, &["was not matched", "an event before `subscribed`"]);
}

#[test]
fn a_critical_event_that_is_shed_is_caught() {
    assert_caught(Fault::CriticalShed, &["a critical event is", "critical events:"]);
}

#[test]
fn a_notice_of_more_or_less_than_was_shed_is_caught() {
    assert_caught(Fault::LossOverstated, &["dropped"]);
    assert_caught(Fault::LossUnderstated, &["dropped", "told"]);
}

#[test]
fn a_notice_that_does_not_go_out_is_caught() {
    assert_caught(Fault::LossUntold, &["nobody was told", "dropped", "were told"]);
}

#[test]
fn events_that_change_places_within_a_priority_are_caught() {
    assert_caught(Fault::Reordered, &["nobody was told", "out of order"]);
}

#[test]
fn an_event_in_the_wrong_lane_is_caught() {
    assert_caught(Fault::WrongLane, &["was not matched"]);
}

#[test]
fn what_no_option_asked_for_is_caught() {
    assert_caught(Fault::BatchUnasked, &["in a batch"]);
    assert_caught(Fault::CollapseUnasked, &["nobody was told", "matched", "were told"]);
    assert_caught(Fault::ConflateUnasked, &["were replaced"]);
}

#[test]
fn what_was_collapsed_and_is_not_told_is_caught() {
    assert_caught(Fault::CollapseUntold, &["collapsed", "were told", "behind the position"]);
}
