//! The short way for what nearly every frame is: Ethernet, perhaps VLAN tags, plain IPv4 or IPv6, TCP or UDP.
//!
//! Whatever is not plain goes the long way (`walk.rs`), which gives the same answer for all of these; a test holds the two
//! together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use streamdb_types::{Endpoint, Hop, HopKind, Path, SeqNum};

use crate::packet::{Content, Decoded, TcpFlags, TcpSegment, UdpDatagram};
use crate::{ip, link, transport, udp_tunnel};

/// The most VLAN tags that are still plain.
const MAX_TAGS: usize = 2;

/// Decodes a plain Ethernet frame, with its VLANs or without; `None` when anything about it is not plain.
#[inline]
pub(crate) fn ethernet(frame: &[u8], fold_vlans: bool) -> Option<Decoded<'_>> {
    let (header, mut rest) = frame.split_first_chunk::<14>()?;
    let mut ethertype = u16::from_be_bytes([header[12], header[13]]);
    let mut path = Path::EMPTY;
    let mut at = 14;
    for _ in 0..MAX_TAGS {
        if !link::is_vlan(ethertype) {
            break;
        }
        let (&[t0, t1, e0, e1], tagged) = rest.split_first_chunk::<4>()?;
        // A tag without a VLAN goes the long way, and a path has room for two.
        let id = u16::from_be_bytes([t0, t1]) & 0x0fff;
        if id == 0 || !fold_vlans && !path.push(Hop { kind: HopKind::Vlan, id: id.into() }) {
            return None;
        }
        (ethertype, rest, at) = (u16::from_be_bytes([e0, e1]), tagged, at + 4);
    }
    match ethertype {
        0x0800 => ipv4(path, rest, at),
        0x86dd => ipv6(path, rest, at),
        _ => None,
    }
}

#[inline]
fn ipv4(path: Path, packet: &[u8], at: usize) -> Option<Decoded<'_>> {
    let (h, rest) = packet.split_first_chunk::<20>()?;
    // No options, no fragment.
    if h[0] != 0x45 || u16::from_be_bytes([h[6], h[7]]) & 0x3fff != 0 {
        return None;
    }
    let wire = usize::from(u16::from_be_bytes([h[2], h[3]])).checked_sub(20)?;
    let src = IpAddr::V4(Ipv4Addr::new(h[12], h[13], h[14], h[15]));
    let dst = IpAddr::V4(Ipv4Addr::new(h[16], h[17], h[18], h[19]));
    let id = u16::from_be_bytes([h[4], h[5]]);
    let (content, header_len) = by_protocol(h[9], src, dst, id, rest, wire)?;
    Some(Decoded { path, content, payload_at: at + 20 + header_len, pieces: &[], differs: false })
}

#[inline]
fn ipv6(path: Path, packet: &[u8], at: usize) -> Option<Decoded<'_>> {
    let (h, rest) = packet.split_first_chunk::<40>()?;
    let wire = usize::from(u16::from_be_bytes([h[4], h[5]]));
    if h[0] >> 4 != 6 || wire == 0 {
        return None;
    }
    let (_, addrs) = h.split_first_chunk::<8>()?;
    let (src, dst) = addrs.split_first_chunk::<16>()?;
    let src = IpAddr::V6(Ipv6Addr::from(*src));
    let dst = IpAddr::V6(Ipv6Addr::from(*dst.first_chunk::<16>()?));
    let (content, header_len) = by_protocol(h[6], src, dst, 0, rest, wire)?;
    Some(Decoded { path, content, payload_at: at + 40 + header_len, pieces: &[], differs: false })
}

/// The content, and the length of its header.
#[inline]
fn by_protocol(
    number: u8,
    src: IpAddr,
    dst: IpAddr,
    id: u16,
    rest: &[u8],
    wire: usize,
) -> Option<(Content<'_>, usize)> {
    let segment = rest.get(..wire).unwrap_or(rest);
    match number {
        ip::TCP => tcp(src, dst, segment, wire),
        ip::UDP => udp(src, dst, id, segment, wire),
        _ => None,
    }
}

#[inline]
fn tcp(src: IpAddr, dst: IpAddr, segment: &[u8], wire: usize) -> Option<(Content<'_>, usize)> {
    let h = segment.first_chunk::<20>()?;
    let header_len = usize::from(h[12] >> 4) * 4;
    let flags = TcpFlags(h[13]);
    let options = segment.get(20..header_len)?;
    let payload = segment.get(header_len..)?;
    let content = Content::Tcp(TcpSegment {
        src: Endpoint::new(src, u16::from_be_bytes([h[0], h[1]])),
        dst: Endpoint::new(dst, u16::from_be_bytes([h[2], h[3]])),
        seq: SeqNum(u32::from_be_bytes([h[4], h[5], h[6], h[7]])),
        ack: SeqNum(u32::from_be_bytes([h[8], h[9], h[10], h[11]])),
        flags,
        window: u16::from_be_bytes([h[14], h[15]]),
        window_scale: if flags.contains(TcpFlags::SYN) { transport::window_scale(options) } else { None },
        payload,
        // Below 64 KiB, and the header lies within it.
        wire_len: (wire - header_len) as u32,
        checksum_ok: None,
    });
    Some((content, header_len))
}

#[inline]
fn udp(src: IpAddr, dst: IpAddr, id: u16, segment: &[u8], wire: usize) -> Option<(Content<'_>, usize)> {
    let (h, rest) = segment.split_first_chunk::<8>()?;
    let (from, to) = (u16::from_be_bytes([h[0], h[1]]), u16::from_be_bytes([h[2], h[3]]));
    let length = usize::from(u16::from_be_bytes([h[4], h[5]]));
    if length > wire {
        return None;
    }
    let wire = length.checked_sub(8)?;
    let payload = rest.get(..wire).unwrap_or(rest);
    if udp_tunnel::may_be(from, to, payload) {
        return None;
    }
    let content = Content::Udp(UdpDatagram {
        src: Endpoint::new(src, from),
        dst: Endpoint::new(dst, to),
        payload,
        // Below 64 KiB.
        wire_len: wire as u32,
        checksum_ok: None,
        id,
    });
    Some((content, 8))
}
