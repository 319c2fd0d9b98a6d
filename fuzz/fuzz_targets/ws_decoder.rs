//! Bytes of a connection after the handshake, whole and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alarmcast::ws::fuzz::fuzz_decoder(data);
});
