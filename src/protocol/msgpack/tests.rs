use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::base::clock::Instant;
use crate::base::limits::NESTING_DEPTH_MAX;
use crate::event::Event;
use crate::protocol::{Encoded, Encoding, fuzz, parse_item, parse_msgpack};

fn message(bytes: &[u8]) -> String {
    match parse(bytes, 4) {
        Err(error) => error.to_string(),
        Ok(value) => panic!("{bytes:x?} was read as {value}"),
    }
}

#[test]
fn numbers_and_texts_come_out_as_they_went_in() {
    let value = json!([u64::MAX, i64::MIN, 0.1, 1, 1.0, 1e300, "é\n\0", null, true, {"": []}]);
    let bytes = to_vec(&value);
    let again = parse(&bytes, 4).unwrap();
    assert_eq!(again, value);
    assert!(again[3].is_u64() && again[4].is_f64());
    assert_eq!(to_json(&bytes, 4).unwrap(), value.to_string());
}

#[test]
fn every_form_of_a_value_is_read() {
    for (bytes, value) in [
        (b"\x05".as_slice(), json!(5)),
        (b"\xff", json!(-1)),
        (b"\xcc\x05", json!(5)),
        (b"\xcd\x00\x05", json!(5)),
        (b"\xce\x00\x00\x00\x05", json!(5)),
        (b"\xcf\x00\x00\x00\x00\x00\x00\x00\x05", json!(5)),
        (b"\xd0\x05", json!(5)),
        (b"\xd1\x80\x00", json!(-32768)),
        (b"\xd2\xff\xff\xff\xff", json!(-1)),
        (b"\xd3\x00\x00\x00\x00\x00\x00\x00\x05", json!(5)),
        (b"\xca\x3f\xc0\x00\x00", json!(1.5)),
        (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", json!(1.5)),
        (b"\xc0", json!(null)),
        (b"\xc2", json!(false)),
        (b"\xc3", json!(true)),
        (b"\xa1a", json!("a")),
        (b"\xd9\x01a", json!("a")),
        (b"\xda\x00\x01a", json!("a")),
        (b"\xdb\x00\x00\x00\x01a", json!("a")),
        (b"\x91\x01", json!([1])),
        (b"\xdc\x00\x01\x01", json!([1])),
        (b"\xdd\x00\x00\x00\x01\x01", json!([1])),
        (b"\x81\xa1a\x01", json!({"a": 1})),
        (b"\xde\x00\x01\xa1a\x01", json!({"a": 1})),
        (b"\xdf\x00\x00\x00\x01\xd9\x01a\x01", json!({"a": 1})),
    ] {
        assert_eq!(parse(bytes, 4).as_ref(), Ok(&value), "{bytes:x?}");
        assert_eq!(value_end(bytes), Some(bytes.len()), "{bytes:x?}");
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end], 4).is_err(), "{bytes:x?} cut at {end}");
            assert_eq!(value_end(&bytes[..end]), None, "{bytes:x?} cut at {end}");
        }
        assert_eq!(value_end(&[bytes, b"\xc0"].concat()), Some(bytes.len()), "{bytes:x?}");
    }
}

#[test]
fn what_json_does_not_have_is_refused_with_its_place() {
    for (bytes, expected) in [
        (b"".as_slice(), "breaks off"),
        (b"\xc1", "the byte c1"),
        (b"\x81\xa1a\xc1", "a: the byte c1"),
        (b"\x81\xa1a\xc4\x01x", "a: binary data"),
        (b"\xc5\x00\x01x", "binary data"),
        (b"\xc6\x00\x00\x00\x01x", "binary data"),
        (b"\xd4\x01\x00", "extension types"),
        (b"\xd6\xff\x00\x00\x00\x00", "extension types"),
        (b"\xc7\x01\x05x", "extension types"),
        (b"\xc8\x00\x01\x05x", "extension types"),
        (b"\xc9\x00\x00\x00\x01\x05x", "extension types"),
        (b"\x81\x01\x02", "expected a string as the key"),
        (b"\x81\xc0\x02", "expected a string as the key"),
        (b"\x81\xc3\x02", "expected a string as the key"),
        (b"\x81\xc4\x01a\x02", "expected a string as the key"),
        (b"\x81\x90\x02", "expected a string as the key"),
        (b"\x81\xd4\x01\x00\x02", "expected a string as the key"),
        (b"\x82\xa1a\x01\xa1a\x02", "the key `a` stands twice"),
        (b"\x82\xa1a\x01\xd9\x01a\x02", "the key `a` stands twice"),
        (b"\xa1\xff", "not UTF-8"),
        (b"\x81\xa1\xff\x01", "not UTF-8"),
        (b"\xa3\xed\xa0\x80", "not UTF-8"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "number out of range"),
        (b"\xca\x7f\x80\x00\x00", "number out of range"),
        (b"\xc0\xc0", "something follows"),
        (b"\x80\x91", "something follows"),
        (b"\xc0\xcc", "something follows"),
        (b"\xc0\xc1", "something follows"),
    ] {
        let said = message(bytes);
        assert!(said.contains(expected), "{bytes:x?}: {said}");
    }
}

