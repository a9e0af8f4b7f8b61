//! Tunnels over UDP: VXLAN, GENEVE, GTP-U, GRE, Teredo. A port is only a hint; the header has to be valid, and the walk
//! takes the tunnel back when no IP packet is found in it.

use streamdb_types::{Hop, HopKind};

use crate::ip::{self, pair_id};
use crate::link::by_ethertype;
use crate::span::Span;
use crate::walk::{Layer, Net, Rules};

const VXLAN: u16 = 4789;
const VXLAN_LINUX: u16 = 8472;
const VXLAN_GPE: u16 = 4790;
const GENEVE: u16 = 6081;
const GTP: u16 = 2152;
const GRE: u16 = 4754;
const TEREDO: u16 = 3544;

/// The first bytes of the address of a Teredo client (RFC 4380 §2.6).
const TEREDO_PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];

/// The most GTP extension headers that are gone through.
const MAX_EXTENSIONS: usize = 8;

/// Whether a datagram between these ports, with this payload, may be a tunnel. The well-known port is mostly the receiver's,
/// as the sender's is a hash of the inner flow (RFC 7348 §5, RFC 8926 §3.3), but not always.
pub(crate) fn may_be(src: u16, dst: u16, payload: &[u8]) -> bool {
    is_tunnel(dst) || is_tunnel(src) || is_of_teredo(payload)
}

const fn is_tunnel(port: u16) -> bool {
    matches!(port, VXLAN | VXLAN_LINUX | VXLAN_GPE | GENEVE | GTP | GRE | TEREDO)
}

/// The tunnel that this payload may be: its hop, if it is one by itself, the first header in it, and where that begins.
pub(crate) fn open<'s>(
    src: u16,
    dst: u16,
    net: &Net,
    rules: Rules,
    payload: Span<'s>,
) -> Option<(Option<Hop>, Layer, Span<'s>)> {
    let (hop, layer, inner) = match if is_tunnel(dst) { dst } else { src } {
        VXLAN | VXLAN_LINUX => vxlan(payload),
        VXLAN_GPE => vxlan_gpe(payload),
        GENEVE => geneve(payload),
        GTP => gtp(rules, payload),
        // RFC 8086 §3: a GRE header, which makes the hop.
        GRE => return Some((None, Layer::Protocol(ip::GRE), payload)),
        TEREDO => teredo(net, payload),
        _ => teredo_elsewhere(net, payload),
    }?;
    Some((Some(hop), layer, inner))
}

/// RFC 7348 §5. Reserved bits are not looked at, as it says.
fn vxlan(span: Span<'_>) -> Option<(Hop, Layer, Span<'_>)> {
    let (&[flags, _, _, _, v0, v1, v2, _], rest) = span.take::<8>()?;
    let id = u32::from_be_bytes([0, v0, v1, v2]);
    (flags & 0x08 != 0).then_some((Hop { kind: HopKind::Vxlan, id }, Layer::Ethernet, rest))
}

/// VXLAN with a next protocol (draft-ietf-nvo3-vxlan-gpe-13 §3). Without the P bit it is as VXLAN, in which the field is
/// reserved and 0; there are senders that set the field and not the bit.
fn vxlan_gpe(span: Span<'_>) -> Option<(Hop, Layer, Span<'_>)> {
    let (hop, ethernet, rest) = vxlan(span)?;
    let layer = match span.bytes {
        [flags, _, _, protocol, ..] if flags & 0x04 != 0 || *protocol != 0 => match protocol {
            1 => Layer::Ipv4,
            2 => Layer::Ipv6,
            3 => Layer::Ethernet,
            _ => return None,
        },
        _ => ethernet,
    };
    Some((hop, layer, rest))
}

/// RFC 8926 §3.4.
fn geneve(span: Span<'_>) -> Option<(Hop, Layer, Span<'_>)> {
    let (&[first, _, p0, p1, v0, v1, v2, _], rest) = span.take::<8>()?;
    if first >> 6 != 0 {
        return None;
    }
    let rest = rest.skip(usize::from(first & 0x3f) * 4)?;
    let layer = by_ethertype(u16::from_be_bytes([p0, p1])).ok()?;
    Some((Hop { kind: HopKind::Geneve, id: u32::from_be_bytes([0, v0, v1, v2]) }, layer, rest))
}

/// A G-PDU (3GPP TS 29.281 §5.1, §5.2). Its endpoint id is that of the receiver, so the two directions of a connection have
/// different ones, and a handover brings others.
fn gtp(rules: Rules, span: Span<'_>) -> Option<(Hop, Layer, Span<'_>)> {
    let (&[flags, kind, _, _, t0, t1, t2, t3], mut rest) = span.take::<8>()?;
    // Version 1, protocol type GTP.
    if flags & 0xf0 != 0x30 || kind != 255 {
        return None;
    }
    if flags & 0x07 != 0 {
        let (&[_, _, _, mut extension], after) = rest.take::<4>()?;
        rest = after;
        if flags & 0x04 != 0 {
            let mut left = MAX_EXTENSIONS;
            while extension != 0 {
                left = left.checked_sub(1)?;
                let length = usize::from(*rest.bytes.first()?) * 4;
                extension = *rest.bytes.get(length.checked_sub(1)?)?;
                rest = rest.skip(length)?;
            }
        }
    }
    let id = if rules.split_teids { u32::from_be_bytes([t0, t1, t2, t3]) } else { 0 };
    Some((Hop { kind: HopKind::Gtp, id }, ip_layer(rest)?, rest))
}

