//! The decoder: one frame after the other, and the fragments in between.

use streamdb_types::{LinkType, Timestamp};

use crate::fast;
use crate::fragments::{FragmentOverlap, Limits, Packet, Pool};
use crate::packet::{Content, Decoded, Piece, TcpSegment, UdpDatagram};
use crate::refused::Refused;
use crate::span::Span;
use crate::walk::{Found, Layer, Outcome, Rules, Walk};

/// How a [`Decoder`] decodes, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether the checksums of TCP, UDP and IPv4 headers are looked at.
    pub verify_checksums: bool,
    /// Whether VLANs are left out of the path: for mirrors on which the two directions of a connection, or copies of the same
    /// frame, come with different tags. Networks that use the same addresses in different VLANs are then one.
    pub fold_vlans: bool,
    /// Whether GTP-U tunnels with different endpoint ids are different networks. As each direction has its own id, each is then a
    /// connection of its own; without, all GTP-U tunnels are one network.
    pub split_teids: bool,
    /// Which copy wins where fragments overlap.
    pub overlap: FragmentOverlap,
    /// The most packets of which fragments are kept; beyond it the oldest is given up.
    pub max_fragment_packets: usize,
    /// The most bytes of memory for fragments; beyond it the oldest packet is given up.
    pub max_fragment_bytes: usize,
    /// How long the fragments of a packet are waited for since its first one came, in nanoseconds.
    pub fragment_timeout: i64,
}

impl Default for Config {
    /// Checksums not looked at, VLANs told apart, endpoint ids not; 4,096 packets, 32 MiB, 30 seconds (Linux's time for IPv4).
    fn default() -> Self {
        Self {
            verify_checksums: false,
            fold_vlans: false,
            split_teids: false,
            overlap: FragmentOverlap::First,
            max_fragment_packets: 4096,
            max_fragment_bytes: 32 << 20,
            fragment_timeout: 30_000_000_000,
        }
    }
}

/// Decodes frames. Its only state is the fragments that wait for the rest of their packets.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) rules: Rules,
    pool: Pool,
    pub(crate) refused: Refused,
    /// The packet that was put together last; the outcome of that frame borrows from it.
    whole: Packet,
}

impl Decoder {
    /// A decoder without fragments.
    pub fn new(config: Config) -> Self {
        let limits = Limits {
            overlap: config.overlap,
            packets: config.max_fragment_packets,
            bytes: config.max_fragment_bytes,
            timeout: config.fragment_timeout,
        };
        let Config { verify_checksums: verify, fold_vlans, split_teids, .. } = config;
        let rules = Rules { verify, fold_vlans, split_teids };
        Self { rules, pool: Pool::new(limits), refused: Refused::default(), whole: Packet::default() }
    }

    /// Decodes one frame of this link type.
    ///
    /// `wire_len` is the frame's length before the snap length cut it, `time` its packet time, and `tag` the caller's number
    /// for it, given back in [`Piece`]s when this frame turns out to carry a fragment.
    #[inline]
    pub fn decode<'a>(
        &'a mut self,
        link: LinkType,
        frame: &'a [u8],
        wire_len: u32,
        time: Timestamp,
        tag: u64,
    ) -> Decoded<'a> {
        if link == LinkType::ETHERNET
            && !self.rules.verify
            && let Some(decoded) = fast::ethernet(frame, self.rules.fold_vlans)
        {
            return decoded;
        }
        self.walk(link, frame, wire_len, time, tag)
    }

    /// Gives up the fragments that have waited for too long.
    pub fn tick(&mut self, now: Timestamp) {
        self.pool.expire(now);
    }

    /// Fragments given up so far: their packet was not complete in time, had too many pieces, or the pool was full.
    pub const fn expired_fragments(&self) -> u64 {
        self.pool.expired
    }

    /// Of those, the ones that were given up as a bound was reached.
    pub const fn evicted_fragments(&self) -> u64 {
        self.pool.evicted
    }

    /// Packets put together from fragments so far.
    pub const fn reassembled_packets(&self) -> u64 {
        self.pool.completed
    }

    /// Frames that turned out to have no content so far, by why.
    pub const fn refused(&self) -> &Refused {
        &self.refused
    }

    /// The long way, for every frame.
    fn walk<'a>(
        &'a mut self,
        link: LinkType,
        frame: &'a [u8],
        wire_len: u32,
        time: Timestamp,
        tag: u64,
    ) -> Decoded<'a> {
        let mut walk = Walk::new(self.rules);
        let wire = usize::try_from(wire_len).unwrap_or(usize::MAX);
        let mut outcome = walk.begin(link, Span::frame(frame, wire));
        let mut in_whole = false;
        // Each turn takes a fragment out of what the last one completed, and the walk's bound on headers ends them.
        let found = loop {
            let share = match outcome {
                Outcome::Found(found) => break found,
                Outcome::Share(share) => share,
            };
            let itself =
                [Piece { tag, frame_at: 0, payload_at: 0, len: u32::try_from(frame.len()).unwrap_or(u32::MAX) }];
            let (source, pieces): (&[u8], &[Piece]) =
                if in_whole { (self.whole.bytes(), self.whole.pieces()) } else { (frame, &itself) };
            let Some(packet) = self.pool.add(&share, source, pieces, time) else {
                return Decoded {
                    path: walk.path,
                    content: Content::Fragment,
                    payload_at: 0,
                    pieces: &[],
                    differs: false,
                };
            };
            let outside = std::mem::replace(&mut self.whole, packet);
            self.whole.differs |= in_whole && outside.differs;
            self.pool.recycle(outside);
            in_whole = true;
            walk.headers_ok = self.whole.headers_ok;
            outcome = walk.run(Layer::Protocol(self.whole.next), Span::packet(self.whole.bytes()));
        };
        if let Some((end, at)) = walk.refused {
            self.refused.note(end, at, frame.len() < wire);
        }
        if !in_whole {
            return filled(&walk, found, frame, &[]);
        }
        self.whole.keep_pieces_of(found.at, found.len);
        let differs = self.whole.differs;
        Decoded { payload_at: 0, differs, ..filled(&walk, found, self.whole.bytes(), self.whole.pieces()) }
    }
}

