//! Runs as people read them.

use super::run::Run;

/// One run.
pub fn line(run: &Run) -> String {
    let complaints: String =
        run.complaints.iter().map(|complaint| format!("  NOT OK: {complaint}")).collect();
    format!("round {}  {}{complaints}", run.round, figures(run.name, run))
}

/// The median of each figure of each server.
pub fn medians(names: &[&'static str], runs: &[Run]) -> String {
    let mut text = format!(
        "{:<18} {:>8} {:>8} {:>8} {:>9} {:>9} {:>10} {:>7}\n",
        "medians", "CPU µs", "user", "system", "p50 ms", "p99 ms", "bytes/conn", "others"
    );
    for &name in names {
        let of = |figure: fn(&Run) -> f64| {
            median(runs.iter().filter(|run| run.name == name).map(figure).collect())
        };
        let (cpu_us, user_us) = (of(Run::cpu_us), of(|run| run.user_us));
        let system_us = of(|run| run.system_us);
        text.push_str(&format!(
            "{name:<18} {cpu_us:>8.2} {user_us:>8.2} {system_us:>8.2} {:>9.1} {:>9.1} {:>10.0} {:>6.0}%\n",
            of(|run| run.p50_ms),
            of(|run| run.p99_ms),
            of(|run| run.rss_bytes),
            of(|run| run.others * 100.0),
        ));
    }
    text
}

/// CPU per delivery of each server in each round, as a multiple of the one that it is
/// compared with; empty when that one was not measured.
pub fn ratios(names: &[&'static str], runs: &[Run], against: &str) -> String {
    let cpu_us = |name: &str, round: u32| {
        runs.iter().find(|run| run.name == name && run.round == round).map(Run::cpu_us)
    };
    if names.len() < 2 || !names.contains(&against) {
        return String::new();
    }
    let rounds = runs.iter().map(|run| run.round).max().unwrap_or(0);
    let mut text = format!("CPU per delivery, as a multiple of {against}'s in the same round\n");
    for &name in names.iter().filter(|name| **name != against) {
        let ratios: Vec<f64> = (1..=rounds)
            .filter_map(|round| Some(cpu_us(name, round)? / cpu_us(against, round)?))
            .collect();
        let each: String = ratios.iter().map(|ratio| format!(" {ratio:>6.2}")).collect();
        text.push_str(&format!("{name:<18}{each}   median {:.2}\n", median(ratios)));
    }
    text
}

fn figures(name: &str, run: &Run) -> String {
    format!(
        "{name:<18} {:>6.2} µs ({:.2} user, {:.2} system)  p50 {:.1} ms, p99 {:.1} ms  \
         {:.0} bytes/conn  others {:.0}%",
        run.cpu_us(),
        run.user_us,
        run.system_us,
        run.p50_ms,
        run.p99_ms,
        run.rss_bytes,
        run.others * 100.0,
    )
}

/// Of an even number of values the mean of the two in the middle; zero of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if !odd.is_multiple_of(2) => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &'static str, round: u32, system_us: f64) -> Run {
        Run { name, round, system_us, ..Run::default() }
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_the_median_of_them_is_told() {
        let runs = [
            run("a", 1, 1.0),
            run("b", 1, 2.0),
            run("b", 2, 8.0),
            run("a", 2, 6.0),
            run("a", 3, 3.0),
            run("b", 3, 3.0),
        ];
        let text = ratios(&["a", "b"], &runs, "b");
        assert!(text.contains("a                    0.50   0.75   1.00   median 0.75\n"), "{text}");
        assert!(medians(&["a"], &runs).contains("a                      3.00"), "{text}");
    }

    #[test]
    fn without_the_one_to_compare_with_there_are_no_ratios() {
        assert_eq!(ratios(&["a"], &[run("a", 1, 1.0)], "b"), "");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