#[test]
fn a_length_that_is_claimed_takes_no_memory_and_no_time() {
    let claims: [&[u8]; 8] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdc\xff\xff\x01",
        b"\xde\xff\xff\xa1a\x01",
        b"\xda\xff\xffa",
    ];
    for claim in claims {
        assert!(!message(claim).is_empty());
        assert!(!message(&[b"\x81\xa1a", claim].concat()).is_empty());
        assert_eq!(value_end(claim), None);
    }
    // Each level claims the most there is, and nothing follows.
    let nested = b"\xdd\xff\xff\xff\xff".repeat(100_000);
    assert!(message(&nested).contains("nested too deeply"));
    assert_eq!(value_end(&nested), None);
    assert_eq!(elements(&nested, 10), Err(ElementsError::TooMany));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [b"\x91".repeat(depth), b"\xc0".to_vec()].concat();
    assert_eq!(parse(&nested(4), 4).unwrap(), json!([[[[null]]]]));
    assert!(message(&nested(5)).contains("nested too deeply"));
    assert!(message(&nested(100_000)).contains("nested too deeply"));
    let maps = |depth: usize| [b"\x81\xa1a".repeat(depth), b"\xc0".to_vec()].concat();
    assert!(parse(&maps(32), 32).is_ok());
    assert!(parse(&maps(33), 32).unwrap_err().message.contains("nested too deeply"));
    assert!(to_json(&maps(32), 32).is_ok() && to_json(&maps(33), 32).is_err());
    // Without recursion.
    assert_eq!(value_end(&nested(1_000_000)), Some(1_000_001));
}

#[test]
fn a_list_comes_apart_into_its_values() {
    let values = json!([{"a": [1, {"b": "x".repeat(300)}]}, "text", 0.5, [], {}, null]);
    let list = to_vec(&values);
    let parts = elements(&list, 6).unwrap().unwrap();
    let read: Vec<Value> = parts.into_iter().map(|part| parse(part, 4).unwrap()).collect();
    assert_eq!(json!(read), values);
    assert_eq!(elements(&to_vec(&values), 5), Err(ElementsError::TooMany));
    assert_eq!(elements(&to_vec(&json!({"a": []})), 5), Ok(None));
    assert_eq!(elements(b"\x92\xc0", 5), Err(ElementsError::Endless));
    assert_eq!(elements(b"\x91\xc1", 5), Err(ElementsError::Endless));
    assert_eq!(elements(b"\x91\xc0\xc0", 5), Err(ElementsError::Followed));
    // An item that is refused does not take the others with it.
    let parts = elements(b"\x93\xd4\x01\x02\xc4\x01x\x80", 5).unwrap().unwrap();
    assert_eq!(parts, [b"\xd4\x01\x02".as_slice(), b"\xc4\x01x", b"\x80"]);
}

/// Any value of the JSON model.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-200..70_000_i64).prop_map(Value::from),
        any::<f64>().prop_map(|number| if number.is_finite() { json!(number) } else { json!(0.0) }),
        ".{0,40}".prop_map(Value::from),
        // Around the lengths at which the marker changes.
        prop::sample::select(vec![31, 32, 255, 256]).prop_map(|length| "x".repeat(length).into()),
    ];
    leaf.prop_recursive(4, 32, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn json_to_messagepack_and_back_is_the_same(value in any_value()) {
        let bytes = to_vec(&value);
        prop_assert_eq!(value_end(&bytes), Some(bytes.len()));
        let again = parse(&bytes, NESTING_DEPTH_MAX);
        prop_assert_eq!(again.as_ref(), Ok(&value));
        prop_assert_eq!(to_json(&bytes, NESTING_DEPTH_MAX), Ok(value.to_string()));
        let text = serde_json::to_vec(&value).unwrap();
        prop_assert!(bytes.len() <= 3 * text.len(), "{} from {}", bytes.len(), text.len());
    }

    #[test]
    fn an_event_says_the_same_in_both_encodings(value in any_value()) {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let item = json!({"event_type": "incident_created", "x": value, "incident": {
            "id": "0198c0de-0000-7000-8000-000000000001", "severity": "P1", "source": "s",
            "title": "t", "y": value, "notes": [{"id": "0198c0de-0000-7000-8000-000000000002",
                "author": "a", "content": "c", "z": value}]}});
        let by_json = parse_item(item.clone(), now);
        prop_assert_eq!(&parse_msgpack(&to_vec(&item), now), &by_json);
        let Ok(publish) = by_json else { return Ok(()) };
        let encoded = Encoded::new(Event {
            seq: 1,
            message_id: uuid::Uuid::from_u128(7),
            timestamp: now,
            priority: publish.payload.priority(),
            context: publish.payload.own_context(),
            payload: publish.payload,
            accepted_at: Instant::default(),
        });
        let [json, packed] =
            Encoding::ALL.map(|encoding| fuzz::read(encoded.frame(encoding), encoding).unwrap());
        prop_assert_eq!(&json, &packed);
        let packed = fuzz::payload(encoded.frame(Encoding::MessagePack), Encoding::MessagePack);
        let text = fuzz::payload(encoded.frame(Encoding::Json), Encoding::Json);
        let transcoded = to_json(packed, NESTING_DEPTH_MAX + 1).unwrap();
        prop_assert_eq!(transcoded.as_bytes(), text);
    }

    #[test]
    fn any_bytes_are_cut_where_they_are_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if parse(&bytes, NESTING_DEPTH_MAX).is_ok() {
            prop_assert_eq!(value_end(&bytes), Some(bytes.len()));
        }
        let _ = elements(&bytes, 1000);
        let _ = to_json(&bytes, NESTING_DEPTH_MAX);
    }
}
