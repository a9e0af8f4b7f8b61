//! Conversations of all sorts there and back, damaged blocks, and how well the predictor does.

use std::collections::HashMap;

use proptest::prelude::*;
use streamdb_types::{Direction, FrameNumber, LinkType, StreamOffset, Timestamp};

use super::sum::{fold, sum};
use super::{Encoder, JournalBlock, JournalError, MAX_BLOCK, Rows};

/// A frame with all that the journal must give back.
#[derive(Clone, Debug)]
struct Frame {
    time: i64,
    interface: u32,
    wire_len: u32,
    data: Vec<u8>,
    payload_at: usize,
    payload_len: usize,
    connection: Option<(u32, Direction)>,
    /// Where in the stream the payload is; else it is kept inline.
    offset: Option<u64>,
}

type Streams = HashMap<(u32, Direction), Vec<u8>>;

fn rows_of(frames: &[Frame], links: &[(u32, LinkType)]) -> Rows {
    let mut rows = Rows::default();
    for (interface, link) in links {
        rows.set_link(*interface, *link);
    }
    for (i, f) in frames.iter().enumerate() {
        rows.push(Timestamp(f.time), f.interface, f.wire_len, &f.data, f.payload_at, f.payload_len);
        if let Some((conn, direction)) = f.connection {
            rows.set_connection(i, conn, direction);
        }
        match f.offset {
            Some(offset) => rows.set_stream(i, StreamOffset(offset)),
            None => rows.set_inline(i, &f.data[f.payload_at..][..f.payload_len]),
        }
    }
    rows
}

fn blocks_of(rows: &Rows, target: usize) -> Vec<Vec<u8>> {
    let (mut encoder, mut from, mut blocks) = (Encoder::new(), 0, Vec::new());
    while from < rows.len() {
        let mut block = Vec::new();
        let taken = encoder.encode(rows, from, FrameNumber(1000 + from as u64), target, &mut block);
        assert!(taken > 0 && block.len() <= MAX_BLOCK);
        from += taken;
        // Nothing carries over: an encoder that made other blocks before makes the same one.
        let mut again = Vec::new();
        assert_eq!(
            Encoder::new().encode(rows, from - taken, FrameNumber(1000 + (from - taken) as u64), target, &mut again),
            taken
        );
        assert!(again == block);
        blocks.push(block);
    }
    blocks
}

fn check(frames: &[Frame], streams: &Streams, blocks: &[Vec<u8>], only: Option<&[u32]>) {
    let mut expected = frames.iter().enumerate().filter(|(_, f)| match (only, f.connection) {
        (None, _) => true,
        (Some(only), Some((conn, _))) => only.contains(&conn),
        (Some(_), None) => false,
    });
    for bytes in blocks {
        let block = JournalBlock::parse(bytes).unwrap();
        let listed: Vec<u32> = block.connections().collect();
        block
            .frames::<JournalError>(
                only,
                &mut |conn, direction, offset, to| {
                    assert!(only.is_none_or(|only| only.contains(&conn)), "a payload that nobody wants");
                    to.copy_from_slice(&streams[&(conn, direction)][offset.0 as usize..][..to.len()]);
                    Ok(())
                },
                &mut |number, frame| {
                    let (i, f) = expected.next().expect("a frame too many");
                    assert_eq!(number, FrameNumber(1000 + i as u64));
                    assert_eq!((frame.time.0, frame.interface, frame.wire_len), (f.time, f.interface, f.wire_len));
                    assert_eq!(frame.connection, f.connection);
                    assert!(f.connection.is_none_or(|(conn, _)| listed.contains(&conn)));
                    assert_eq!(frame.data, f.data, "frame {i}");
                    Ok(())
                },
            )
            .unwrap();
    }
    assert!(expected.next().is_none(), "a frame is missing");
}

fn round_trip(frames: &[Frame], streams: &Streams, links: &[(u32, LinkType)], target: usize) -> usize {
    let blocks = blocks_of(&rows_of(frames, links), target);
    check(frames, streams, &blocks, None);
    for only in [&[0][..], &[3, 1], &[u32::MAX], &[]] {
        check(frames, streams, &blocks, Some(only));
    }
    blocks.iter().map(Vec::len).sum()
}

/// What is around the addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrap {
    Plain,
    Vlan,
    QinQ,
    Mpls,
    Pppoe,
    Gre,
    IpIp,
    Vxlan,
    Geneve,
    Gtp,
    Sll,
    Raw,
}

