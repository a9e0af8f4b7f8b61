//! Packets in fragments, against a slow twin that keeps one map of bytes a packet.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "only tests")]

mod frames;

use std::collections::BTreeMap;

use frames::{cat, eth, gre, ipv4, ipv4_fragment, ipv6_fragment, summed4, summed6, tcp, tcp4, udp};
use proptest::prelude::*;
use streamdb_decode::{Config, Content, Decoder, FragmentOverlap, Piece};
use streamdb_types::{LinkType, Timestamp};

/// What a frame led to, by value.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Fragment,
    /// Payload, pieces, and whether copies differ.
    Payload(Vec<u8>, Vec<Piece>, bool),
    Nothing,
}

fn decode_at(decoder: &mut Decoder, frame: &[u8], time: i64, tag: u64) -> Said {
    let decoded = decoder.decode(LinkType::ETHERNET, frame, frame.len() as u32, Timestamp(time), tag);
    match decoded.content {
        Content::Tcp(s) => Said::Payload(s.payload.to_vec(), decoded.pieces.to_vec(), decoded.differs),
        Content::Udp(d) => Said::Payload(d.payload.to_vec(), decoded.pieces.to_vec(), decoded.differs),
        Content::Fragment => Said::Fragment,
        Content::Other | Content::Malformed => Said::Nothing,
    }
}

fn decode(decoder: &mut Decoder, frame: &[u8], tag: u64) -> Said {
    decode_at(decoder, frame, 0, tag)
}

/// Each byte of each piece is the payload's, and each byte of the payload is in a piece.
fn check_pieces(payload: &[u8], pieces: &[Piece], frames: &[Vec<u8>]) {
    let mut covered = vec![false; payload.len()];
    for piece in pieces {
        let (at, len) = (piece.payload_at as usize, piece.len as usize);
        let there = &frames[piece.tag as usize][piece.frame_at as usize..][..len];
        assert_eq!(there, &payload[at..][..len], "{piece:?}");
        covered[at..at + len].fill(true);
    }
    assert!(covered.iter().all(|c| *c), "a byte of the payload is in no piece: {pieces:?}");
}

/// One fragment of a test: bytes of the packet from `offset` on, perhaps changed ones.
#[derive(Clone, Debug)]
struct Cut {
    id: u8,
    offset: usize,
    bytes: Vec<u8>,
    more: bool,
}

/// The slow twin of one packet: the rules of the pool, with a map of single bytes, and where the fragment began that each is of.
#[derive(Default)]
struct Twin {
    bytes: BTreeMap<usize, (u8, usize)>,
    total: Option<usize>,
    differs: bool,
    /// How often each fragment came, by where it begins and how long it is.
    seen: BTreeMap<(usize, usize), usize>,
}

impl Twin {
    /// The whole packet, once this fragment completed it.
    fn add(&mut self, cut: &Cut, overlap: FragmentOverlap) -> Option<Vec<u8>> {
        let len = if cut.more { cut.bytes.len() / 8 * 8 } else { cut.bytes.len() };
        let end = cut.offset + len;
        let beyond = self.bytes.keys().any(|at| *at >= end);
        let contradicts = match self.total {
            Some(total) => {
                if cut.more {
                    end > total
                } else {
                    end != total
                }
            }
            None => !cut.more && beyond,
        };
        if contradicts || end > 65_535 {
            self.differs = true;
            return None;
        }
        if !cut.more {
            self.total = Some(end);
        }
        *self.seen.entry((cut.offset, len)).or_default() += 1;
        for (i, byte) in cut.bytes[..len].iter().enumerate() {
            let there = self.bytes.entry(cut.offset + i).or_insert((*byte, cut.offset));
            self.differs |= there.0 != *byte;
            let wins = match overlap {
                FragmentOverlap::First => false,
                FragmentOverlap::Last => true,
                FragmentOverlap::Linux => cut.offset <= there.1,
            };
            if wins {
                *there = (*byte, cut.offset);
            }
        }
        let total = self.total?;
        (0..total).map(|at| self.bytes.get(&at).map(|(byte, _)| *byte)).collect()
    }

