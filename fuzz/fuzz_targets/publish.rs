//! One published item, as HTTP and the command line take it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alarmcast::protocol::fuzz::fuzz_publish(data);
});
