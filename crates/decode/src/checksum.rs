//! The internet checksum (RFC 1071) over headers and segments.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;

/// Whether an IPv4 header sums up.
pub(crate) fn header_ok(header: &[u8]) -> bool {
    Sum16BitWords::new().add_slice(header).ones_complement() == 0
}

/// Whether a whole TCP segment or UDP datagram sums up with its pseudo-header (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1).
pub(crate) fn segment_ok(src: IpAddr, dst: IpAddr, protocol: u8, segment: &[u8]) -> bool {
    let mut sum = Sum16BitWords::new();
    for addr in [src, dst] {
        sum = match addr {
            IpAddr::V4(a) => sum.add_4bytes(a.octets()),
            IpAddr::V6(a) => sum.add_16bytes(a.octets()),
        };
    }
    let length = u32::try_from(segment.len()).unwrap_or(u32::MAX);
    sum.add_4bytes(length.to_be_bytes()).add_2bytes([0, protocol]).add_slice(segment).ones_complement() == 0
}
