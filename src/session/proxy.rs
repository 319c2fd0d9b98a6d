//! The header of the PROXY protocol, version 2 (haproxy's proxy-protocol.txt, section 2.2):
//! found incrementally, in fixed memory. Extensions behind the addresses are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::limits::PROXY_HEADER_BYTES_MAX;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// The header of one connection, as far as it has arrived.
#[derive(Debug)]
pub(super) struct ProxyHeader {
    /// What is looked at: the fixed part and the client's address.
    kept: [u8; FIXED_BYTES + 16],
    /// Bytes of the header that have arrived, the skipped ones included.
    arrived: usize,
}

/// What came of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProxyProgress {
    NeedMore,
    /// The client's address; none where the proxy speaks for itself or does not tell.
    Complete(Option<IpAddr>),
    /// What the proxy must do instead.
    Malformed(&'static str),
}

impl Default for ProxyHeader {
    fn default() -> Self {
        Self { kept: [0; FIXED_BYTES + 16], arrived: 0 }
    }
}

impl ProxyHeader {
    /// Takes the header's bytes off the front of `input`, and returns how many.
    pub fn feed(&mut self, input: &[u8]) -> (usize, ProxyProgress) {
        for (index, &byte) in input.iter().enumerate() {
            if let Some(place) = self.kept.get_mut(self.arrived) {
                *place = byte;
            }
            self.arrived += 1;
            if let Err(reason) = self.judge_newest(byte) {
                return (index + 1, ProxyProgress::Malformed(reason));
            }
            if self.arrived >= FIXED_BYTES && self.arrived == self.length() {
                return (index + 1, ProxyProgress::Complete(self.client()));
            }
        }
        (input.len(), ProxyProgress::NeedMore)
    }