    /// The fragments of a whole packet of which one more should come, as others came more often.
    fn late(&self, packet: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let most = self.seen.values().max().unwrap();
        let late = self.seen.iter().filter(|(_, times)| *times < most);
        // An empty one may have come for a place behind the packet's end, before that was known.
        late.map(|(&(at, len), _)| (at, packet.get(at..at + len).unwrap_or_default().to_vec())).collect()
    }
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    // A packet of up to 40 units of 8 bytes, cut into pieces; extra pieces overlap them, some with other bytes.
    let packet = (1..40usize, 0..8usize, any::<u64>());
    let extra = (0..40usize, 0..10usize, any::<bool>(), any::<bool>(), any::<bool>());
    (packet, prop::collection::vec(1..10usize, 1..40), prop::collection::vec(extra, 0..8), any::<bool>()).prop_perturb(
        |((units, odd, seed), sizes, extras, shuffled), mut rng| {
            let mut cuts = Vec::new();
            for id in 0..2u8 {
                let mut body: Vec<u8> = (0..units * 8 + odd).map(|i| (seed >> (i % 57)) as u8 ^ i as u8 ^ id).collect();
                let header = udp(1000 + u16::from(id), 2000, &body.split_off(body.len().min(8)));
                let packet = header;
                let mut at = 0;
                let mut sizes = sizes.iter().cycle();
                while at < packet.len() {
                    let n = (sizes.next().unwrap() * 8).min(packet.len() - at);
                    let more = at + n < packet.len();
                    cuts.push(Cut { id, offset: at, bytes: packet[at..at + n].to_vec(), more });
                    at += n;
                }
                for (at, n, change, of_this, last) in &extras {
                    let at = (at * 8).min(packet.len() / 8 * 8);
                    let mut bytes = packet[at..(at + n * 8 + usize::from(*last) * 3).min(packet.len())].to_vec();
                    if *change && let Some(byte) = bytes.last_mut() {
                        *byte ^= 0x55;
                    }
                    if *of_this {
                        cuts.push(Cut { id, offset: at, bytes, more: !*last });
                    }
                }
            }
            if shuffled {
                for i in (1..cuts.len()).rev() {
                    cuts.swap(i, rng.random_range(0..=i));
                }
            }
            cuts
        },
    )
}

fn cases(few: u32) -> ProptestConfig {
    let soak = if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 100 } else { 1 };
    ProptestConfig { cases: few * soak, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn packets_are_put_together_as_by_the_twin(cuts in cuts(), six in any::<bool>(), overlap in 0..3usize) {
        let overlap = [FragmentOverlap::First, FragmentOverlap::Last, FragmentOverlap::Linux][overlap];
        let mut decoder = Decoder::new(Config { overlap, ..Config::default() });
        let mut twins: BTreeMap<u8, Twin> = BTreeMap::new();
        let mut late: BTreeMap<u8, Vec<(usize, Vec<u8>)>> = BTreeMap::new();
        let mut frames = Vec::new();
        let mut completed = 0;
        for (tag, cut) in cuts.iter().enumerate() {
            let frame = match (six, cut.offset, cut.more) {
                // Such a "fragment" is a whole packet.
                (_, 0, false) => continue,
                (true, ..) => eth(0x86dd, &ipv6_fragment(17, cut.id.into(), cut.offset, cut.more, &cut.bytes)),
                (false, ..) => eth(0x0800, &ipv4_fragment(17, cut.id.into(), cut.offset, cut.more, &cut.bytes)),
            };
            frames.resize(tag + 1, Vec::new());
            frames[tag] = frame;
            let said = decode(&mut decoder, &frames[tag], tag as u64);
            let len = if cut.more { cut.bytes.len() / 8 * 8 } else { cut.bytes.len() };
            let expected = late.entry(cut.id).or_default();
            if let Some(i) = expected.iter().position(|(at, bytes)| (*at, &bytes[..]) == (cut.offset, &cut.bytes[..len])) {
                expected.swap_remove(i);
                prop_assert_eq!(said, Said::Fragment);
                continue;
            }
            let Some(packet) = twins.entry(cut.id).or_default().add(cut, overlap) else {
                prop_assert_eq!(said, Said::Fragment);
                continue;
            };
            let twin = twins.remove(&cut.id).unwrap();
            let differs = twin.differs;
            let more = twin.late(&packet);
            if !more.is_empty() {
                late.insert(cut.id, more);
            }
            completed += 1;
            // The twin's header may be one that lost to no copy of itself, so its length may say less than IP.
            let stated = packet.get(4..6).map_or(0, |l| usize::from(u16::from_be_bytes([l[0], l[1]])));
            if packet.len() < 8 || (1..8).contains(&stated) {
                prop_assert_eq!(said, Said::Nothing);
                continue;
            }
            let end = if stated == 0 { packet.len() } else { stated.min(packet.len()) };
            let Said::Payload(payload, pieces, said_to_differ) = said else { panic!("{said:?}") };
            prop_assert_eq!(&payload, &packet[8..end]);
            prop_assert_eq!(said_to_differ, differs);
            check_pieces(&payload, &pieces, &frames);
        }
        prop_assert_eq!(decoder.reassembled_packets(), completed);
    }
}

