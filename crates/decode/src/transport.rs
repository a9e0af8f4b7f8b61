//! TCP segments and UDP datagrams.

use etherparse::TcpSlice;
use streamdb_types::{Endpoint, SeqNum};

use crate::checksum;
use crate::packet::{Content, TcpFlags, TcpSegment, UdpDatagram};
use crate::span::Span;
use crate::walk::{End, Found, Step, Walk};
use crate::{ip, udp_tunnel};

/// A TCP segment (RFC 9293 §3.1).
pub(crate) fn tcp<'s>(walk: &Walk, span: Span<'s>) -> Step<'s> {
    let Ok(tcp) = TcpSlice::from_slice(span.bytes) else { return cut_tcp(walk, span) };
    let Some(rest) = span.skip(tcp.header_len()) else { return Step::End(End::Malformed) };
    let flags = TcpFlags(tcp.header_slice().get(13).copied().unwrap_or(0));
    let segment = TcpSegment {
        src: Endpoint::new(walk.net.src, tcp.source_port()),
        dst: Endpoint::new(walk.net.dst, tcp.destination_port()),
        seq: SeqNum(tcp.sequence_number()),
        ack: SeqNum(tcp.acknowledgment_number()),
        flags,
        window: tcp.window_size(),
        window_scale: if flags.contains(TcpFlags::SYN) { window_scale(tcp.options()) } else { None },
        payload: &[],
        wire_len: wire_len(rest),
        checksum_ok: checksum_ok(walk, ip::TCP, span),
    };
    Step::Found(Found { content: Content::Tcp(segment), at: rest.at, len: rest.bytes.len() })
}

/// A TCP header of which the snap length cut the options: the payload is missing, but not how much of it there was.
#[cold]
fn cut_tcp<'s>(walk: &Walk, span: Span<'s>) -> Step<'s> {
    let Some((h, options)) = span.take::<20>() else { return Step::End(End::Malformed) };
    let header_len = usize::from(h[12] >> 4) * 4;
    if !(span.bytes.len() + 1..=span.wire).contains(&header_len) {
        return Step::End(End::Malformed);
    }
    let flags = TcpFlags(h[13]);
    let segment = TcpSegment {
        src: Endpoint::new(walk.net.src, u16::from_be_bytes([h[0], h[1]])),
        dst: Endpoint::new(walk.net.dst, u16::from_be_bytes([h[2], h[3]])),
        seq: SeqNum(u32::from_be_bytes([h[4], h[5], h[6], h[7]])),
        ack: SeqNum(u32::from_be_bytes([h[8], h[9], h[10], h[11]])),
        flags,
        window: u16::from_be_bytes([h[14], h[15]]),
        window_scale: if flags.contains(TcpFlags::SYN) { window_scale(options.bytes) } else { None },
        payload: &[],
        wire_len: u32::try_from(span.wire - header_len).unwrap_or(u32::MAX),
        checksum_ok: None,
    };
    Step::Found(Found { content: Content::Tcp(segment), at: span.at + span.bytes.len(), len: 0 })
}

