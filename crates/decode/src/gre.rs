//! GRE, and what is carried in it: IP, PPP (PPTP), label stacks, Ethernet, ERSPAN.

use streamdb_types::{Hop, HopKind};

use crate::ip::pair_id;
use crate::link::{by_ethertype, is_vlan};
use crate::span::Span;
use crate::walk::{End, Layer, Next, Walk};

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGMENT: u16 = 0x0080;

const PPP: u16 = 0x880b;
const ETHERNET: u16 = 0x6558;
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;

/// The lowest number of a virtual network of NVGRE (RFC 7637 §3.2).
const LOWEST_SUBNET: u32 = 0x1000;

/// The most source route entries that are gone through.
const MAX_ROUTES: usize = 16;

/// A GRE header and what it leads to.
pub(crate) fn gre<'s>(walk: &mut Walk, span: Span<'s>) -> Next<'s> {
    let (&[f0, f1, p0, p1], rest) = span.take::<4>().ok_or(End::Malformed)?;
    let (flags, protocol) = (u16::from_be_bytes([f0, f1]), u16::from_be_bytes([p0, p1]));
    match flags & 7 {
        0 => version0(walk, flags, protocol, rest),
        1 if protocol == PPP => pptp(walk, flags, rest),
        _ => Err(End::Other),
    }
}

/// RFC 2784 with the fields of RFC 2890 and RFC 1701.
fn version0<'s>(walk: &mut Walk, flags: u16, protocol: u16, mut rest: Span<'s>) -> Next<'s> {
    if flags & (CHECKSUM | ROUTING) != 0 {
        rest = rest.skip(4).ok_or(End::Malformed)?;
    }
    let mut key = None;
    if flags & KEY != 0 {
        let (bytes, after) = rest.take::<4>().ok_or(End::Malformed)?;
        (key, rest) = (Some(u32::from_be_bytes(*bytes)), after);
    }
    if flags & SEQUENCE != 0 {
        rest = rest.skip(4).ok_or(End::Malformed)?;
    }
    if flags & ROUTING != 0 {
        rest = routes(rest)?;
    }
    match protocol {
        ERSPAN if flags & SEQUENCE == 0 => {
            // Type I has no header, and no session.
            walk.push(Hop { kind: HopKind::Erspan, id: 0 })?;
            Ok((Layer::Ethernet, rest))
        }
        ERSPAN => erspan(walk, rest, 1),
        ERSPAN_III => erspan(walk, rest, 2),
        _ => {
            let layer = if protocol == PPP { Layer::Ppp } else { by_ethertype(protocol)? };
            let id = match key {
                // NVGRE: the low 8 bits of its key tell flows apart, not networks, and each sender chooses them (RFC 7637 §3.2).
                Some(key) if protocol == ETHERNET && flags == KEY && key >> 8 >= LOWEST_SUBNET => key >> 8,
                Some(key) => key,
                None => pair_id(&walk.net),
            };
            walk.push(Hop { kind: HopKind::Gre, id })?;
            Ok((layer, rest))
        }
    }
}

/// Source routes (RFC 1701): each says its length, one of length 0 is the last.
fn routes(mut rest: Span<'_>) -> Result<Span<'_>, End> {
    for _ in 0..MAX_ROUTES {
        let (&[_, _, _, length], after) = rest.take::<4>().ok_or(End::Malformed)?;
        rest = after.skip(length.into()).ok_or(End::Malformed)?;
        if length == 0 {
            return Ok(rest);
        }
    }
    Err(End::Other)
}

/// Enhanced GRE (RFC 2637 §4.1). Its key has a call id that differs by direction, so the addresses name the hop.
fn pptp<'s>(walk: &mut Walk, flags: u16, rest: Span<'s>) -> Next<'s> {
    if flags & SEQUENCE == 0 {
        // Only an acknowledgment.
        return Err(End::Other);
    }
    let (&[length_high, length_low, _, _], rest) = rest.take::<4>().ok_or(End::Malformed)?;
    let fields = if flags & ACKNOWLEDGMENT != 0 { 8 } else { 4 };
    let rest = rest.skip(fields).ok_or(End::Malformed)?;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    walk.push(Hop { kind: HopKind::Gre, id: pair_id(&walk.net) })?;
    Ok((Layer::Ppp, if length < rest.wire { rest.with_wire(length) } else { rest }))
}

