//! Axes: where values lie, and what is written beside them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

/// Values in the axis's own measure: logarithms, where it is logarithmic.
#[derive(Clone, Debug)]
pub struct Axis {
    pub title: String,
    pub range: Range<f64>,
    pub ticks: Vec<Tick>,
    /// Fine lines between the ticks.
    pub between: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub label: String,
}

/// Where a percentile lies on [`Axis::percentiles`]: 0 for 0 %, 1 for 90 %, 2 for 99 %.
pub fn percentile(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

impl Axis {
    /// From 0 % to the percentile that one of `count` values is above.
    pub fn percentiles(count: u64) -> Self {
        let nines = (count.max(10) as f64).log10().ceil() as usize;
        let label = |nines: usize| match nines {
            0 => "0 %".to_owned(),
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            nines => format!("99.{} %", "9".repeat(nines - 2)),
        };
        Self {
            title: "percentile".to_owned(),
            range: 0.0..nines as f64,
            ticks: (0..=nines)
                .map(|nines| Tick { at: nines as f64, label: label(nines) })
                .collect(),
            between: Vec::new(),
        }
    }

    /// Logarithmic, from the power of ten below the least value to that above the greatest.
    pub fn powers(title: &str, values: Range<f64>, label: fn(f64) -> String) -> Self {
        let from = values.start.log10().floor();
        let to = values.end.log10().ceil().max(from + 1.0);
        let powers = (from as i32)..=(to as i32);
        let nines = powers.clone().flat_map(|power| {
            (2..10).map(move |times| f64::from(power) + f64::from(times).log10())
        });
        Self {
            title: title.to_owned(),
            range: from..to,
            ticks: powers
                .map(|power| Tick { at: f64::from(power), label: label(10_f64.powi(power)) })
                .collect(),
            between: nines.filter(|at| *at < to).collect(),
        }
    }

    /// Logarithmic, with a tick at each value.
    pub fn values(title: &str, values: &[f64], label: fn(f64) -> String) -> Self {
        const MARGIN: f64 = 0.1;
        let logs = || values.iter().map(|value| value.log10());
        let (from, to) = (logs().fold(f64::MAX, f64::min), logs().fold(f64::MIN, f64::max));
        let mut ticks: Vec<Tick> =
            values.iter().map(|&value| Tick { at: value.log10(), label: label(value) }).collect();
        ticks.sort_by(|one, other| one.at.total_cmp(&other.at));
        ticks.dedup();
        Self {
            title: title.to_owned(),
            range: from - MARGIN..to + MARGIN,
            ticks,
            between: Vec::new(),
        }
    }

    /// From zero to above the greatest value, in round steps.
    pub fn from_zero(title: &str, greatest: f64) -> Self {
        const STEPS: f64 = 5.0;
        let rough = greatest.max(f64::MIN_POSITIVE) / STEPS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let steps = (greatest / step).floor() as u32 + 1;
        let ticks = (0..=steps).map(|number| {
            let at = f64::from(number) * step;
            Tick { at, label: number_label(at) }
        });
        Self {
            title: title.to_owned(),
            range: 0.0..f64::from(steps) * step,
            ticks: ticks.collect(),
            between: Vec::new(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return self.between.clone();
        }
        self.ticks.iter().map(|tick| tick.at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// What stands beside a tick.
impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, at: &f64) -> String {
        let near = |tick: &&Tick| (tick.at - at).abs() < 1e-9;
        self.ticks.iter().find(near).map_or(String::new(), |tick| tick.label.clone())
    }
}

/// A latency given in ms.
pub fn millis_label(millis: f64) -> String {
    match millis {
        millis if millis >= 999.5 => format!("{} s", number_label(millis / 1e3)),
        millis if millis >= 0.9995 => format!("{} ms", number_label(millis)),
        millis => format!("{} µs", number_label(millis * 1e3)),
    }
}

/// With as many places as matter, thousands set apart.
pub fn number_label(number: f64) -> String {
    if number < 100.0 {
        let text = format!("{number:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| &*tick.label).collect()
    }

    #[test]
    fn percentiles_have_a_tick_for_each_nine() {
        let axis = Axis::percentiles(20_000);
        assert_eq!(labels(&axis), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert!((percentile(0.999) - 3.0).abs() < 1e-9 && percentile(0.0).abs() < 1e-9);
        assert_eq!(axis.format_ext(&3.000_000_000_1), "99.9 %");
        assert_eq!(axis.format_ext(&2.5), "");
    }

    #[test]
    fn latencies_go_from_power_to_power() {
        let axis = Axis::powers("latency", 0.3..1_200.0, millis_label);
        assert_eq!(labels(&axis), ["100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        assert_eq!((axis.range.clone(), axis.between.len()), (-1.0..4.0, 40));
        assert_eq!(Axis::powers("latency", 1.0..1.0, millis_label).range, 0.0..1.0);
    }

    #[test]
    fn costs_go_from_zero_in_round_steps() {
        let axis = Axis::from_zero("µs", 5.4);
        assert_eq!(labels(&axis), ["0", "2", "4", "6"]);
        assert_eq!(axis.range, 0.0..6.0);
        assert_eq!(labels(&Axis::from_zero("bytes", 24_784.0)).last(), Some(&"25,000"));
        assert_eq!(labels(&Axis::from_zero("µs", 0.11)), ["0", "0.05", "0.1", "0.15"]);
    }

    #[test]
    fn every_value_has_its_tick_once() {
        let axis = Axis::values("connections", &[10_000.0, 1_000.0, 10_000.0], number_label);
        assert_eq!(labels(&axis), ["1,000", "10,000"]);
        assert!(axis.range.contains(&3.0) && axis.range.contains(&4.0));
    }
}
