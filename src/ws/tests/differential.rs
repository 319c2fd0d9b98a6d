//! Our decoder against tungstenite's server, on the same streams.

use proptest::prelude::*;

use super::super::oracle::check_agreement;
use super::*;

/// Mostly sensible frames in any order.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        8 => Just(TEXT), 6 => Just(BINARY), 8 => Just(CONTINUE),
        3 => Just(PING), 3 => Just(PONG), 1 => Just(CLOSE), 1 => 0_u8..16,
    ];
    let flags = prop_oneof![12 => Just(FIN), 8 => Just(0), 1 => (0_u8..16).prop_map(|b| b << 4)];
    let payload = prop_oneof![
        6 => "\\PC{0,60}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (0_usize..4200).prop_map(|bytes| vec![b'x'; bytes]),
        1 => (900_u16..5100).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    let frame = (opcode, flags, payload)
        .prop_map(|(opcode, flags, payload)| client_frame(opcode | flags, &payload));
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_take_and_refuse_the_same_streams(data in stream()) {
        check_agreement(&data);
    }

    #[test]
    fn both_take_and_refuse_the_same_damaged_streams(
        mut data in stream(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for (index, value) in damage {
            if !data.is_empty() {
                let index = index.index(data.len());
                data[index] = value;
            }
        }
        data.truncate(cut.index(data.len() + 1));
        check_agreement(&data);
    }
}