/// `packet` in fragments of `size` bytes.
fn split4(protocol: u8, id: u16, packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = packet.len().div_ceil(size);
    let fragment = |(i, part): (usize, &[u8])| eth(0x0800, &ipv4_fragment(protocol, id, i * size, i + 1 < count, part));
    packet.chunks(size).enumerate().map(fragment).collect()
}

#[test]
fn a_packet_and_its_pieces() {
    let body: Vec<u8> = (0..40).collect();
    let frames = split4(17, 7, &summed4(17, &udp(1, 2, &body)), 16);
    let mut decoder = Decoder::new(Config { verify_checksums: true, ..Config::default() });
    assert_eq!(decode(&mut decoder, &frames[2], 102), Said::Fragment);
    assert_eq!(decode(&mut decoder, &frames[0], 100), Said::Fragment);
    let decoded = decoder.decode(LinkType::ETHERNET, &frames[1], 60, Timestamp(0), 101);
    let Content::Udp(datagram) = decoded.content else { panic!("{decoded:?}") };
    assert_eq!((datagram.payload, datagram.wire_len, datagram.checksum_ok), (&body[..], 40, Some(true)));
    let pieces = [
        Piece { tag: 102, frame_at: 34, payload_at: 24, len: 16 },
        Piece { tag: 100, frame_at: 42, payload_at: 0, len: 8 },
        Piece { tag: 101, frame_at: 34, payload_at: 8, len: 16 },
    ];
    assert_eq!(decoded.pieces, pieces);
    assert_eq!((decoder.reassembled_packets(), decoder.expired_fragments()), (1, 0));
}

#[test]
fn a_wrong_header_checksum_of_any_fragment_counts() {
    let mut frames = split4(17, 7, &summed4(17, &udp(1, 2, &[5; 40])), 16);
    frames[0][22] ^= 1;
    let mut decoder = Decoder::new(Config { verify_checksums: true, ..Config::default() });
    decode(&mut decoder, &frames[0], 0);
    decode(&mut decoder, &frames[1], 1);
    let decoded = decoder.decode(LinkType::ETHERNET, &frames[2], 60, Timestamp(0), 2);
    assert!(matches!(decoded.content, Content::Udp(d) if d.checksum_ok == Some(false)), "{decoded:?}");
}

#[test]
fn six_and_tcp() {
    let packet = summed6(6, &tcp(49211, 80, 1, 0x18, &[1, 1, 1, 0], b"hello, world"));
    let frames: Vec<_> = [(0, 24, true), (24, 36, false)]
        .iter()
        .map(|&(from, to, more)| eth(0x86dd, &ipv6_fragment(6, 9, from, more, &packet[from..to])))
        .collect();
    let mut decoder = Decoder::new(Config { verify_checksums: true, ..Config::default() });
    decode(&mut decoder, &frames[1], 1);
    let decoded = decoder.decode(LinkType::ETHERNET, &frames[0], 90, Timestamp(0), 0);
    let Content::Tcp(segment) = decoded.content else { panic!("{decoded:?}") };
    assert_eq!((segment.payload, segment.checksum_ok), (&b"hello, world"[..], Some(true)));
    assert_eq!(decoded.pieces, [Piece { tag: 1, frame_at: 62, payload_at: 0, len: 12 }]);
}

