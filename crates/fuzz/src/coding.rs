//! Coded bytes of any kind in a body: decoding ends, within its bounds, and nothing depends on how the bytes come in pieces.

use std::ops::ControlFlow;

use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Limits, MemorySource, Message, Part, PartKind, Piece, body_both, messages,
    part_body,
};
use streamdb_types::Direction;

use super::script::Script;

/// The ratio is looked at from piece to piece, so it would depend on them.
const LIMITS: BodyLimits = BodyLimits { output: 1 << 20, ratio: u64::MAX, ratio_from: u64::MAX };

/// Two bytes that say how long the pieces are; then coded data.
fn coding(name: &str, data: &[u8]) {
    let mut script = Script(data);
    let lengths = [1 + usize::from(script.byte() & 63), 1 + usize::from(script.byte()) * 16];
    let coded = script.0;
    let whole = decode(&format!("HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\n\r\n"), coded, coded);
    let mut chunks = Vec::new();
    let (mut rest, mut lengths) = (coded, lengths.into_iter().cycle());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(lengths.next().unwrap_or(1).min(rest.len()));
        chunks.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunks.extend(chunk);
        chunks.extend(b"\r\n");
        rest = after;
    }
    chunks.extend(b"0\r\n\r\n");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let pieces = decode(&head, &chunks, coded);
    assert_eq!(whole.1, pieces.1, "what comes of it depends on the pieces");
    assert!(whole.0 == pieces.0, "what comes out depends on the pieces");
}

/// The same of a coding of mail, in a part.
fn part_coding(name: &str, data: &[u8]) {
    let mut script = Script(data);
    let lengths = [1 + usize::from(script.byte() & 63), 1 + usize::from(script.byte()) * 16];
    let coded = script.0;
    let all = 0..coded.len() as u64;
    let mut part = Part::new(1, "smtp", PartKind::Part, Vec::from([all]));
    part.content_codings.push(name.to_owned());
    let decode = |lengths: &[usize]| {
        let (mut encoded, mut plain) = (Vec::new(), Vec::new());
        let take = |to: &mut Vec<u8>, piece: Piece<'_>| match piece {
            Piece::Bytes(bytes) => to.extend_from_slice(bytes),
            Piece::Hole(_) => unreachable!("there is no hole"),
        };
        let outcome = part_body(
            &part,
            Decode::Decoded,
            &LIMITS,
            Some(&mut |piece| take(&mut encoded, piece)),
            &mut |out| {
                let (mut rest, mut at) = (coded, 0);
                for length in lengths.iter().cycle() {
                    let (piece, after) = rest.split_at((*length).min(rest.len()));
                    if piece.is_empty() || out(at, Piece::Bytes(piece)).is_break() {
                        break;
                    }
                    (rest, at) = (after, at + piece.len() as u64);
                }
            },
            &mut |piece| {
                take(&mut plain, piece);
                ControlFlow::Continue(())
            },
        );
        assert!(outcome.decoded && outcome.length == plain.len() as u64);
        assert!(encoded == coded && outcome.encoded_length == coded.len() as u64);
        (plain, outcome)
    };
    let (whole, pieces) = (decode(&[usize::MAX]), decode(&lengths));
    assert_eq!(whole.1, pieces.1, "what comes of it depends on the pieces");
    assert!(whole.0 == pieces.0, "what comes out depends on the pieces");
}

/// What comes out of a response of this head and body.
fn decode(head: &str, body: &[u8], coded: &[u8]) -> (Vec<u8>, BodyOutcome) {
    let source = MemorySource::new([head.as_bytes(), body].concat());
    let asked = MemorySource::new(*b"GET / HTTP/1.1\r\n\r\n");
    let found = messages(&asked, &source, &Limits::default());
    let message: &Message = &found.of(Direction::ToClient)[0];
    let (mut encoded, mut plain) = (Vec::new(), Vec::new());
    let take = |to: &mut Vec<u8>, piece: Piece<'_>| match piece {
        Piece::Bytes(bytes) => to.extend_from_slice(bytes),
        Piece::Hole(_) => unreachable!("there is no hole"),
    };
    let outcome = body_both(message, &source, &LIMITS, &mut |piece| take(&mut encoded, piece), &mut |piece| {
        take(&mut plain, piece);
        ControlFlow::Continue(())
    });
    assert!(outcome.decoded && encoded == coded && outcome.encoded_length == coded.len() as u64);
    assert!(outcome.length == plain.len() as u64 && outcome.length <= LIMITS.output);
    (plain, outcome)
}

/// gzip.
pub fn gzip(data: &[u8]) {
    coding("gzip", data);
}

/// deflate, with a zlib header or without.
pub fn deflate(data: &[u8]) {
    coding("deflate", data);
}

/// br.
pub fn brotli(data: &[u8]) {
    coding("br", data);
}

/// zstd.
pub fn zstd(data: &[u8]) {
    coding("zstd", data);
}

/// base64.
pub fn base64(data: &[u8]) {
    part_coding("base64", data);
}

/// quoted-printable.
pub fn quoted_printable(data: &[u8]) {
    part_coding("quoted-printable", data);
}

/// The codings of scripts: hex and base64url.
pub fn letters(data: &[u8]) {
    part_coding("hex", data);
    part_coding("base64url", data);
}