    /// As early as possible, so that nobody waits for the rest of what is none.
    fn judge_newest(&self, byte: u8) -> Result<(), &'static str> {
        match self.arrived {
            place @ 1..=12 if byte != SIGNATURE[place - 1] => {
                Err("begin with a PROXY protocol header of version 2")
            }
            13 if !matches!(byte, 0x20 | 0x21) => {
                Err("use version 2 of the PROXY protocol, and the command LOCAL or PROXY")
            }
            FIXED_BYTES if self.length() > PROXY_HEADER_BYTES_MAX => {
                Err("send a PROXY header of at most 536 bytes")
            }
            FIXED_BYTES if self.speaks_for_another() => self.judge_family(),
            _ => Ok(()),
        }
    }

    fn judge_family(&self) -> Result<(), &'static str> {
        let needed = match self.kept[13] {
            0x00..=0x02 | 0x10 | 0x20 | 0x30 => 0,
            0x11 => IPV4_BYTES,
            0x21 => IPV6_BYTES,
            0x31 => UNIX_BYTES,
            _ => return Err("name a stream's address family in the PROXY header"),
        };
        if self.length() < FIXED_BYTES + needed {
            return Err("send whole addresses in the PROXY header");
        }
        Ok(())
    }

    /// Of the whole header, once the fixed part has arrived.
    fn length(&self) -> usize {
        FIXED_BYTES + usize::from(u16::from_be_bytes([self.kept[14], self.kept[15]]))
    }

    /// With LOCAL everything else is to be ignored: the proxy itself connects.
    fn speaks_for_another(&self) -> bool {
        self.kept[12] == 0x21
    }

    fn client(&self) -> Option<IpAddr> {
        let address = &self.kept[FIXED_BYTES..];
        match self.kept[13] {
            _ if !self.speaks_for_another() => None,
            0x11 => address.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
            0x21 => address.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    fn ipv4(extensions: &[u8]) -> Vec<u8> {
        let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        header(0x21, 0x11, &[&addresses[..], extensions].concat())
    }

    fn ipv6() -> Vec<u8> {
        let (client, server): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::7".parse().unwrap(), Ipv6Addr::LOCALHOST);
        header(0x21, 0x21, &[&client.octets()[..], &server.octets(), &[1, 2, 3, 4]].concat())
    }

    /// What comes of a header with a request behind it, and how much of it was taken.
    fn outcome(bytes: &[u8]) -> (usize, ProxyProgress) {
        ProxyHeader::default().feed(&[bytes, b"GET "].concat())
    }

    fn valid() -> Vec<(Vec<u8>, Option<&'static str>)> {
        vec![
            (ipv4(&[]), Some("192.0.2.7")),
            (ipv4(&[0x04, 0, 3, 1, 2, 3]), Some("192.0.2.7")),
            (ipv4(&[0xEE; PROXY_HEADER_BYTES_MAX - FIXED_BYTES - IPV4_BYTES]), Some("192.0.2.7")),
            (ipv6(), Some("2001:db8::7")),
            (header(0x20, 0x00, &[]), None),
            // What a LOCAL header says beside that is ignored, whatever it is.
            (header(0x20, 0x11, &[192, 0, 2, 7]), None),
            (header(0x20, 0xFF, &[1]), None),
            (header(0x21, 0x00, &[]), None),
            (header(0x21, 0x01, &[1, 2, 3]), None),
            (header(0x21, 0x10, &[1, 2]), None),
            (header(0x21, 0x31, &[0; UNIX_BYTES]), None),
        ]
    }

    #[test]
    fn a_header_tells_the_client_and_leaves_what_follows() {
        for (bytes, client) in valid() {
            let client = client.map(|text| text.parse().expect("an address"));
            assert_eq!(outcome(&bytes), (bytes.len(), ProxyProgress::Complete(client)));
        }
    }

    #[test]
    fn a_header_may_be_cut_anywhere() {
        for (bytes, _) in valid() {
            let (_, expected) = outcome(&bytes);
            for cut in 0..bytes.len() {
                let mut header = ProxyHeader::default();
                assert_eq!(header.feed(&bytes[..cut]), (cut, ProxyProgress::NeedMore));
                let rest = [&bytes[cut..], b"GET "].concat();
                let (taken, progress) = header.feed(&rest);
                assert_eq!((taken, &progress), (bytes.len() - cut, &expected), "cut at {cut}");
            }
            let mut header = ProxyHeader::default();
            let mut each = bytes.iter().map(|byte| header.feed(std::slice::from_ref(byte)).1);
            assert_eq!(each.find(|progress| *progress != ProxyProgress::NeedMore), Some(expected));
        }
    }

    #[test]
    fn what_is_no_header_is_known_as_soon_as_it_shows() {
        let with = |place: usize, byte: u8| {
            let mut bytes = ipv4(&[]);
            bytes[place] = byte;
            bytes
        };
        let mut rows: Vec<(Vec<u8>, usize)> = vec![
            (b"GET /ws HTTP/1.1\r\n".to_vec(), 1),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), 1),
            (with(12, 0x11), 13),
            (with(12, 0x31), 13),
            (with(12, 0x22), 13),
            (with(13, 0x12), 16),
            (with(13, 0x32), 16),
            (with(13, 0x41), 16),
            (with(13, 0x13), 16),
            (with(15, 11), 16),
            (with(14, 0xFF), 16),
            (header(0x21, 0x21, &[0; IPV6_BYTES - 1]), 16),
            (header(0x21, 0x31, &[0; UNIX_BYTES - 1]), 16),
            (header(0x20, 0x00, &[0; PROXY_HEADER_BYTES_MAX - FIXED_BYTES + 1]), 16),
        ];
        rows.extend((0..SIGNATURE.len()).map(|place| (with(place, b'x'), place + 1)));
        for (bytes, seen_at) in rows {
            let (taken, progress) = outcome(&bytes);
            assert!(matches!(progress, ProxyProgress::Malformed(_)), "{bytes:x?}");
            assert_eq!(taken, seen_at, "{bytes:x?}");
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_take_more_than_the_largest_header() {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        for round in 0..20_000 {
            let mut bytes = ipv4(&[0; 40]);
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let place = 12 + (seed >> 33) as usize % (bytes.len() - 12);
                bytes[place] = (seed >> 56) as u8;
            }
            bytes.resize(2 * PROXY_HEADER_BYTES_MAX, 0);
            let (taken, progress) = ProxyHeader::default().feed(&bytes);
            assert!(taken <= PROXY_HEADER_BYTES_MAX, "round {round}");
            assert_ne!(progress, ProxyProgress::NeedMore, "round {round}");
        }
    }
}
