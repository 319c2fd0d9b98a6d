//! Where the network cuts the bytes does not matter.

use proptest::prelude::*;

use super::*;

/// A message or control frame, and how a client might send it.
#[derive(Clone, Debug)]
enum Sent {
    Text(String, Vec<u8>),
    Binary(Vec<u8>, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let cuts = || prop::collection::vec(any::<u8>(), 0..5);
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        ("\\PC{0,80}", cuts()).prop_map(|(text, cuts)| Sent::Text(text, cuts)),
        (bytes(), cuts()).prop_map(|(data, cuts)| Sent::Binary(data, cuts)),
        control().prop_map(Sent::Ping),
        control().prop_map(Sent::Pong),
    ]
}

/// Frames of one message, cut as `cuts` say, with a ping after every fragment but
/// the last.
fn put_fragments(
    out: &mut Vec<u8>,
    expected: &mut Vec<String>,
    opcode: u8,
    mut data: &[u8],
    cuts: &[u8],
) {
    let mut first = opcode;
    for &cut in cuts {
        let (fragment, rest) = data.split_at(usize::from(cut).min(data.len()));
        data = rest;
        out.extend(client_frame(first, fragment));
        out.extend(client_frame(FIN | PING, &[cut]));
        expected.push(shown(Incoming::Ping(&[cut])));
        first = CONTINUE;
    }
    out.extend(client_frame(FIN | first, data));
}

/// The bytes of what is sent, and what is to come of them.
fn wire(messages: &[Sent]) -> (Vec<u8>, Vec<String>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            Sent::Text(text, cuts) => {
                put_fragments(&mut out, &mut expected, TEXT, text.as_bytes(), cuts);
                expected.push(shown(Incoming::Text(text)));
            }
            Sent::Binary(data, cuts) => {
                put_fragments(&mut out, &mut expected, BINARY, data, cuts);
                expected.push(shown(Incoming::Binary(data)));
            }
            Sent::Ping(data) => {
                out.extend(client_frame(FIN | PING, data));
                expected.push(shown(Incoming::Ping(data)));
            }
            Sent::Pong(data) => {
                out.extend(client_frame(FIN | PONG, data));
                expected.push(shown(Incoming::Pong(data)));
            }
        }
    }
    (out, expected)
}

proptest! {
    #[test]
    fn what_was_sent_comes_out_however_it_is_cut(
        messages in prop::collection::vec(sent(), 0..6),
        sizes in prop::collection::vec(0_usize..200, 1..50),
    ) {
        let (bytes, expected) = wire(&messages);
        let whole = decode_pieces(&bytes, LIMITS, |_| usize::MAX);
        prop_assert_eq!(&whole, &expected);
        let pieces = decode_pieces(&bytes, LIMITS, |turn| sizes.get(turn).map_or(1, |&size| size));
        prop_assert_eq!(&pieces, &expected);
    }

    #[test]
    fn damaged_streams_come_out_the_same_however_they_are_cut(
        messages in prop::collection::vec(sent(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        size in 1_usize..40,
    ) {
        let (mut bytes, _) = wire(&messages);
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let whole = decode_pieces(&bytes, LIMITS, |_| usize::MAX);
        prop_assert_eq!(&decode_pieces(&bytes, LIMITS, |_| size), &whole);
        prop_assert_eq!(&decode_pieces(&bytes, LIMITS, |_| 1), &whole);
    }

    #[test]
    fn noise_never_panics(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_decoder(&data);
    }
}

#[test]
fn the_fuzz_target_holds_for_its_first_corpus() {
    let mut two = client_frame(TEXT, "fra\u{20ac}".as_bytes());
    two.extend(client_frame(FIN | CONTINUE, b"gment"));
    let corpus: &[&[u8]] = &[
        b"",
        b"\x81",
        b"\x81\xfe\x00",
        b"\x88\x82\x00\x00\x00\x00\x03\xe8",
        b"\x01\x80aaaa\x80\x80bbbb",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &two,
        &client_frame(FIN | BINARY, &[0xa5; 4096]),
        &client_frame(FIN | PING, &[0; 125]),
    ];
    for data in corpus {
        fuzz_decoder(data);
    }
}