/// RFC 4380 §5.1.1: IPv6, perhaps after an authentication header and an origin indication.
fn teredo<'s>(net: &Net, span: Span<'s>) -> Option<(Hop, Layer, Span<'s>)> {
    let mut rest = span;
    if let Some((&[0, 1, id_len, auth_len], after)) = rest.take::<4>() {
        // The two values, a nonce of 8 bytes, and the confirmation byte.
        rest = after.skip(usize::from(id_len) + usize::from(auth_len) + 9)?;
    }
    if let Some((&[0, 0, ..], after)) = rest.take::<8>() {
        rest = after;
    }
    (rest.nibble()? == 6).then_some((Hop { kind: HopKind::Teredo, id: pair_id(net) }, Layer::Ipv6, rest))
}

/// Between clients, and from relays to clients, Teredo has any port (RFC 4380 §5.2.4): an IPv6 packet that fills the
/// datagram, from or to the address of a Teredo client.
fn teredo_elsewhere<'s>(net: &Net, span: Span<'s>) -> Option<(Hop, Layer, Span<'s>)> {
    let (header, rest) = span.take::<40>()?;
    let fills = usize::from(u16::from_be_bytes([header[4], header[5]])) == rest.wire;
    (fills && is_of_teredo(span.bytes)).then_some((Hop { kind: HopKind::Teredo, id: pair_id(net) }, Layer::Ipv6, span))
}

fn is_of_teredo(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == 6)
        && [8..12, 24..28].into_iter().any(|place| bytes.get(place).is_some_and(|prefix| prefix == TEREDO_PREFIX))
}

