//! The digest in a connection's community id, version 1: the same for both directions.
//! Specification: <https://github.com/corelight/community-id-spec>.

use std::net::IpAddr;

use sha1::{Digest, Sha1};
use streamdb_types::{Endpoint, Protocol, Tuple};

/// The SHA-1 of a connection's community id with seed 0.
pub fn community(tuple: &Tuple) -> [u8; 20] {
    let (low, high) =
        if tuple.client <= tuple.server { (tuple.client, tuple.server) } else { (tuple.server, tuple.client) };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    address(&mut hash, low);
    address(&mut hash, high);
    hash.update([tuple.protocol.0, 0]);
    if matches!(tuple.protocol, Protocol::TCP | Protocol::UDP) {
        hash.update(low.port.to_be_bytes());
        hash.update(high.port.to_be_bytes());
    }
    hash.finalize().into()
}

/// Under what a community id is sorted: its first 32 bits.
pub(super) fn short(digest: &[u8; 20]) -> u32 {
    let [a, b, c, d, ..] = *digest;
    u32::from_be_bytes([a, b, c, d])
}

fn address(hash: &mut Sha1, end: Endpoint) {
    match end.addr {
        IpAddr::V4(addr) => hash.update(addr.octets()),
        IpAddr::V6(addr) => hash.update(addr.octets()),
    }
}
