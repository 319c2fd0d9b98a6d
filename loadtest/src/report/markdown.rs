//! The document of a report.

use std::fmt::Write;

use super::axis::number_label;
use super::run::Run;

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.999_9)];

/// Tables of figures and latencies, the plots, and how each run was made. `pictures` are names of
/// files and titles.
pub fn document(title: &str, runs: &[Run], pictures: &[(&str, String)]) -> String {
    let mut text = format!("# {title}\n");
    figures(runs, &mut text);
    latencies(runs, &mut text);
    for (name, title) in pictures {
        line(&mut text, format_args!("\n![{title}]({name}.svg)"));
    }
    provenance(runs, &mut text);
    text
}

fn figures(runs: &[Run], text: &mut String) {
    line(
        text,
        "\n| run | label | scenario | connections | deliveries/s | server CPU µs per delivery \
         | of it user | bytes per connection | nothing wrong |\n|---|---|---|---|---|---|---|---|---|",
    );
    let number = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), number_label);
    for run in runs {
        let figures = &run.figures;
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell(&run.name),
                cell(run.label()),
                run.about.scenario,
                number(figures.connections),
                number(figures.deliveries_per_second.map(f64::round)),
                number(figures.cpu_us_per_delivery),
                number(figures.user_us_per_delivery),
                number(figures.bytes_per_connection.map(f64::round)),
                if figures.is_ok { "yes" } else { "**no**" }
            ),
        );
    }
}

fn latencies(runs: &[Run], text: &mut String) {
    if runs.iter().all(|run| run.series.is_empty()) {
        return;
    }
    let names = QUANTILES.map(|(name, _)| name).join(" | ");
    line(
        text,
        format_args!(
            "\nLatencies in ms:\n\n| run | series | count | {names} | max |\n|---|---|---|{}---|",
            "---|".repeat(QUANTILES.len())
        ),
    );
    for (run, series) in runs.iter().flat_map(|run| run.series.iter().map(move |it| (run, it))) {
        let histogram = &series.histogram;
        let millis = |micros: u64| number_label(micros as f64 / 1e3);
        let quantiles =
            QUANTILES.map(|(_, quantile)| millis(histogram.value_at_quantile(quantile)));
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} |",
                cell(&run.name),
                series.name,
                number_label(histogram.len() as f64),
                quantiles.join(" | "),
                millis(histogram.max())
            ),
        );
    }
}

fn provenance(runs: &[Run], text: &mut String) {
    line(text, "\nHow they were made:\n");
    for run in runs {
        let about = &run.about;
        let machine = &about.machine;
        let server = about.versions.server.as_deref().unwrap_or("of unknown version");
        line(
            text,
            format_args!(
                "- {}: {}, {:.0} s, server {server}, load tester {}; {} × {}, {:.1} GiB, Linux {}, \
                 load average {}\n\n  ```sh\n  {}\n  ```",
                run.name,
                about.clock.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
                about.clock.seconds,
                about.versions.loadtest,
                machine.cpus,
                if machine.cpu.is_empty() { "CPUs" } else { &machine.cpu },
                machine.memory_bytes as f64 / f64::from(1 << 30),
                machine.kernel,
                machine.load_average,
                about.from_file.as_ref().unwrap_or(&about.command).join(" ")
            ),
        );
    }
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn line(text: &mut String, line: impl std::fmt::Display) {
    if writeln!(text, "{line}").is_err() {
        unreachable!("a string takes every character");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::run::Figures;
    use crate::results::{About, Clock};
    use crate::series::Series;
    use crate::tally::histogram_of;

    #[test]
    fn every_run_and_series_has_its_row() {
        let clock = Clock::start().stop();
        let label = Some("a|b".to_owned());
        let run = Run {
            name: "one".to_owned(),
            about: About::collect("fanout", label, "http://127.0.0.1:1", clock),
            figures: Figures {
                connections: Some(10_000.0),
                cpu_us_per_delivery: Some(5.061),
                ..Figures::default()
            },
            series: vec![Series::new("low", histogram_of(&[(1_500, 9), (30_000, 1)]))],
        };
        let text = document("Title", &[run], &[("latency", "Latency".to_owned())]);
        for part in [
            "# Title\n",
            "\n| one | a\\|b | fanout | 10,000 | – | 5.06 | – | – | **no** |\n",
            "\n| one | low | 10 | 1.5 | 1.5 | 30",
            "\n![Latency](latency.svg)\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
