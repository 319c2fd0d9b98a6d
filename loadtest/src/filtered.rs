//! The scenario of many filters: the same deliveries with as many filters as connections, with
//! one for each class, and with one, in turns against the same server.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::fanout::{self, Settings as FanoutSettings};
use crate::filters::{Filters, Kind};
use crate::median::median;
use crate::outcome::Outcome;
use crate::say::Say;
use crate::series::{Series, merged, named};

/// A run, in full.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What all rounds have in common; its filters are replaced.
    pub fanout: FanoutSettings,
    pub classes: u32,
    /// Events go to all classes in turn, where the kind of filters allows it.
    pub in_turn: bool,
    /// In each round, in this order.
    pub kinds: Vec<Kind>,
    pub rounds: u32,
}

/// What the rounds showed; serialised as the result of `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FilteredOutcome {
    /// Nothing is missing in any round.
    pub ok: bool,
    pub complaints: Vec<String>,
    pub connections: u32,
    pub classes: u32,
    pub in_turn: bool,
    pub costs: Vec<Cost>,
    /// Every run as `fanout` tells it, in the order in which they were made.
    pub runs: Vec<Run>,
    /// By kind, over all rounds.
    #[serde(skip)]
    pub series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub kind: Kind,
    pub outcome: Outcome,
}

/// What one kind of filters cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub kind: Kind,
    /// Of each round; empty unless the server's process is known.
    pub cpu_us_per_delivery: Vec<f64>,
    pub median: f64,
    /// The median to that with one filter.
    pub to_one: Option<f64>,
    /// Over all rounds.
    pub deliveries: u64,
}

/// Runs all rounds; `say` is told how it goes.
///
/// # Errors
/// When one could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn Say) -> Result<FilteredOutcome, Error> {
    let Settings { classes, in_turn, .. } = *settings;
    let mut runs = Vec::new();
    for round in 1..=settings.rounds {
        for &kind in &settings.kinds {
            say.phase(&format!("round {round}: {}", kind.name()));
            let filters = Filters::Classes { classes, kind, in_turn };
            let fanout = FanoutSettings { filters, ..settings.fanout.clone() };
            runs.push(Run { kind, outcome: fanout::run(&fanout, say)? });
        }
    }
    let complaints: Vec<String> = runs
        .iter()
        .flat_map(|run| {
            run.outcome.complaints.iter().map(|it| format!("{}: {it}", run.kind.name()))
        })
        .collect();
    Ok(FilteredOutcome {
        ok: complaints.is_empty(),
        complaints,
        connections: settings.fanout.connections,
        classes,
        in_turn,
        costs: costs(&settings.kinds, &runs),
        series: merged(runs.iter().flat_map(|run| named(run.kind.name(), &run.outcome))),
        runs,
    })
}

fn costs(kinds: &[Kind], runs: &[Run]) -> Vec<Cost> {
    let mut costs: Vec<Cost> = kinds.iter().map(|&kind| cost(kind, runs)).collect();
    let one = costs.iter().find(|cost| cost.kind == Kind::One).map(|cost| cost.median);
    for cost in &mut costs {
        cost.to_one = one.filter(|&one| one > 0.0).map(|one| cost.median / one);
    }
    costs
}

fn cost(kind: Kind, runs: &[Run]) -> Cost {
    let of_kind = || runs.iter().filter(|run| run.kind == kind);
    let server = of_kind().filter_map(|run| run.outcome.server);
    let cpu_us_per_delivery: Vec<f64> = server.map(|server| server.cpu_us_per_delivery).collect();
    Cost {
        kind,
        median: median(&cpu_us_per_delivery),
        cpu_us_per_delivery,
        to_one: None,
        deliveries: of_kind().map(|run| run.outcome.deliveries.delivered).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Server;

    fn run(kind: Kind, cpu_us_per_delivery: f64) -> Run {
        let server = Some(Server { cpu_us_per_delivery, ..Server::default() });
        Run { kind, outcome: Outcome { server, ..Outcome::default() } }
    }

    #[test]
    fn costs_are_compared_by_their_medians() {
        let distinct = [3.0, 30.0, 6.0].map(|cost| run(Kind::Distinct, cost));
        let one = [4.0, 6.0].map(|cost| run(Kind::One, cost));
        let costs = costs(&[Kind::Distinct, Kind::One], &[&distinct[..], &one].concat());
        assert_eq!([costs[0].median, costs[1].median], [6.0, 5.0]);
        assert_eq!([costs[0].to_one, costs[1].to_one], [Some(1.2), Some(1.0)]);
    }
}
