//! A look at a frame that remembers nothing: what it carries, or, of a fragment, which packet it is of, and of a first one, whose
//! packet that is, or which fragment of another packet it carries. For those who have to know where a frame belongs before anybody
//! takes it.

use std::net::IpAddr;

use streamdb_types::{Endpoint, HopKind, LinkType, Path, Protocol};

use crate::decoder::filled;
use crate::fragments::{Key, Share};
use crate::packet::{Content, Decoded};
use crate::span::Span;
use crate::walk::{Found, Layer, Outcome, Walk};
use crate::{Decoder, fast, ip};

/// What a look at a frame shows.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    /// What it carries; never [`Content::Fragment`].
    Decoded(Decoded<'a>),
    /// A fragment, and what it shows of what its packet carries.
    Fragment(Fragment, Carried),
}

/// What all fragments of a packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketName(Key);

impl PacketName {
    /// Whether it goes through a tunnel: then its fragments need not come as one packet's do that is in none.
    pub fn is_tunnelled(&self) -> bool {
        self.0.path.hops().any(|hop| hop.kind != HopKind::Vlan)
    }

    /// Through which VLANs and tunnels it goes, from whom, and to whom.
    pub const fn between(&self) -> (Path, IpAddr, IpAddr) {
        (self.0.path, self.0.src, self.0.dst)
    }
}

/// A fragment of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which packet it is of.
    pub packet: PacketName,
    /// Where in the packet it belongs.
    pub offset: u32,
    /// Its bytes on the wire.
    pub len: u32,
    /// Whether it is not the last one.
    pub more: bool,
}

/// What the first fragment of a packet shows of what that carries; nothing of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Between whom it goes, inside of all tunnels, if it is TCP's or UDP's.
    pub ends: Option<Ends>,
    /// A fragment of another packet, where the first one is of a tunnel: that packet's ends are shown if it is its first one, too. What
    /// is carried within that again is not looked at.
    pub inside: Option<Fragment>,
}

/// What names a connection, seen from one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The VLANs and tunnels around it.
    pub path: Path,
    /// The sender.
    pub src: Endpoint,
    /// The receiver.
    pub dst: Endpoint,
}

impl Decoder {
    /// Looks at a frame, as [`decode`](Self::decode) does, but keeps no fragment. One that turns out to have no content is counted as
    /// there: it belongs to nobody else, and is not looked at again.
    #[inline]
    pub fn look<'a>(&mut self, link: LinkType, frame: &'a [u8], wire_len: u32) -> Look<'a> {
        if link == LinkType::ETHERNET
            && !self.rules.verify
            && let Some(decoded) = fast::ethernet(frame, self.rules.fold_vlans)
        {
            return Look::Decoded(decoded);
        }
        self.look_closely(link, frame, wire_len)
    }

    fn look_closely<'a>(&mut self, link: LinkType, frame: &'a [u8], wire_len: u32) -> Look<'a> {
        let mut walk = Walk::new(self.rules);
        let wire = usize::try_from(wire_len).unwrap_or(usize::MAX);
        let outcome = walk.begin(link, Span::frame(frame, wire));
        if let Some((end, at)) = walk.refused {
            self.refused.note(end, at, frame.len() < wire);
        }
        match outcome {
            Outcome::Found(found) => Look::Decoded(filled(&walk, found, frame, &[])),
            Outcome::Share(share) => Look::Fragment(Fragment::of(&share), carried(walk, &share, frame)),
        }
    }
}

impl Fragment {
    fn of(share: &Share) -> Self {
        let len = u32::try_from(share.wire).unwrap_or(u32::MAX);
        Self { packet: PacketName(share.key), offset: share.offset, len, more: share.more }
    }
}

/// What a fragment shows of what its packet carries.
fn carried(mut walk: Walk, share: &Share, frame: &[u8]) -> Carried {
    if share.offset > 0 {
        return Carried::default();
    }
    let (src, dst, path) = (walk.net.src, walk.net.dst, walk.path);
    match begun(&mut walk, share, frame) {
        // A fragment header behind another one is in no other packet.
        Some(Outcome::Share(inner)) if inner.key.path != share.key.path => {
            let is_first = inner.offset == 0;
            let (src, dst, path) = (walk.net.src, walk.net.dst, walk.path);
            let deeper = if is_first { begun(&mut walk, &inner, frame) } else { None };
            let ends = if is_first { ends(&walk, deeper, &inner, frame, (src, dst, path)) } else { None };
            Carried { ends, inside: Some(Fragment::of(&inner)) }
        }
        outcome => Carried { ends: ends(&walk, outcome, share, frame, (src, dst, path)), inside: None },
    }
}

