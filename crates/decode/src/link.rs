//! What lies below IP: link types, Ethernet, VLAN tags, label stacks, PPP and PPP over Ethernet.

use etherparse::SingleVlanHeaderSlice;
use streamdb_types::{Hop, HopKind, LinkType};

use crate::nflog;
use crate::span::Span;
use crate::walk::{End, Layer, Next, Walk};

/// DLT_RAW as some systems number it in their files.
const RAW_BSD: LinkType = LinkType(12);
const RAW_OPENBSD: LinkType = LinkType(14);

/// The most labels of one stack that are gone through.
const MAX_LABELS: usize = 16;

/// The device whose protocol field is no ethertype (`include/uapi/linux/if_arp.h`).
const ARPHRD_NETLINK: u16 = 824;

/// 802.2 LLC in the protocol field of a cooked header (`include/uapi/linux/if_ether.h`, ETH_P_802_2).
const COOKED_LLC: u16 = 4;

/// The first header of a frame of this link type.
pub(crate) fn open(link: LinkType, span: Span<'_>) -> Next<'_> {
    match link {
        LinkType::ETHERNET => Ok((Layer::Ethernet, span)),
        LinkType::RAW | RAW_BSD | RAW_OPENBSD => Ok((Layer::Ip, span)),
        LinkType::IPV4 => Ok((Layer::Ipv4, span)),
        LinkType::IPV6 => Ok((Layer::Ipv6, span)),
        LinkType::LINUX_SLL => cooked(span),
        LinkType::LINUX_SLL2 => cooked2(span),
        LinkType::NULL | LinkType::LOOP => loopback(span),
        LinkType::PPP => Ok((Layer::Ppp, span)),
        LinkType::PPP_HDLC | LinkType::C_HDLC => hdlc(span),
        LinkType::NFLOG => nflog::nflog(span),
        LinkType::PPP_ETHER => Ok((Layer::Pppoe, span)),
        LinkType::PPP_WITH_DIR => Ok((Layer::Ppp, span.skip(1).ok_or(End::Malformed)?)),
        _ => Err(End::Other),
    }
}

/// 802.1Q, 802.1ad, and what went before it.
#[inline]
pub(crate) const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100 | 0x9200)
}

/// What an ethertype says comes next.
pub(crate) const fn by_ethertype(ethertype: u16) -> Result<Layer, End> {
    Ok(match ethertype {
        0x0800 => Layer::Ipv4,
        0x86dd => Layer::Ipv6,
        _ if is_vlan(ethertype) => Layer::Vlan,
        // RFC 3032 §5, RFC 5332.
        0x8847 | 0x8848 => Layer::Mpls,
        // RFC 2516 §3; discovery (0x8863) carries no packets.
        0x8864 => Layer::Pppoe,
        // IEEE 802.1Q §9.7 (I-TAG) and IEEE 802.1BR §7.5 (E-TAG), and the VN-Tag that went before the latter.
        0x88e7 => Layer::Backbone,
        0x893f => Layer::ETag,
        0x8926 => Layer::VnTag,
        // Transparent Ethernet bridging (RFC 1701).
        0x6558 => Layer::Ethernet,
        _ => return Err(End::Other),
    })
}

/// Ethernet II, or IEEE 802.3 with a length.
pub(crate) fn ethernet(span: Span<'_>) -> Next<'_> {
    let (header, rest) = span.take::<14>().ok_or(End::Malformed)?;
    ethertype_or_length(u16::from_be_bytes([header[12], header[13]]), rest)
}

/// One VLAN tag. VLAN id 0 is a priority without a VLAN (802.1Q), which one direction of a connection may have and the
/// other not: it is no hop.
pub(crate) fn vlan<'s>(walk: &mut Walk, span: Span<'s>) -> Next<'s> {
    let tag = SingleVlanHeaderSlice::from_slice(span.bytes).map_err(|_| End::Malformed)?;
    let id = tag.vlan_identifier().value();
    if id != 0 {
        walk.push(Hop { kind: HopKind::Vlan, id: id.into() })?;
    }
    ethertype_or_length(tag.ether_type().0, span.skip(4).ok_or(End::Malformed)?)
}

