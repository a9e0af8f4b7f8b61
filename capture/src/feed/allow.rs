//! Who may send.
//!
//! A capture over TCP says nothing of who sends it, and whoever may send can put anything into the store, so nobody may but this
//! machine, unless the operator names networks. That is no authentication: addresses are believed as far as TCP's handshake proves
//! them, and what is sent is in clear. Between machines that do not share a wire of their own a tunnel (SSH, WireGuard) belongs
//! around it, which then ends at a loopback address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{FeedError, FeedSettings};

/// A network that may send: an address, or one with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.prefix,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.prefix,
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ACCEPTED: &str =
            "it takes an address or a network, as in 192.0.2.7 or 10.1.0.0/16, and not all addresses";
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| ACCEPTED)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), |prefix| prefix.parse().map_err(|_| ACCEPTED))?;
        if prefix == 0 || prefix > most { Err(ACCEPTED) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FeedSettings {
    /// Whether these addresses may be listened on.
    ///
    /// # Errors
    /// [`FeedError::Public`] for one that others can reach, where nothing says who may send.
    pub fn check(&self) -> Result<(), FeedError> {
        match self.listen.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
            Some(&address) if self.from.is_empty() => Err(FeedError::Public { address }),
            _ => Ok(()),
        }
    }
}

/// Whether somebody at this address may send.
pub(super) fn may_send(address: IpAddr, from: &[Network]) -> bool {
    address.is_loopback() || from.iter().any(|network| network.contains(address))
}
