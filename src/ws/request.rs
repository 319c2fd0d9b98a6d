//! The client's opening handshake, judged (RFC 6455 section 4.2.1), and its
//! acceptance (section 4.2.2).

use std::fmt;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tungstenite::handshake::derive_accept_key;

use super::refusal::Refusal;
use crate::base::limits::{HANDSHAKE_HEADERS_MAX, HANDSHAKE_SUBPROTOCOLS_MAX};

/// A well-formed request for a WebSocket. Path, origin and credentials are for
/// the caller to judge.
pub struct Request {
    /// As sent, starting with `/`; not percent-decoded.
    pub path: String,
    /// What follows the `?`, not decoded.
    pub query: Option<String>,
    pub headers: HeaderMap,
    /// What the client offers, in its order.
    pub subprotocols: Vec<String>,
    accept_key: String,
}

/// Shows the path only: the rest may hold credentials.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Request {
    /// The complete 101 response. `subprotocol` is named in it if the client offered
    /// it; another would make the client fail the connection.
    pub fn accept(&self, subprotocol: Option<&str>) -> Vec<u8> {
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            self.accept_key
        );
        let is_offered = |name: &&str| self.subprotocols.iter().any(|offered| offered == name);
        if let Some(name) = subprotocol.filter(is_offered) {
            response.push_str(&format!("Sec-WebSocket-Protocol: {name}\r\n"));
        }
        response.push_str("\r\n");
        response.into_bytes()
    }

    /// Reads a whole head, its empty last line included.
    pub(super) fn parse(head: &[u8]) -> Result<Self, Refusal> {
        let mut fields = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS_MAX];
        let mut raw = httparse::Request::new(&mut fields);
        let status = raw.parse(head).map_err(|error| refuse_parse(error, head))?;
        if status.is_partial() {
            return Err(Refusal::bad_request("send one request line and its header fields"));
        }
        if raw.version != Some(1) {
            return Err(wrong_version());
        }
        if raw.method != Some("GET") {
            return Err(Refusal::new(405, "use GET to open a WebSocket"));
        }
        let headers = collect_headers(raw.headers)?;
        judge_host(&headers)?;
        judge_body(&headers)?;
        judge_upgrade(&headers)?;
        let accept_key = accept_key(&headers)?;
        let (path, query) = split_target(raw.path.unwrap_or_default())?;
        let subprotocols = collect_subprotocols(&headers)?;
        Ok(Self { path, query, headers, subprotocols, accept_key })
    }
}

fn refuse_parse(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::too_large(),
        httparse::Error::Version if names_other_version(head) => wrong_version(),
        httparse::Error::HeaderName => {
            Refusal::bad_request("put a colon right after each header field's name")
        }
        _ => Refusal::bad_request("send a well-formed HTTP/1.1 request"),
    }
}

/// Whether the first line is a request, but for its version. The preface of HTTP/2
/// (RFC 9113 section 3.4) only looks like one.
fn names_other_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ');
    let (method, _target, version) = (parts.next(), parts.next(), parts.next());
    method != Some(b"PRI")
        && version.is_some_and(|version| version.starts_with(b"HTTP/"))
        && parts.next().is_none()
}

fn wrong_version() -> Refusal {
    Refusal::new(505, "use HTTP/1.1")
}

fn collect_headers(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| Refusal::bad_request("send well-formed header field names"))?;
        let value = HeaderValue::from_bytes(field.value)
            .map_err(|_| Refusal::bad_request("send well-formed header field values"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// RFC 9112 section 3.2: exactly one `Host`, and it names an authority.
fn judge_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let authority = only(headers, &HOST)
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.contains('@'))
        .and_then(|value| value.parse::<Authority>().ok());
    match authority {
        Some(_) => Ok(()),
        None => Err(Refusal::bad_request("send one Host with this server's name")),
    }
}

/// Bytes after an upgrade's head are frames: a body would be taken for them.
fn judge_body(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::bad_request("send no body with an upgrade"));
    }
    Ok(())
}

fn judge_upgrade(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_upgrade = has_token(headers, &UPGRADE, "websocket");
    if !is_upgrade || !has_token(headers, &CONNECTION, "upgrade") {
        return Err(Refusal::new(426, "open a WebSocket here"));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::new(426, "use WebSocket version 13"));
    }
    Ok(())
}

/// The answer to the client's key, which is 16 bytes in base64.
fn accept_key(headers: &HeaderMap) -> Result<String, Refusal> {
    match only(headers, &SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes) {
        Some(key) if is_key(key) => Ok(derive_accept_key(key)),
        _ => Err(Refusal::bad_request("send one Sec-WebSocket-Key of 16 bytes in base64")),
    }
}

/// 16 bytes are 22 base64 characters, of which the last has four bits to spare
/// that are zero, and two of padding.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_last_chunk::<2>() else { return false };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.len() == 22
        && digits.iter().all(is_digit)
        && matches!(digits.last(), Some(b'A' | b'Q' | b'g' | b'w'))
}

/// Path and query of the request target: `/path?query`, or the same after a scheme
/// and an authority (RFC 9112 section 3.2.2).
fn split_target(target: &str) -> Result<(String, Option<String>), Refusal> {
    match target.parse::<Uri>() {
        Ok(uri) if uri.path().starts_with('/') => {
            Ok((uri.path().to_owned(), uri.query().map(str::to_owned)))
        }
        _ => Err(Refusal::bad_request("ask for a path")),
    }
}

fn collect_subprotocols(headers: &HeaderMap) -> Result<Vec<String>, Refusal> {
    let mut subprotocols = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for name in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            match std::str::from_utf8(name) {
                Ok(name) if name.bytes().all(is_token_byte) => subprotocols.push(name.to_owned()),
                _ => return Err(Refusal::bad_request("offer subprotocols as tokens")),
            }
            if subprotocols.len() > HANDSHAKE_SUBPROTOCOLS_MAX {
                return Err(Refusal::bad_request("offer fewer subprotocols"));
            }
        }
    }
    Ok(subprotocols)
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value of a field that occurs exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a comma-separated field, in any of its lines, holds `token`.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