/// The outcome with its payload.
pub(crate) fn filled<'a>(walk: &Walk, found: Found, source: &'a [u8], pieces: &'a [Piece]) -> Decoded<'a> {
    let payload = source.get(found.at..).and_then(|rest| rest.get(..found.len)).unwrap_or(&[]);
    let content = match found.content {
        Content::Tcp(segment) => Content::Tcp(TcpSegment { payload, ..segment }),
        Content::Udp(datagram) => Content::Udp(UdpDatagram { payload, ..datagram }),
        content => content,
    };
    Decoded { path: walk.path, content, payload_at: found.at, pieces, differs: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames;

    fn both_ways_agree(frame: &[u8]) {
        for fold_vlans in [false, true] {
            both_ways_agree_with(Config { fold_vlans, ..Config::default() }, frame);
        }
    }

    fn both_ways_agree_with(config: Config, frame: &[u8]) {
        let (mut short, mut long) = (Decoder::new(config), Decoder::new(config));
        let wire = frame.len() as u32 + 7;
        let a = short.decode(LinkType::ETHERNET, frame, wire, Timestamp(0), 1);
        let b = long.walk(LinkType::ETHERNET, frame, wire, Timestamp(0), 1);
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Changes hit the headers more often than not, and the length fields now and then.
        #[test]
        fn the_short_way_says_what_the_long_way_says(
            changes in prop::collection::vec((12..70usize, any::<u8>()), 0..4),
            length in prop::option::of((prop::sample::select(vec![16usize, 18, 38, 58]), 0..80u16)),
            cut in any::<prop::sample::Index>(),
        ) {
            for (_, mut frame) in frames::every_kind(b"hello") {
                for (at, value) in &changes {
                    if let Some(byte) = frame.get_mut(*at) {
                        *byte = *value;
                    }
                }
                if let Some((at, value)) = length && let Some(field) = frame.get_mut(at..at + 2) {
                    field.copy_from_slice(&value.to_be_bytes());
                }
                both_ways_agree(&frame);
                both_ways_agree(&frame[..cut.index(frame.len() + 1)]);
            }
        }
    }

    fn path(config: Config, frame: &[u8]) -> String {
        let mut decoder = Decoder::new(config);
        let decoded = decoder.decode(LinkType::ETHERNET, frame, frame.len() as u32, Timestamp(0), 0);
        assert!(matches!(decoded.content, Content::Tcp(_)), "{:?}", decoded.content);
        decoded.path.to_string()
    }

    #[test]
    fn folded_vlans_are_no_hops_wherever_they_stand() {
        let folding = Config { fold_vlans: true, ..Config::default() };
        let inner = frames::eth(0x8100, &frames::tag(9, 0x0800, &frames::tcp4(b"hello")));
        let over = frames::udp4(5555, 4789, &frames::vxlan(42, &inner));
        for (frame, apart, folded) in [
            (frames::eth(0x8100, &frames::tag(7, 0x0800, &frames::tcp4(b"hello"))), "vlan 7", ""),
            (
                frames::eth(0x88a8, &frames::tag(7, 0x8100, &frames::tag(8, 0x86dd, &frames::tcp6(b"x")))),
                "vlan 7, vlan 8",
                "",
            ),
            (frames::eth(0x8100, &frames::tag(7, 0x0800, &over)), "vlan 7, vxlan 42, vlan 9", "vxlan 42"),
        ] {
            assert_eq!((path(Config::default(), &frame), path(folding, &frame)), (apart.to_owned(), folded.to_owned()));
        }
    }

    #[test]
    fn fragments_in_different_vlans_are_put_together_when_these_are_folded() {
        let packet = frames::udp(1000, 2000, b"hello, hello");
        let part = |vlan, at: usize, more, bytes: &[u8]| {
            frames::eth(0x8100, &frames::tag(vlan, 0x0800, &frames::ipv4_fragment(17, 1, at, more, bytes)))
        };
        for (fold_vlans, whole) in [(false, 0), (true, 1)] {
            let mut decoder = Decoder::new(Config { fold_vlans, ..Config::default() });
            for frame in [part(7, 0, true, &packet[..16]), part(8, 16, false, &packet[16..])] {
                decoder.decode(LinkType::ETHERNET, &frame, frame.len() as u32, Timestamp(0), 0);
            }
            assert_eq!(decoder.reassembled_packets(), whole);
        }
    }

    #[test]
    fn endpoint_ids_tell_tunnels_apart_where_that_is_wanted() {
        let splitting = Config { split_teids: true, ..Config::default() };
        let mut tunnel = frames::gtp(0, &[], &frames::tcp4(b"hello"));
        tunnel[4..8].copy_from_slice(&[0, 0, 2, 1]);
        let frame = frames::eth(0x0800, &frames::udp4(2152, 2152, &tunnel));
        assert_eq!(path(Config::default(), &frame), "gtp 0");
        assert_eq!(path(splitting, &frame), "gtp 513");
    }

    #[test]
    fn the_short_way_is_taken() {
        for (name, frame) in frames::every_kind(b"hello") {
            let plain = ["tcp4", "tcp6", "udp4", "udp6", "syn", "vlan", "qinq"].contains(&name);
            assert_eq!(fast::ethernet(&frame, false).is_some(), plain, "{name}");
        }
    }
}
