//! One text message of a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alarmcast::protocol::fuzz::fuzz_client_message(data);
});
