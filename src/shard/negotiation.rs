//! Which encoding a connection speaks.

use crate::protocol::Encoding;
use crate::ws::{Refusal, Request};

/// The encoding, and the subprotocol to answer with where the client offered it.
///
/// Of the subprotocols that are known here the client's first decides; without any, the
/// query's `encoding=` does; without that it is JSON.
///
/// # Errors
/// When the query names an encoding that is not known, or another than the subprotocol.
pub(super) fn negotiate(request: &Request) -> Result<(Encoding, Option<&'static str>), Refusal> {
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
    Ok((encoding, by_subprotocol.map(Encoding::subprotocol)))
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
