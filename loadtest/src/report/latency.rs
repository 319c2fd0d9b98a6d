//! Latency by percentile.

use plotters::chart::SeriesLabelPosition;
use plotters::style::RGBColor;

use super::axis::{Axis, millis_label, percentile};
use super::chart::{Chart, Curve, color};
use super::run::Run;
use crate::priority::Priority;
use crate::series::Series;

const TICKS_PER_HALF_DISTANCE: u32 = 8;
/// Latencies are in µs; 0 has no place on a logarithmic axis.
const MILLIS_MIN: f64 = 0.001;

/// A curve for each series of each run, up to the percentile that one value of it is above.
pub fn chart(title: &str, runs: &[Run]) -> Option<Chart> {
    let series: Vec<(&Run, &Series)> =
        runs.iter().flat_map(|run| run.series.iter().map(move |series| (run, series))).collect();
    let histograms = || series.iter().map(|(_, series)| &series.histogram);
    let count = histograms().map(hdrhistogram::Histogram::len).max()?;
    let millis = |micros: u64| (micros as f64 / 1e3).max(MILLIS_MIN);
    let least = histograms().map(|it| millis(it.min())).fold(f64::MAX, f64::min);
    let greatest = histograms().map(|it| millis(it.max())).fold(f64::MIN, f64::max);
    let curves = series.iter().enumerate().map(|(index, (run, series))| Curve {
        name: if runs.len() == 1 {
            series.name.clone()
        } else {
            format!("{} {}", run.name, series.name)
        },
        color: if runs.len() == 1 { color_of(&series.name, index) } else { color(index) },
        points: points(series, millis),
        has_marks: false,
    });
    Some(Chart {
        title: format!("{title}: latency"),
        x: Axis::percentiles(count),
        y: Axis::powers("latency", least..greatest, millis_label),
        curves: curves.collect(),
        // Curves rise.
        legend: SeriesLabelPosition::LowerRight,
    })
}

fn points(series: &Series, millis: impl Fn(u64) -> f64) -> Vec<(f64, f64)> {
    let histogram = &series.histogram;
    let last = percentile(1.0 - 1.0 / histogram.len() as f64);
    let steps = histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE).map(|step| {
        let at = percentile(step.quantile_iterated_to());
        (at.min(last), millis(step.value_iterated_to()).log10())
    });
    let mut points: Vec<(f64, f64)> = steps.take_while(|(at, _)| *at < last).collect();
    points.push((last, millis(histogram.max()).log10()));
    points
}

/// The more urgent, the warmer.
fn color_of(name: &str, index: usize) -> RGBColor {
    match Priority::named(name) {
        Some(Priority::Critical) => RGBColor(200, 30, 30),
        Some(Priority::High) => RGBColor(230, 140, 0),
        Some(Priority::Normal) => RGBColor(0, 114, 178),
        Some(Priority::Low) => RGBColor(110, 110, 110),
        None => color(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::histogram_of;

    #[test]
    fn a_curve_rises_to_the_greatest_value_at_the_percentile_it_is_known_for() {
        let values: Vec<(u64, u64)> = (1..=1_000).map(|value| (value * 100, 1)).collect();
        let points = points(&Series::new("low", histogram_of(&values)), |us| us as f64 / 1e3);
        let rises = |pair: &[(f64, f64)]| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1;
        assert!(points.windows(2).all(rises), "{points:?}");
        let (at, value) = points[points.len() - 1];
        assert!((at - 3.0).abs() < 1e-9 && (value - 2.0).abs() < 1e-3, "{at} {value}");
        let median = points.iter().find(|(at, _)| *at >= percentile(0.5) - 1e-9);
        let (_, value) = median.expect("there is a median");
        assert!((10_f64.powf(*value) - 50.0).abs() < 0.2, "{value}");
    }
}