/// ERSPAN type II (version 1) and III (version 2) (draft-foschiano-erspan-03 §4.2, §4.3). The VLAN of the mirrored frame stands
/// in the header when the mirror took its tag away, or when it had none; a tag that is left is a hop where it stands.
fn erspan<'s>(walk: &mut Walk, span: Span<'s>, version: u8) -> Next<'s> {
    let (&[first, vlan, encapsulation, ..], type2) = span.take::<8>().ok_or(End::Malformed)?;
    if first >> 4 != version {
        return Err(End::Other);
    }
    let (layer, rest) = if version == 2 {
        let (&[_, _, kind, direction], type3) = type2.take::<4>().ok_or(End::Malformed)?;
        // The frame type: Ethernet, or IP without it.
        let layer = match kind >> 2 & 0x1f {
            0 => Layer::Ethernet,
            2 => Layer::Ip,
            _ => return Err(End::Other),
        };
        // The O bit: a platform specific subheader follows.
        (layer, if direction & 1 != 0 { type3.skip(8).ok_or(End::Malformed)? } else { type3 })
    } else {
        (Layer::Ethernet, type2)
    };
    walk.push(Hop { kind: HopKind::Erspan, id: 0 })?;
    let vlan = u16::from_be_bytes([first & 0x0f, vlan]);
    // Of type II the field says nothing when the tag is kept.
    let said = version == 2 || encapsulation >> 3 & 3 != 3;
    let tagged = layer == Layer::Ethernet
        && rest.take::<14>().is_some_and(|(header, _)| is_vlan(u16::from_be_bytes([header[12], header[13]])));
    if vlan != 0 && said && !tagged {
        walk.push(Hop { kind: HopKind::Vlan, id: vlan.into() })?;
    }
    Ok((layer, rest))
}

#[cfg(test)]
mod tests {
    use streamdb_types::LinkType;

    use crate::frames::{self, CLIENT, SERVER, cat, eth, ipv4, tag, tcp4, tcp6};
    use crate::said::{self, hello4, hello6};

    /// The hash of the builder's two IPv4 addresses.
    const ID: u32 = 882_291_277;

    fn gre(flags: u16, protocol: u16, fields: &[u8], inner: &[u8]) -> String {
        said::of(LinkType::RAW, &ipv4(47, &frames::gre(flags, protocol, fields, inner)))
    }

    #[test]
    fn all_fields_are_passed() {
        let no_key = hello4(&format!("gre {ID}"));
        let (ip, word) = (tcp4(b"hello"), [0, 0, 1, 0]);
        assert_eq!(gre(0, 0x0800, &[], &ip), no_key);
        assert_eq!(gre(0x8000, 0x0800, &word, &ip), no_key);
        assert_eq!(gre(0x1000, 0x0800, &word, &ip), no_key);
        assert_eq!(gre(0x2000, 0x0800, &word, &ip), hello4("gre 256"));
        assert_eq!(gre(0xb000, 0x86dd, &word.repeat(3), &tcp6(b"hello")), hello6("gre 256"));
        let routes = [0, 0, 0, 0, 8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0];
        assert_eq!(gre(0x4000, 0x0800, &routes, &ip), no_key);
        assert_eq!(gre(0x4000, 0x0800, &routes[..12], &[]), ": malformed");
        assert_eq!(gre(0x2000, 0x0800, &word[..3], &[]), ": malformed");
        assert_eq!(gre(0, 0x2000, &[], &ip), ": other", "a protocol that is not known");
        assert_eq!(gre(3, 0x0800, &[], &ip), ": other", "a version that is not known");
    }

    #[test]
    fn the_addresses_name_it_in_both_directions() {
        let back = frames::ipv4_of(47, SERVER, CLIENT, &[], &frames::gre(0, 0x0800, &[], &tcp4(b"hello")));
        assert_eq!(said::of(LinkType::RAW, &back), hello4(&format!("gre {ID}")));
    }

    #[test]
    fn it_carries_more_than_ip() {
        let frame = eth(0x0800, &tcp4(b"hello"));
        assert_eq!(gre(0, 0x6558, &[], &frame), hello4(&format!("gre {ID}")));
        assert_eq!(gre(0, 0x8847, &[], &cat(&[&[0, 0, 1, 9], &tcp4(b"hello")])), hello4(&format!("gre {ID}")));
    }