/// A customer's frame on a provider's backbone (IEEE 802.1Q §9.7): the backbone service instance, then the frame.
pub(crate) fn backbone<'s>(walk: &mut Walk, span: Span<'s>) -> Next<'s> {
    let (&[_, s0, s1, s2], rest) = span.take::<4>().ok_or(End::Malformed)?;
    walk.push(Hop { kind: HopKind::Backbone, id: u32::from_be_bytes([0, s0, s1, s2]) })?;
    Ok((Layer::Ethernet, rest))
}

/// A tag of this many bytes between a switch and its port extender or a virtual interface: which port the frame came from
/// and goes to. These differ by direction, so it is no hop.
pub(crate) fn port_tag(span: Span<'_>, len: usize) -> Next<'_> {
    let (ethertype, rest) = span.skip(len).and_then(Span::take::<2>).ok_or(End::Malformed)?;
    ethertype_or_length(u16::from_be_bytes(*ethertype), rest)
}

/// Up to 1500 the field is a length, and LLC follows (IEEE 802.3 §3.2.6).
fn ethertype_or_length(field: u16, rest: Span<'_>) -> Next<'_> {
    if field <= 1500 {
        // The length leaves out padding; one that lies is no reason to know less than the frame tells.
        let length = usize::from(field);
        Ok((Layer::Llc, if length < rest.wire { rest.with_wire(length) } else { rest }))
    } else {
        Ok((by_ethertype(field)?, rest))
    }
}

/// IEEE 802.2 LLC: SNAP with an ethertype (RFC 1042), or the service access point of IP.
pub(crate) fn llc(span: Span<'_>) -> Next<'_> {
    let (header, rest) = span.take::<3>().ok_or(End::Other)?;
    match header {
        [0xaa, 0xaa, 0x03] => {
            let (snap, rest) = rest.take::<5>().ok_or(End::Malformed)?;
            match *snap {
                [0, 0, 0, high, low] => Ok((by_ethertype(u16::from_be_bytes([high, low]))?, rest)),
                _ => Err(End::Other),
            }
        }
        [0x06, 0x06, 0x03] => Ok((Layer::Ipv4, rest)),
        _ => Err(End::Other),
    }
}

/// A label stack, and by its first byte what lies under it, as no field says so: IP, or Ethernet with (RFC 4385 §3) or
/// without a control word. Labels are no hop: they differ by direction, and often only one direction has them.
pub(crate) fn mpls(span: Span<'_>) -> Next<'_> {
    let mut rest = span;
    let mut bottom = false;
    for _ in 0..MAX_LABELS {
        let (entry, under) = rest.take::<4>().ok_or(End::Malformed)?;
        rest = under;
        bottom = entry[2] & 1 != 0;
        if bottom {
            break;
        }
    }
    if !bottom {
        return Err(End::Other);
    }
    let looks_like_ethernet = |span: Span<'_>| {
        span.take::<14>().is_some_and(|(h, _)| by_ethertype(u16::from_be_bytes([h[12], h[13]])).is_ok())
    };
    match rest.nibble().ok_or(End::Malformed)? {
        0 => match rest.skip(4) {
            Some(under) if looks_like_ethernet(under) => Ok((Layer::Ethernet, under)),
            _ if looks_like_ethernet(rest) => Ok((Layer::Ethernet, rest)),
            _ => Err(End::Other),
        },
        // An Ethernet address may begin with 4 or 6 as well, of one direction perhaps; an ethertype in its place is the stronger
        // sign only where the packet is not one of IP.
        4 | 6 if is_ip(rest) || !looks_like_ethernet(rest) => Ok((Layer::Ip, rest)),
        _ if looks_like_ethernet(rest) => Ok((Layer::Ethernet, rest)),
        _ => Err(End::Other),
    }
}

/// Whether what an IP header there says of its length is what there is, but for padding of a short frame or a checksum behind.
fn is_ip(span: Span<'_>) -> bool {
    let length = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
    let (least, total) = match span.take::<6>() {
        Some((&[first, _, high, low, ..], _)) if first >> 4 == 4 => (usize::from(first & 0x0f) * 4, length(high, low)),
        Some((&[.., high, low], _)) => (40, length(high, low) + 40),
        None => return false,
    };
    least >= 20 && (least..=span.wire).contains(&total) && (span.wire <= 64 || span.wire - total <= 8)
}

/// A PPPoE session packet (RFC 2516 §4).
pub(crate) fn pppoe<'s>(walk: &mut Walk, span: Span<'s>) -> Next<'s> {
    let (header, rest) = span.take::<6>().ok_or(End::Malformed)?;
    let [kind, code, session_high, session_low, length_high, length_low] = *header;
    if kind != 0x11 || code != 0 {
        return Err(End::Other);
    }
    let session = u16::from_be_bytes([session_high, session_low]);
    walk.push(Hop { kind: HopKind::Pppoe, id: session.into() })?;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    // A length of 0 is what segmentation offload leaves.
    Ok((Layer::Ppp, if 0 < length && length < rest.wire { rest.with_wire(length) } else { rest }))
}

/// PPP: address and control (RFC 1662 §3.1) may be there or left out, the protocol may be one byte (RFC 1661 §6.5).
pub(crate) fn ppp(span: Span<'_>) -> Next<'_> {
    let span = match span.take::<2>() {
        Some(([0xff, 0x03], rest)) => rest,
        _ => span,
    };
    let (&[first], short) = span.take::<1>().ok_or(End::Malformed)?;
    let (protocol, rest) = if first & 1 != 0 {
        (u16::from(first), short)
    } else {
        let (protocol, rest) = span.take::<2>().ok_or(End::Malformed)?;
        (u16::from_be_bytes(*protocol), rest)
    };
    match protocol {
        0x0021 => Ok((Layer::Ipv4, rest)),
        0x0057 => Ok((Layer::Ipv6, rest)),
        0x0281 | 0x0283 => Ok((Layer::Mpls, rest)),
        _ => Err(End::Other),
    }
}

/// LINKTYPE_PPP_HDLC and LINKTYPE_C_HDLC: PPP, or Cisco's framing (RFC 1547 §4.3.1) when the address byte says so.
fn hdlc(span: Span<'_>) -> Next<'_> {
    match span.take::<4>() {
        Some(([0x0f | 0x8f, _, high, low], rest)) => Ok((by_ethertype(u16::from_be_bytes([*high, *low]))?, rest)),
        _ => Ok((Layer::Ppp, span)),
    }
}

/// BSD loopback: an address family in the byte order of a machine that need not be ours.
fn loopback(span: Span<'_>) -> Next<'_> {
    let (family, rest) = span.take::<4>().ok_or(End::Malformed)?;
    let family = match u32::from_le_bytes(*family) {
        small @ 0..=0xffff => small,
        large => large.swap_bytes(),
    };
    match family {
        2 => Ok((Layer::Ipv4, rest)),
        // NetBSD and OpenBSD, FreeBSD, Darwin; Linux.
        24 | 28 | 30 | 10 => Ok((Layer::Ipv6, rest)),
        _ => Err(End::Other),
    }
}

/// Linux cooked capture v1 (tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html). By hand, as etherparse refuses the device types
/// of loopback, PPP and tunnels.
fn cooked(span: Span<'_>) -> Next<'_> {
    let (h, rest) = span.take::<16>().ok_or(End::Malformed)?;
    cooked_protocol(u16::from_be_bytes([h[2], h[3]]), u16::from_be_bytes([h[14], h[15]]), rest)
}

/// Linux cooked capture v2 (tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html).
fn cooked2(span: Span<'_>) -> Next<'_> {
    let (h, rest) = span.take::<20>().ok_or(End::Malformed)?;
    cooked_protocol(u16::from_be_bytes([h[8], h[9]]), u16::from_be_bytes([h[0], h[1]]), rest)
}

fn cooked_protocol(device: u16, protocol: u16, rest: Span<'_>) -> Next<'_> {
    match (device, protocol) {
        (ARPHRD_NETLINK, _) => Err(End::Other),
        (_, COOKED_LLC) => Ok((Layer::Llc, rest)),
        _ => Ok((by_ethertype(protocol)?, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{cat, eth, pppoe, tag, tcp4, tcp6};
    use crate::said::{self, hello4, hello6};

    fn ethernet(ethertype: u16, payload: &[u8]) -> String {
        said::of(LinkType::ETHERNET, &eth(ethertype, payload))
    }

    #[test]
    fn ethernet_carries_both_versions() {
        assert_eq!(ethernet(0x0800, &tcp4(b"hello")), hello4(""));
        assert_eq!(ethernet(0x86dd, &tcp6(b"hello")), hello6(""));
        assert_eq!(ethernet(0x0806, &[0; 28]), ": other");
        assert_eq!(ethernet(0x0800, &tcp6(b"hello")), ": malformed");
        assert_eq!(said::of(LinkType::ETHERNET, &[0; 13]), ": malformed");
    }

    #[test]
    fn padding_is_not_payload() {
        assert_eq!(ethernet(0x0800, &cat(&[&tcp4(b""), &[0; 6]])), hello4("").replace("hello", ""));
        assert_eq!(ethernet(0x86dd, &cat(&[&tcp6(b"hello"), &[0; 4]])), hello6(""));
    }

    #[test]
    fn a_backbone_is_a_hop() {
        let inner = eth(0x8100, &tag(7, 0x0800, &tcp4(b"hello")));
        let service = cat(&[&[0xe0, 0x1e, 0xbb, 0x30], &inner]);
        assert_eq!(ethernet(0x88e7, &service), hello4("backbone 2014000, vlan 7"));
        assert_eq!(ethernet(0x88a8, &tag(9, 0x88e7, &service)), hello4("vlan 9, backbone 2014000, vlan 7"));
        assert_eq!(ethernet(0x88e7, &service[..3]), ": malformed");
    }

    #[test]
    fn tags_of_ports_are_no_hops() {
        let ip = tcp4(b"hello");
        assert_eq!(ethernet(0x8926, &cat(&[&[0x80, 1, 0, 0x33, 8, 0], &ip])), hello4(""));
        assert_eq!(ethernet(0x893f, &cat(&[&[0, 0, 0, 1, 0, 0, 8, 0], &ip])), hello4(""));
        let sandwich = tag(250, 0x8926, &cat(&[&[0, 0, 0, 0x33, 0x81, 0], &tag(251, 0x0800, &ip)]));
        assert_eq!(ethernet(0x8100, &sandwich), hello4("vlan 250, vlan 251"));
        assert_eq!(ethernet(0x8926, &[0; 5]), ": malformed");
        assert_eq!(ethernet(0x893f, &[0; 7]), ": malformed");
    }

    #[test]
    fn vlan_tags_are_hops() {
        assert_eq!(ethernet(0x8100, &tag(7, 0x0800, &tcp4(b"hello"))), hello4("vlan 7"));
        let inner = tag(9, 0x86dd, &tcp6(b"hello"));
        for outer in [0x8100, 0x88a8, 0x9100, 0x9200] {
            assert_eq!(ethernet(outer, &tag(4095, 0x8100, &inner)), hello6("vlan 4095, vlan 9"));
        }
        assert_eq!(ethernet(0x8100, &tag(0, 0x0800, &tcp4(b"hello"))), hello4(""), "a priority is no VLAN");
        assert_eq!(ethernet(0x8100, &[0, 7]), ": malformed");
    }

    #[test]
    fn a_full_path_is_where_decoding_ends() {
        let mut packet = tag(1, 0x0800, &tcp4(b"hello"));
        for id in 2..=6 {
            packet = tag(id, 0x8100, &packet);
        }
        assert_eq!(ethernet(0x8100, &packet), hello4("vlan 6, vlan 5, vlan 4, vlan 3, vlan 2, vlan 1"));
        assert!(ethernet(0x8100, &tag(7, 0x8100, &packet)).ends_with(": other"));
        // Tags that are no hops still count as headers.
        let mut deep = tag(0, 0x0800, &tcp4(b"hello"));
        for _ in 0..12 {
            deep = tag(0, 0x8100, &deep);
        }
        assert_eq!(ethernet(0x8100, &deep), hello4(""));
        assert_eq!(ethernet(0x8100, &tag(0, 0x8100, &deep)), ": other");
    }

    #[test]
    fn lengths_mean_llc() {
        let snap = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &tcp4(b"hello")]);
        let sap = cat(&[&[6, 6, 3], &tcp4(b"hello")]);
        for llc in [&snap, &sap] {
            assert_eq!(ethernet(llc.len() as u16, &cat(&[llc, &[0; 9]])), hello4(""));
        }
        assert_eq!(ethernet(38, &[0x42; 38]), ": other", "spanning tree");
        let cisco = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0], &[0; 30]]);
        assert_eq!(ethernet(38, &cisco), ": other");
    }

    #[test]
    fn label_stacks_are_no_hop() {
        let two = [0, 1, 0, 64, 0, 2, 1, 64];
        let one = [0, 2, 1, 64];
        assert_eq!(ethernet(0x8847, &cat(&[&two, &tcp4(b"hello")])), hello4(""));
        assert_eq!(ethernet(0x8848, &cat(&[&one, &tcp6(b"hello")])), hello6(""));
        let frame = eth(0x0800, &tcp4(b"hello"));
        assert_eq!(ethernet(0x8847, &cat(&[&one, &[0, 0, 0, 0], &frame])), hello4(""), "control word");
        assert_eq!(ethernet(0x8847, &cat(&[&one, &[0x1c], frame.get(1..).unwrap()])), hello4(""));
        // No control word, and an address that begins as a packet of IP does.
        for address in [[0x4c, 0x5e], [0x45, 0x00], [0x60, 0x57], [0x6a, 0x00]] {
            let mut frame = frame.clone();
            frame.splice(..2, address);
            frame.splice(4..6, [0x7f, 0xff]);
            assert_eq!(ethernet(0x8847, &cat(&[&one, &frame])), hello4(""), "{address:?}");
        }
        assert_eq!(ethernet(0x8847, &[0, 1, 0, 64].repeat(20)), ": other", "no bottom");
        assert_eq!(ethernet(0x8847, &[0, 1, 0, 64]), ": malformed");
    }

    #[test]
    fn pppoe_sessions_are_hops() {
        assert_eq!(ethernet(0x8864, &pppoe(17, 0x0021, &tcp4(b"hello"))), hello4("pppoe 17"));
        assert_eq!(ethernet(0x8864, &pppoe(17, 0x0057, &tcp6(b"hello"))), hello6("pppoe 17"));
        assert_eq!(ethernet(0x8864, &pppoe(17, 0xc021, &[0; 20])), "pppoe 17: other");
        assert_eq!(ethernet(0x8863, &pppoe(17, 0x0021, &tcp4(b"hello"))), ": other");
        let mut short = pppoe(17, 0x0021, &tcp4(b"hello"));
        short[4..6].copy_from_slice(&44u16.to_be_bytes());
        assert_eq!(ethernet(0x8864, &short), hello4("pppoe 17").replace("hello", "he"), "no room for what IP says");
        assert_eq!(said::of(LinkType::PPP_ETHER, &pppoe(3, 0x0021, &tcp4(b"hello"))), hello4("pppoe 3"));
    }

    #[test]
    fn ppp_comes_in_all_its_framings() {
        let ip = tcp4(b"hello");
        for (link, header) in [
            (LinkType::PPP, &[0x00, 0x21][..]),
            (LinkType::PPP, &[0x21]),
            (LinkType::PPP, &[0xff, 0x03, 0x00, 0x21]),
            (LinkType::PPP, &[0xff, 0x03, 0x21]),
            (LinkType::PPP_HDLC, &[0xff, 0x03, 0x00, 0x21]),
            (LinkType::PPP_HDLC, &[0x0f, 0x00, 0x08, 0x00]),
            (LinkType::C_HDLC, &[0x8f, 0x00, 0x08, 0x00]),
            (LinkType::PPP_WITH_DIR, &[0x00, 0xff, 0x03, 0x00, 0x21]),
            (LinkType::PPP_WITH_DIR, &[0x01, 0x21]),
        ] {
            assert_eq!(said::of(link, &cat(&[header, &ip])), hello4(""), "{header:x?}");
        }
        assert_eq!(said::of(LinkType::PPP, &cat(&[&[0x57], &tcp6(b"hello")])), hello6(""));
        assert_eq!(said::of(LinkType::PPP, &cat(&[&[0x02, 0x81, 0, 2, 1, 64], &ip])), hello4(""));
        assert_eq!(said::of(LinkType::PPP, &[0xc0, 0x21, 1, 1, 0, 4]), ": other");
        assert_eq!(said::of(LinkType::PPP, &[0xff, 0x03]), ": malformed");
    }

    #[test]
    fn raw_ip_says_its_version() {
        for link in [LinkType::RAW, LinkType(12), LinkType(14)] {
            assert_eq!(said::of(link, &tcp4(b"hello")), hello4(""));
            assert_eq!(said::of(link, &tcp6(b"hello")), hello6(""));
        }
        assert_eq!(said::of(LinkType::IPV4, &tcp4(b"hello")), hello4(""));
        assert_eq!(said::of(LinkType::IPV6, &tcp6(b"hello")), hello6(""));
        assert_eq!(said::of(LinkType::IPV6, &tcp4(b"hello")), ": malformed");
        assert_eq!(said::of(LinkType::RAW, &[]), ": malformed");
        assert_eq!(said::of(LinkType(147), &tcp4(b"hello")), ": other");
    }

    #[test]
    fn loopback_families_come_in_either_order() {
        for link in [LinkType::NULL, LinkType::LOOP] {
            for order in [u32::to_le_bytes, u32::to_be_bytes] {
                assert_eq!(said::of(link, &cat(&[&order(2), &tcp4(b"hello")])), hello4(""));
                for family in [10, 24, 28, 30] {
                    assert_eq!(said::of(link, &cat(&[&order(family), &tcp6(b"hello")])), hello6(""));
                }
                assert_eq!(said::of(link, &cat(&[&order(7), &tcp6(b"hello")])), ": other");
            }
        }
    }

    #[test]
    fn cooked_captures_have_an_ethertype() {
        let v1 = |device: u16, protocol: u16, rest: &[u8]| {
            cat(&[&[0, 4], &device.to_be_bytes(), &[0, 6, 2, 0, 0, 0, 0, 1, 0, 0], &protocol.to_be_bytes(), rest])
        };
        let v2 = |device: u16, protocol: u16, rest: &[u8]| {
            cat(&[&protocol.to_be_bytes(), &[0, 0, 0, 0, 0, 3], &device.to_be_bytes(), &[4, 6], &[0; 8], rest])
        };
        let snap = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &tcp4(b"hello")]);
        for (link, header) in [
            (LinkType::LINUX_SLL, &v1 as &dyn Fn(u16, u16, &[u8]) -> Vec<u8>),
            (LinkType::LINUX_SLL2, &v2 as &dyn Fn(u16, u16, &[u8]) -> Vec<u8>),
        ] {
            // Ethernet, loopback, and a tunnel.
            for device in [1, 772, 65534] {
                assert_eq!(said::of(link, &header(device, 0x0800, &tcp4(b"hello"))), hello4(""));
                assert_eq!(said::of(link, &header(device, 0x86dd, &tcp6(b"hello"))), hello6(""));
            }
            assert_eq!(said::of(link, &header(1, 0x8100, &tag(7, 0x0800, &tcp4(b"hello")))), hello4("vlan 7"));
            assert_eq!(said::of(link, &header(1, 4, &snap)), hello4(""));
            assert_eq!(said::of(link, &header(824, 0x0800, &tcp4(b"hello"))), ": other", "netlink");
            assert_eq!(said::of(link, &header(1, 0x0806, &[])), ": other");
            assert_eq!(said::of(link, &[0; 15]), ": malformed");
        }
    }
}
