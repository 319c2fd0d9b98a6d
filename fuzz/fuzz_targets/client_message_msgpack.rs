//! One binary message of a client, and the cutting of a list into its values.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alarmcast::protocol::fuzz::fuzz_client_message_msgpack(data);
});
