//! The community id, version 1: the name that Zeek, Suricata, Wireshark and others give to the same connection.
//! Specification: <https://github.com/corelight/community-id-spec>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use streamdb_storage::index::community;
use streamdb_types::Tuple;

/// The digest in a community id.
pub(crate) fn digest_of(id: &str) -> Option<[u8; 20]> {
    STANDARD.decode(id.strip_prefix("1:")?).ok()?.try_into().ok()
}

/// The community id of a connection, with seed 0: `1:` and the base64 of a SHA-1. The same for both directions.
pub fn community_id(tuple: &Tuple) -> String {
    format!("1:{}", STANDARD.encode(community(tuple)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::{Endpoint, Protocol};

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
