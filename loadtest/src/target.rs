//! Where subscribers connect to.

use std::net::{SocketAddr, ToSocketAddrs};

use serde::{Deserialize, Serialize};
use ureq::http::Uri;

use crate::Error;

/// A WebSocket endpoint, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub addr: SocketAddr,
    /// For the `Host` header.
    pub host: String,
    /// With the query string.
    pub path: String,
}

impl Target {
    /// Reads `ws://HOST[:PORT][/PATH]` and resolves the host.
    ///
    /// # Errors
    /// When it is no such URL, or the host has no address.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let unusable = || {
            Error::Usage(format!("--url takes a URL such as ws://127.0.0.1:8080/ws, not `{url}`"))
        };
        let uri: Uri = url.parse().map_err(|_| unusable())?;
        if uri.scheme_str() != Some("ws") {
            return Err(unusable());
        }
        let authority = uri.authority().ok_or_else(unusable)?;
        let port = authority.port_u16().unwrap_or(80);
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addr = (name, port)
            .to_socket_addrs()
            .map_err(Error::io(format!("cannot resolve {name}")))?
            .next()
            .ok_or_else(|| Error::Usage(format!("{name} has no address")))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { addr, host: authority.as_str().to_owned(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_address_host_and_path() {
        let target = Target::parse("ws://127.0.0.1:8080/ws?encoding=json").expect("a good URL");
        assert_eq!(target.addr, ([127, 0, 0, 1], 8080).into());
        assert_eq!(target.host, "127.0.0.1:8080");
        assert_eq!(target.path, "/ws?encoding=json");
        assert_eq!(Target::parse("ws://127.0.0.1").expect("a good URL").path, "/");
    }

    #[test]
    fn other_schemes_are_refused() {
        for url in ["http://127.0.0.1/ws", "wss://127.0.0.1/ws", "127.0.0.1:80", ""] {
            assert!(matches!(Target::parse(url), Err(Error::Usage(_))), "{url}");
        }
    }
}
