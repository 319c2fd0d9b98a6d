//! Clients, publishers and the network do to one shard what the bytes say.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alarmcast_fuzz::script::play(data);
});
