//! Floods that are repeated, event by event: what is late in most of them is so for the server's
//! sake, and what the machine took a core away for is late in one.

use serde::{Deserialize, Serialize};

use crate::median::median;
use crate::outcome::Outcome;

/// Of each event's slowest delivery the median over the floods; of these, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByEvent {
    /// That were measured in every flood.
    pub events: usize,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
}

impl ByEvent {
    pub fn of<'a>(floods: impl Iterator<Item = &'a Outcome>) -> Self {
        let floods: Vec<&[u32]> = floods.map(|flood| &*flood.slowest_us).collect();
        let events = floods.iter().map(|flood| flood.len()).min().unwrap_or(0);
        let slowest = |event: usize| -> Vec<f64> {
            floods.iter().map(|flood| f64::from(flood[event])).collect()
        };
        let is_measured = |of_floods: &Vec<f64>| of_floods.iter().all(|&us| us > 0.0);
        let medians = (0..events).map(slowest).filter(is_measured).map(|us| median(&us));
        let mut medians: Vec<f64> = medians.collect();
        medians.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (medians.len() * percent).div_ceil(100);
            medians.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { events: medians.len(), p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand events of 100 µs and more, the first ten not measured.
    fn flood(disturb: impl Fn(usize) -> u32) -> Outcome {
        let slowest = (0..1_010).map(|event| if event < 10 { 0 } else { 100 + disturb(event) });
        Outcome { slowest_us: slowest.collect(), ..Outcome::default() }
    }

    #[test]
    fn what_is_late_in_one_flood_is_the_machine_and_in_all_of_them_the_server() {
        let floods = [0, 1, 2, 3, 4].map(|round| {
            flood(|event| match event {
                _ if event % 5 == round => 20_000,
                100..120 => 400,
                500 => 800,
                _ => 0,
            })
        });
        let expected = ByEvent { events: 1_000, p50_us: 100.0, p99_us: 500.0, max_us: 900.0 };
        assert_eq!(ByEvent::of(floods.iter()), expected);
        assert_eq!(ByEvent::of(floods[..1].iter()).p99_us, 20_100.0, "one tells nothing");
    }

    #[test]
    fn an_event_that_one_flood_lacks_is_not_compared() {
        let short = Outcome { slowest_us: vec![0, 7, 0, 9], ..Outcome::default() };
        let whole = Outcome { slowest_us: vec![5, 7, 8, 9, 9], ..Outcome::default() };
        assert_eq!(ByEvent::of([&short, &whole].into_iter()).events, 2);
        assert_eq!(ByEvent::of([&short, &Outcome::default()].into_iter()), ByEvent::default());
        assert_eq!(ByEvent::of([].into_iter()), ByEvent::default());
    }
}