const WRAPS: [Wrap; 12] = [
    Wrap::Plain,
    Wrap::Vlan,
    Wrap::QinQ,
    Wrap::Mpls,
    Wrap::Pppoe,
    Wrap::Gre,
    Wrap::IpIp,
    Wrap::Vxlan,
    Wrap::Geneve,
    Wrap::Gtp,
    Wrap::Sll,
    Wrap::Raw,
];

/// How checksums go wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sums {
    Right,
    Offload,
    Zero,
    Wrong,
}

#[derive(Clone, Debug)]
struct Conversation {
    wrap: Wrap,
    v6: bool,
    tcp: bool,
    stamps: bool,
    pad: bool,
    fcs: bool,
    snap: usize,
    sums: Sums,
    /// Pieces: direction, payload length, what goes otherwise than usual.
    pieces: Vec<(bool, usize, u8)>,
}

struct Sender {
    seq: u32,
    id: u16,
    outer_id: u16,
    clock: u32,
}

fn ipv4(out: &mut Vec<u8>, protocol: u8, turned: bool, hosts: u8, id: u16, len: usize) {
    let at = out.len();
    out.extend([0x45, 0]);
    out.extend(((len + 20) as u16).to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend([0x40, 0, 64, protocol, 0, 0]);
    let ends = [[10, 0, hosts, 1], [192, 0, 2, hosts]];
    out.extend(ends[usize::from(turned)]);
    out.extend(ends[usize::from(!turned)]);
    let check = !sum(&out[at..]);
    out[at + 10..at + 12].copy_from_slice(&check.to_be_bytes());
}

/// The layers around, for `len` bytes inside; what comes next is IP.
fn wrapping(c: &Conversation, out: &mut Vec<u8>, turned: bool, outer_id: u16, len: usize) {
    let ethernet = |out: &mut Vec<u8>, ether_type: u16| {
        let ends = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
        out.extend(ends[usize::from(turned)]);
        out.extend(ends[usize::from(!turned)]);
        out.extend(ether_type.to_be_bytes());
    };
    let ether_type = if c.v6 { 0x86dd } else { 0x0800 };
    let udp = |out: &mut Vec<u8>, port: u16, inside: usize| {
        ethernet(out, 0x0800);
        ipv4(out, 17, turned, 99, outer_id, inside + 8);
        out.extend(40_000u16.to_be_bytes());
        out.extend(port.to_be_bytes());
        out.extend(((inside + 8) as u16).to_be_bytes());
        out.extend([0, 0]);
    };
    match c.wrap {
        Wrap::Plain => ethernet(out, ether_type),
        Wrap::Vlan | Wrap::QinQ => {
            ethernet(out, if c.wrap == Wrap::QinQ { 0x88a8 } else { 0x8100 });
            if c.wrap == Wrap::QinQ {
                out.extend([0, 7, 0x81, 0]);
            }
            out.extend([0, 5]);
            out.extend(ether_type.to_be_bytes());
        }
        Wrap::Mpls => {
            ethernet(out, 0x8847);
            out.extend([0, 1, 0, 64, 0, 2, 1, 64]);
        }
        Wrap::Pppoe => {
            ethernet(out, 0x8864);
            out.extend([0x11, 0, 0, 9]);
            out.extend(((len + 2) as u16).to_be_bytes());
            out.extend(if c.v6 { [0, 0x57] } else { [0, 0x21] });
        }
        Wrap::Gre => {
            ethernet(out, 0x0800);
            ipv4(out, 47, turned, 99, outer_id, len + 8);
            out.extend([0x20, 0]);
            out.extend(ether_type.to_be_bytes());
            out.extend([0, 0, 0, 77]);
        }
        Wrap::IpIp => {
            ethernet(out, 0x0800);
            ipv4(out, if c.v6 { 41 } else { 4 }, turned, 99, outer_id, len);
        }
        Wrap::Vxlan => {
            udp(out, 4789, len + 22);
            out.extend([8, 0, 0, 0, 0, 0, 42, 0]);
            ethernet(out, ether_type);
        }
        Wrap::Geneve => {
            udp(out, 6081, len + 12);
            out.extend([1, 0]);
            out.extend(ether_type.to_be_bytes());
            out.extend([0, 0, 42, 0, 1, 2, 3, 0]);
        }
        Wrap::Gtp => {
            udp(out, 2152, len + 8);
            out.extend([0x30, 255]);
            out.extend((len as u16).to_be_bytes());
            out.extend([0, 0, 0, 3]);
        }
        Wrap::Sll => {
            out.extend([0, if turned { 4 } else { 0 }, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
            out.extend(ether_type.to_be_bytes());
        }
        Wrap::Raw => {}
    }
}

fn link_of(wrap: Wrap) -> LinkType {
    match wrap {
        Wrap::Sll => LinkType::LINUX_SLL,
        Wrap::Raw => LinkType::RAW,
        _ => LinkType::ETHERNET,
    }
}

/// The frames of a conversation, and its streams.
fn play(c: &Conversation, conn: u32, streams: &mut Streams) -> Vec<Frame> {
    let mut senders = [
        Sender { seq: 0xffff_f000 + conn, id: 77, outer_id: 5, clock: 1000 },
        Sender { seq: 5000 + conn, id: 0xfffa, outer_id: 9, clock: 900_000 },
    ];
    let mut time = 1_700_000_000_000_000_000 + i64::from(conn) * 1_000;
    let mut frames = Vec::new();
    let mut last_piece = [None, None];
    for (n, (turned, len, twist)) in c.pieces.iter().enumerate() {
        let direction = Direction::from_bit(u8::from(*turned));
        let d = usize::from(*turned);
        time += 137_000 * (1 + n as i64 % 3);
        let stream = streams.entry((conn, direction)).or_default();
        let mut len = *len;
        // Once more what was sent before.
        let mut at = stream.len() as u64;
        if twist % 16 == 1
            && let Some((before, before_len)) = last_piece[d]
        {
            (at, len) = (before, before_len);
        } else {
            stream.extend((0..len).map(|i| (i * 7 + n) as u8));
            last_piece[d] = Some((at, len));
        }
        let payload = stream[at as usize..][..len].to_vec();
        let other = senders[1 - d].seq.wrapping_add(streams.get(&(conn, direction.flip())).map_or(0, Vec::len) as u32);
        let s = &mut senders[d];
        s.id = s.id.wrapping_add(1);
        s.outer_id = s.outer_id.wrapping_add(1);
        let mut l4 = Vec::new();
        l4.extend(if *turned { [0, 80] } else { [200, conn as u8] });
        l4.extend(if *turned { [200, conn as u8] } else { [0, 80] });
        let sum_at = if c.tcp {
            l4.extend((s.seq.wrapping_add(at as u32)).to_be_bytes());
            l4.extend(other.to_be_bytes());
            let options = if c.stamps { 12 } else { 0 } + if twist % 16 == 2 { 12 } else { 0 };
            l4.extend([
                ((5 + options / 4) << 4) as u8,
                if len > 0 { 24 } else { 16 },
                1,
                (twist % 16 == 3) as u8,
                0,
                0,
                0,
                0,
            ]);
            if c.stamps {
                l4.extend([1, 1, 8, 10]);
                l4.extend((s.clock + (time / 1_000_000 % 1_000_000) as u32).to_be_bytes());
                l4.extend((senders[1 - d].clock).to_be_bytes());
            }
            if twist % 16 == 2 {
                l4.extend([1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
            }
            16
        } else {
            l4.extend(((len + 8) as u16).to_be_bytes());
            l4.extend([0, 0]);
            6
        };
        let (l4_len, protocol) = (l4.len() + len, if c.tcp { 6 } else { 17 });
        let mut data = Vec::new();
        let ip_len = l4_len + if c.v6 { 40 } else { 20 };
        wrapping(c, &mut data, *turned, senders[d].outer_id, ip_len);
        let ip = data.len();
        if c.v6 {
            data.extend([0x60, 1, 2, 3]);
            data.extend((l4_len as u16).to_be_bytes());
            data.extend([protocol, 64]);
            let ends = [[0xfd; 16], [0xfe; 16]];
            data.extend(ends[d]);
            data.extend(ends[1 - d]);
        } else {
            ipv4(&mut data, protocol, *turned, conn as u8, senders[d].id, l4_len);
        }
        let addresses = if c.v6 { ip + 8..ip + 40 } else { ip + 12..ip + 20 };
        let pseudo = u32::from(sum(&data[addresses])) + u32::from(protocol) + l4_len as u32;
        let whole: Vec<u8> = l4.iter().chain(&payload).copied().collect();
        let check = match c.sums {
            Sums::Right => match !fold(pseudo + u32::from(sum(&whole))) {
                0 if !c.tcp => 0xffff,
                check => check,
            },
            Sums::Offload => fold(pseudo),
            Sums::Zero => 0,
            Sums::Wrong => (n as u16 + 1) * 77,
        };
        l4[sum_at..sum_at + 2].copy_from_slice(&check.to_be_bytes());
        data.extend(&l4);
        let payload_at = data.len();
        data.extend(&payload);
        if c.pad {
            let full = data.len().max(60);
            data.resize(full, if twist % 16 == 4 { 7 } else { 0 });
        }
        if c.fcs {
            data.extend([1, 2, 3, n as u8]);
        }
        if twist % 16 == 5 {
            let at = *twist as usize % payload_at;
            data[at] ^= 0x55;
        }
        let wire_len = data.len() as u32;
        data.truncate(c.snap);
        let payload_at = payload_at.min(data.len());
        let payload_len = len.min(data.len() - payload_at);
        let offset = if twist % 16 == 6 { None } else { Some(at) };
        frames.push(Frame {
            time,
            interface: conn % 3,
            wire_len,
            data,
            payload_at,
            payload_len,
            connection: Some((conn, direction)),
            offset,
        });
    }
    frames
}

fn conversation() -> impl Strategy<Value = Conversation> {
    let sums = prop_oneof![Just(Sums::Right), Just(Sums::Offload), Just(Sums::Zero), Just(Sums::Wrong)];
    let snap = prop_oneof![4 => Just(usize::MAX), 1 => 1usize..150];
    let pieces =
        prop::collection::vec((any::<bool>(), prop_oneof![Just(0), Just(1448), 0usize..300], any::<u8>()), 1..60);
    (0..WRAPS.len(), any::<[bool; 5]>(), snap, sums, pieces).prop_map(
        |(wrap, [v6, tcp, stamps, pad, fcs], snap, sums, pieces)| Conversation {
            wrap: WRAPS[wrap],
            v6,
            tcp,
            stamps,
            pad,
            fcs,
            snap,
            sums,
            pieces,
        },
    )
}

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 20_000 } else { 150 })
}

/// Frames of random bytes in random rows.
fn noise() -> impl Strategy<Value = Vec<Frame>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..120),
        prop::collection::vec(prop_oneof![Just(0x45), Just(8), Just(0), Just(6), Just(0x81)], 0..300)
    ];
    let who = prop::option::of((prop_oneof![0u32..3, 0u32..200, any::<u32>()], any::<bool>()));
    let times = prop_oneof![any::<i64>(), 0i64..1_000_000];
    let frame =
        (times, 0u32..4, prop::option::of(any::<u32>()), bytes, any::<[u8; 2]>(), who, prop::option::of(0u64..100));
    prop::collection::vec(frame, 1..80).prop_map(|frames| {
        frames
            .into_iter()
            .map(|(time, interface, wire_len, data, [at, len], who, offset)| {
                let payload_at = usize::from(at).min(data.len());
                let payload_len = usize::from(len).min(data.len() - payload_at);
                Frame {
                    time,
                    interface,
                    wire_len: wire_len.unwrap_or(data.len() as u32),
                    data,
                    payload_at,
                    payload_len,
                    connection: who.map(|(conn, turned)| (conn, Direction::from_bit(turned.into()))),
                    offset: offset.and(None),
                }
            })
            .collect()
    })
}

