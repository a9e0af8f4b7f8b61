//! What lies where in a header: the walk over its layers that the predictor rests on. It is part of the format and apart
//! from the decoder of frames, which may learn more: what this walk takes for something, it must take for it for ever.

use streamdb_types::LinkType;

/// The most bytes of a header that are predicted; what lies beyond is stored as it is.
pub(super) const HEAD: usize = 192;
/// The most layers.
const LAYERS: usize = 12;

/// The first bytes of a header, zero beyond its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(pub(super) [u8; HEAD]);

impl Head {
    /// The first bytes of these.
    pub(super) fn new(header: &[u8]) -> Self {
        let mut head = [0; HEAD];
        if let Some(whole) = header.first_chunk() {
            head = *whole;
        } else if let Some(to) = head.get_mut(..header.len()) {
            to.copy_from_slice(header);
        }
        Self(head)
    }

    /// Whether both are the same: a few vector instructions, where `==` would be a call.
    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        let ((a, _), (b, _)) = (self.0.as_chunks::<8>(), other.0.as_chunks::<8>());
        let differ = a.iter().zip(b).fold(0, |d, (a, b)| d | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)));
        differ == 0
    }

    /// The place of the first byte from `at` on that differs.
    #[inline]
    pub(super) fn differs(&self, other: &Self, mut at: usize) -> Option<usize> {
        loop {
            let (a, b) = (self.0.get(at..)?, other.0.get(at..)?);
            if let (Some(a), Some(b)) = (a.first_chunk(), b.first_chunk()) {
                let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
                if differ != 0 {
                    return Some(at + differ.trailing_zeros() as usize / 8);
                }
                at += 8;
            } else {
                return a.iter().zip(b).position(|(a, b)| a != b).map(|n| at + n);
            }
        }
    }

    /// A byte; 0 beyond the end.
    #[inline]
    pub(super) fn byte(&self, at: u8) -> u8 {
        self.0.get(usize::from(at)).copied().unwrap_or(0)
    }

    #[inline]
    fn array<const N: usize>(&self, at: u8) -> [u8; N] {
        self.0.get(usize::from(at)..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    /// Two bytes, big-endian.
    #[inline]
    pub(super) fn u16(&self, at: u8) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    /// Four bytes, big-endian.
    #[inline]
    pub(super) fn u32(&self, at: u8) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    /// The bytes from `at` on, at most `len`.
    #[inline]
    pub(super) fn slice(&self, at: usize, len: usize) -> &[u8] {
        let end = at.saturating_add(len).min(HEAD);
        self.0.get(at..end).unwrap_or_default()
    }

    /// Writes bytes where they fit.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, at: u8, bytes: [u8; N]) {
        if let Some(to) = self.0.get_mut(usize::from(at)..).and_then(|rest| rest.first_chunk_mut()) {
            *to = bytes;
        }
    }

    /// Exchanges `len` bytes at `a` with those at `b`.
    fn swap(&mut self, a: u8, b: u8, len: u8) {
        for i in 0..len {
            let (x, y) = (self.byte(a.saturating_add(i)), self.byte(b.saturating_add(i)));
            self.put(a.saturating_add(i), [y]);
            self.put(b.saturating_add(i), [x]);
        }
    }
}

/// A layer that has fields which the predictor knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    None,
    Ethernet,
    Pppoe,
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    /// Ports as UDP's, no checksum that is known.
    Sctp,
    /// ICMP for IPv4 or IPv6.
    Icmp,
    /// GTP-U.
    Gtp,
}

/// The layers of a header, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    count: u8,
    layers: [(Kind, u8); LAYERS],
    /// Where the TCP header begins, if the innermost layer is TCP; else 0 with `is_tcp` false.
    pub(super) tcp: Option<u8>,
    /// Where the eight bytes of the TCP time stamps are (RFC 7323 §3.2).
    pub(super) stamps: Option<u8>,
    /// Where the innermost IPv4 header begins.
    pub(super) ipv4: Option<u8>,
}

