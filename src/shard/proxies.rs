//! The trusted proxies that a shard has met: connections hold their numbers.

use std::net::IpAddr;

use crate::shard::addresses::ClientAddress;

/// Proxies that are remembered; clients of further ones count as direct.
const REMEMBERED_MAX: usize = u8::MAX as usize - 1;

/// How a client came, in one byte: by itself, or through a proxy with a number; or it is a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Via(u8);

impl Via {
    pub const DIRECT: Self = Self(0);
    /// Who is behind it may still be told.
    pub const IS_PROXY: Self = Self(u8::MAX);
}

#[derive(Debug, Default)]
pub(super) struct Proxies(Vec<ClientAddress>);

impl Proxies {
    /// How the clients of a proxy come.
    pub fn via(&mut self, proxy: ClientAddress) -> Via {
        let place = match self.0.iter().position(|known| *known == proxy) {
            Some(place) => place,
            None if self.0.len() < REMEMBERED_MAX => {
                self.0.push(proxy);
                self.0.len() - 1
            }
            None => return Via::DIRECT,
        };
        Via(place as u8 + 1)
    }

    pub fn get(&self, via: Via) -> Option<IpAddr> {
        let place = usize::from(via.0).checked_sub(1)?;
        self.0.get(place).map(|proxy| proxy.ip())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_proxy_keeps_its_number_and_what_is_none_has_no_address() {
        let mut proxies = Proxies::default();
        let address = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number));
        let vias: Vec<Via> =
            (0..300).map(|number| proxies.via(ClientAddress::new(address(number)))).collect();
        for (number, via) in vias.iter().enumerate() {
            let expected = (number < REMEMBERED_MAX).then(|| address(number as u32));
            assert_eq!(proxies.get(*via), expected);
            assert_eq!(proxies.via(ClientAddress::new(address(number as u32))), *via);
        }
        assert_eq!((proxies.get(Via::DIRECT), proxies.get(Via::IS_PROXY)), (None, None));
    }
}
