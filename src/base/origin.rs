//! The origin of a web page (RFC 6454): as a browser sends it, and as an operator lists it.

use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Scheme, host and port, in small letters, with the port that the scheme stands for filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: String,
    host: String,
    /// None where the scheme stands for no port, as with `chrome-extension`.
    port: Option<u16>,
}

/// Which pages may connect beside those of the server's own host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AllowedOrigin {
    /// `*`: every page that has an origin.
    Any,
    /// `null`: pages without one, such as files and sandboxed frames.
    Null,
    Page(WebOrigin),
}

/// The text is not an origin such as `https://ops.example.com`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is written scheme://host or scheme://host:port, with nothing behind it")]
pub struct NotAnOrigin;

impl WebOrigin {
    /// Whether the page came from the host that a request's `Host` names: same host and same
    /// port, where a `Host` without a port means that of the page's scheme. The scheme itself
    /// may be `http` or `https`: a proxy may have ended TLS on the way.
    pub fn is_of_host(&self, host: &str) -> bool {
        let Some(default_port) = default_port(&self.scheme) else { return false };
        split_authority(host).is_ok_and(|(name, port)| {
            name == self.host && Some(port.unwrap_or(default_port)) == self.port
        })
    }
}

impl FromStr for WebOrigin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(NotAnOrigin)?;
        let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(is_scheme_byte)
        {
            return Err(NotAnOrigin);
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_authority(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Ok(Self { scheme, host, port })
    }
}

impl Display for WebOrigin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if Some(port) != default_port(&self.scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        match text {
            "*" => Ok(Self::Any),
            "null" => Ok(Self::Null),
            _ => text.parse().map(Self::Page),
        }
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = NotAnOrigin;

    fn try_from(text: String) -> Result<Self, NotAnOrigin> {
        text.parse()
    }
}

impl From<AllowedOrigin> for String {
    fn from(allowed: AllowedOrigin) -> Self {
        match allowed {
            AllowedOrigin::Any => "*".to_owned(),
            AllowedOrigin::Null => "null".to_owned(),
            AllowedOrigin::Page(origin) => origin.to_string(),
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Host in small letters, and port. No user, no path, nothing that a browser would escape.
fn split_authority(authority: &str) -> Result<(String, Option<u16>), NotAnOrigin> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']').ok_or(NotAnOrigin)?;
            let address: Ipv6Addr = address.parse().map_err(|_| NotAnOrigin)?;
            (format!("[{address}]"), rest)
        }
        None => {
            let (host, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_host_byte) {
                return Err(NotAnOrigin);
            }
            (host.to_ascii_lowercase(), rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| NotAnOrigin)?)
        }
        _ => return Err(NotAnOrigin),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> WebOrigin {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn the_same_origin_in_other_words_is_equal_and_shown_in_one_way() {
        for (one, other, shown) in [
            ("https://ops.example.com", "HTTPS://Ops.Example.COM:443", "https://ops.example.com"),
            ("http://ops:80", "http://ops", "http://ops"),
            ("http://ops:8080", "http://OPS:08080", "http://ops:8080"),
            ("http://[::1]:3000", "http://[0:0::1]:3000", "http://[::1]:3000"),
            ("chrome-extension://abc", "chrome-extension://ABC", "chrome-extension://abc"),
        ] {
            assert_eq!(origin(one), origin(other), "{one}");
            assert_eq!(origin(other).to_string(), shown);
            assert_eq!(origin(shown), origin(one));
        }
        for (one, other) in [
            ("https://ops", "http://ops"),
            ("https://ops", "https://ops:8443"),
            ("https://ops", "https://ops.example"),
            ("https://ops", "https://ops."),
            ("http://ops:443", "https://ops"),
        ] {
            assert_ne!(origin(one), origin(other), "{one}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_none() {
        for text in [
            "",
            "ops.example.com",
            "://ops",
            "https://",
            "https://ops/",
            "https://ops/path",
            "https://ops?x",
            "https://user@ops",
            "https://ops:",
            "https://ops:x",
            "https://ops:+1",
            "https://ops:65536",
            "https://ops, https://other",
            "https://ops https://other",
            "https://[::1",
            "https://[::1]x",
            "https://[ops]",
            "https://ops.*",
            "1http://ops",
            "ht tp://ops",
            "https://öps",
        ] {
            assert_eq!(text.parse::<WebOrigin>(), Err(NotAnOrigin), "{text}");
        }
    }

    #[test]
    fn a_page_of_the_own_host_is_known_by_host_and_port() {
        for (page, host, expected) in [
            ("http://ops:8080", "ops:8080", true),
            ("http://ops", "ops", true),
            ("https://ops", "ops", true),
            ("https://ops", "OPS:443", true),
            ("http://ops", "ops:80", true),
            ("http://[::1]:8080", "[0::1]:8080", true),
            ("http://ops:8080", "ops", false),
            ("http://ops", "ops:443", false),
            ("https://ops", "ops:80", false),
            ("http://ops", "ops:8080", false),
            ("http://ops", "other", false),
            ("chrome-extension://ops", "ops", false),
        ] {
            assert_eq!(origin(page).is_of_host(host), expected, "{page} at {host}");
        }
    }
}