impl Layout {
    /// The layers, outermost first.
    #[inline]
    pub(super) fn layers(&self) -> &[(Kind, u8)] {
        self.layers.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The innermost layer, if it has a checksum over its payload: its kind, its place, the IP layer around it.
    #[inline]
    pub(super) fn transport(&self) -> Option<(Kind, u8, (Kind, u8))> {
        match self.layers() {
            [.., ip @ (Kind::Ipv4 | Kind::Ipv6, _), (kind @ (Kind::Tcp | Kind::Udp | Kind::Icmp), at)] => {
                Some((*kind, *at, *ip))
            }
            _ => None,
        }
    }

    fn add(&mut self, kind: Kind, at: usize) -> bool {
        let Some(layer) = self.layers.get_mut(usize::from(self.count)) else { return false };
        *layer = (kind, at as u8);
        self.count += 1;
        true
    }
}

/// What comes next in the walk.
enum Next {
    EtherType(u16),
    Ethernet,
    /// IP of the version that its first four bits say.
    Ip,
    Protocol(u8),
    Ppp,
    PppAddress,
    Mpls,
    Stop,
}

/// The layers of the header whose first bytes are `head`, `len` in all.
pub(super) fn walk(head: &Head, len: usize, link: LinkType) -> Layout {
    let len = len.min(HEAD);
    let mut layout = Layout::default();
    let (mut at, mut next) = match link {
        LinkType::ETHERNET => (0, Next::Ethernet),
        LinkType::NULL | LinkType::LOOP => (4, Next::Ip),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => (0, Next::Ip),
        LinkType::LINUX_SLL => (16, Next::EtherType(head.u16(14))),
        LinkType::LINUX_SLL2 => (20, Next::EtherType(head.u16(0))),
        LinkType::PPP | LinkType::PPP_HDLC => (0, Next::PppAddress),
        LinkType::PPP_WITH_DIR => (1, Next::PppAddress),
        LinkType::PPP_ETHER => (0, Next::EtherType(0x8864)),
        _ => return layout,
    };
    // Each step goes forward by at least a byte or ends, but those that only tell IP versions apart, which go on to one
    // that does; the bound is for the reader of this loop.
    for _ in 0..2 * HEAD {
        if at >= len {
            break;
        }
        let place = at as u8;
        let left = len - at;
        (at, next) = match next {
            Next::Ethernet if left >= 14 && layout.add(Kind::Ethernet, at) => {
                (at + 14, Next::EtherType(head.u16(place + 12)))
            }
            Next::EtherType(0x8100 | 0x88a8 | 0x9100) if left >= 4 => (at + 4, Next::EtherType(head.u16(place + 2))),
            Next::EtherType(0x8847 | 0x8848) => (at, Next::Mpls),
            Next::EtherType(0x8864) if left >= 8 && layout.add(Kind::Pppoe, at) => (at + 6, Next::Ppp),
            Next::EtherType(0x0800 | 0x86dd) => (at, Next::Ip),
            Next::EtherType(0x6558) => (at, Next::Ethernet),
            Next::Mpls if left >= 5 => match (head.byte(place + 2) & 1, head.byte(place + 4) >> 4) {
                (0, _) => (at + 4, Next::Mpls),
                (_, 4 | 6) => (at + 4, Next::Ip),
                // A pseudowire with its control word (RFC 4385 §3).
                (_, 0) => (at + 8, Next::Ethernet),
                _ => break,
            },
            // Address and control bytes of RFC 1662 §3.1, which may be left out.
            Next::PppAddress if head.u16(place) == 0xff03 => (at + 2, Next::Ppp),
            Next::PppAddress => (at, Next::Ppp),
            Next::Ppp if left >= 2 => match head.u16(place) {
                0x0021 | 0x0057 => (at + 2, Next::Ip),
                _ => break,
            },
            Next::Ip => match head.byte(place) >> 4 {
                4 => ipv4(head, at, left, &mut layout),
                6 if left >= 40 && layout.add(Kind::Ipv6, at) => (at + 40, Next::Protocol(head.byte(place + 6))),
                _ => break,
            },
            Next::Protocol(protocol) => inside_ip(head, at, left, protocol, &mut layout),
            _ => break,
        };
    }
    layout
}

fn ipv4(head: &Head, at: usize, left: usize, layout: &mut Layout) -> (usize, Next) {
    let place = at as u8;
    let header = usize::from(head.byte(place) & 15) * 4;
    if header < 20 || left < header || !layout.add(Kind::Ipv4, at) {
        return (at, Next::Stop);
    }
    layout.ipv4 = Some(place);
    // In any fragment the transport's fields are not there or not of this frame (RFC 791 §3.2).
    if head.u16(place + 6) & 0x3fff != 0 {
        return (at, Next::Stop);
    }
    (at + header, Next::Protocol(head.byte(place + 9)))
}

fn inside_ip(head: &Head, at: usize, left: usize, protocol: u8, layout: &mut Layout) -> (usize, Next) {
    let place = at as u8;
    match protocol {
        6 if left >= 20 && layout.add(Kind::Tcp, at) => {
            layout.tcp = Some(place);
            layout.stamps = stamps(head, at, left);
            (at, Next::Stop)
        }
        17 if left >= 8 && layout.add(Kind::Udp, at) => inside_udp(head, at, left, layout),
        132 if left >= 12 => {
            layout.add(Kind::Sctp, at);
            (at, Next::Stop)
        }
        1 | 58 if left >= 4 => {
            layout.add(Kind::Icmp, at);
            (at, Next::Stop)
        }
        4 | 41 => (at, Next::Ip),
        // Hop-by-hop, routing, destination options (RFC 8200 §4.3, §4.4, §4.6).
        0 | 43 | 60 if left >= 8 => (at + 8 + usize::from(head.byte(place + 1)) * 8, Next::Protocol(head.byte(place))),
        // Authentication header (RFC 4302 §2).
        51 if left >= 12 => (at + 8 + usize::from(head.byte(place + 1)) * 4, Next::Protocol(head.byte(place))),
        // GRE (RFC 2784, RFC 2890): checksum, key and sequence number make it longer; version 1 is not walked.
        47 if left >= 4 && head.byte(place + 1) & 7 == 0 => {
            let flags = head.byte(place);
            let options = (flags >> 7) + (flags >> 5 & 1) + (flags >> 4 & 1);
            (at + 4 + usize::from(options) * 4, Next::EtherType(head.u16(place + 2)))
        }
        _ => (at, Next::Stop),
    }
}

/// Tunnels, by the destination port; the caller's header reaches into one only if the decoder went in.
fn inside_udp(head: &Head, at: usize, left: usize, layout: &mut Layout) -> (usize, Next) {
    let place = at as u8;
    let (at, place) = if left >= 17 { (at + 8, place + 8) } else { return (at, Next::Stop) };
    match head.u16(place - 6) {
        // VXLAN (RFC 7348 §5), with the port Linux had before.
        4789 | 8472 => (at + 8, Next::Ethernet),
        // GENEVE (RFC 8926 §3.4).
        6081 => (at + 8 + usize::from(head.byte(place) & 63) * 4, Next::EtherType(head.u16(place + 2))),
        // GTP-U (3GPP TS 29.281 §5.1), G-PDU, version 1; four more bytes when any of E, S and PN is set, extension headers
        // when E is: only without those.
        2152 if head.byte(place + 1) == 255 && head.byte(place) & 0xf4 == 0x30 && layout.add(Kind::Gtp, at) => {
            (at + if head.byte(place) & 3 == 0 { 8 } else { 12 }, Next::Ip)
        }
        _ => (at, Next::Stop),
    }
}

/// The time stamps option (RFC 7323 §3.2) among those of a TCP header (RFC 9293 §3.1).
fn stamps(head: &Head, tcp: usize, left: usize) -> Option<u8> {
    let end = tcp + left.min(usize::from(head.byte(tcp as u8 + 12) >> 4) * 4);
    let mut at = tcp + 20;
    while at + 10 <= end {
        let place = at as u8;
        match (head.byte(place), head.byte(place + 1)) {
            (0, _) => return None,
            (1, _) => at += 1,
            (8, 10) => return Some(place + 2),
            (_, length) => at += usize::from(length.max(2)),
        }
    }
    None
}

/// Puts zeros where the checksums are.
pub(super) fn zero_sums(head: &mut Head, layout: &Layout) {
    for (kind, at) in layout.layers() {
        if let Some(offset) = sum_offset(*kind) {
            head.put(at.saturating_add(offset), [0, 0]);
        }
    }
}

/// Where in its layer a kind's checksum is.
pub(super) const fn sum_offset(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Ipv4 => Some(10),
        Kind::Tcp => Some(16),
        Kind::Udp => Some(6),
        Kind::Icmp => Some(2),
        _ => None,
    }
}