    #[test]
    fn the_flow_of_nvgre_is_no_network() {
        let frame = eth(0x0800, &tcp4(b"hello"));
        for flow in [0, 1, 255] {
            assert_eq!(gre(0x2000, 0x6558, &[0, 0x10, 0x07, flow], &frame), hello4("gre 4103"));
        }
        // A number that NVGRE does not give out, and fields that it does not have: a key like any other.
        assert_eq!(gre(0x2000, 0x6558, &[0, 0x0f, 0xff, 2], &frame), hello4("gre 1048322"));
        assert_eq!(gre(0x3000, 0x6558, &[0, 0x10, 0x07, 2, 0, 0, 0, 1], &frame), hello4("gre 1050370"));
        assert_eq!(gre(0x2000, 0x0800, &[0, 0x10, 0x07, 2], &tcp4(b"hello")), hello4("gre 1050370"));
    }

    #[test]
    fn pptp_carries_ppp() {
        let ppp = cat(&[&[0xff, 3, 0, 0x21], &tcp4(b"hello")]);
        let length = (ppp.len() as u16).to_be_bytes();
        let key = cat(&[&length, &[0, 9]]);
        let path = format!("gre {ID}");
        assert_eq!(gre(0x3001, 0x880b, &cat(&[&key, &[0; 4]]), &ppp), hello4(&path));
        assert_eq!(gre(0x3081, 0x880b, &cat(&[&key, &[0; 8]]), &cat(&[&ppp, &[9; 5]])), hello4(&path));
        assert_eq!(gre(0x2081, 0x880b, &cat(&[&key, &[0; 4]]), &[]), ": other", "an acknowledgment");
    }

    #[test]
    fn erspan_is_a_hop() {
        let frame = eth(0x0800, &tcp4(b"hello"));
        assert_eq!(gre(0, 0x88be, &[], &frame), hello4("erspan 0"));
        let two = [0, 0, 0, 1, 0x10, 7, 0xfc, 5, 0, 0, 0, 0];
        assert_eq!(gre(0x1000, 0x88be, &two, &frame), hello4("erspan 0"));
        let three = [0, 0, 0, 1, 0x20, 0, 0xfd, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(gre(0x1000, 0x22eb, &three, &frame), hello4("erspan 0"));
        let mut platform = cat(&[&three, &[0; 8]]);
        platform[15] = 1;
        assert_eq!(gre(0x1000, 0x22eb, &platform, &frame), hello4("erspan 0"));
        let mut ip = three;
        ip[14] = 2 << 2;
        assert_eq!(gre(0x1000, 0x22eb, &ip, &tcp4(b"hello")), hello4("erspan 0"));
        assert_eq!(gre(0x1000, 0x22eb, &two, &frame), ": other", "type II under the number of type III");
    }

    #[test]
    fn a_mirror_says_the_vlan_of_what_it_mirrors() {
        let (plain, tagged) = (eth(0x0800, &tcp4(b"hello")), eth(0x8100, &tag(9, 0x0800, &tcp4(b"hello"))));
        // Of type II: without a tag, with one that was taken away, with one that is kept.
        for (encapsulation, frame, path) in [
            (0x00, &plain, "erspan 0, vlan 263"),
            (0x10, &plain, "erspan 0, vlan 263"),
            (0x18, &plain, "erspan 0"),
            (0x18, &tagged, "erspan 0, vlan 9"),
            (0x10, &tagged, "erspan 0, vlan 9"),
        ] {
            let two = [0, 0, 0, 1, 0x11, 7, encapsulation, 5, 0, 0, 0, 0];
            assert_eq!(gre(0x1000, 0x88be, &two, frame), hello4(path), "{encapsulation}");
        }
        let mut three = [0, 0, 0, 1, 0x21, 7, 0x18, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(gre(0x1000, 0x22eb, &three, &plain), hello4("erspan 0, vlan 263"));
        assert_eq!(gre(0x1000, 0x22eb, &three, &tagged), hello4("erspan 0, vlan 9"));
        three[14] = 2 << 2;
        assert_eq!(gre(0x1000, 0x22eb, &three, &tcp4(b"hello")), hello4("erspan 0, vlan 263"));
    }
}
