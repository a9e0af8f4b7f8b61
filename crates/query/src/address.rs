//! Addresses: single ones and networks in CIDR notation (RFC 4632, RFC 4291 §2.3), listed or negated.

use std::net::IpAddr;

use crate::set::Set;

/// Wanted or unwanted addresses.
pub type AddressSet = Set<Network>;

/// All addresses that share a prefix; a single address shares all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address of it.
    addr: IpAddr,
    /// How many leading bits are shared.
    bits: u32,
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

impl Network {
    /// `10.0.0.5`, `10.0.0.0/8`, `fd00::/8`; bits after the prefix do not count.
    pub fn parse(text: &str) -> Option<Self> {
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let bare = addr.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(addr);
        let addr: IpAddr = bare.parse().ok()?;
        let width = width(addr);
        let bits = match bits {
            None => width,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        // Streams never have IPv4 addresses in IPv6's clothes, so neither may a filter for them.
        let canonical = addr.to_canonical();
        if canonical != addr {
            return (96..=128).contains(&bits).then(|| Self { addr: canonical, bits: bits - 96 });
        }
        (bits <= width).then_some(Self { addr, bits })
    }

    /// An address of it.
    pub(crate) const fn base(&self) -> IpAddr {
        self.addr
    }

    /// How many leading bits its addresses share.
    pub(crate) const fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether the address lies in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(a), IpAddr::V4(b)) => prefix(u128::from(a.to_bits() ^ b.to_bits()) << 96, self.bits) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => prefix(a.to_bits() ^ b.to_bits(), self.bits) == 0,
            _ => false,
        }
    }
}

/// The first bits of a number.
const fn prefix(n: u128, bits: u32) -> u128 {
    match 128u32.checked_sub(bits) {
        Some(128) => 0,
        Some(rest) => n >> rest,
        None => n,
    }
}

const fn width(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_shares_their_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.5", "10.0.0.5", "10.0.0.4"),
            ("10.0.0.5/8", "10.255.0.1", "11.0.0.5"),
            ("10.1.2.128/25", "10.1.2.129", "10.1.2.127"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("[fd00::1]", "fd00::1", "fd00::2"),
            ("::/0", "fd00::1", "10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "10.0.0",
            "10.0.0.5/33",
            "10.0.0.5/",
            "10.0.0.5/+8",
            "10.0.0.5/8/8",
            "fd00::/129",
            "host",
            " 10.0.0.5",
            "::ffff:10.0.0.0/8",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