#[test]
fn what_the_fragments_carry_may_be_a_tunnel_with_fragments() {
    let body: Vec<u8> = (0..100).collect();
    let inner = udp(1, 2, &body);
    // Inner fragments within GRE packets, which are in fragments themselves.
    let mut frames = Vec::new();
    for (id, (from, to, more)) in [(0, 64, true), (64, 108, false)].into_iter().enumerate() {
        let packet = gre(0, 0x0800, &[], &ipv4_fragment(17, 1, from, more, &inner[from..to]));
        frames.extend(split4(47, id as u16 + 50, &packet, 32));
    }
    for reversed in [false, true] {
        let mut decoder = Decoder::new(Config::default());
        let mut order: Vec<usize> = (0..frames.len()).collect();
        if reversed {
            order.reverse();
        }
        let last = order.pop().unwrap();
        for tag in order {
            assert_eq!(decode(&mut decoder, &frames[tag], tag as u64), Said::Fragment);
        }
        let Said::Payload(payload, pieces, _) = decode(&mut decoder, &frames[last], last as u64) else { panic!() };
        assert_eq!(payload, body);
        check_pieces(&payload, &pieces, &frames);
        assert_eq!(decoder.reassembled_packets(), 3);
    }
}

#[test]
fn a_tunnel_in_fragments_is_entered() {
    let frames = split4(4, 3, &tcp4(b"hello, world"), 24);
    let mut decoder = Decoder::new(Config::default());
    decode(&mut decoder, &frames[0], 0);
    decode(&mut decoder, &frames[1], 1);
    let Said::Payload(payload, pieces, _) = decode(&mut decoder, &frames[2], 2) else { panic!() };
    assert_eq!(payload, b"hello, world");
    check_pieces(&payload, &pieces, &frames);
}

#[test]
fn only_pieces_with_the_winning_bytes_are_listed() {
    let packet = udp(1, 2, &[7; 24]);
    let part = |from: usize, to: usize, change: u8, more: bool| {
        let mut bytes = packet[from..to].to_vec();
        *bytes.last_mut().unwrap() ^= change;
        eth(0x0800, &ipv4_fragment(17, 1, from, more, &bytes))
    };
    // The third one differs in its last byte, which came before, and brings the 8 bytes from 8 on.
    let frames = [part(0, 8, 0, true), part(16, 24, 0, true), part(8, 24, 1, true), part(24, 32, 0, false)];
    let mut decoder = Decoder::new(Config::default());
    for (tag, frame) in frames[..3].iter().enumerate() {
        decode(&mut decoder, frame, tag as u64);
    }
    let Said::Payload(payload, pieces, _) = decode(&mut decoder, &frames[3], 3) else { panic!() };
    assert_eq!(payload, [7; 24]);
    check_pieces(&payload, &pieces, &frames);
    assert_eq!(pieces[1], Piece { tag: 2, frame_at: 34, payload_at: 0, len: 8 });
    assert_eq!(pieces.len(), 3, "the first one has no payload: {pieces:?}");
}

#[test]
fn the_policy_says_which_copy_wins() {
    let part = |at: usize, fill: u8| eth(0x0800, &ipv4_fragment(17, 1, at, true, &[fill; 16]));
    let first = eth(0x0800, &ipv4_fragment(17, 1, 0, true, &udp(1, 2, &[0; 48])[..8]));
    let last = eth(0x0800, &ipv4_fragment(17, 1, 40, false, &[9; 8]));
    // Three that overlap: b begins after a, c before b and where a does.
    let frames = [
        first,
        part(16, b'a'),
        part(24, b'b'),
        part(16, b'c'),
        eth(0x0800, &ipv4_fragment(17, 1, 8, true, &[0; 8])),
        last,
    ];
    for (overlap, wanted) in [
        (FragmentOverlap::First, "aaaaaaaaaaaaaaaabbbbbbbb"),
        (FragmentOverlap::Last, "ccccccccccccccccbbbbbbbb"),
        (FragmentOverlap::Linux, "ccccccccccccccccbbbbbbbb"),
    ] {
        let mut decoder = Decoder::new(Config { overlap, ..Config::default() });
        let mut said = Said::Fragment;
        for (tag, frame) in frames.iter().enumerate() {
            said = decode(&mut decoder, frame, tag as u64);
        }
        let Said::Payload(payload, pieces, differs) = said else { panic!("{said:?}") };
        assert_eq!(&payload[8..32], wanted.as_bytes(), "{overlap:?}");
        assert!(differs);
        check_pieces(&payload, &pieces, &frames);
    }
}