/// The header of a frame that goes the other way: addresses and ports of all layers exchanged.
pub(super) fn turn(head: &mut Head, layout: &Layout) {
    for &(kind, at) in layout.layers() {
        let (a, b, len) = match kind {
            Kind::Ethernet => (0, 6, 6),
            Kind::Ipv4 => (12, 16, 4),
            Kind::Ipv6 => (8, 24, 16),
            Kind::Tcp | Kind::Sctp => (0, 2, 2),
            // A tunnel's ports are not exchanged: the destination port is what makes it one.
            Kind::Udp if layout.layers().last() == Some(&(kind, at)) => (0, 2, 2),
            _ => continue,
        };
        head.swap(at.saturating_add(a), at.saturating_add(b), len);
    }
}

/// Puts in the lengths of all layers, for a frame of `size` bytes in all.
pub(super) fn put_lengths(head: &mut Head, layout: &Layout, size: u32) {
    for &(kind, at) in layout.layers() {
        let (offset, less) = match kind {
            Kind::Ipv4 => (2, 0),
            Kind::Ipv6 => (4, 40),
            Kind::Udp => (4, 0),
            Kind::Pppoe => (4, 6),
            Kind::Gtp => (2, 8),
            _ => continue,
        };
        let length = size.wrapping_sub(u32::from(at)).wrapping_sub(less) as u16;
        head.put(at.saturating_add(offset), length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(hex: &str, link: LinkType) -> Vec<(Kind, u8)> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes: Vec<u8> =
            digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect();
        walk(&Head::new(&bytes), bytes.len(), link).layers().to_vec()
    }

    const MACS: &str = "020000000001 020000000002";
    const TCP: &str = "0050 c000 00000001 00000002 5010 0400 0000 0000";

    fn v4(protocol: &str) -> String {
        format!("45000028 00010000 40{protocol}0000 0a000001 0a000002")
    }

    #[test]
    fn layers_are_found() {
        use Kind::*;
        let (tcp, udp) = (v4("06"), v4("11"));
        let v6 = format!("60000000 0014{}40 {} {}", "06", "fd".repeat(16), "fe".repeat(16));
        for (hex, link, layers) in [
            (format!("{MACS} 0800 {tcp} {TCP}"), 1, &[(Ethernet, 0), (Ipv4, 14), (Tcp, 34)][..]),
            (format!("{MACS} 8100 0005 0800 {tcp} {TCP}"), 1, &[(Ethernet, 0), (Ipv4, 18), (Tcp, 38)]),
            (format!("{MACS} 86dd {v6} {TCP}"), 1, &[(Ethernet, 0), (Ipv6, 14), (Tcp, 54)]),
            (format!("{MACS} 8847 00001040 00002140 {tcp} {TCP}"), 1, &[(Ethernet, 0), (Ipv4, 22), (Tcp, 42)]),
            (
                format!("{MACS} 8864 11000009 002a 0021 {tcp} {TCP}"),
                1,
                &[(Ethernet, 0), (Pppoe, 14), (Ipv4, 22), (Tcp, 42)],
            ),
            (
                format!("{MACS} 0800 {} 00000800 {tcp} {TCP}", v4("2f")),
                1,
                &[(Ethernet, 0), (Ipv4, 14), (Ipv4, 38), (Tcp, 58)],
            ),
            (
                format!("{MACS} 0800 {udp} c000 12b5 0050 0000 0800000000002a00 {MACS} 0800 {tcp} {TCP}"),
                1,
                &[(Ethernet, 0), (Ipv4, 14), (Udp, 34), (Ethernet, 50), (Ipv4, 64), (Tcp, 84)],
            ),
            (
                format!("{MACS} 0800 {udp} 0868 0868 0050 0000 30ff0028 00000003 {tcp} {TCP}"),
                1,
                &[(Ethernet, 0), (Ipv4, 14), (Udp, 34), (Gtp, 42), (Ipv4, 50), (Tcp, 70)],
            ),
            (format!("{MACS} 0800 {} 0800 1234 0001 0001", v4("01")), 1, &[(Ethernet, 0), (Ipv4, 14), (Icmp, 34)]),
            (format!("{tcp} {TCP}"), 101, &[(Ipv4, 0), (Tcp, 20)]),
            (format!("02000000 {tcp} {TCP}"), 0, &[(Ipv4, 4), (Tcp, 24)]),
            (format!("0000 0001 0006 020000000001 0000 0800 {tcp} {TCP}"), 113, &[(Ipv4, 16), (Tcp, 36)]),
            (format!("ff03 0021 {tcp} {TCP}"), 9, &[(Ipv4, 4), (Tcp, 24)]),
            (format!("{tcp} {TCP}"), 147, &[]),
            // A fragment, a header cut short, and one that goes round and round stay within their bytes.
            (
                format!("{MACS} 0800 45000028 00012000 40060000 0a000001 0a000002 {TCP}"),
                1,
                &[(Ethernet, 0), (Ipv4, 14)],
            ),
            (format!("{MACS} 0800 {tcp} 0050 c000"), 1, &[(Ethernet, 0), (Ipv4, 14)]),
            (format!("{MACS} 6558 ").repeat(20), 1, &(0..12).map(|i| (Ethernet, i * 14)).collect::<Vec<_>>()),
        ] {
            assert_eq!(walked(&hex, LinkType(link)), layers, "{hex}");
        }
    }

    #[test]
    fn time_stamps_are_found_among_options() {
        for (options, found) in [
            ("0101080a0000000100000002", Some(58)),
            ("020405b40402080a0000000100000002", Some(62)),
            ("0101050a0000000100000002", None),
            ("00010101080a0000000100000002", None),
            ("0204", None),
            ("fe00fe00fe00fe00fe00fe00", None),
        ] {
            let words = 5 + options.len() / 8;
            let tcp = TCP.replace("5010", &format!("{words:x}010"));
            let digits: Vec<u8> =
                format!("{MACS}0800{}{tcp}{options}", v4("06")).bytes().filter(u8::is_ascii_hexdigit).collect();
            let bytes: Vec<u8> =
                digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect();
            assert_eq!(walk(&Head::new(&bytes), bytes.len(), LinkType::ETHERNET).stamps, found, "{options}");
        }
    }

    #[test]
    fn a_turned_header_is_the_answers() {
        let mut head = Head::new(&(0..54).collect::<Vec<u8>>());
        head.put(12, [8, 0, 0x45]);
        head.put(20, [0, 0]);
        head.put(23, [6]);
        let layout = walk(&head, 54, LinkType::ETHERNET);
        turn(&mut head, &layout);
        assert_eq!(head.slice(0, 12), [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]);
        assert_eq!(head.slice(26, 12), [30, 31, 32, 33, 26, 27, 28, 29, 36, 37, 34, 35]);
    }
}
