//! Frames of any bytes and link types: what is said of a frame is true of the frame, and the short way says what the long
//! way says.

use streamdb_decode::{Carried, Config, Content, Decoded, Decoder, Fragment, FragmentOverlap, Look};
use streamdb_types::{LinkType, Timestamp};

use super::script::Script;

const LINKS: [u16; 16] = [1, 0, 9, 12, 14, 50, 51, 101, 108, 113, 204, 228, 229, 276, 239, 104];
/// The most frames of one input.
const FRAMES: usize = 32;

/// Decodes frames, each with a byte of link type (a number of the list), two of length, one of how much the snap length cut
/// off, and its bytes.
pub fn decode(data: &[u8]) {
    let mut script = Script(data);
    let limits =
        Config { max_fragment_packets: 3, max_fragment_bytes: 8192, fragment_timeout: 20, ..Config::default() };
    let mut short = Decoder::new(limits);
    // Where checksums are looked at every frame goes the long way.
    let mut long = Decoder::new(Config { verify_checksums: true, ..limits });
    // By other settings it says other things, which are true of the frames as well.
    let overlap = FragmentOverlap::Linux;
    let mut other = Decoder::new(Config { fold_vlans: true, split_teids: true, overlap, ..limits });
    let mut frames: Vec<&[u8]> = Vec::new();
    while !script.is_over() && frames.len() < FRAMES {
        let link = LinkType(LINKS[usize::from(script.byte() & 15)]);
        let length = usize::from(script.short());
        let cut = u32::from(script.byte());
        let frame = script.bytes(length);
        frames.push(frame);
        let (wire_len, time, tag) = (frame.len() as u32 + cut, Timestamp(frames.len() as i64), frames.len() as u64 - 1);
        let one = short.decode(link, frame, wire_len, time, tag);
        let two = long.decode(link, frame, wire_len, time, tag);
        true_of(&one, &frames);
        assert_eq!(but_for_checksums(&one), but_for_checksums(&two));
        true_of(&other.decode(link, frame, wire_len, time, tag), &frames);
        look(link, frame, wire_len);
    }
    assert_eq!(short.expired_fragments(), long.expired_fragments());
    assert_eq!(short.reassembled_packets(), long.reassembled_packets());
    short.tick(Timestamp(i64::MAX));
    let given_up = short.expired_fragments();
    short.tick(Timestamp(i64::MAX));
    assert_eq!(short.expired_fragments(), given_up, "nothing is left to give up");
    assert!(given_up <= frames.len() as u64 * 8);
}

/// A look shows what is decoded where nothing came before; and of a fragment in another that one is in a tunnel more.
fn look(link: LinkType, frame: &[u8], wire_len: u32) {
    let (mut looker, mut decoder) = (Decoder::new(Config::default()), Decoder::new(Config::default()));
    let decoded = decoder.decode(link, frame, wire_len, Timestamp(0), 0);
    match looker.look(link, frame, wire_len) {
        Look::Decoded(looked) => assert_eq!(format!("{looked:?}"), format!("{decoded:?}")),
        Look::Fragment(fragment, carried) => {
            assert!(matches!(decoded.content, Content::Fragment));
            assert!(fragment.offset == 0 || carried == Carried::default());
            let hops = |fragment: &Fragment| fragment.packet.between().0.hops().count();
            if let Some(inside) = carried.inside {
                assert!(hops(&inside) > hops(&fragment) && inside.packet.is_tunnelled());
                assert!(inside.offset == 0 || carried.ends.is_none());
            }
        }
    }
    assert_eq!(looker.refused(), decoder.refused());
}

/// The payload lies in the frame, or is made of pieces of frames that were given before, and every byte of it is in one.
pub fn true_of(decoded: &Decoded<'_>, frames: &[&[u8]]) {
    let (payload, wire_len) = match decoded.content {
        Content::Tcp(segment) => (segment.payload, segment.wire_len),
        Content::Udp(datagram) => (datagram.payload, datagram.wire_len),
        Content::Fragment | Content::Other | Content::Malformed => {
            assert!(decoded.pieces.is_empty());
            return;
        }
    };
    assert!(wire_len as usize >= payload.len());
    if decoded.pieces.is_empty() {
        if let Some(frame) = frames.last().filter(|_| !payload.is_empty()) {
            assert_eq!(frame.get(decoded.payload_at..decoded.payload_at + payload.len()), Some(payload));
        }
        return;
    }
    let mut covered = vec![false; payload.len()];
    for piece in decoded.pieces {
        assert!(piece.len > 0);
        let frame = frames[piece.tag as usize];
        let there = &frame[piece.frame_at as usize..][..piece.len as usize];
        let at = piece.payload_at as usize..piece.payload_at as usize + piece.len as usize;
        assert_eq!(there, &payload[at.clone()], "a piece has other bytes than the payload");
        covered[at].fill(true);
    }
    assert!(covered.iter().all(|byte| *byte), "a byte of the payload is in no piece");
}

fn but_for_checksums(decoded: &Decoded<'_>) -> String {
    let content = match decoded.content {
        Content::Tcp(mut segment) => {
            segment.checksum_ok = None;
            Content::Tcp(segment)
        }
        Content::Udp(mut datagram) => {
            datagram.checksum_ok = None;
            Content::Udp(datagram)
        }
        content => content,
    };
    format!("{:?}", Decoded { content, ..*decoded })
}
