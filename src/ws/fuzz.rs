//! Bodies of the fuzz targets.

use std::str::from_utf8;

use super::decoder::{Decoder, Limits};
use super::oracle::check_agreement;
use super::utf8::Text;

/// Decodes `data` as one piece and again in pieces whose sizes `data` chooses, and lets
/// tungstenite judge it.
///
/// # Panics
/// If they disagree, or if the decoder holds more than is allowed.
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
    check_agreement(data);
}

/// Pushes text in pieces: `data` begins with their number and their sizes; what the text has
/// beyond them comes in single bytes.
///
/// # Panics
/// If the pieces are not what the standard library says of the whole: refused at the first byte
/// that nothing can follow, kept otherwise, in no more memory than the text needs.
pub fn fuzz_utf8(data: &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return };
    let (sizes, all) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let first_bad = first_bad_byte(all);
    let mut text = Text::default();
    let mut pushed = 0;
    let mut sizes = sizes.iter().map(|&size| usize::from(size));
    while pushed < all.len() {
        let size = sizes.next().unwrap_or(1).min(all.len() - pushed);
        let result = text.push(&all[pushed..pushed + size], all.len());
        pushed += size;
        let is_bad = first_bad.is_some_and(|bad| bad < pushed);
        assert_eq!(result.is_err(), is_bad, "{pushed} of {all:?}");
        if is_bad {
            return;
        }
        assert_eq!(text.len(), pushed);
        assert!(text.capacity() <= all.len(), "{} for {}", text.capacity(), all.len());
    }
    assert_eq!(text.finish().ok(), from_utf8(all).ok());
}

/// The first byte with which the text is beyond repair.
fn first_bad_byte(all: &[u8]) -> Option<usize> {
    let error = from_utf8(all).err()?;
    let is_hopeless = |end: &usize| from_utf8(&all[..*end]).is_err_and(|e| e.error_len().is_some());
    (error.valid_up_to()..=all.len()).find(is_hopeless).map(|end| end - 1)
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