/// The conversations' frames together, by time.
fn mixed(conversations: &[Conversation]) -> (Vec<Frame>, Streams, [(u32, LinkType); 3]) {
    let (mut frames, mut streams) = (Vec::new(), Streams::new());
    let mut links = [(0, LinkType::ETHERNET), (1, LinkType::ETHERNET), (2, LinkType::ETHERNET)];
    for (conn, c) in conversations.iter().enumerate() {
        frames.extend(play(c, conn as u32, &mut streams));
        links[conn % 3].1 = link_of(c.wrap);
    }
    frames.sort_by_key(|f| f.time);
    (frames, streams, links)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn conversations_come_back(conversations in prop::collection::vec(conversation(), 1..6), target in 300usize..20_000) {
        let (frames, streams, links) = mixed(&conversations);
        round_trip(&frames, &streams, &links, target);
    }

    #[test]
    fn noise_comes_back(frames in noise(), target in 300usize..20_000, link in 0u16..300) {
        round_trip(&frames, &Streams::new(), &[(0, LinkType(link)), (1, LinkType::ETHERNET), (2, LinkType::PPP)], target);
    }

    #[test]
    fn damage_is_an_error_or_other_frames(
        conversations in prop::collection::vec(conversation(), 1..4),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tidy in any::<bool>(),
    ) {
        let (frames, _, links) = mixed(&conversations);
        let mut block = blocks_of(&rows_of(&frames, &links), 200_000).remove(0);
        for (at, with) in hits {
            // The outline is easily refused; beyond it damage goes deeper.
            let from = if tidy { 60.min(block.len() - 1) } else { 0 };
            let at = from + at.index(block.len() - from);
            block[at] ^= with;
        }
        if let Some(cut) = cut {
            block.truncate(cut.index(block.len()));
        }
        for only in [None, Some(&[0u32, 1][..])] {
            if let Ok(block) = JournalBlock::parse(&block) {
                let mut seen = 0;
                let _ = block.frames::<JournalError>(
                    only,
                    &mut |_, _, _, to| if to.len() < 5000 { Ok(()) } else { Err(JournalError::Short) },
                    &mut |_, frame| { seen += 1; assert!(frame.data.len() <= super::MAX_FRAME); Ok(()) },
                );
                prop_assert!(seen <= block.len());
            }
        }
    }
}

