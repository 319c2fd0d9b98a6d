//! Filters, events and operations on an index, compared with a plain evaluation.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alarmcast::filter::fuzz::fuzz_filter(data);
});
