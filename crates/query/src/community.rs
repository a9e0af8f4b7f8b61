//! The community id, version 1: the name that Zeek, Suricata, Wireshark and others give to the same connection.
//! Specification: <https://github.com/corelight/community-id-spec>.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use streamdb_types::{Endpoint, Protocol, Tuple};

/// The community id of a connection, with seed 0: `1:` and the base64 of a SHA-1. The same for both directions.
pub fn community_id(tuple: &Tuple) -> String {
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
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

fn address(hash: &mut Sha1, end: Endpoint) {
    match end.addr {
        IpAddr::V4(addr) => hash.update(addr.octets()),
        IpAddr::V6(addr) => hash.update(addr.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(protocol: Protocol, client: (&str, u16), server: (&str, u16)) -> String {
        let end = |(addr, port): (&str, u16)| Endpoint::new(addr.parse().unwrap(), port);
        community_id(&Tuple { protocol, client: end(client), server: end(server) })
    }

    /// From the baseline of the specification's repository.
    #[test]
    fn published_ids() {
        let (a, b) = (("128.232.110.120", 34855), ("66.35.250.204", 80));
        assert_eq!(id(Protocol::TCP, a, b), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!(id(Protocol::TCP, b, a), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!(id(Protocol::UDP, ("192.168.1.52", 54585), ("8.8.8.8", 53)), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
    }
}
