//! Frames built by hand, with right lengths and checksums, for all tests of this crate.
#![allow(dead_code, missing_docs, clippy::indexing_slicing, reason = "shared by several test binaries; only for tests")]

pub const CLIENT: [u8; 4] = [10, 0, 0, 5];
pub const SERVER: [u8; 4] = [203, 0, 113, 9];

pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The internet checksum, the obvious way.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0u64;
    for pair in bytes.chunks(2) {
        total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

pub fn eth(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ethertype.to_be_bytes(), payload])
}

/// What follows a VLAN ethertype.
pub fn tag(id: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&(0xa000 | id).to_be_bytes(), &ethertype.to_be_bytes(), payload])
}

pub fn tcp(src: u16, dst: u16, seq: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let offset = (5 + options.len() / 4) as u8;
    cat(&[
        &src.to_be_bytes(),
        &dst.to_be_bytes(),
        &seq.to_be_bytes(),
        &7u32.to_be_bytes(),
        &[offset << 4, flags],
        &8192u16.to_be_bytes(),
        &[0, 0, 0, 0],
        options,
        payload,
    ])
}

pub fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() + 8) as u16;
    cat(&[&src.to_be_bytes(), &dst.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload])
}

fn with_checksum(protocol: u8, addrs: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut out = segment.to_vec();
    let at = match protocol {
        6 if out.len() >= 20 => 16,
        17 if out.len() >= 8 => 6,
        _ => return out,
    };
    let pseudo = cat(&[addrs, &(out.len() as u32).to_be_bytes(), &[0, 0, 0, protocol], &out]);
    out[at..at + 2].copy_from_slice(&sum(&pseudo).to_be_bytes());
    out
}

pub fn ipv4_of(protocol: u8, src: [u8; 4], dst: [u8; 4], options: &[u8], payload: &[u8]) -> Vec<u8> {
    let payload = with_checksum(protocol, &[src, dst].concat(), payload);
    ipv4_header(protocol, src, dst, 1, 0, options, &payload)
}

pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_of(protocol, CLIENT, SERVER, &[], payload)
}

/// `field` is flags and fragment offset as they stand in the header.
fn ipv4_header(p: u8, src: [u8; 4], dst: [u8; 4], id: u16, field: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let header_len = 20 + options.len();
    let mut out = cat(&[
        &[0x40 | (header_len / 4) as u8, 0],
        &((header_len + payload.len()) as u16).to_be_bytes(),
        &id.to_be_bytes(),
        &field.to_be_bytes(),
        &[64, p, 0, 0],
        &src,
        &dst,
        options,
    ]);
    let check = sum(&out);
    out[10..12].copy_from_slice(&check.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

pub fn ipv4_fragment(protocol: u8, id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    ipv4_header(protocol, CLIENT, SERVER, id, (offset / 8) as u16 | u16::from(more) << 13, &[], payload)
}

/// The IPv6 address that ends in this byte.
pub fn addr6(last: u8) -> [u8; 16] {
    let mut addr = [0; 16];
    (addr[0], addr[15]) = (0xfd, last);
    addr
}

pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (addr6(1), addr6(2));
    let payload = with_checksum(next, &[src, dst].concat(), payload);
    ipv6_raw(next, &payload)
}

fn ipv6_raw(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    cat(&[&[0x60, 0, 0, 0], &length.to_be_bytes(), &[next, 64], &addr6(1), &addr6(2), payload])
}

pub fn ipv6_fragment(next: u8, id: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let field = (offset as u16 & !7) | u16::from(more);
    ipv6_raw(44, &cat(&[&[next, 0], &field.to_be_bytes(), &id.to_be_bytes(), payload]))
}

/// A transport segment with its checksum, as it is before it is cut into fragments.
pub fn summed4(protocol: u8, segment: &[u8]) -> Vec<u8> {
    with_checksum(protocol, &[CLIENT, SERVER].concat(), segment)
}

pub fn summed6(protocol: u8, segment: &[u8]) -> Vec<u8> {
    with_checksum(protocol, &[addr6(1), addr6(2)].concat(), segment)
}

/// IPv4 and TCP with this payload.
pub fn tcp4(payload: &[u8]) -> Vec<u8> {
    ipv4(6, &tcp(49211, 80, 1000, 0x18, &[], payload))
}

pub fn tcp6(payload: &[u8]) -> Vec<u8> {
    ipv6(6, &tcp(49211, 80, 1000, 0x18, &[], payload))
}

/// As `tcp6`, to the address of a Teredo client; with the word after its prefix the checksum stays right.
pub fn teredo6(payload: &[u8]) -> Vec<u8> {
    let mut packet = tcp6(payload);
    packet[24..30].copy_from_slice(&[0x20, 1, 0, 0, 0xdc, 0xff]);
    packet
}

pub fn udp4(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    ipv4(17, &udp(src, dst, payload))
}

pub fn udp6(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    ipv6(17, &udp(src, dst, payload))
}

/// What follows an IPv6 extension header number: the next one, and options of `8 * n` bytes in all.
pub fn extension(next: u8, n: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; usize::from(n) * 8];
    (header[0], header[1]) = (next, n - 1);
    cat(&[&header, payload])
}

pub fn gre(flags: u16, protocol: u16, fields: &[u8], payload: &[u8]) -> Vec<u8> {
    cat(&[&flags.to_be_bytes(), &protocol.to_be_bytes(), fields, payload])
}

