//! HdrHistogram's percentile distribution, as its `outputPercentileDistribution` prints it and
//! its plotters read it.

use std::io::{self, Write};

use crate::series::Series;

/// Steps for each halving of the distance to 100 %, as elsewhere.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
const MICROS_PER_MILLI: f64 = 1_000.0;
/// Of every histogram with three significant digits.
const SUB_BUCKETS: u32 = 2_048;

/// Writes a distribution in ms.
pub fn write(series: &Series, to: &mut impl Write) -> io::Result<()> {
    let histogram = &series.histogram;
    let millis = |micros: f64| micros / MICROS_PER_MILLI;
    writeln!(
        to,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        count += step.count_since_last_iteration();
        let value = millis(step.value_iterated_to() as f64);
        // With the last value all is counted: there is no distance to 100 % to divide by.
        let quantile = if count >= histogram.len() { 1.0 } else { step.quantile_iterated_to() };
        write!(to, "{value:12.3} {quantile:14.12} {count:10}")?;
        if quantile < 1.0 {
            write!(to, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(to)?;
        if count >= histogram.len() {
            break;
        }
    }
    let (mean, deviation) = (millis(histogram.mean()), millis(histogram.stdev()));
    writeln!(to, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    let max = millis(histogram.max() as f64);
    writeln!(to, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len())?;
    writeln!(to, "#[Buckets = {:12}, SubBuckets     = {SUB_BUCKETS:12}]", histogram.buckets())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{empty_histogram, histogram_of};

    fn text(series: &Series) -> String {
        let mut bytes = Vec::new();
        write(series, &mut bytes).expect("a vector takes every byte");
        String::from_utf8(bytes).expect("a distribution is text")
    }

    #[test]
    fn every_line_agrees_with_the_histogram() {
        let mut histogram = empty_histogram();
        (0..20_000).for_each(|_| histogram.saturating_record(fastrand::u64(1..3_000_000)));
        let series = Series::new("low", histogram);
        let text = text(&series);
        let lines: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace().map(|word| word.parse().expect("a number")).collect()
            })
            .collect();
        assert!(lines.len() > 50, "{text}");
        let histogram = &series.histogram;
        for line in &lines {
            let [value, quantile, count, ..] = line[..] else { panic!("{line:?}") };
            let micros = (value * 1_000.0).round() as u64;
            assert_eq!(histogram.count_between(0, micros), count as u64, "{line:?}");
            // Printed with twelve digits.
            let bounds = [quantile - 1e-9, quantile + 1e-9];
            let [from, to] = bounds.map(|quantile| histogram.value_at_quantile(quantile));
            assert!((from..=to).contains(&micros), "{line:?}: {from} to {to}");
        }
        let last = lines.last().expect("lines");
        assert_eq!(last[1..], [1.0, 20_000.0], "the last line has no distance to 100 %");
        assert!(text.contains("Total count    =        20000]"), "{text}");
    }

    #[test]
    fn one_value_is_all_percentiles() {
        let text = text(&Series::new("critical", histogram_of(&[(2_000, 3)])));
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n       2.000 1.000000000000          3\n#[Mean    =        2.000, StdDeviation   =        0.000]\n#[Max     =        2.000, Total count    =            3]\n";
        assert!(text.starts_with(expected), "{text}");
    }
}
