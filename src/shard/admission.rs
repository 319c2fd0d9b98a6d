//! Who a connection is from, and whether that address may have one more.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;

use crate::base::clock::Instant;
use crate::base::network::Network;
use crate::base::slab::Key;
use crate::io::Driver;
use crate::session::Session;
use crate::shard::addresses::{AddressLimits, AtLimit, ClientAddress};
use crate::shard::connection::Counted;
use crate::shard::handler::Handler;
use crate::shard::proxies::Via;
use crate::shard::turn::Shard;
use crate::ws::{Refusal, Request};

/// What decides about addresses; the same for all shards.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// None: no limits by address.
    pub limits: Option<Arc<AddressLimits>>,
    /// Who may say whom they connect. They are not limited themselves.
    pub trusted_proxies: Arc<[Network]>,
    /// Trusted proxies begin each connection with a PROXY header of version 2.
    pub expects_proxy_header: bool,
}

/// Where a connection comes from, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub address: ClientAddress,
    /// Holds one of its address's places.
    pub is_counted: bool,
    pub via: Via,
}

impl Peer {
    /// The address is a trusted proxy's: who is behind it may still be told.
    fn is_proxy(&self) -> bool {
        self.via == Via::IS_PROXY
    }
}

impl Admission {
    pub(super) fn peer(&self, address: IpAddr) -> Peer {
        let via = if self.is_trusted(address) { Via::IS_PROXY } else { Via::DIRECT };
        Peer { address: ClientAddress::new(address), is_counted: false, via }
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// Takes a place for a peer that is no proxy.
    fn claim(&self, peer: &mut Peer, now: Instant) -> Result<(), AtLimit> {
        let Some(limits) = self.limits.as_deref().filter(|_| !peer.is_proxy()) else {
            return Ok(());
        };
        limits.claim(peer.address, now)?;
        peer.is_counted = limits.counts_places();
        Ok(())
    }

    /// Gives the place of a peer back.
    pub(super) fn release(&self, peer: &Peer) {
        if let Some(limits) = self.limits.as_deref().filter(|_| peer.is_counted) {
            limits.release(peer.address);
        }
    }

    /// Whom a trusted proxy connects, by `X-Forwarded-For`: each proxy adds whom it heard, so
    /// that the last address that is no trusted proxy's is the client; what stands before it
    /// is hearsay. Where that ends in something that is no address, the last one before it.
    fn forwarded(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        const X_FORWARDED_FOR: &str = "x-forwarded-for";
        let mut last = proxy;
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        for hop in lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b',')) {
            let Some(address) = parse_hop(hop) else { return last };
            last = address;
            if !self.is_trusted(address) {
                return last;
            }
        }
        last
    }
}

/// An address, as some proxies write it with a port.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop.trim_ascii()).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bracketed)
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// A connection from a peer, before its first byte.
    pub(super) fn session_of(&self, peer: &Peer, now: Instant) -> Session {
        let settings = &self.settings;
        if peer.is_proxy() && settings.admission.expects_proxy_header {
            Session::behind_proxy(settings.message, now, &settings.timing)
        } else {
            Session::new(settings.message, now, &settings.timing)
        }
    }

    /// Takes a place for a new connection.
    ///
    /// # Errors
    /// The refusal, counted, when the address is at a limit.
    pub(super) fn claim_place(&self, peer: &mut Peer, now: Instant) -> Result<(), Refusal> {
        const TOO_MANY_REQUESTS: u16 = 429;
        let Err(at_limit) = self.settings.admission.claim(peer, now) else { return Ok(()) };
        let stats = &self.links.stats;
        let (cell, reason) = match at_limit {
            AtLimit::Connections => (
                &stats.addresses_full,
                "this address holds as many connections as it may; try again later",
            ),
            AtLimit::Rate => {
                (&stats.addresses_too_fast, "this address connects too often; try again later")
            }
        };
        cell.add(1);
        Err(Refusal::new(TOO_MANY_REQUESTS, reason).retry_after(self.settings.retry_after_secs))
    }

    /// A trusted proxy told whom it connects.
    pub(super) fn take_proxied(&mut self, key: Key, client: Option<IpAddr>, now: Instant) {
        if let Some(address) = client {
            self.take_address(key, address, now);
        }
    }

    /// A trusted proxy may have told in the request whom it connects. False where that client
    /// was refused.
    pub(super) fn take_forwarded(&mut self, key: Key, request: &Request, now: Instant) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        let peer = &connection.peer;
        if !peer.is_proxy() {
            return true;
        }
        let client = self.settings.admission.forwarded(peer.address.ip(), &request.headers);
        self.take_address(key, client, now)
    }

    /// The connection is another's than the proxy's; false where that one was refused.
    fn take_address(&mut self, key: Key, address: IpAddr, now: Instant) -> bool {
        let mut peer = self.settings.admission.peer(address);
        let claimed = self.claim_place(&mut peer, now);
        let Some(connection) = self.connections.get_mut(key) else { return false };
        debug_assert!(!connection.peer.is_counted, "a proxy has no place");
        if !peer.is_proxy() {
            peer.via = self.proxies.via(connection.peer.address);
        }
        connection.peer = peer;
        let Err(refusal) = claimed else { return true };
        self.release_handshake(key);
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.counted = Counted::Refused;
        let is_told = self.may_tell_more();
        self.links.stats.sockets_refused.add(1);
        if is_told {
            self.answer_refusal(key, &refusal, now);
        } else {
            self.abort(key);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_the_client() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().expect("a range"));
        let admission = Admission { trusted_proxies: Arc::new(trusted), ..Admission::default() };
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["2001:db9::7"], "2001:db9::7"),
            (&["[2001:db9::7]"], "2001:db9::7"),
            (&["[2001:db9::7]:4711"], "2001:db9::7"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            // What the client wrote itself stands further left.
            (&["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
            (&["10.9.9.9, 192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            (&["203.0.113.9,192.0.2.7 , 2001:db8::1,10.0.0.2"], "192.0.2.7"),
            (&["203.0.113.9", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.7, unknown"], "10.0.0.1"),
            (&["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
            (&[""], "10.0.0.1"),
            (&["192.0.2.7,"], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_static(line));
            }
            let client = admission.forwarded("10.0.0.1".parse().expect("an address"), &headers);
            assert_eq!(ClientAddress::new(client).ip().to_string(), expected, "{lines:?}");
        }
    }
}
