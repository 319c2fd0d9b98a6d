//! UTF-8 that arrives in pieces, refused at its first bad byte.

use std::str::from_utf8;

use super::growth;
use super::violation::Violation;

/// Valid text so far, and the start of a character whose end has not arrived.
#[derive(Debug, Default)]
pub(super) struct Text {
    valid: String,
    tail: [u8; 4],
    tail_bytes: u8,
}

impl Text {
    pub fn len(&self) -> usize {
        self.valid.len() + usize::from(self.tail_bytes)
    }

    /// Bytes on the heap.
    pub fn capacity(&self) -> usize {
        self.valid.capacity()
    }

    /// Appends a piece. `bound` is how many bytes the text is known to have at
    /// most; no more is allocated.
    ///
    /// # Errors
    /// 1007 when no continuation could make the bytes valid.
    pub fn push(&mut self, piece: &[u8], bound: usize) -> Result<(), Violation> {
        let piece = self.complete_tail(piece, bound)?;
        let (valid, rest) = match from_utf8(piece) {
            Ok(all) => (all, &[][..]),
            Err(e) if e.error_len().is_some() => return Err(Violation::not_utf8()),
            Err(e) => {
                let (valid, rest) = piece.split_at(e.valid_up_to());
                (from_utf8(valid).map_err(|_| Violation::not_utf8())?, rest)
            }
        };
        self.append(valid, bound);
        if !rest.is_empty() {
            self.tail[..rest.len()].copy_from_slice(rest);
            self.tail_bytes = rest.len() as u8;
        }
        Ok(())
    }

    /// The text, once its last piece was pushed.
    ///
    /// # Errors
    /// 1007 when it ends within a character.
    pub fn finish(&self) -> Result<&str, Violation> {
        if self.tail_bytes == 0 { Ok(&self.valid) } else { Err(Violation::not_utf8()) }
    }

    /// Gives the open character its next bytes and returns what it did not need.
    fn complete_tail<'a>(
        &mut self,
        mut piece: &'a [u8],
        bound: usize,
    ) -> Result<&'a [u8], Violation> {
        while self.tail_bytes > 0 {
            let Some((&byte, rest)) = piece.split_first() else { break };
            piece = rest;
            self.tail[usize::from(self.tail_bytes)] = byte;
            self.tail_bytes += 1;
            let tail = self.tail;
            match from_utf8(&tail[..usize::from(self.tail_bytes)]) {
                Ok(character) => {
                    self.append(character, bound);
                    self.tail_bytes = 0;
                }
                // A character has at most four bytes, so four are never incomplete.
                Err(e) if e.error_len().is_none() => {}
                Err(_) => return Err(Violation::not_utf8()),
            }
        }
        Ok(piece)
    }

    fn append(&mut self, valid: &str, bound: usize) {
        let (len, capacity) = (self.valid.len(), self.valid.capacity());
        self.valid.reserve_exact(growth(len, capacity, valid.len(), bound));
        self.valid.push_str(valid);
    }
}
