//! HdrHistogram's logs: one series as one interval, the run.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, IntervalLogWriterError, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::Clock;
use crate::series::Series;

/// So that the log's own column of maxima is in ms, as usual; recorded values are µs.
const MAX_VALUE_DIVISOR: f64 = 1_000.0;

/// Writes a log with the series' name as its tag.
pub fn write(series: &Series, clock: &Clock, to: &mut impl Write) -> io::Result<()> {
    let started = SystemTime::from(clock.started);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[alarmcast-loadtest: latencies in microseconds]")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(to, &mut serializer)?;
    let seconds = Duration::try_from_secs_f64(clock.seconds).unwrap_or_default();
    let tag = Tag::new(&series.name);
    log.write_histogram(&series.histogram, Duration::ZERO, seconds, tag).map_err(
        |error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
        },
    )
}

/// Reads a series from a log: the sum of its intervals.
///
/// # Errors
/// With what is wrong with it.
pub fn read(text: &str, name: &str) -> Result<Series, String> {
    let mut sum: Option<Histogram<u64>> = None;
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        let LogEntry::Interval(interval) = entry.map_err(|error| format!("{error:?}"))? else {
            continue;
        };
        let bytes =
            STANDARD.decode(interval.encoded_histogram()).map_err(|error| error.to_string())?;
        let read = Deserializer::new().deserialize(&mut &bytes[..]);
        let histogram: Histogram<u64> = read.map_err(|error| error.to_string())?;
        match &mut sum {
            None => sum = Some(histogram),
            Some(sum) => sum.add(&histogram).map_err(|error| error.to_string())?,
        }
    }
    let histogram = sum.ok_or("no interval is in it")?;
    Ok(Series { name: name.to_owned(), histogram })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::histogram_of;

    #[test]
    fn a_log_names_its_series_and_has_its_maximum_in_milliseconds() {
        let series = Series::new("low", histogram_of(&[(1_500, 3), (250_000, 1)]));
        let mut log = Vec::new();
        write(&series, &Clock::start().stop(), &mut log).expect("a vector takes every byte");
        let text = String::from_utf8(log).expect("a log is text");
        let line = text.lines().last().unwrap_or_default();
        assert!(line.starts_with("Tag=low,0.000,0.000,250."), "{text}");
        assert_eq!(read(&text, "low"), Ok(series));
        let twice = read(&format!("{text}{line}\n"), "low").expect("two intervals");
        assert_eq!((twice.histogram.len(), twice.histogram.count_at(1_500)), (8, 6));
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let broken = "Tag=low,0.000,1.000,2.000,AAAA\n";
        for text in ["", "#only a comment\n", broken, "0.000,1.000,2.000,?\n"] {
            assert!(read(text, "low").is_err(), "{text}");
        }
    }
}
