use std::fmt;

use crate::base::slab::{GENERATION_MASK, Key};

/// What kind of operation a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Accept = 1,
    Recv = 2,
    Send = 3,
    Shutdown = 4,
    Close = 5,
    /// The driver's own operations (wake, cancel, timeout); a shard never sees them.
    Internal = 255,
}

/// Ties a completion to (kind, slot, generation), in 64 bits that the kernel carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    pub const fn new(kind: Kind, key: Key) -> Self {
        assert!(key.generation <= GENERATION_MASK);
        Self((kind as u64) << 56 | (key.generation as u64) << 32 | key.slot as u64)
    }

    pub const fn kind(self) -> Kind {
        match (self.0 >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Recv,
            3 => Kind::Send,
            4 => Kind::Shutdown,
            5 => Kind::Close,
            _ => Kind::Internal,
        }
    }

    pub const fn key(self) -> Key {
        Key { slot: self.0 as u32, generation: (self.0 >> 32) as u32 & GENERATION_MASK }
    }

    /// The token as the kernel's `user_data`.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The token back from the kernel's `user_data`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { slot, generation } = self.key();
        write!(f, "{:?}/{slot}.{generation}", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        for kind in [Kind::Accept, Kind::Recv, Kind::Send, Kind::Shutdown, Kind::Close] {
            for key in [
                Key { slot: 0, generation: 0 },
                Key { slot: u32::MAX, generation: GENERATION_MASK },
                Key { slot: 17_999, generation: 3 },
            ] {
                let token = Token::from_bits(Token::new(kind, key).to_bits());
                assert_eq!((token.kind(), token.key()), (kind, key));
            }
        }
    }
}
