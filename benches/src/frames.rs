//! One frame: Ethernet, IPv4, TCP or UDP, with right lengths and checksums.

/// The FIN flag.
pub const FIN: u8 = 0x01;
/// The SYN flag.
pub const SYN: u8 = 0x02;
/// The PSH flag.
pub const PSH: u8 = 0x08;
/// The ACK flag.
pub const ACK: u8 = 0x10;

/// One side of a conversation, as its next frame needs it.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Address.
    pub addr: [u8; 4],
    /// Port.
    pub port: u16,
    /// The next sequence number.
    pub seq: u32,
    /// The next IP identification.
    pub ip_id: u16,
    /// The time stamp of its next segment (RFC 7323 §3).
    pub stamp: u32,
    /// The newest time stamp of the other side that it has seen.
    pub echo: u32,
}

/// Appends a TCP segment to `out`, with the time stamp option; counts up what `from` sends next.
pub fn tcp(out: &mut Vec<u8>, from: &mut Host, to: &Host, flags: u8, payload: &[u8]) {
    let tcp_len = 32 + payload.len();
    let begin = out.len();
    ip(out, from, to, 6, tcp_len);
    let at = out.len();
    for port in [from.port, to.port] {
        out.extend_from_slice(&port.to_be_bytes());
    }
    let ack = if flags & ACK == 0 { 0 } else { to.seq };
    for number in [from.seq, ack] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&[8 << 4, flags, 0x01, 0xf5, 0, 0, 0, 0, 1, 1, 8, 10]);
    for stamp in [from.stamp, from.echo] {
        out.extend_from_slice(&stamp.to_be_bytes());
    }
    out.extend_from_slice(payload);
    put_transport_sum(out, begin, at, 16, 6);
    let counted = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    from.seq = from.seq.wrapping_add(payload.len() as u32 + counted);
}

/// Appends a UDP datagram to `out`.
pub fn udp(out: &mut Vec<u8>, from: &mut Host, to: &Host, payload: &[u8]) {
    let udp_len = 8 + payload.len();
    let begin = out.len();
    ip(out, from, to, 17, udp_len);
    let at = out.len();
    for field in [from.port, to.port, udp_len as u16, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(payload);
    put_transport_sum(out, begin, at, 6, 17);
}

fn ip(out: &mut Vec<u8>, from: &mut Host, to: &Host, protocol: u8, payload_len: usize) {
    let [_, .., last] = to.addr;
    let [_, .., first] = from.addr;
    out.extend_from_slice(&[2, 0, 0, 0, 0, last, 2, 0, 0, 0, 0, first, 8, 0]);
    let at = out.len();
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&((20 + payload_len) as u16).to_be_bytes());
    out.extend_from_slice(&from.ip_id.to_be_bytes());
    out.extend_from_slice(&[0x40, 0, 64, protocol, 0, 0]);
    out.extend_from_slice(&from.addr);
    out.extend_from_slice(&to.addr);
    let sum = sum(out.get(at..).unwrap_or_default(), 0);
    put(out, at + 10, sum);
    from.ip_id = from.ip_id.wrapping_add(1);
}

/// The sum over the pseudo header (RFC 9293 §3.1) and all from `at` on.
fn put_transport_sum(out: &mut [u8], begin: usize, at: usize, field: usize, protocol: u8) {
    let addresses = out.get(begin + 26..begin + 34).unwrap_or_default();
    let segment = out.get(at..).unwrap_or_default();
    let pseudo = pairs(addresses) + u64::from(protocol) + segment.len() as u64;
    let sum = sum(segment, pseudo);
    put(out, at + field, sum);
}

fn put(out: &mut [u8], at: usize, value: u16) {
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// The internet checksum (RFC 1071).
fn sum(bytes: &[u8], start: u64) -> u16 {
    let mut total = start + pairs(bytes);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn pairs(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + last
}
