//! IPv4 and IPv6: lengths that are not believed, extension headers, fragments, and IP in IP.

use std::net::IpAddr;

use etherparse::{IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};
use streamdb_types::{Hop, HopKind};

use crate::checksum;
use crate::fragments::{Key, Share};
use crate::span::Span;
use crate::walk::{End, Layer, Net, Next, Step, Walk};

/// Protocol numbers (IANA "Assigned Internet Protocol Numbers").
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const IPV4: u8 = 4;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const IPV6: u8 = 41;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const GRE: u8 = 47;
pub(crate) const AUTHENTICATION: u8 = 51;
pub(crate) const DESTINATION: u8 = 60;

/// An IPv4 header (RFC 791 §3.1).
pub(crate) fn ipv4<'s>(walk: &mut Walk, span: Span<'s>) -> Step<'s> {
    let Ok(header) = Ipv4HeaderSlice::from_slice(span.bytes) else { return Step::End(End::Malformed) };
    let header_len = header.slice().len();
    let total = usize::from(header.total_len());
    let packet = match total {
        // Segmentation offload: the packet is larger than the field can say, and goes to the end of the frame.
        0 => span,
        n if n < header_len => return Step::End(End::Malformed),
        n => span.with_wire(n),
    };
    let Some(rest) = packet.skip(header_len) else { return Step::End(End::Malformed) };
    if let Err(end) = enter(walk, span, total) {
        return Step::End(end);
    }
    if walk.rules.verify && !checksum::header_ok(header.slice()) {
        walk.headers_ok = false;
    }
    walk.net = Net {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        summable: total != 0,
        id: header.identification(),
    };
    let protocol = header.protocol().0;
    if header.is_fragmenting_payload() {
        let id = u32::from(header.identification());
        let offset = header.fragments_offset().byte_offset();
        return Step::Share(share(walk, rest, protocol, protocol, id, offset, header.more_fragments()));
    }
    Step::Next(Layer::Protocol(protocol), rest)
}

/// An IPv6 header (RFC 8200 §3).
pub(crate) fn ipv6<'s>(walk: &mut Walk, span: Span<'s>) -> Next<'s> {
    let header = Ipv6HeaderSlice::from_slice(span.bytes).map_err(|_| End::Malformed)?;
    let rest = span.skip(header.slice().len()).ok_or(End::Malformed)?;
    let length = usize::from(header.payload_length());
    enter(walk, span, if length == 0 { 0 } else { length + header.slice().len() })?;
    walk.net = Net {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        summable: length != 0,
        id: 0,
    };
    // Length 0: a jumbogram (RFC 2675 §3) or segmentation offload, to the end of the frame.
    Ok((Layer::Protocol(header.next_header().0), if length == 0 { rest } else { rest.with_wire(length) }))
}

/// An IP header was found. In what may be a tunnel over UDP this is the proof, but only when the packet fits into the
/// datagram.
fn enter(walk: &mut Walk, span: Span<'_>, total: usize) -> Result<(), End> {
    if walk.plain.is_some() {
        if total > span.wire {
            return Err(End::Other);
        }
        walk.plain = None;
    }
    Ok(())
}

/// Hop-by-hop options, a routing header, or destination options (RFC 8200 §4.3, §4.4, §4.6).
pub(crate) fn extension<'s>(walk: &mut Walk, number: u8, span: Span<'s>) -> Next<'s> {
    let header = Ipv6RawExtHeaderSlice::from_slice(span.bytes).map_err(|_| End::Malformed)?;
    // While segments are left, the destination in the header is not the one that the checksum is over (RFC 8200 §8.1).
    if number == ROUTING && header.slice().get(3).is_some_and(|left| *left != 0) {
        walk.net.summable = false;
    }
    let rest = span.skip(header.slice().len()).ok_or(End::Malformed)?;
    Ok((Layer::Protocol(header.next_header().0), rest))
}

/// An authentication header (RFC 4302 §2), which leaves what follows in clear.
pub(crate) fn authentication(span: Span<'_>) -> Next<'_> {
    let header = IpAuthHeaderSlice::from_slice(span.bytes).map_err(|_| End::Malformed)?;
    let rest = span.skip(header.slice().len()).ok_or(End::Malformed)?;
    Ok((Layer::Protocol(header.next_header().0), rest))
}

/// A fragment header (RFC 8200 §4.5). A packet in one fragment is decoded in place (RFC 6946 §4).
pub(crate) fn fragment<'s>(walk: &mut Walk, span: Span<'s>) -> Step<'s> {
    let Ok(header) = Ipv6FragmentHeaderSlice::from_slice(span.bytes) else { return Step::End(End::Malformed) };
    let Some(rest) = span.skip(header.slice().len()) else { return Step::End(End::Malformed) };
    let next = header.next_header().0;
    if !header.is_fragmenting_payload() {
        return Step::Next(Layer::Protocol(next), rest);
    }
    // The next header may differ between fragments (RFC 8200 §4.5), so it is not part of the key.
    let offset = header.fragment_offset().byte_offset();
    Step::Share(share(walk, rest, FRAGMENT, next, header.identification(), offset, header.more_fragments()))
}

fn share(walk: &Walk, rest: Span<'_>, of: u8, next: u8, id: u32, offset: u16, more: bool) -> Share {
    Share {
        key: Key { path: walk.path, src: walk.net.src, dst: walk.net.dst, protocol: of, id },
        next,
        offset: u32::from(offset),
        more,
        headers_ok: walk.headers_ok,
        at: rest.at,
        len: rest.bytes.len(),
        wire: rest.wire,
    }
}