#[test]
fn fragments_of_different_packets_do_not_mix() {
    let packet = udp(1, 2, &[7; 24]);
    let first = ipv4_fragment(17, 1, 0, true, &packet[..16]);
    let last = |id| ipv4_fragment(17, id, 16, false, &packet[16..]);
    let mut decoder = Decoder::new(Config::default());
    assert_eq!(decode(&mut decoder, &eth(0x0800, &first), 0), Said::Fragment);
    assert_eq!(decode(&mut decoder, &eth(0x0800, &last(2)), 1), Said::Fragment, "another id");
    assert_eq!(
        decode(&mut decoder, &eth(0x8100, &frames::tag(7, 0x0800, &last(1))), 1),
        Said::Fragment,
        "another VLAN"
    );
    assert_eq!(decode(&mut decoder, &eth(0x0800, &ipv4(4, &last(1))), 1), Said::Fragment, "another tunnel");
    assert!(matches!(decode(&mut decoder, &eth(0x0800, &last(1)), 1), Said::Payload(..)));
}

#[test]
fn old_fragments_are_given_up() {
    let frames = split4(17, 1, &udp(1, 2, &[7; 24]), 16);
    let timeout = Config::default().fragment_timeout;
    let mut decoder = Decoder::new(Config::default());
    decode_at(&mut decoder, &frames[0], 0, 0);
    decoder.tick(Timestamp(timeout));
    assert_eq!(decoder.expired_fragments(), 0);
    assert!(matches!(decode_at(&mut decoder, &frames[1], timeout, 1), Said::Payload(..)));

    decode_at(&mut decoder, &frames[0], 0, 0);
    assert_eq!(decode_at(&mut decoder, &frames[1], timeout + 1, 1), Said::Fragment);
    assert_eq!(decoder.expired_fragments(), 1);
    decoder.tick(Timestamp(3 * timeout));
    assert_eq!(decoder.expired_fragments(), 2);

    // One with a time far ahead keeps its place before the others, and still none mixes with what came long after it.
    let ahead = split4(17, 2, &udp(1, 2, &[7; 24]), 16);
    decode_at(&mut decoder, &ahead[0], 100 * timeout, 0);
    decode_at(&mut decoder, &frames[0], 0, 0);
    assert_eq!(decode_at(&mut decoder, &frames[1], 2 * timeout, 1), Said::Fragment);
    assert_eq!(decoder.expired_fragments(), 3);
}

#[test]
fn a_full_pool_gives_up_the_oldest() {
    let first = |id: u16| eth(0x0800, &ipv4_fragment(17, id, 0, true, &udp(1, 2, &[0; 8])));
    let last = |id: u16| eth(0x0800, &ipv4_fragment(17, id, 16, false, &[0; 8]));
    let mut decoder = Decoder::new(Config { max_fragment_packets: 3, ..Config::default() });
    for id in 0..4 {
        decode(&mut decoder, &first(id), id.into());
    }
    assert_eq!(decoder.expired_fragments(), 1);
    assert!(matches!(decode(&mut decoder, &last(1), 9), Said::Payload(..)));
    assert_eq!(decode(&mut decoder, &last(0), 9), Said::Fragment, "the first one is gone");

    let mut decoder = Decoder::new(Config { max_fragment_bytes: 20_000, ..Config::default() });
    let big = |id: u16| eth(0x0800, &ipv4_fragment(17, id, 0, true, &[0; 8000]));
    for id in 0..100 {
        decode(&mut decoder, &big(id), id.into());
    }
    assert!((98..100).contains(&decoder.expired_fragments()), "{}", decoder.expired_fragments());
    let mut decoder = Decoder::new(Config { max_fragment_packets: 0, ..Config::default() });
    assert_eq!(decode(&mut decoder, &first(0), 0), Said::Fragment);
    assert_eq!(decoder.expired_fragments(), 1);
}

