//! Frames as a client reads and writes them (RFC 6455 section 5), on tungstenite's header.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Largest payload that is read; what a server sends is far smaller.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest header of a server's frame, which has no mask.
const HEADER_BYTES_MAX: usize = 10;
const CONTROL_BYTES_MAX: usize = 125;

/// What the bytes at hand start with.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The frame at the start needs this many bytes in all, as far as one can tell.
    Incomplete { bytes: usize },
    Frame {
        kind: Kind,
        payload: &'a [u8],
        /// Header and payload.
        bytes: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The server broke RFC 6455, or does what no Alarmcast server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("reserved opcode")]
    Opcode,
    #[error("a reserved bit is set, and no extension was agreed on")]
    ReservedBit,
    #[error("a server's frame is masked")]
    Masked,
    #[error("a control frame is fragmented or longer than {CONTROL_BYTES_MAX} bytes")]
    Control,
    #[error("a fragmented message; the server never sends one")]
    Fragmented,
    #[error("a frame of more than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    #[error("a length is not in its shortest form")]
    Length,
}

/// Reads the frame that `input` starts with.
///
/// # Errors
/// As soon as the header shows that the frame is not acceptable.
pub fn read(input: &[u8]) -> Result<Step<'_>, FrameError> {
    let mut cursor = Cursor::new(&input[..input.len().min(HEADER_BYTES_MAX)]);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_| FrameError::Opcode)?;
    let Some((header, payload_bytes)) = parsed else {
        return Ok(Step::Incomplete { bytes: input.len() + 1 });
    };
    let header_bytes = cursor.position() as usize;
    let kind = judge(&header, payload_bytes)?;
    if header_bytes != header.len(payload_bytes) {
        return Err(FrameError::Length);
    }
    let bytes = header_bytes + payload_bytes as usize;
    match input.get(header_bytes..bytes) {
        Some(payload) => Ok(Step::Frame { kind, payload, bytes }),
        None => Ok(Step::Incomplete { bytes }),
    }
}

fn judge(header: &FrameHeader, payload_bytes: u64) -> Result<Kind, FrameError> {
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(FrameError::ReservedBit);
    }
    if header.mask.is_some() {
        return Err(FrameError::Masked);
    }
    let kind = match header.opcode {
        OpCode::Control(_) if !header.is_final || payload_bytes > CONTROL_BYTES_MAX as u64 => {
            return Err(FrameError::Control);
        }
        OpCode::Control(Control::Close) => Kind::Close,
        OpCode::Control(Control::Ping) => Kind::Ping,
        OpCode::Control(Control::Pong) => Kind::Pong,
        OpCode::Data(Data::Continue) => return Err(FrameError::Fragmented),
        OpCode::Data(_) if !header.is_final => return Err(FrameError::Fragmented),
        OpCode::Data(Data::Text) => Kind::Text,
        OpCode::Data(Data::Binary) => Kind::Binary,
        OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
            return Err(FrameError::Opcode);
        }
    };
    if payload_bytes > PAYLOAD_BYTES_MAX as u64 {
        return Err(FrameError::TooLarge);
    }
    Ok(kind)
}

/// Appends a masked frame.
pub fn write(kind: Kind, payload: &[u8], output: &mut Vec<u8>) {
    let mask = fastrand::u32(..).to_ne_bytes();
    let opcode = match kind {
        Kind::Text => OpCode::Data(Data::Text),
        Kind::Binary => OpCode::Data(Data::Binary),
        Kind::Close => OpCode::Control(Control::Close),
        Kind::Ping => OpCode::Control(Control::Ping),
        Kind::Pong => OpCode::Control(Control::Pong),
    };
    let header = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
    if let Err(error) = header.format(payload.len() as u64, output) {
        unreachable!("a vector takes every byte: {error}");
    }
    output.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_at_its_last_byte_and_not_before() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (126, vec![0x81, 126, 0, 126]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut input = header;
            input.extend(std::iter::repeat_n(b'x', length));
            for cut in (0..input.len()).take(200) {
                assert!(
                    matches!(read(&input[..cut]), Ok(Step::Incomplete { bytes }) if bytes > cut)
                );
            }
            let bytes = input.len();
            let Ok(Step::Frame { kind: Kind::Text, payload, bytes: read_bytes }) = read(&input)
            else {
                panic!("a text frame of {length} bytes is not read");
            };
            assert_eq!((payload.len(), read_bytes), (length, bytes));
        }
    }

    #[test]
    fn what_a_server_may_not_send_is_refused() {
        for (input, error) in [
            (&[0x81, 0x80, 0, 0, 0, 0][..], FrameError::Masked),
            (&[0xc1, 0], FrameError::ReservedBit),
            (&[0x83, 0], FrameError::Opcode),
            (&[0x01, 0], FrameError::Fragmented),
            (&[0x80, 0], FrameError::Fragmented),
            (&[0x09, 0], FrameError::Control),
            (&[0x89, 126, 0, 126], FrameError::Control),
            (&[0x81, 126, 0, 125], FrameError::Length),
            (&[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0], FrameError::TooLarge),
            (&[0x81, 127, 0xff, 0, 0, 1, 0, 0, 0, 0], FrameError::TooLarge),
        ] {
            assert_eq!(read(input), Err(error), "{input:x?}");
        }
    }

    #[test]
    fn what_is_written_is_masked_and_unmasks_to_itself() {
        let mut output = Vec::new();
        write(Kind::Close, &[3, 233], &mut output);
        assert_eq!((output[0], output[1], output.len()), (0x88, 0x82, 8));
        let unmasked = [output[6] ^ output[2], output[7] ^ output[3]];
        assert_eq!(unmasked, [3, 233]);
    }
}