pub fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    cat(&[&[8, 0, 0, 0], &(vni << 8).to_be_bytes(), frame])
}

pub fn geneve(vni: u32, protocol: u16, options: &[u8], inner: &[u8]) -> Vec<u8> {
    cat(&[&[(options.len() / 4) as u8, 0], &protocol.to_be_bytes(), &(vni << 8).to_be_bytes(), options, inner])
}

/// `fields` is what the flags ask for.
pub fn gtp(flags: u8, fields: &[u8], inner: &[u8]) -> Vec<u8> {
    let length = (fields.len() + inner.len()) as u16;
    cat(&[&[0x30 | flags, 255], &length.to_be_bytes(), &[0, 0, 0, 9], fields, inner])
}

pub fn pppoe(session: u16, protocol: u16, inner: &[u8]) -> Vec<u8> {
    let length = (inner.len() + 2) as u16;
    cat(&[&[0x11, 0], &session.to_be_bytes(), &length.to_be_bytes(), &protocol.to_be_bytes(), inner])
}

/// Frames of every kind that is decoded, by name: Ethernet all of them.
pub fn every_kind(payload: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let inner = eth(0x0800, &tcp4(payload));
    let snap = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &tcp4(payload)]);
    let plain6 = summed6(6, &tcp(1, 2, 3, 16, &[], payload));
    vec![
        ("tcp4", eth(0x0800, &tcp4(payload))),
        ("tcp6", eth(0x86dd, &tcp6(payload))),
        ("udp4", eth(0x0800, &udp4(5000, 53, payload))),
        ("udp6", eth(0x86dd, &udp6(5000, 53, payload))),
        ("syn", eth(0x0800, &ipv4(6, &tcp(1, 2, 3, 2, &[2, 4, 5, 180, 1, 3, 3, 7], payload)))),
        ("ip options", eth(0x0800, &ipv4_of(6, CLIENT, SERVER, &[1, 1, 1, 0], &tcp(1, 2, 3, 16, &[], payload)))),
        ("vlan", eth(0x8100, &tag(7, 0x0800, &tcp4(payload)))),
        ("qinq", eth(0x88a8, &tag(7, 0x8100, &tag(8, 0x86dd, &tcp6(payload))))),
        ("snap", eth(snap.len() as u16, &snap)),
        ("mpls", eth(0x8847, &cat(&[&[0, 1, 0, 64, 0, 2, 1, 64], &tcp4(payload)]))),
        ("mpls ethernet", eth(0x8847, &cat(&[&[0, 2, 1, 64, 0, 0, 0, 0], &inner]))),
        ("pppoe", eth(0x8864, &pppoe(17, 0x0021, &tcp4(payload)))),
        ("extensions", eth(0x86dd, &ipv6(0, &extension(60, 1, &extension(6, 2, &plain6))))),
        ("ipip", eth(0x0800, &ipv4(4, &tcp4(payload)))),
        ("6in4", eth(0x0800, &ipv4(41, &udp6(1, 2, payload)))),
        ("4in6", eth(0x86dd, &ipv6(4, &udp4(1, 2, payload)))),
        ("gre", eth(0x0800, &ipv4(47, &gre(0x2000, 0x0800, &[0, 0, 1, 0], &tcp4(payload))))),
        ("gre bridging", eth(0x0800, &ipv4(47, &gre(0, 0x6558, &[], &inner)))),
        ("erspan", eth(0x0800, &ipv4(47, &gre(0x1000, 0x88be, &[0, 0, 0, 1, 0x10, 0, 0, 5, 0, 0, 0, 0], &inner)))),
        ("vxlan", eth(0x0800, &udp4(5555, 4789, &vxlan(4242, &inner)))),
        ("geneve", eth(0x86dd, &udp6(5555, 6081, &geneve(77, 0x6558, &[0; 8], &inner)))),
        ("gtp", eth(0x0800, &udp4(2152, 2152, &gtp(2, &[0, 1, 0, 0], &tcp4(payload))))),
        ("gre over udp", eth(0x0800, &udp4(5555, 4754, &gre(0, 0x0800, &[], &tcp4(payload))))),
        ("teredo", eth(0x0800, &udp4(5555, 3544, &tcp6(payload)))),
        ("teredo elsewhere", eth(0x0800, &udp4(5555, 32900, &teredo6(payload)))),
        ("backbone", eth(0x88e7, &cat(&[&[0, 0, 0x12, 0x34], &inner]))),
        ("vn-tag", eth(0x8926, &cat(&[&[0, 0, 0, 0x33, 8, 0], &tcp4(payload)]))),
        ("e-tag", eth(0x893f, &cat(&[&[0, 0, 0, 1, 0, 0, 8, 0], &tcp4(payload)]))),
        ("fragment", eth(0x0800, &ipv4_fragment(17, 9, 0, true, &udp(1, 2, &cat(&[payload, &[0; 16]]))))),
        ("last fragment", eth(0x0800, &ipv4_fragment(17, 9, 16, false, payload))),
        ("fragment6", eth(0x86dd, &ipv6_fragment(17, 9, 0, true, &udp(1, 2, &cat(&[payload, &[0; 16]]))))),
        ("last fragment6", eth(0x86dd, &ipv6_fragment(17, 9, 16, false, payload))),
    ]
}
