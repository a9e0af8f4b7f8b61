//! The short way for what nearly every frame is: Ethernet, plain IPv4 or IPv6, TCP or UDP. Whatever is not plain goes the
//! long way (`walk.rs`), which gives the same answer for all of these; a test holds the two together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use streamdb_types::{Endpoint, Path, SeqNum};

use crate::packet::{Content, Decoded, TcpFlags, TcpSegment, UdpDatagram};
use crate::{ip, udp_tunnel};

/// Decodes a plain Ethernet frame; `None` when anything about it is not plain.
#[inline]
pub(crate) fn ethernet(frame: &[u8]) -> Option<Decoded<'_>> {
    let (header, packet) = frame.split_first_chunk::<14>()?;
    match [header[12], header[13]] {
        [0x08, 0x00] => {
            let (h, rest) = packet.split_first_chunk::<20>()?;
            // No options, no fragment.
            if h[0] != 0x45 || u16::from_be_bytes([h[6], h[7]]) & 0x3fff != 0 {
                return None;
            }
            let wire = usize::from(u16::from_be_bytes([h[2], h[3]])).checked_sub(20)?;
            let src = IpAddr::V4(Ipv4Addr::new(h[12], h[13], h[14], h[15]));
            let dst = IpAddr::V4(Ipv4Addr::new(h[16], h[17], h[18], h[19]));
            transport(h[9], src, dst, rest, wire, 34)
        }
        [0x86, 0xdd] => {
            let (h, rest) = packet.split_first_chunk::<40>()?;
            if h[0] >> 4 != 6 {
                return None;
            }
            let wire = usize::from(u16::from_be_bytes([h[4], h[5]]));
            if wire == 0 {
                return None;
            }
            let (_, addrs) = h.split_first_chunk::<8>()?;
            let (src, dst) = addrs.split_first_chunk::<16>()?;
            let src = IpAddr::V6(Ipv6Addr::from(*src));
            let dst = IpAddr::V6(Ipv6Addr::from(*dst.first_chunk::<16>()?));
            transport(h[6], src, dst, rest, wire, 54)
        }
        _ => None,
    }
}

#[inline]
fn transport(number: u8, src: IpAddr, dst: IpAddr, rest: &[u8], wire: usize, at: usize) -> Option<Decoded<'_>> {
    let segment = rest.get(..wire).unwrap_or(rest);
    let (content, header_len) = match number {
        ip::TCP => tcp(src, dst, segment, wire)?,
        ip::UDP => udp(src, dst, segment, wire)?,
        _ => return None,
    };
    Some(Decoded { path: Path::EMPTY, content, payload_at: at + header_len, pieces: &[] })
}

#[inline]
fn tcp(src: IpAddr, dst: IpAddr, segment: &[u8], wire: usize) -> Option<(Content<'_>, usize)> {
    let h = segment.first_chunk::<20>()?;
    let header_len = usize::from(h[12] >> 4) * 4;
    let flags = TcpFlags(h[13]);
    // A SYN has options that are looked at.
    if header_len < 20 || flags.contains(TcpFlags::SYN) {
        return None;
    }
    let payload = segment.get(header_len..)?;
    let content = Content::Tcp(TcpSegment {
        src: Endpoint::new(src, u16::from_be_bytes([h[0], h[1]])),
        dst: Endpoint::new(dst, u16::from_be_bytes([h[2], h[3]])),
        seq: SeqNum(u32::from_be_bytes([h[4], h[5], h[6], h[7]])),
        ack: SeqNum(u32::from_be_bytes([h[8], h[9], h[10], h[11]])),
        flags,
        window: u16::from_be_bytes([h[14], h[15]]),
        window_scale: None,
        payload,
        // Below 64 KiB, and the header lies within it.
        wire_len: (wire - header_len) as u32,
        checksum_ok: None,
    });
    Some((content, header_len))
}

#[inline]
fn udp(src: IpAddr, dst: IpAddr, segment: &[u8], wire: usize) -> Option<(Content<'_>, usize)> {
    let (h, rest) = segment.split_first_chunk::<8>()?;
    let (from, to) = (u16::from_be_bytes([h[0], h[1]]), u16::from_be_bytes([h[2], h[3]]));
    let length = usize::from(u16::from_be_bytes([h[4], h[5]]));
    if udp_tunnel::may_be(from, to) || length > wire {
        return None;
    }
    let wire = length.checked_sub(8)?;
    let content = Content::Udp(UdpDatagram {
        src: Endpoint::new(src, from),
        dst: Endpoint::new(dst, to),
        payload: rest.get(..wire).unwrap_or(rest),
        // Below 64 KiB.
        wire_len: wire as u32,
        checksum_ok: None,
    });
    Some((content, 8))
}
