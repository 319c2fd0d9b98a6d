use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::ptr::NonNull;

use io_uring::squeue::Entry;
use io_uring::{opcode, types};

use super::super::Token;

/// Accepts in flight, each with an address of its own for the kernel to write to (a multishot
/// accept has only one for all, so that peers would be unknown).
#[derive(Debug)]
pub(super) struct Accepts {
    /// As many as accepts may be in flight. Raw: the kernel writes while this moves about.
    addresses: NonNull<[Address]>,
    tokens: Vec<Option<Token>>,
}

struct Address {
    storage: libc::sockaddr_storage,
    bytes: libc::socklen_t,
}

impl Accepts {
    pub fn new(count: usize) -> Self {
        let addresses: Box<[Address]> = (0..count).map(|_| Address::blank()).collect();
        let addresses = NonNull::from(Box::leak(addresses));
        Self { addresses, tokens: vec![None; count] }
    }

    pub fn in_flight(&self) -> usize {
        self.tokens.iter().filter(|token| token.is_some()).count()
    }

    /// The place of the accept in flight that was pushed under `token`.
    pub fn find(&self, token: Token) -> Option<u32> {
        self.position(Some(token))
    }

    /// The places of all accepts in flight.
    pub fn places_in_flight(&self) -> Vec<u32> {
        let places = self.tokens.iter().enumerate().filter(|(_, token)| token.is_some());
        places.map(|(place, _)| place as u32).collect()
    }

    /// A place for one more accept.
    pub fn vacant(&self) -> Option<u32> {
        self.position(None)
    }

    /// Prepares the accept of `token` at a vacant place.
    pub fn begin(&mut self, place: u32, token: Token, listener: RawFd) -> Entry {
        let before = self.tokens[place as usize].replace(token);
        assert!(before.is_none(), "two accepts in one place");
        let address = self.address(place);
        // SAFETY: `address` points into memory that this owns, and the kernel does not use it: no
        // accept was in flight at this place.
        let (storage, bytes) = unsafe {
            address.write(Address::blank());
            (&raw mut (*address).storage, &raw mut (*address).bytes)
        };
        opcode::Accept::new(types::Fd(listener), storage.cast(), bytes)
            .file_index(Some(types::DestinationSlot::auto_target()))
            .build()
    }

    /// The accept at a place has ended: its token, and who was accepted, if anyone.
    pub fn end(&mut self, place: u32) -> (Token, SocketAddr) {
        let token = self.tokens[place as usize].take().expect("an accept in flight");
        // SAFETY: in bounds, initialised by `begin`, and the kernel has ended the operation.
        let address = unsafe { self.address(place).read() };
        (token, address.parse())
    }

    fn position(&self, wanted: Option<Token>) -> Option<u32> {
        let position = self.tokens.iter().position(|token| *token == wanted)?;
        u32::try_from(position).ok()
    }

    fn address(&self, place: u32) -> *mut Address {
        assert!((place as usize) < self.tokens.len());
        let base: *mut Address = self.addresses.as_ptr().cast();
        // SAFETY: `place` is within the slice, which has as many elements as there are tokens.
        unsafe { base.add(place as usize) }
    }
}

impl Drop for Accepts {
    fn drop(&mut self) {
        // SAFETY: leaked from a Box in `new`; whoever drops this has ended all accepts.
        drop(unsafe { Box::from_raw(self.addresses.as_ptr()) });
    }
}

impl Address {
    fn blank() -> Self {
        // SAFETY: all-zero bytes are a valid sockaddr_storage (AF_UNSPEC).
        let storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Self { storage, bytes: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// The unspecified address where the kernel wrote none.
    fn parse(&self) -> SocketAddr {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says so, and a sockaddr_storage is large and aligned enough.
                let v4 = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let (flow, scope) = (u32::from_be(v6.sin6_flowinfo), v6.sin6_scope_id);
                SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), flow, scope).into()
            }
            _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        }
    }
}
