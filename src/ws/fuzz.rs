//! Bodies of the fuzz targets.

use super::decoder::{Decoder, Limits};

/// Decodes `data` as one piece and again in pieces whose sizes `data` chooses.
///
/// # Panics
/// If the two disagree, or if the decoder holds more than is allowed.
pub fn fuzz_decoder(data: &[u8]) {
    let limits = Limits { message_bytes_max: 4096, fragments_max: 8 };
    let whole = decode_pieces(data, limits, |_| usize::MAX);
    let sizes = data.to_vec();
    let pieces = decode_pieces(data, limits, |turn| match sizes.get(turn) {
        Some(&size) => usize::from(size % 17),
        None => 1,
    });
    assert_eq!(whole, pieces, "pieces must not matter");
    let bytes = decode_pieces(data, limits, |_| 1);
    assert_eq!(whole, bytes, "single bytes must not matter");
}

/// Everything that comes of `data`, printed, when it arrives in pieces of
/// `size(turn)` bytes.
pub(super) fn decode_pieces(
    data: &[u8],
    limits: Limits,
    size: impl Fn(usize) -> usize,
) -> Vec<String> {
    let mut decoder = Decoder::new(limits);
    let mut data = data.to_vec();
    let mut rest = &mut data[..];
    let mut printed = Vec::new();
    for turn in 0.. {
        if rest.is_empty() {
            break;
        }
        let (mut piece, later) = rest.split_at_mut(size(turn).min(rest.len()));
        rest = later;
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(incoming)) => printed.push(format!("{incoming:?}")),
                Ok(None) => break,
                Err(violation) => printed.push(format!("{violation:?}")),
            }
        }
        assert!(piece.is_empty(), "input must be used up");
    }
    printed
}
