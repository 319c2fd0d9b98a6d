//! Bytes of a new connection: cut anywhere, they come to the same answer.
#![no_main]

use alarmcast::ws::{Handshake, Progress};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    assert_eq!(answer(data, data.len().max(1)), answer(data, 1), "pieces must not matter");
});

/// The response and, after an upgrade, where the frames begin.
fn answer(data: &[u8], piece: usize) -> Option<(Vec<u8>, Option<usize>)> {
    let mut handshake = Handshake::new();
    let mut offset = 0;
    for part in data.chunks(piece) {
        let (taken, progress) = handshake.feed(part);
        offset += taken;
        match progress {
            Progress::NeedMore => assert_eq!(taken, part.len(), "input must be used up"),
            Progress::Upgrade(request) => {
                let offered = request.subprotocols.first().map(String::as_str);
                return Some((request.accept(offered), Some(offset)));
            }
            Progress::Refused(refusal) => return Some((refusal.response(), None)),
        }
    }
    None
}
