//! Whatever the bytes, decoding ends, and what it says of the frame is true of the frame.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "only tests")]

mod frames;

use proptest::prelude::*;
use streamdb_decode::{Config, Content, Decoded, Decoder};
use streamdb_types::{LinkType, Timestamp};

const LINKS: [u16; 17] = [0, 1, 9, 12, 14, 50, 51, 101, 104, 108, 113, 204, 228, 229, 239, 276, 147];

fn cases(few: u32) -> ProptestConfig {
    let soak = if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 100 } else { 1 };
    ProptestConfig { cases: few * soak, failure_persistence: None, ..ProptestConfig::default() }
}

/// Holds for every outcome of a frame that stands alone.
fn check(frame: &[u8], decoded: &Decoded<'_>) {
    let (payload, wire_len) = match decoded.content {
        Content::Tcp(s) => (s.payload, s.wire_len),
        Content::Udp(d) => (d.payload, d.wire_len),
        Content::Fragment | Content::Other | Content::Malformed => {
            assert!(decoded.pieces.is_empty());
            return;
        }
    };
    assert!(wire_len as usize >= payload.len());
    if decoded.pieces.is_empty() {
        assert!(decoded.payload_at + payload.len() <= frame.len());
        assert_eq!(&frame[decoded.payload_at..][..payload.len()], payload);
        assert_eq!(frame[decoded.payload_at..].as_ptr(), payload.as_ptr(), "the payload is not a copy");
    } else {
        for piece in decoded.pieces {
            assert!(piece.len > 0 && (piece.payload_at + piece.len) as usize <= payload.len());
        }
    }
}

fn decode_all(link: LinkType, frames: &[Vec<u8>], wire: u32, verify: bool) {
    let limits = Config { verify_checksums: verify, max_fragment_packets: 3, ..Config::default() };
    let mut decoder = Decoder::new(limits);
    for (i, frame) in frames.iter().enumerate() {
        check(frame, &decoder.decode(link, frame, wire, Timestamp(i as i64), i as u64));
    }
    decoder.tick(Timestamp(i64::MAX));
}

/// Changes of a frame: at a place (of all of it), to a value.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn noise_is_an_outcome(
        link in prop::sample::select(LINKS.to_vec()),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        wire in any::<u32>(),
        verify in any::<bool>(),
    ) {
        decode_all(LinkType(link), &[bytes], wire, verify);
    }

    /// A valid frame of every kind, changed and cut, as Ethernet and from each of its bytes on as any link type.
    #[test]
    fn changed_and_cut_frames_are_outcomes(
        link in prop::sample::select(LINKS.to_vec()),
        changes in changes(),
        cut in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
        verify in any::<bool>(),
    ) {
        let all: Vec<Vec<u8>> = frames::every_kind(&payload).into_iter().map(|(_, mut frame)| {
            for (at, value) in &changes {
                let at = at.index(frame.len());
                frame[at] = *value;
            }
            frame
        }).collect();
        let wire = 60;
        decode_all(LinkType::ETHERNET, &all, wire, verify);
        let short: Vec<_> = all.iter().map(|f| f[..cut.index(f.len() + 1)].to_vec()).collect();
        decode_all(LinkType::ETHERNET, &short, wire, verify);
        let inner: Vec<_> = all.iter().map(|f| f[from.index(f.len() + 1)..].to_vec()).collect();
        decode_all(LinkType(link), &inner, wire, verify);
    }
}

#[test]
fn every_cut_of_every_kind_is_an_outcome() {
    for (name, frame) in frames::every_kind(b"hello") {
        let mut decoder = Decoder::new(Config::default());
        let whole = decoder.decode(LinkType::ETHERNET, &frame, frame.len() as u32, Timestamp(0), 0);
        assert!(!matches!(whole.content, Content::Malformed | Content::Other), "{name}: {whole:?}");
        for n in 0..frame.len() {
            decode_all(LinkType::ETHERNET, &[frame[..n].to_vec()], frame.len() as u32, true);
        }
    }
}

/// Every kind of frame with "hello" in it decodes to just that, with right checksums.
#[test]
fn every_kind_is_understood() {
    for (name, frame) in frames::every_kind(b"hello") {
        let mut decoder = Decoder::new(Config { verify_checksums: true, ..Config::default() });
        let decoded = decoder.decode(LinkType::ETHERNET, &frame, frame.len() as u32, Timestamp(0), 0);
        let (payload, ok) = match decoded.content {
            Content::Tcp(s) => (s.payload, s.checksum_ok),
            Content::Udp(d) => (d.payload, d.checksum_ok),
            Content::Fragment => continue,
            Content::Other | Content::Malformed => panic!("{name}: {decoded:?}"),
        };
        assert_eq!((payload, ok), (&b"hello"[..], Some(true)), "{name}");
    }
}
