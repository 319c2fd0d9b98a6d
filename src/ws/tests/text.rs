//! Text in pieces.

use proptest::prelude::*;

use super::super::utf8::Text;
use super::*;

/// Pushes `all` in these pieces, the rest byte by byte.
fn in_pieces(sizes: &[u8], all: &[u8]) -> Vec<u8> {
    [&[sizes.len() as u8], sizes, all].concat()
}

#[test]
fn a_bad_byte_is_refused_where_it_stands_however_the_text_is_cut() {
    let texts: [&[u8]; 12] = [
        b"",
        b"plain",
        "\u{20ac}\u{e9}\u{10ffff}".as_bytes(),
        b"lone \x80",
        b"overlong \xc0\xaf",
        b"overlong \xe0\x9f\xbf",
        b"surrogate \xed\xa0\x80",
        b"beyond \xf4\x90\x80\x80",
        b"never \xff",
        b"cut \xe2\x82",
        b"cut by another \xe2\x82A",
        b"cut by a longer one \xf0\x9f\x98\xf0\x9f\x98\x80",
    ];
    for all in texts {
        for first in 0..=all.len() as u8 {
            for second in 0..=4 {
                fuzz_utf8(&in_pieces(&[first, second], all));
            }
        }
    }
}

#[test]
fn a_character_that_came_in_two_pieces_takes_no_more_memory_than_the_text() {
    let all = "\u{20ac}".repeat(11);
    let mut text = Text::default();
    for byte in all.as_bytes() {
        assert_eq!(text.push(&[*byte], all.len()), Ok(()));
    }
    assert_eq!(text.finish(), Ok(&*all));
    assert_eq!(text.capacity(), all.len());
}

proptest! {
    #[test]
    fn text_with_damage_is_judged_as_the_standard_library_does(
        text in "\\PC{0,40}",
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        sizes in prop::collection::vec(0_u8..9, 0..15),
    ) {
        let mut all = text.into_bytes();
        for (index, value) in damage {
            if !all.is_empty() {
                let index = index.index(all.len());
                all[index] = value;
            }
        }
        fuzz_utf8(&in_pieces(&sizes, &all));
    }
}
