//! Several events in one message, made of their own messages' bytes.

use super::{Encoding, frame};

/// What a `batch` takes beside the frames of its events, at most.
pub const BATCH_OVERHEAD_BYTES_MAX: usize = 48;

const JSON_START: &[u8] = br#"{"type":"batch","events":["#;
const JSON_END: &[u8] = b"]}";
/// A map of two: `type` is `batch`, then `events`.
const MSGPACK_START: &[u8] = b"\x82\xa4type\xa5batch\xa6events";

/// Appends one complete frame with a `batch` message; `events` are the complete frames of event
/// messages of this encoding.
///
/// # Panics
/// When there are none.
pub fn append_batch<'a>(
    out: &mut Vec<u8>,
    encoding: Encoding,
    events: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) {
    let count = events.len();
    assert!(count > 0);
    let messages = events.map(frame::payload);
    let bytes: usize = messages.clone().map(<[u8]>::len).sum();
    match encoding {
        Encoding::Json => {
            let commas = count - 1;
            let payload = JSON_START.len() + bytes + commas + JSON_END.len();
            frame::append_header(out, encoding, payload);
            out.extend_from_slice(JSON_START);
            for (place, message) in messages.enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(message);
            }
            out.extend_from_slice(JSON_END);
        }
        Encoding::MessagePack => {
            let mut head = [0; 3];
            let head = list_head(count, &mut head);
            frame::append_header(out, encoding, MSGPACK_START.len() + head.len() + bytes);
            out.extend_from_slice(MSGPACK_START);
            out.extend_from_slice(head);
            messages.for_each(|message| out.extend_from_slice(message));
        }
    }
}

/// The marker of a list with its length, in the shortest form.
fn list_head(count: usize, head: &mut [u8; 3]) -> &[u8] {
    const FIX_ARRAY: u8 = 0x90;
    const ARRAY_16: u8 = 0xdc;
    if count < 16 {
        head[0] = FIX_ARRAY | count as u8;
        return &head[..1];
    }
    let count = u16::try_from(count).expect("a batch is bounded");
    head[0] = ARRAY_16;
    head[1..].copy_from_slice(&count.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize)]
    struct Batch {
        r#type: &'static str,
        events: Vec<Value>,
    }

    fn message(number: usize) -> Value {
        json!({"type": "event", "seq": number, "text": "x".repeat(number)})
    }

    #[test]
    fn a_batch_is_one_message_in_either_encoding_whatever_its_length() {
        for encoding in Encoding::ALL {
            for count in [1, 2, 15, 16, 17, 256] {
                let frames: Vec<_> =
                    (0..count).map(|number| frame::of(&message(number), encoding, 0)).collect();
                let before = b"what waits before".to_vec();
                let mut out = before.clone();
                append_batch(&mut out, encoding, frames.iter().map(|frame| &frame[..]));
                let batch = out.strip_prefix(&before[..]).unwrap();
                let sum: usize = frames.iter().map(bytes::Bytes::len).sum();
                assert!(batch.len() <= sum + BATCH_OVERHEAD_BYTES_MAX, "{count}");
                let events = (0..count).map(message).collect();
                let expected = frame::of(&Batch { r#type: "batch", events }, encoding, 0);
                assert_eq!(batch, &expected[..], "{encoding} {count}");
            }
        }
    }
}