/// Goes on into a first fragment as if the rest of its packet were there.
fn begun(walk: &mut Walk, share: &Share, frame: &[u8]) -> Option<Outcome> {
    let span = Span::begun(frame.get(share.at..)?.get(..share.len)?, share.at);
    Some(walk.run(Layer::Protocol(share.next), span))
}

/// Between whom the packet of a first fragment goes that comes from there, where going on into it had this outcome.
fn ends(
    walk: &Walk,
    outcome: Option<Outcome>,
    share: &Share,
    frame: &[u8],
    (src, dst, path): (IpAddr, IpAddr, Path),
) -> Option<Ends> {
    match outcome {
        Some(Outcome::Found(Found { content: Content::Tcp(tcp), .. })) => {
            return Some(of(Protocol::TCP, walk.path, tcp.src, tcp.dst));
        }
        Some(Outcome::Found(Found { content: Content::Udp(udp), .. })) => {
            return Some(of(Protocol::UDP, walk.path, udp.src, udp.dst));
        }
        // Of one fragment within another, and one within that, nobody says whose it is.
        Some(Outcome::Share(_)) => return None,
        _ => {}
    }
    // One that ends within the header of TCP has the ports all the same (RFC 1858 §3).
    let protocol = match share.next {
        ip::TCP => Protocol::TCP,
        ip::UDP => Protocol::UDP,
        _ => return None,
    };
    let [s0, s1, d0, d1] = frame.get(share.at..)?.get(..share.len)?.first_chunk()?;
    let end = |addr: IpAddr, port: [u8; 2]| Endpoint::new(addr, u16::from_be_bytes(port));
    Some(of(protocol, path, end(src, [*s0, *s1]), end(dst, [*d0, *d1])))
}

const fn of(protocol: Protocol, path: Path, src: Endpoint, dst: Endpoint) -> Ends {
    Ends { protocol, path, src, dst }
}

#[cfg(test)]
mod tests {
    use streamdb_types::Timestamp;

    use super::*;
    use crate::Config;
    use crate::frames::{self, CLIENT, SERVER};

    /// The same from a decoder that puts the packet together.
    fn decoded(pieces: &[Vec<u8>]) -> Ends {
        let mut decoder = Decoder::new(Config::default());
        for (tag, frame) in pieces.iter().enumerate() {
            let decoded = decoder.decode(LinkType::RAW, frame, frame.len() as u32, Timestamp(0), tag as u64);
            match decoded.content {
                Content::Tcp(tcp) => return of(Protocol::TCP, decoded.path, tcp.src, tcp.dst),
                Content::Udp(udp) => return of(Protocol::UDP, decoded.path, udp.src, udp.dst),
                _ => {}
            }
        }
        panic!("the packet is not complete");
    }

    /// An IPv4 packet in pieces of at most so many bytes.
    fn pieces(packet: &[u8], most: usize) -> Vec<Vec<u8>> {
        let (header, payload) = packet.split_at(20);
        let last = payload.len().div_ceil(most) - 1;
        let piece = |(n, piece): (usize, &[u8])| {
            let mut header = header.to_vec();
            header[2..4].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
            let place = (n * most / 8) as u16 | if n < last { 0x2000 } else { 0 };
            header[6..8].copy_from_slice(&place.to_be_bytes());
            [&header, piece].concat()
        };
        payload.chunks(most).enumerate().map(piece).collect()
    }