#[test]
fn one_packet_has_its_own_bounds() {
    let mut decoder = Decoder::new(Config::default());
    let fragment = |offset: usize, more: bool, bytes: &[u8]| eth(0x0800, &ipv4_fragment(17, 1, offset, more, bytes));
    decode(&mut decoder, &fragment(0, true, &[0; 8]), 0);
    // The last byte would be the 65,536th.
    decode(&mut decoder, &fragment(65_528, false, &[0; 8]), 0);
    decode(&mut decoder, &fragment(65_528, false, &[0; 7]), 0);
    assert_eq!(decoder.expired_fragments(), 0);
    for i in 1..1030 {
        decode(&mut decoder, &fragment(i * 16, true, &[0; 8]), 0);
    }
    assert_eq!(decoder.expired_fragments(), 1025, "with the one fragment too many all are given up");
}

#[test]
fn what_the_snap_length_cut_is_never_completed() {
    let frames = split4(17, 1, &udp(1, 2, &[7; 24]), 16);
    let mut decoder = Decoder::new(Config::default());
    let cut = &frames[0][..frames[0].len() - 4];
    decoder.decode(LinkType::ETHERNET, cut, frames[0].len() as u32, Timestamp(0), 0);
    assert_eq!(decode(&mut decoder, &frames[1], 1), Said::Fragment);
    let Said::Payload(payload, pieces, _) = decode(&mut decoder, &frames[0], 2) else { panic!() };
    assert_eq!(payload, [7; 24]);
    check_pieces(&payload, &pieces, &[cut.to_vec(), frames[1].clone(), frames[0].clone()]);
}

/// The largest packet in the smallest fragments that fit, backwards.
#[test]
fn a_thousand_pieces_backwards() {
    let packet = udp(1, 2, &vec![3; 65_000]);
    let frames = split4(17, 1, &packet, 64);
    assert!(frames.len() > 1000 && frames.len() <= 1024);
    let mut decoder = Decoder::new(Config::default());
    let mut said = Said::Nothing;
    for (tag, frame) in frames.iter().enumerate().rev() {
        said = decode(&mut decoder, frame, tag as u64);
    }
    let Said::Payload(payload, pieces, _) = said else { panic!("{said:?}") };
    assert_eq!(payload, packet[8..]);
    check_pieces(&payload, &pieces, &frames);
    let nothing = cat(&[]);
    assert_eq!(decode(&mut decoder, &nothing, 0), Said::Nothing);
}

/// A doubled mirror: the copy of the last fragment comes when the packet is complete.
#[test]
fn copies_of_fragments_leave_nothing_behind() {
    let (one, two): (Vec<u8>, Vec<u8>) = ((0..40).collect(), (100..140).collect());
    let first = split4(17, 7, &udp(1, 2, &one), 16);
    let mut second = split4(17, 7, &udp(1, 2, &two), 16);
    let mut decoder = Decoder::new(Config::default());
    let mut payloads = Vec::new();
    for (time, frames) in [(0, &first), (1_000_000_000, &second)] {
        for frame in frames {
            for tag in 0..2 {
                if let Said::Payload(payload, _, differs) = decode_at(&mut decoder, frame, time, tag) {
                    assert!(!differs);
                    payloads.push(payload);
                }
            }
        }
    }
    assert_eq!(payloads, [one.clone(), two.clone()]);
    decoder.tick(Timestamp(100_000_000_000));
    assert_eq!((decoder.reassembled_packets(), decoder.expired_fragments()), (2, 0));
    // One with other bytes is no copy; nor is one of a packet that came once.
    second.truncate(2);
    for frame in [&first[0], &first[0], &first[1], &first[2], &second[1], &first[1]] {
        decode_at(&mut decoder, frame, 200_000_000_000, 0);
    }
    for frame in [&first[0], &first[1], &first[2], &first[0], &first[1], &first[2]] {
        decode_at(&mut decoder, frame, 300_000_000_000, 0);
    }
    decoder.tick(Timestamp(400_000_000_000));
    assert_eq!((decoder.reassembled_packets(), decoder.expired_fragments()), (5, 1));
}
