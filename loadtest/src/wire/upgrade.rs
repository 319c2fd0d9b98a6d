//! The opening handshake, client side (RFC 6455 section 4.1).

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

/// Longest response head that is read.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Who asks for the protocol by this name is told what it misses, instead of being closed.
pub const JSON_SUBPROTOCOL: &str = "alarmcast.v1.json";
pub const MESSAGEPACK_SUBPROTOCOL: &str = "alarmcast.v1.msgpack";

/// A handshake under way: what the server has to answer with.
#[derive(Clone, Debug)]
pub struct Upgrade {
    accept: Box<str>,
    subprotocol: Option<&'static str>,
}

/// What the bytes received so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Incomplete,
    /// Frames follow after that many bytes.
    Accepted {
        head_bytes: usize,
    },
    /// The server does not take the connection now, or ever.
    Refused {
        status: u16,
        retry_after_secs: Option<u64>,
    },
}

/// The server's answer is not a WebSocket handshake's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    #[error("the answer is not HTTP: {0}")]
    NotHttp(httparse::Error),
    #[error("the answer's head is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    #[error("the 101 lacks `{0}`, or has it wrong")]
    Header(&'static str),
}

impl Upgrade {
    /// Starts a handshake with a fresh key, offering a subprotocol; returns the request's bytes
    /// too.
    pub fn start(host: &str, path: &str, subprotocol: Option<&'static str>) -> (Self, Vec<u8>) {
        let key = generate_key();
        let offer =
            subprotocol.map_or(String::new(), |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}\r\n"
        );
        let accept = derive_accept_key(key.as_bytes()).into_boxed_str();
        (Self { accept, subprotocol }, request.into_bytes())
    }

    /// Reads the answer from its first byte on.
    ///
    /// # Errors
    /// When it is neither a right 101 nor a refusal.
    pub fn read_answer(&self, input: &[u8]) -> Result<Answer, UpgradeError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = match response.parse(input).map_err(UpgradeError::NotHttp)? {
            httparse::Status::Complete(head_bytes) => head_bytes,
            httparse::Status::Partial if input.len() > HEAD_BYTES_MAX => {
                return Err(UpgradeError::TooLong);
            }
            httparse::Status::Partial => return Ok(Answer::Incomplete),
        };
        let status = response.code.unwrap_or_default();
        let value = |name: &str| header(response.headers, name);
        if status != 101 {
            let retry_after_secs = value("retry-after").and_then(|text| text.parse().ok());
            return Ok(Answer::Refused { status, retry_after_secs });
        }
        if !value("upgrade").is_some_and(|text| text.eq_ignore_ascii_case("websocket")) {
            return Err(UpgradeError::Header("Upgrade: websocket"));
        }
        if !value("connection").is_some_and(names_upgrade) {
            return Err(UpgradeError::Header("Connection: Upgrade"));
        }
        if value("sec-websocket-accept") != Some(&self.accept) {
            return Err(UpgradeError::Header("Sec-WebSocket-Accept"));
        }
        if value("sec-websocket-protocol") != self.subprotocol {
            return Err(UpgradeError::Header("Sec-WebSocket-Protocol"));
        }
        if value("sec-websocket-extensions").is_some() {
            return Err(UpgradeError::Header("only what was offered"));
        }
        Ok(Answer::Accepted { head_bytes })
    }
}

fn names_upgrade(connection: &str) -> bool {
    connection.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(accept: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: keep-alive, Upgrade\r\n\
             upgrade: WebSocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        )
    }

    #[test]
    fn a_right_answer_is_accepted_at_its_last_byte_and_not_before() {
        let (upgrade, request) = Upgrade::start("h", "/ws", None);
        assert!(request.starts_with(b"GET /ws HTTP/1.1\r\nHost: h\r\n"));
        let head = answer(&upgrade.accept);
        for length in 0..head.len() {
            assert_eq!(upgrade.read_answer(&head.as_bytes()[..length]), Ok(Answer::Incomplete));
        }
        let accepted = Ok(Answer::Accepted { head_bytes: head.len() });
        assert_eq!(upgrade.read_answer(format!("{head}more").as_bytes()), accepted);
    }

    #[test]
    fn a_subprotocol_that_was_offered_has_to_be_agreed_on() {
        let (upgrade, request) = Upgrade::start("h", "/ws", Some(JSON_SUBPROTOCOL));
        let offer = format!("\r\nSec-WebSocket-Protocol: {JSON_SUBPROTOCOL}\r\n\r\n");
        assert!(request.ends_with(offer.as_bytes()));
        let silent = answer(&upgrade.accept);
        let error = Err(UpgradeError::Header("Sec-WebSocket-Protocol"));
        assert_eq!(upgrade.read_answer(silent.as_bytes()), error);
        let agreed = format!("\r\nsec-websocket-protocol: {JSON_SUBPROTOCOL}\r\n\r\n");
        let agreed = silent.replace("\r\n\r\n", &agreed);
        let accepted = Ok(Answer::Accepted { head_bytes: agreed.len() });
        assert_eq!(upgrade.read_answer(agreed.as_bytes()), accepted);
    }

    #[test]
    fn another_connections_accept_key_is_refused() {
        let (upgrade, _) = Upgrade::start("h", "/ws", None);
        let (other, _) = Upgrade::start("h", "/ws", None);
        let error = Err(UpgradeError::Header("Sec-WebSocket-Accept"));
        assert_eq!(upgrade.read_answer(answer(&other.accept).as_bytes()), error);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let (upgrade, _) = Upgrade::start("h", "/ws", None);
        let head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n";
        let refused = Ok(Answer::Refused { status: 503, retry_after_secs: Some(5) });
        assert_eq!(upgrade.read_answer(head.as_bytes()), refused);
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let (upgrade, _) = Upgrade::start("h", "/ws", None);
        let head = format!("HTTP/1.1 101 x\r\na: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(upgrade.read_answer(head.as_bytes()), Err(UpgradeError::TooLong));
    }
}