    #[test]
    fn a_first_fragment_shows_whose_packet_it_is() {
        let inner = frames::ipv4_of(17, CLIENT, SERVER, &[], &frames::udp(5000, 6000, &[9; 1000]));
        let frame = frames::eth(0x0800, &inner);
        let vxlan = frames::udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame].concat());
        for (packet, least) in [
            (frames::tcp4(&[7; 100]), 8),
            (inner.clone(), 8),
            (frames::ipv4(17, &vxlan), 64),
            (frames::ipv4(4, &inner), 32),
        ] {
            for most in [least, 72, 400] {
                let all = pieces(&packet, most);
                if all.len() < 2 {
                    continue;
                }
                let mut decoder = Decoder::new(Config::default());
                let mut look = |frame: &[u8]| match decoder.look(LinkType::RAW, frame, frame.len() as u32) {
                    Look::Fragment(fragment, carried) => (fragment, carried),
                    Look::Decoded(decoded) => panic!("{decoded:?}"),
                };
                let (first, carried) = look(&all[0]);
                assert_eq!(carried, Carried { ends: Some(decoded(&all)), inside: None }, "{most}");
                assert_eq!((first.offset, first.len, first.more), (0, most as u32, true));
                let (second, carried) = look(&all[1]);
                assert_eq!((second.packet, second.offset, carried), (first.packet, most as u32, Carried::default()));
            }
        }
    }

    /// A packet in pieces, each of which goes through a tunnel, in pieces again.
    #[test]
    fn a_first_fragment_shows_which_fragment_it_carries() {
        let packet = frames::ipv4_of(17, CLIENT, SERVER, &[], &frames::udp(5000, 6000, &[9; 1000]));
        let wrapped = |inner: &[u8]| {
            let frame = frames::eth(0x0800, inner);
            let vxlan = frames::udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame].concat());
            [frames::ipv4(17, &vxlan), frames::ipv4(4, inner)]
        };
        let mut decoder = Decoder::new(Config::default());
        let mut look = |frame: &[u8]| match decoder.look(LinkType::RAW, frame, frame.len() as u32) {
            Look::Fragment(fragment, carried) => (fragment, carried),
            Look::Decoded(decoded) => panic!("{decoded:?}"),
        };
        let inner = pieces(&packet, 400);
        let whole: Vec<_> = inner.iter().map(|piece| wrapped(piece).map(|frame| look(&frame))).collect();
        for tunnel in 0..2 {
            let all = inner.iter().map(|piece| wrapped(piece)[tunnel].clone());
            for (n, (outer, known)) in all.zip(&whole).enumerate() {
                let (known, shown) = known[tunnel];
                assert!(known.packet.is_tunnelled() && known.packet == whole[0][tunnel].0.packet);
                let parts = pieces(&outer, 104);
                let (first, carried) = look(&parts[0]);
                assert_eq!(carried, Carried { inside: Some(known), ..shown }, "{n}");
                assert_eq!(carried.ends.is_some(), n == 0);
                assert!(!first.packet.is_tunnelled());
                let (second, carried) = look(&parts[1]);
                assert_eq!((second.packet, carried), (first.packet, Carried::default()));
            }
        }
        assert_eq!(whole[0][1].1.ends, Some(Ends { path: whole[0][1].0.packet.0.path, ..whole[0][0].1.ends.unwrap() }));
        // Three deep: nobody says whose that is.
        let deep = pieces(&wrapped(&pieces(&wrapped(&inner[0])[1], 200)[0])[1], 160);
        let (_, carried) = look(&deep[0]);
        assert_eq!((carried.ends, carried.inside.map(|inside| inside.offset)), (None, Some(0)));
    }

    #[test]
    fn what_is_no_fragment_is_what_decoding_says() {
        for (name, frame) in frames::every_kind(b"hello") {
            let (mut looker, mut decoder) = (Decoder::new(Config::default()), Decoder::new(Config::default()));
            let wire = frame.len() as u32 + 7;
            let looked = looker.look(LinkType::ETHERNET, &frame, wire);
            let decoded = decoder.decode(LinkType::ETHERNET, &frame, wire, Timestamp(0), 1);
            match looked {
                Look::Decoded(looked) => assert_eq!(format!("{looked:?}"), format!("{decoded:?}"), "{name}"),
                Look::Fragment(..) => assert!(matches!(decoded.content, Content::Fragment), "{name}"),
            }
            assert_eq!(looker.refused(), decoder.refused(), "{name}");
        }
    }
}
