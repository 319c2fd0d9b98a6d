//! What must hold for any bytes from outside. The fuzz targets and the unit
//! tests call these.

use bytes::Bytes;
use uuid::Uuid;

use super::{ClientMessage, Encoded, ErrorCode, ServerMessage, decode, json, parse_bytes};
use crate::base::clock::Instant;
use crate::base::limits::{
    NESTING_DEPTH_MAX, PUBLISHED_EVENT_BYTES_MAX, SUBSCRIPTION_ID_BYTES_MAX,
};
use crate::event::{Event, Payload};

/// A message is understood or refused; what is understood can be used and
/// answered, what is refused is answered with a bounded error.
///
/// # Panics
/// When one of that does not hold.
pub fn fuzz_client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let answer = match decode(text) {
        Err(error) => {
            assert!(error.message.len() < 1024, "{}", error.message.len());
            let encoded = error.as_message().encode();
            assert!(encoded.len() < 16 * 1024, "{}", encoded.len());
            encoded
        }
        Ok(ClientMessage::Subscribe { subscription_id, filters, filter, r#ref }) => {
            assert!((1..=SUBSCRIPTION_ID_BYTES_MAX).contains(&subscription_id.len()));
            assert_eq!(filters.compile().as_ref(), Ok(&*filter));
            let (filters, r#ref) = (&filters, r#ref.as_ref());
            let subscription_id = &subscription_id;
            ServerMessage::Subscribed { subscription_id, filters, r#ref }.encode()
        }
        Ok(ClientMessage::Unsubscribe { subscription_id, r#ref }) => {
            let (subscription_id, r#ref) = (&subscription_id, r#ref.as_ref());
            ServerMessage::Unsubscribed { subscription_id, r#ref }.encode()
        }
        Ok(ClientMessage::Ping { timestamp, r#ref }) => {
            let (timestamp, r#ref) = (&timestamp, r#ref.as_ref());
            ServerMessage::Pong { timestamp, r#ref }.encode()
        }
        Ok(ClientMessage::Ack { .. }) => return,
    };
    assert!(serde_json::from_slice::<serde_json::Value>(payload(&answer)).is_ok());
}

/// An item is published or refused; what is published is bounded, can be
/// encoded, and comes out as it went in.
///
/// # Panics
/// When one of that does not hold.
pub fn fuzz_publish(data: &[u8]) {
    let publish = match parse_bytes(data, jiff::Timestamp::UNIX_EPOCH) {
        Ok(publish) => publish,
        Err(error) => {
            assert!(matches!(error.code, ErrorCode::InvalidMessage | ErrorCode::MessageTooLarge));
            assert!(error.path.len() < 1024 && error.message.len() < 1024, "{error}");
            return;
        }
    };
    let encoded = Encoded::new(Event {
        seq: 1,
        message_id: Uuid::nil(),
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        priority: publish.payload.priority(),
        context: publish.payload.own_context().or(publish.context.unwrap_or_default()),
        payload: publish.payload,
        accepted_at: Instant::default(),
    });
    assert!(encoded.json().len() <= PUBLISHED_EVENT_BYTES_MAX + 1024);
    let mut message = match json::parse(payload(encoded.json()), NESTING_DEPTH_MAX + 1) {
        Ok(message) => message,
        Err(error) => panic!("an event message is strict JSON: {error}"),
    };
    let again: Result<Payload, _> = serde_json::from_value(message["event"].take());
    assert_eq!(again.ok().as_ref(), Some(&encoded.event.payload));
}

/// What an unmasked text frame carries.
pub(super) fn payload(frame: &Bytes) -> &[u8] {
    assert_eq!(frame[0], 0x81);
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        length => {
            assert_eq!(frame.len(), 2 + usize::from(length));
            &frame[2..]
        }
    }
}