fn ip_layer(span: Span<'_>) -> Option<Layer> {
    match span.nibble()? {
        4 => Some(Layer::Ipv4),
        6 => Some(Layer::Ipv6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use streamdb_types::LinkType;

    use crate::frames::{cat, eth, geneve, gre, gtp, ipv4, tag, tcp4, tcp6, udp, udp4, vxlan};
    use crate::said::{self, hello4, hello6};

    fn over(src: u16, dst: u16, payload: &[u8]) -> String {
        said::of(LinkType::RAW, &udp4(src, dst, payload))
    }

    fn plain(src: u16, dst: u16, payload: &[u8]) -> String {
        let text = String::from_utf8_lossy(payload);
        format!(": udp 10.0.0.5:{src} > 203.0.113.9:{dst} {text:?}")
    }

    #[test]
    fn vxlan_networks_are_hops() {
        let frame = vxlan(4242, &eth(0x0800, &tcp4(b"hello")));
        assert_eq!(over(5555, 4789, &frame), hello4("vxlan 4242"));
        assert_eq!(over(5555, 8472, &frame), hello4("vxlan 4242"));
        assert_eq!(over(4789, 5555, &frame), hello4("vxlan 4242"));
        assert_eq!(over(5555, 4790, &frame), hello4("vxlan 4242"));
        for (protocol, inner, said) in [
            (1, tcp4(b"hello"), hello4("vxlan 9")),
            (2, tcp6(b"hello"), hello6("vxlan 9")),
            (3, eth(0x0800, &tcp4(b"hello")), hello4("vxlan 9")),
        ] {
            assert_eq!(over(5555, 4790, &cat(&[&[0x0c, 0, 0, protocol, 0, 0, 9, 0], &inner])), said);
        }
        let tagged = vxlan(1, &eth(0x8100, &tag(7, 0x86dd, &tcp6(b"hello"))));
        assert_eq!(over(5555, 4789, &tagged), hello6("vxlan 1, vlan 7"));
    }

    #[test]
    fn the_next_protocol_counts_without_its_bit() {
        assert_eq!(over(5555, 4790, &cat(&[&[8, 0, 0, 1, 0, 0, 9, 0], &tcp4(b"hello")])), hello4("vxlan 9"));
        assert_eq!(
            over(5555, 4790, &cat(&[&[8, 0, 0, 0, 0, 0, 9, 0], &eth(0x0800, &tcp4(b"hello"))])),
            hello4("vxlan 9")
        );
    }

    #[test]
    fn gre_makes_its_own_hop() {
        assert_eq!(over(5555, 4754, &gre(0, 0x0800, &[], &tcp4(b"hello"))), hello4("gre 882291277"));
        assert_eq!(over(4754, 5555, &gre(0x2000, 0x86dd, &[0, 0, 1, 0], &tcp6(b"hello"))), hello6("gre 256"));
        let no_packet = gre(0, 0x0800, &[], b"hello");
        assert_eq!(over(5555, 4754, &no_packet), plain(5555, 4754, &no_packet));
        assert_eq!(over(5555, 4754, b"no"), plain(5555, 4754, b"no"));
    }

    #[test]
    fn teredo_is_known_by_its_addresses_at_any_port() {
        for place in [8, 24] {
            let mut packet = tcp6(b"hello");
            packet[place..place + 4].copy_from_slice(&[0x20, 1, 0, 0]);
            let said = over(5555, 32900, &packet);
            assert!(said.starts_with("teredo 882291277: tcp [") && said.ends_with("\"hello\""), "{said}");
            packet.push(0);
            assert_eq!(over(5555, 32900, &packet), plain(5555, 32900, &packet), "it does not fill the datagram");
        }
        let packet = tcp6(b"hello");
        assert_eq!(over(5555, 32900, &packet), plain(5555, 32900, &packet), "no address of Teredo");
    }

    #[test]
    fn geneve_networks_are_hops() {
        let frame = eth(0x0800, &tcp4(b"hello"));
        assert_eq!(over(5555, 6081, &geneve(77, 0x6558, &[], &frame)), hello4("geneve 77"));
        assert_eq!(over(5555, 6081, &geneve(77, 0x6558, &[0; 252], &frame)), hello4("geneve 77"));
        assert_eq!(over(5555, 6081, &geneve(77, 0x86dd, &[0; 4], &tcp6(b"hello"))), hello6("geneve 77"));
    }

    #[test]
    fn gtp_is_a_hop() {
        let ip = tcp4(b"hello");
        for (flags, fields) in [
            (0, &[][..]),
            (1, &[0, 0, 0, 0]),
            (2, &[0, 1, 0, 0]),
            (4, &[0, 0, 0, 0x85, 1, 1, 2, 0]),
            (6, &[0, 1, 0, 0x85, 1, 1, 2, 0xc0, 2, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(over(2152, 2152, &gtp(flags, fields, &ip)), hello4("gtp 0"), "{flags}");
            assert_eq!(over(2152, 40000, &gtp(flags, fields, &ip)), hello4("gtp 0"), "{flags}");
        }
        let endless = gtp(4, &[0, 0, 0, 0x85, 0, 1, 2, 0x85], &ip);
        assert_eq!(over(2152, 2152, &endless), plain(2152, 2152, &endless));
        let echo = [0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(over(2152, 2152, &echo), plain(2152, 2152, &echo));
    }

    #[test]
    fn teredo_is_a_hop_named_by_both_ends() {
        let ip = tcp6(b"hello");
        let path = "teredo 882291277";
        let auth = [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0];
        let origin = [0, 0, 0xff, 0x01, 0xf5, 0xff, 0xff, 0xfa];
        assert_eq!(over(5555, 3544, &ip), hello6(path));
        assert_eq!(over(3544, 5555, &cat(&[&origin, &ip])), hello6(path));
        assert_eq!(over(3544, 5555, &cat(&[&auth, &ip])), hello6(path));
        assert_eq!(over(3544, 5555, &cat(&[&auth, &origin, &ip])), hello6(path));
    }

    #[test]
    fn what_only_looks_like_a_tunnel_is_a_datagram() {
        let frame = eth(0x0800, &tcp4(b"hello"));
        for (port, payload) in [
            (4789, b"hello".to_vec()),
            (4789, vxlan(1, &eth(0x0806, &[0; 28]))),
            (4789, vxlan(1, &eth(0x8100, &tag(7, 0x0806, &[0; 28])))),
            (4789, vxlan(1, &frame[..20])),
            (6081, geneve(1, 0x0806, &[], &[0; 28])),
            (6081, geneve(1, 0x6558, &[], b"x")),
            (2152, gtp(0, &[], b"hello")),
            (3544, b"`not IPv6, though it begins with the nibble 6".to_vec()),
            // The inner packet claims to be longer than the datagram.
            (3544, tcp6(b"hello")[..50].to_vec()),
        ] {
            assert_eq!(over(5555, port, &payload), plain(5555, port, &payload));
        }
    }

    #[test]
    fn an_ip_packet_inside_settles_it() {
        let icmp = vxlan(1, &eth(0x0800, &ipv4(1, &[8, 0, 0, 0])));
        assert_eq!(over(5555, 4789, &icmp), "vxlan 1: other");
        let short = vxlan(1, &eth(0x0800, &ipv4(6, &[0; 10])));
        assert_eq!(over(5555, 4789, &short), "vxlan 1: malformed");
    }

    #[test]
    fn a_full_path_leaves_the_datagram() {
        let mut packet = ipv4(17, &udp(1, 4789, &vxlan(5, &eth(0x0800, &tcp4(b"hello")))));
        for _ in 0..5 {
            packet = ipv4(4, &packet);
        }
        assert!(said::of(LinkType::RAW, &packet).starts_with("ip 882291277, "));
        assert_eq!(said::of(LinkType::RAW, &packet).matches("tcp").count(), 1);
        let packet = ipv4(4, &packet);
        assert_eq!(said::of(LinkType::RAW, &packet).matches("udp").count(), 1);
    }
}
