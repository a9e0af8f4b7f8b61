//! Why frames have no content: how many for which reason.

use crate::ip;
use crate::walk::{End, Layer};

/// Frames without content so far, by why. The first six are malformed, the others nothing that is decoded further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The snap length cut them in their headers.
    pub cut: u64,
    /// A header below IP is cut short or contradicts itself.
    pub link: u64,
    /// One of IP, or an extension or a fragment header.
    pub ip: u64,
    /// One of TCP.
    pub tcp: u64,
    /// One of UDP.
    pub udp: u64,
    /// One of a tunnel.
    pub tunnel: u64,
    /// Their interface's link type is not known.
    pub link_type: u64,
    /// What is in the link layer is not IP.
    pub not_ip: u64,
    /// An IP protocol other than TCP and UDP, or something in a tunnel, that is not gone into.
    pub protocol: u64,
    /// More headers, or more VLANs and tunnels, than are gone through.
    pub depth: u64,
}

impl Refused {
    /// Counts a frame that ended so at this header (with none, at its link type); `cut`: it is not there whole.
    pub(crate) const fn note(&mut self, end: End, at: Option<Layer>, cut: bool) {
        let counter = match (end, at) {
            (End::Malformed, _) if cut => &mut self.cut,
            (End::Malformed, Some(Layer::Ip | Layer::Ipv4 | Layer::Ipv6)) => &mut self.ip,
            (End::Malformed, Some(Layer::Protocol(ip::TCP))) => &mut self.tcp,
            (End::Malformed, Some(Layer::Protocol(ip::UDP))) => &mut self.udp,
            (End::Malformed, Some(Layer::Protocol(ip::GRE | ip::IPV4 | ip::IPV6))) => &mut self.tunnel,
            (End::Malformed, Some(Layer::Protocol(_))) => &mut self.ip,
            (End::Malformed, _) => &mut self.link,
            (End::Deep, _) => &mut self.depth,
            (End::Other, None) => &mut self.link_type,
            (End::Other, Some(Layer::Ip | Layer::Ipv4 | Layer::Ipv6 | Layer::Protocol(_))) => &mut self.protocol,
            (End::Other, Some(_)) => &mut self.not_ip,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use streamdb_types::{LinkType, Timestamp};

    use super::Refused;
    use crate::{Config, Content, Decoder, frames};

    fn of(link: LinkType, frame: &[u8], wire_len: usize) -> Refused {
        let mut decoder = Decoder::new(Config::default());
        decoder.decode(link, frame, wire_len as u32, Timestamp(0), 1);
        *decoder.refused()
    }

    fn ethernet(frame: &[u8]) -> Refused {
        of(LinkType::ETHERNET, frame, frame.len())
    }

    #[test]
    fn each_frame_without_content_has_its_reason() {
        let (_, tcp) = frames::every_kind(b"hello").into_iter().find(|(name, _)| *name == "tcp4").unwrap();
        let changed = |changes: &[(usize, u8)]| {
            let mut frame = tcp.clone();
            changes.iter().for_each(|(at, value)| frame[*at] = *value);
            frame
        };
        let none = Refused::default();
        assert_eq!(ethernet(&tcp), none);
        assert_eq!(of(LinkType::ETHERNET, &tcp[..20], tcp.len()), Refused { cut: 1, ..none });
        assert_eq!(ethernet(&tcp[..10]), Refused { link: 1, ..none });
        assert_eq!(ethernet(&tcp[..20]), Refused { ip: 1, ..none });
        // A TCP header of less than five words.
        assert_eq!(ethernet(&changed(&[(46, 0x10)])), Refused { tcp: 1, ..none });
        // UDP, whose length field is what were the high bytes of the sequence number.
        assert_eq!(ethernet(&changed(&[(23, 17), (38, 0), (39, 3)])), Refused { udp: 1, ..none });
        assert_eq!(ethernet(&changed(&[(23, 47)])[..36]), Refused { tunnel: 1, ..none });
        assert_eq!(of(LinkType(9999), &tcp, tcp.len()), Refused { link_type: 1, ..none });
        // ARP, and ICMP.
        assert_eq!(ethernet(&changed(&[(12, 8), (13, 6)])), Refused { not_ip: 1, ..none });
        assert_eq!(ethernet(&changed(&[(23, 1)])), Refused { protocol: 1, ..none });
        let mut deep = tcp[..12].to_vec();
        (0..20).for_each(|_| deep.extend([0x81, 0x00, 0x00, 0x07]));
        deep.extend(&tcp[12..]);
        assert_eq!(ethernet(&deep), Refused { depth: 1, ..none });
    }

    #[test]
    fn each_outcome_is_counted_once() {
        let mut decoder = Decoder::new(Config::default());
        let (mut malformed, mut other) = (0, 0);
        for (_, frame) in frames::every_kind(b"hello") {
            for cut in 0..frame.len() {
                for wire in [cut, frame.len()] {
                    match decoder.decode(LinkType::ETHERNET, &frame[..cut], wire as u32, Timestamp(0), 1).content {
                        Content::Malformed => malformed += 1,
                        Content::Other => other += 1,
                        _ => {}
                    }
                }
            }
        }
        let Refused { cut, link, ip, tcp, udp, tunnel, link_type, not_ip, protocol, depth } = *decoder.refused();
        assert!(malformed > 0 && other > 0);
        assert_eq!((cut + link + ip + tcp + udp + tunnel, link_type + not_ip + protocol + depth), (malformed, other));
    }
}
