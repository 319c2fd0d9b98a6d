//! Text in pieces, compared with the standard library's judgement of the whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alarmcast::ws::fuzz::fuzz_utf8(data);
});