/// The first window scale option (RFC 7323 §2.2) before the end of the options. An option that is not known, or of a wrong
/// length, is passed by its length (RFC 9293 §3.1), at which etherparse's iterator would end.
pub(crate) fn window_scale(mut options: &[u8]) -> Option<u8> {
    loop {
        match options {
            [1, rest @ ..] => options = rest,
            [3, 3, shift, ..] => return Some(*shift),
            [kind, length, ..] if *kind > 1 && *length > 1 => options = options.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

/// A UDP datagram (RFC 768), which may be a tunnel.
pub(crate) fn udp<'s>(walk: &mut Walk, span: Span<'s>) -> Step<'s> {
    let Some((header, _)) = span.take::<8>() else { return Step::End(End::Malformed) };
    let [s0, s1, d0, d1, l0, l1, c0, c1] = *header;
    let (src, dst) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let whole = match usize::from(u16::from_be_bytes([l0, l1])) {
        // A jumbogram (RFC 2675 §4) or segmentation offload: all that IP has.
        0 => span,
        1..8 => return Step::End(End::Malformed),
        n if n <= span.wire => span.with_wire(n),
        // More than IP has: IP is believed.
        _ => span,
    };
    let Some(rest) = whole.skip(8) else { return Step::End(End::Malformed) };
    let absent = [c0, c1] == [0, 0];
    let datagram = UdpDatagram {
        src: Endpoint::new(walk.net.src, src),
        dst: Endpoint::new(walk.net.dst, dst),
        payload: &[],
        wire_len: wire_len(rest),
        checksum_ok: if absent { headers_bad(walk, whole) } else { checksum_ok(walk, ip::UDP, whole) },
        id: walk.net.id,
    };
    let found = Found { content: Content::Udp(datagram), at: rest.at, len: rest.bytes.len() };
    if let Some((hop, layer, inner)) = udp_tunnel::open(src, dst, &walk.net, walk.rules, rest) {
        let outside = walk.path;
        if hop.is_none_or(|hop| walk.push(hop).is_ok()) {
            walk.plain = Some((found, outside));
            return Step::Next(layer, inner);
        }
    }
    Step::Found(found)
}

fn wire_len(payload: Span<'_>) -> u32 {
    u32::try_from(payload.wire).unwrap_or(u32::MAX)
}

fn checksum_ok(walk: &Walk, protocol: u8, segment: Span<'_>) -> Option<bool> {
    if !walk.rules.verify || segment.is_cut() {
        return None;
    }
    if !walk.headers_ok {
        return Some(false);
    }
    walk.net.summable.then(|| checksum::segment_ok(walk.net.src, walk.net.dst, protocol, segment.bytes))
}

/// Without a checksum of its own, a datagram is still wrong when the headers around it are.
fn headers_bad(walk: &Walk, datagram: Span<'_>) -> Option<bool> {
    if walk.rules.verify && !walk.headers_ok && !datagram.is_cut() { Some(false) } else { None }
}

#[cfg(test)]
mod tests {
    use streamdb_types::{LinkType, Timestamp};

    use super::*;
    use crate::frames::{self, cat, eth, extension, ipv4, ipv6, tcp, tcp4, udp4, udp6};
    use crate::said::{self, hello4};
    use crate::{Config, Decoded, Decoder};

    fn segment(options: &[u8], flags: u8) -> TcpSegment<'static> {
        let frame = eth(0x0800, &ipv4(6, &tcp(1, 2, 0xfffffffe, flags, options, b"x")));
        let mut decoder = Decoder::new(Config::default());
        match decoder.decode(LinkType::ETHERNET, &frame, frame.len() as u32, Timestamp(0), 0).content {
            Content::Tcp(s) => TcpSegment { payload: &[], ..s },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn header_fields_are_read() {
        for flags in [0x10, 0x02] {
            let s = segment(&[], flags);
            assert_eq!((s.src.port, s.dst.port, s.seq.0, s.ack.0, s.window), (1, 2, 0xfffffffe, 7, 8192));
            assert_eq!((s.flags, s.window_scale, s.wire_len, s.checksum_ok), (TcpFlags(flags), None, 1, None));
        }
    }

    #[test]
    fn options_that_were_cut_hide_the_payload_alone() {
        let whole = eth(0x0800, &ipv4(6, &tcp(1, 2, 9, 0x02, &[2, 4, 5, 180, 3, 3, 7, 0], b"hello")));
        let mut decoder = Decoder::new(Config::default());
        let mut of = |frame: &[u8]| match decoder.decode(LinkType::ETHERNET, frame, whole.len() as u32, Timestamp(0), 0)
        {
            Decoded { content: Content::Tcp(s), payload_at, .. } => {
                Some((s.seq.0, s.window_scale, s.payload.len(), s.wire_len, payload_at))
            }
            _ => None,
        };
        assert_eq!(of(&whole), Some((9, Some(7), 5, 5, 62)));
        assert_eq!(of(&whole[..62]), Some((9, Some(7), 0, 5, 62)));
        assert_eq!(of(&whole[..61]), Some((9, Some(7), 0, 5, 61)));
        assert_eq!(of(&whole[..54]), Some((9, None, 0, 5, 54)));
        assert_eq!(of(&whole[..53]), None);
        // Not cut, but a lie: the packet ends before the header does.
        let lie = eth(0x0800, &ipv4(6, &tcp(1, 2, 9, 0x02, &[], b"")));
        assert_eq!(said::of(LinkType::ETHERNET, &[&lie[..46], &[0xf0], &lie[47..]].concat()), ": malformed");
    }

    #[test]
    fn window_scale_is_taken_from_syns_only() {
        let options = [2, 4, 5, 180, 1, 3, 3, 7];
        assert_eq!(segment(&options, 0x02).window_scale, Some(7));
        assert_eq!(segment(&options, 0x12).window_scale, Some(7));
        assert_eq!(segment(&options, 0x10).window_scale, None);
        assert_eq!(segment(&[0, 3, 3, 7], 0x02).window_scale, None, "after the end of the options");
        assert_eq!(segment(&[254, 0, 3, 3, 7, 1, 1, 1], 0x02).window_scale, None, "after what has no length");
        assert_eq!(segment(&[1, 3, 3, 9], 0x02).window_scale, Some(9));
        assert_eq!(segment(&[1, 1, 3, 3], 0x02).window_scale, None, "cut");
        // An option that is not known is passed by its length.
        assert_eq!(segment(&[254, 4, 0, 0, 3, 3, 5, 0], 0x02).window_scale, Some(5));
        assert_eq!(segment(&[3, 4, 0, 0, 3, 3, 5, 0], 0x02).window_scale, Some(5), "of a wrong length");
    }

    #[test]
    fn data_offsets_are_checked() {
        let with = |offset: u8| {
            let mut frame = eth(0x0800, &tcp4(b"hello"));
            frame[46] = offset << 4;
            said::of(LinkType::ETHERNET, &frame)
        };
        assert_eq!(with(5), hello4(""));
        assert_eq!(with(6), hello4("").replace("hello", "o"));
        assert_eq!(with(4), ": malformed");
        assert_eq!(with(7), ": malformed");
    }

    #[test]
    fn a_cut_frame_says_what_it_had() {
        let frame = eth(0x0800, &tcp4(b"hello"));
        assert_eq!(said::of(LinkType::ETHERNET, &frame[..56]), format!("{} of 5", hello4("").replace("hello", "he")));
        assert_eq!(said::of(LinkType::ETHERNET, &frame[..50]), ": malformed");
        let frame = eth(0x86dd, &udp6(1, 2, b"hello"));
        assert_eq!(said::of(LinkType::ETHERNET, &frame[..64]), ": udp [fd00::1]:1 > [fd00::2]:2 \"he\" of 5");
        assert_eq!(said::of(LinkType::ETHERNET, &frame[..61]), ": malformed");
    }

    #[test]
    fn udp_lengths_are_not_believed() {
        let with = |length: u16| {
            let mut frame = eth(0x0800, &udp4(1, 2, b"hello"));
            frame[38..40].copy_from_slice(&length.to_be_bytes());
            said::of(LinkType::ETHERNET, &frame).replace(": udp 10.0.0.5:1 > 203.0.113.9:2 ", "")
        };
        assert_eq!(with(13), "\"hello\"");
        assert_eq!(with(0), "\"hello\"");
        assert_eq!(with(10), "\"he\"");
        assert_eq!(with(8), "\"\"");
        assert_eq!(with(7), ": malformed");
        assert_eq!(with(14), "\"hello\"", "IP is believed");
    }

    #[test]
    fn checksums_are_judged_when_they_can_be() {
        let link = LinkType::RAW;
        for packet in [tcp4(b"hello"), frames::tcp6(b"odd"), udp4(1, 2, b"hello"), udp6(1, 2, b"")] {
            assert_eq!(said::summed(link, &packet), Some(true));
            let mut wrong = packet.clone();
            *wrong.last_mut().unwrap() ^= 1;
            assert_eq!(said::summed(link, &wrong), Some(false));
        }
        let packet = tcp4(b"hello");
        assert_eq!(said::summed(link, &packet[..packet.len() - 1]), None, "cut");
        let mut ttl = packet.clone();
        ttl[8] ^= 1;
        assert_eq!(said::summed(link, &ttl), Some(false), "the IPv4 header");
        assert_eq!(said::summed(link, &ipv4(4, &packet)), Some(true));
        assert_eq!(said::summed(link, &ipv4(4, &ttl)), Some(false));
        let mut offloaded = packet;
        offloaded[2..4].fill(0);
        offloaded[10..12].fill(0);
        let check = frames::sum(&offloaded[..20]);
        offloaded[10..12].copy_from_slice(&check.to_be_bytes());
        assert_eq!(said::summed(link, &offloaded), None, "segmentation offload");
        let mut absent = udp4(1, 2, b"hello");
        absent[26..28].fill(0);
        assert_eq!(said::summed(link, &absent), None);
        absent[8] ^= 1;
        assert_eq!(said::summed(link, &absent), Some(false), "the IPv4 header alone");
        // With segments left the final destination is not in the header.
        let mut route = extension(6, 1, &tcp(1, 2, 3, 0, &[], b"hello"));
        route[3] = 1;
        assert_eq!(said::summed(link, &ipv6(43, &route)), None);
        assert_eq!(said::summed(link, &cat(&[&tcp4(b"hello"), &[9]])), Some(true), "padding is not summed");
    }
}