/// What the predictor is for: an ordinary conversation costs a few bytes a frame, whatever is around it.
#[test]
fn ordinary_conversations_are_predicted() {
    for wrap in WRAPS {
        for v6 in [false, true] {
            for (tcp, stamps) in [(true, true), (true, false), (false, false)] {
                for sums in [Sums::Right, Sums::Offload] {
                    let pieces = (0..300).map(|i| (i % 3 != 0, if i % 3 == 0 { 0 } else { 1400 }, 0)).collect();
                    let c =
                        Conversation { wrap, v6, tcp, stamps, pad: true, fcs: false, snap: usize::MAX, sums, pieces };
                    let mut streams = Streams::new();
                    let frames = play(&c, 2, &mut streams);
                    let links = [(2, link_of(wrap))];
                    let size = round_trip(&frames, &streams, &links, 1 << 18);
                    // Without prediction the headers alone would be 28 to 120 bytes.
                    assert!(size < 7 * frames.len(), "{size} bytes for {} frames of {c:?}", frames.len());
                }
            }
        }
    }
}

#[test]
fn a_row_is_split_anew() {
    let mut rows = Rows::default();
    let data: Vec<u8> = (0..100).collect();
    rows.push(Timestamp(5), 0, 100, &data, data.len(), 0);
    rows.push(Timestamp(6), 0, 100, &data, 40, 50);
    rows.set_inline(1, &data[40..90]);
    rows.push(Timestamp(7), 0, 100, &data, 40, 50);
    for row in 0..3 {
        rows.resplit(row, 34, 60, 9, Direction::ToClient, StreamOffset(7));
    }
    let mut out = Vec::new();
    assert_eq!(
        Encoder::new().encode(&rows, 0, FrameNumber(0), 1 << 18, &mut out),
        2,
        "the third has no bytes to split"
    );
    let mut seen = 0;
    JournalBlock::parse(&out)
        .unwrap()
        .frames::<JournalError>(
            None,
            &mut |conn, direction, offset, to| {
                assert_eq!((conn, direction, offset), (9, Direction::ToClient, StreamOffset(7)));
                to.copy_from_slice(&data[34..94]);
                Ok(())
            },
            &mut |_, frame| {
                assert_eq!(frame.data, data);
                seen += 1;
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(seen, 2);
    assert_eq!(Encoder::new().encode(&rows, 2, FrameNumber(0), 1 << 18, &mut out), 0);
    assert!(out.is_empty());
    rows.clear();
    assert_eq!((rows.len(), rows.bytes()), (0, 0));
}

#[test]
fn a_row_is_cut() {
    let data: Vec<u8> = (0..100).collect();
    let mut rows = Rows::default();
    // Cut to 20 bytes of the stream's, to 20 that are kept here, to none; and two that are kept whole.
    for _ in 0..3 {
        rows.push(Timestamp(5), 0, 100, &data, 40, 50);
    }
    for _ in 3..5 {
        rows.push(Timestamp(5), 0, 100, &data, 0, data.len());
    }
    for (row, kept) in [(0, 20), (1, 20), (2, 0)] {
        rows.cut(row, &data[40..40 + kept]);
    }
    rows.set_stream(0, StreamOffset(7));
    rows.set_inline(1, &data[40..60]);
    rows.cut(1, &[]);
    for row in 3..5 {
        rows.set_inline(row, &data);
        rows.truncate(row, 60);
        rows.truncate(row, 70);
    }
    rows.resplit(4, 40, 20, 9, Direction::ToClient, StreamOffset(7));
    rows.set_connection(0, 9, Direction::ToClient);
    let mut out = Vec::new();
    assert_eq!(Encoder::new().encode(&rows, 0, FrameNumber(0), 1 << 18, &mut out), 5);
    let mut lengths = Vec::new();
    JournalBlock::parse(&out)
        .unwrap()
        .frames::<JournalError>(
            None,
            &mut |_, _, offset, to| {
                assert_eq!((offset, to.len()), (StreamOffset(7), 20));
                to.copy_from_slice(&data[40..60]);
                Ok(())
            },
            &mut |_, frame| {
                assert_eq!((frame.data, frame.wire_len), (&data[..frame.data.len()], 100));
                lengths.push(frame.data.len());
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(lengths, [60, 60, 40, 60, 60]);
}

#[test]
fn blocks_keep_to_their_bounds() {
    let frames: Vec<Frame> = (0..12u32)
        .map(|i| Frame {
            time: 0,
            interface: i,
            wire_len: 300_000,
            data: vec![i as u8; if i % 3 == 0 { super::MAX_FRAME } else { 50_000 }],
            payload_at: 20,
            payload_len: 1000,
            connection: if i % 2 == 0 { Some((i, Direction::ToServer)) } else { None },
            offset: None,
        })
        .collect();
    let blocks = blocks_of(&rows_of(&frames, &[]), 1 << 18);
    check(&frames, &Streams::new(), &blocks, None);
    assert!(blocks.len() > 4);
    // Many connections are spread over blocks, too.
    let frames: Vec<Frame> = (0..40_000)
        .map(|i| Frame {
            connection: Some((i, Direction::ToServer)),
            data: vec![1],
            payload_at: 1,
            payload_len: 0,
            wire_len: 1,
            ..frames[0].clone()
        })
        .collect();
    let blocks = blocks_of(&rows_of(&frames, &[]), usize::MAX);
    check(&frames, &Streams::new(), &blocks, None);
    assert_eq!(blocks.len(), 3);
}

/// What a skipped connection's checksums were, nobody knows: another one must not depend on it.
#[test]
fn connections_can_be_skipped_whatever_their_checksums() {
    for sums in [Sums::Right, Sums::Offload, Sums::Zero, Sums::Wrong] {
        let pieces = (0..9).map(|i| (i % 2 == 1, 10 * i, 0)).collect();
        let c = Conversation {
            wrap: Wrap::Plain,
            v6: false,
            tcp: true,
            stamps: true,
            pad: false,
            fcs: false,
            snap: usize::MAX,
            sums,
            pieces,
        };
        let (frames, streams, links) = mixed(&vec![c; 4]);
        round_trip(&frames, &streams, &links, 1 << 18);
    }
}

/// The format is frozen: what is written today is what was written when this test was made.
#[test]
fn the_bytes_stay_the_same() {
    let conversations: Vec<Conversation> = (0..48usize)
        .map(|i| Conversation {
            wrap: WRAPS[i % 12],
            v6: i % 5 == 0,
            tcp: i % 4 != 0,
            stamps: i % 3 != 0,
            pad: i % 2 == 0,
            fcs: i % 7 == 0,
            snap: if i % 11 == 3 { 90 } else { usize::MAX },
            sums: [Sums::Right, Sums::Offload, Sums::Zero, Sums::Wrong][i / 12],
            pieces: (0..40).map(|n| ((n * i) % 3 == 0, (n * 97 + i) % 1400 * (n % 2), (n * 5 + i) as u8)).collect(),
        })
        .collect();
    let (frames, streams, links) = mixed(&conversations);
    let blocks = blocks_of(&rows_of(&frames, &links), 10_000);
    check(&frames, &streams, &blocks, None);
    // FNV-1a.
    let hash =
        blocks.concat().iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    assert_eq!((blocks.len(), hash), (GOLDEN_BLOCKS, GOLDEN_HASH), "{hash:#x}");
}

const GOLDEN_BLOCKS: usize = 12;
const GOLDEN_HASH: u64 = 0x2096_9218_c842_2edf;

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(JournalBlock::parse(&[]).err(), Some(JournalError::Short));
    assert_eq!(
        JournalBlock::parse(&[2]).err().map(|e| e.to_string()),
        Some("the journal block is of version 2, and this program reads version 1".into())
    );
    assert!(JournalBlock::parse(&[1, 9, 0]).is_err());
}
