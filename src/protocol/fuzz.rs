//! What must hold for any bytes from outside. The fuzz targets and the unit
//! tests call these.

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use super::{
    ClientMessage, Encoded, Encoding, ErrorCode, MessageError, ServerMessage, decode,
    decode_msgpack, json, msgpack, parse_bytes,
};
use crate::base::clock::Instant;
use crate::base::limits::{
    NESTING_DEPTH_MAX, PUBLISHED_EVENT_BYTES_MAX, SUBSCRIPTION_ID_BYTES_MAX,
};
use crate::event::{Event, FieldError, Payload};

/// A message is understood or refused; what is understood can be used and
/// answered, what is refused is answered with a bounded error.
///
/// # Panics
/// When one of that does not hold.
pub fn fuzz_client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_answer(&decode(text), Encoding::Json);
}

/// As [`fuzz_client_message`], for `MessagePack`; and what can be read is understood or
/// refused as the same message in JSON is.
///
/// # Panics
/// When one of that does not hold.
pub fn fuzz_client_message_msgpack(data: &[u8]) {
    let decoded = decode_msgpack(data);
    check_answer(&decoded, Encoding::MessagePack);
    if let Ok(value) = msgpack::parse(data, NESTING_DEPTH_MAX) {
        assert_eq!(decoded, decode(&value.to_string()));
        let again = msgpack::to_vec(&value);
        assert_eq!(msgpack::parse(&again, NESTING_DEPTH_MAX).as_ref(), Ok(&value));
        assert_eq!(msgpack::elements(&[b"\x91", data].concat(), 1), Ok(Some(vec![data])));
    } else {
        // Whatever it is, cutting it into its values ends.
        let _ = msgpack::elements(data, 1000);
    }
}

fn check_answer(decoded: &Result<ClientMessage, MessageError>, encoding: Encoding) {
    let answer = match decoded {
        Err(error) => {
            assert!(error.message.len() < 1024, "{}", error.message.len());
            let encoded = error.as_message().encode(encoding);
            assert!(encoded.len() < 16 * 1024, "{}", encoded.len());
            encoded
        }
        Ok(ClientMessage::Subscribe {
            subscription_id,
            filters,
            filter,
            from,
            options,
            r#ref,
            ..
        }) => {
            assert!((1..=SUBSCRIPTION_ID_BYTES_MAX).contains(&subscription_id.len()));
            assert_eq!(filters.compile().as_ref(), Ok(&**filter));
            let r#ref = r#ref.as_ref();
            let resumed = from.as_ref().map(|_| true);
            let not_resumed = None;
            let options = *options;
            assert!(options.batch.is_none_or(|it| (1..=256).contains(&it.max_events)));
            assert!(options.batch.is_none_or(|it| (1..=10_000).contains(&it.max_delay_ms)));
            assert!(options.collapse.is_none_or(|it| (1..=1_000).contains(&it.after)));
            assert!(options.collapse.is_none_or(|it| (100..=600_000).contains(&it.window_ms)));
            ServerMessage::Subscribed {
                subscription_id,
                filters,
                resumed,
                not_resumed,
                options,
                r#ref,
            }
            .encode(encoding)
        }
        Ok(ClientMessage::Unsubscribe { subscription_id, r#ref }) => {
            let r#ref = r#ref.as_ref();
            ServerMessage::Unsubscribed { subscription_id, r#ref }.encode(encoding)
        }
        Ok(ClientMessage::Ping { timestamp, r#ref }) => {
            ServerMessage::Pong { timestamp, r#ref: r#ref.as_ref() }.encode(encoding)
        }
        Ok(ClientMessage::FlowControl { pause, r#ref }) => {
            ServerMessage::FlowControl { pause: *pause, r#ref: r#ref.as_ref() }.encode(encoding)
        }
        Ok(ClientMessage::Ack { .. }) => return,
    };
    if let Err(error) = read(&answer, encoding) {
        panic!("an answer is strict in its encoding: {error}");
    }
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
    for encoding in Encoding::ALL {
        let frame = encoded.frame(encoding);
        assert!(frame.len() <= PUBLISHED_EVENT_BYTES_MAX + 1024);
        let mut message = match read(frame, encoding) {
            Ok(message) => message,
            Err(error) => panic!("an event message is strict in its encoding: {error}"),
        };
        let again: Result<Payload, _> = serde_json::from_value(message["event"].take());
        assert_eq!(again.ok().as_ref(), Some(&encoded.event.payload));
    }
}

/// What a message of the server says.
pub(super) fn read(frame: &Bytes, encoding: Encoding) -> Result<Value, FieldError> {
    // An event is one level down in its message.
    const DEPTH_MAX: usize = NESTING_DEPTH_MAX + 1;
    match encoding {
        Encoding::Json => json::parse(payload(frame, encoding), DEPTH_MAX),
        Encoding::MessagePack => msgpack::parse(payload(frame, encoding), DEPTH_MAX),
    }
}

/// What an unmasked frame of that encoding carries.
pub(super) fn payload(frame: &Bytes, encoding: Encoding) -> &[u8] {
    assert_eq!(frame[0], [0x81, 0x82][encoding.index()]);
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        length => {
            assert_eq!(frame.len(), 2 + usize::from(length));
            &frame[2..]
        }
    }
}