/// IP in IP (RFC 2003, RFC 2473, RFC 4213).
pub(crate) fn tunnel<'s>(walk: &mut Walk, inner: Layer, span: Span<'s>) -> Next<'s> {
    walk.push(Hop { kind: HopKind::Ip, id: pair_id(&walk.net) })?;
    Ok((inner, span))
}

/// One number for two addresses, the same in both directions: FNV-1a (32 bits) over the lower and then the higher one, in
/// network byte order. It is on disk, so it stays.
pub(crate) fn pair_id(net: &Net) -> u32 {
    let (low, high) = if net.src <= net.dst { (net.src, net.dst) } else { (net.dst, net.src) };
    let fold = |hash: u32, bytes: &[u8]| bytes.iter().fold(hash, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    [low, high].iter().fold(0x811c_9dc5, |hash, addr| match addr {
        IpAddr::V4(a) => fold(hash, &a.octets()),
        IpAddr::V6(a) => fold(hash, &a.octets()),
    })
}

#[cfg(test)]
mod tests {
    use streamdb_types::LinkType;

    use super::*;
    use crate::frames::{self, CLIENT, SERVER, cat, eth, extension, ipv6, ipv6_fragment, tcp4, tcp6};
    use crate::said::{self, hello4, hello6};

    fn raw(packet: &[u8]) -> String {
        said::of(LinkType::RAW, packet)
    }

    #[test]
    fn ipv4_options_are_passed() {
        for n in [4, 40] {
            let packet = frames::ipv4_of(6, CLIENT, SERVER, &vec![1; n], &frames::tcp(49211, 80, 1, 0, &[], b"hello"));
            assert_eq!(raw(&packet), hello4(""));
        }
    }

    #[test]
    fn total_lengths_are_not_believed() {
        let with = |total: u16| {
            let mut frame = eth(0x0800, &tcp4(b"hello"));
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            said::of(LinkType::ETHERNET, &frame)
        };
        assert_eq!(with(45), hello4(""));
        assert_eq!(with(0), hello4(""), "segmentation offload");
        assert_eq!(with(43), hello4("").replace("hello", "hel"));
        assert_eq!(with(100), format!("{} of 60", hello4("")));
        assert_eq!(with(19), ": malformed");
        assert_eq!(with(39), ": malformed", "the TCP header does not fit");
    }

    #[test]
    fn payload_lengths_are_not_believed() {
        let with = |length: u16| {
            let mut frame = eth(0x86dd, &tcp6(b"hello"));
            frame[18..20].copy_from_slice(&length.to_be_bytes());
            said::of(LinkType::ETHERNET, &frame)
        };
        assert_eq!(with(0), hello6(""), "segmentation offload");
        assert_eq!(with(23), hello6("").replace("hello", "hel"));
        assert_eq!(with(80), format!("{} of 60", hello6("")));
        assert_eq!(with(19), ": malformed");
    }

    #[test]
    fn header_lengths_are_checked() {
        let mut packet = tcp4(b"hello");
        packet[0] = 0x44;
        assert_eq!(said::of(LinkType::IPV4, &packet), ": malformed");
        packet[0] = 0x4f;
        assert_eq!(said::of(LinkType::IPV4, &packet), ": malformed");
    }

    #[test]
    fn extension_headers_are_passed() {
        let tcp = frames::tcp(49211, 80, 1, 0, &[], b"hello");
        assert_eq!(raw(&ipv6(0, &extension(43, 1, &extension(60, 2, &extension(6, 3, &tcp))))), hello6(""));
        // An authentication header counts its length in units of 4 bytes, less 2.
        let auth = cat(&[&[6, 4], &[0; 22], &tcp]);
        assert_eq!(raw(&ipv6(AUTHENTICATION, &auth)), hello6(""));
        assert_eq!(raw(&frames::ipv4(AUTHENTICATION, &auth)), hello4(""));
        assert_eq!(raw(&ipv6(0, &[6, 9, 0, 0, 0, 0, 0, 0])), ": malformed");
        assert_eq!(raw(&ipv6(59, &[])), ": other");
        assert_eq!(raw(&frames::ipv4(0, &extension(6, 1, &tcp))), ": other", "not an extension of IPv4");
        let mut many = tcp;
        for i in 0..20 {
            many = extension(if i == 0 { 6 } else { 60 }, 1, &many);
        }
        assert_eq!(raw(&ipv6(60, &many)), ": other", "more headers than the bound");
    }

    #[test]
    fn an_atomic_fragment_is_decoded_in_place() {
        assert_eq!(raw(&ipv6_fragment(6, 1, 0, false, &frames::tcp(49211, 80, 1, 0, &[], b"hello"))), hello6(""));
    }

    #[test]
    fn ip_in_ip_is_a_hop_named_by_both_ends() {
        let id4 = 882_291_277u32;
        let id6 = 2_225_001_104u32;
        assert_eq!(raw(&frames::ipv4(4, &tcp4(b"hello"))), hello4(&format!("ip {id4}")));
        assert_eq!(raw(&frames::ipv4(41, &tcp6(b"hello"))), hello6(&format!("ip {id4}")));
        assert_eq!(raw(&ipv6(4, &tcp4(b"hello"))), hello4(&format!("ip {id6}")));
        assert_eq!(raw(&ipv6(41, &tcp6(b"hello"))), hello6(&format!("ip {id6}")));
        assert_eq!(raw(&frames::ipv4_of(4, SERVER, CLIENT, &[], &tcp4(b"hello"))), hello4(&format!("ip {id4}")));
    }
}
