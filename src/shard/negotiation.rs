//! Which encoding a connection speaks.

use crate::protocol::Encoding;
use crate::ws::{Refusal, Request};

/// What was agreed with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Negotiated {
    pub encoding: Encoding,
    /// To be answered, where the client offered it.
    pub subprotocol: Option<&'static str>,
    /// The client asked for this protocol by name: it knows more than the base.
    pub is_by_name: bool,
}

/// Agrees on an encoding.
///
/// Of the subprotocols that are known here the client's first decides; without any, the
/// query's `encoding=` does; without that it is JSON.
///
/// # Errors
/// When the query names an encoding that is not known, or another than the subprotocol.
pub(super) fn negotiate(request: &Request) -> Result<Negotiated, Refusal> {
    let offered = &request.subprotocols;
    let by_subprotocol = offered.iter().find_map(|name| Encoding::of_subprotocol(name));
    let asked = asked_for(request)?;
    if let (Some(subprotocol), Some(asked)) = (by_subprotocol, asked)
        && subprotocol != asked
    {
        return Err(Refusal::bad_request(
            "the subprotocol and ?encoding= name different encodings",
        ));
    }
    let encoding = by_subprotocol.or(asked).unwrap_or_default();
    Ok(Negotiated {
        encoding,
        subprotocol: by_subprotocol.map(Encoding::subprotocol),
        is_by_name: by_subprotocol.is_some() || asked.is_some(),
    })
}

/// What the query says.
fn asked_for(request: &Request) -> Result<Option<Encoding>, Refusal> {
    let parameters = request.query.as_deref().unwrap_or_default().split('&');
    let mut asked = None;
    for name in parameters.filter_map(|pair| pair.strip_prefix("encoding=")) {
        let encoding = name.parse().map_err(|_| {
            Refusal::bad_request("this encoding is not offered; ask for json or msgpack")
        })?;
        if asked.replace(encoding).is_some_and(|before| before != encoding) {
            return Err(Refusal::bad_request("?encoding= names different encodings"));
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Handshake, Progress};

    /// What comes of a query and the subprotocols offered: the encoding, the answer.
    fn outcome(query: &str, offered: &str) -> Option<(Encoding, Option<&'static str>)> {
        let offer = match offered {
            "" => String::new(),
            _ => format!("Sec-WebSocket-Protocol: {offered}\r\n"),
        };
        let head = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        match Handshake::new().feed(head.as_bytes()).1 {
            Progress::Upgrade(request) => {
                let Negotiated { encoding, subprotocol, is_by_name } = negotiate(&request).ok()?;
                assert_eq!(is_by_name, subprotocol.is_some() || query.contains("encoding="));
                Some((encoding, subprotocol))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_client_decides_by_its_order_or_by_the_query() {
        const JSON: &str = "alarmcast.v1.json";
        const MSGPACK: &str = "alarmcast.v1.msgpack";
        let json = Some((Encoding::Json, None));
        let msgpack = Some((Encoding::MessagePack, None));
        let named_json = Some((Encoding::Json, Some(JSON)));
        let named_msgpack = Some((Encoding::MessagePack, Some(MSGPACK)));
        for (query, offered, expected) in [
            ("", "", json),
            ("?x=1", "bearer.t, other", json),
            ("", JSON, named_json),
            ("", MSGPACK, named_msgpack),
            ("", "alarmcast.v1.json, alarmcast.v1.msgpack", named_json),
            ("", "x, alarmcast.v1.msgpack, alarmcast.v1.json", named_msgpack),
            ("?encoding=json", "", json),
            ("?encoding=msgpack", "", msgpack),
            ("?a=b&encoding=msgpack", "bearer.t", msgpack),
            ("?encoding=msgpack&encoding=msgpack", "", msgpack),
            ("?encoding=json", JSON, named_json),
            ("?encoding=msgpack", MSGPACK, named_msgpack),
            ("?encoding=json", MSGPACK, None),
            ("?encoding=msgpack", JSON, None),
            ("?encoding=msgpack", "alarmcast.v1.json, alarmcast.v1.msgpack", None),
            ("?encoding=msgpack&encoding=json", "", None),
            ("?encoding=", "", None),
            ("?encoding=xml", JSON, None),
            ("?encoding=MsgPack", "", None),
        ] {
            assert_eq!(outcome(query, offered), expected, "{query} {offered}");
        }
    }
}
