//! Mail sessions, what hands over to TLS, and bodies of several parts, of any bytes with holes: parts are numbered in order and lie within what they are found
//! in, holes make them incomplete, and nothing depends on how the bytes come.

use std::ops::ControlFlow;

use streamdb_extract::{
    BodyLimits, Decode, Incomplete, Limits, MemorySource, Message, Multipart, Part, PartHead, Piece, Source, body,
    counted, inside, messages, multipart as parts_of, part_body,
};
use streamdb_types::{Direction, Gap, GapKind, Marks, Reason, StreamOffset};

use super::script::Script;

/// What stands between the two streams.
const BETWEEN: &[u8] = b"\n====\n";
/// Most bytes out of a part: enough to see the limit at work, and quick.
const BODY: BodyLimits = BodyLimits { output: 1 << 20, ratio: 50, ratio_from: 64 << 10 };

/// One byte of settings, how many holes, of three bytes each, and how long pieces are; then a media type on a line, and a body.
pub fn multipart(data: &[u8]) {
    let mut script = Script(data);
    let (end, holes, size) = (script.byte(), script.byte() & 3, 1 + usize::from(script.byte()));
    let holes: Vec<(usize, usize)> =
        (0..holes).map(|_| (usize::from(script.short()), 1 + usize::from(script.byte()))).collect();
    let text = script.0;
    let line = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    let (media, content) = (&text[..line], text.get(line + 1..).unwrap_or_default());
    let Some(scan) = parts_of(media) else { return };
    let mut there = vec![true; content.len()];
    for (at, length) in holes {
        there.iter_mut().skip(at).take(length).for_each(|there| *there = false);
    }
    let incomplete = (end & 1 != 0).then_some(Incomplete::Open);
    let found = push(scan, content, &there, usize::MAX, incomplete);
    let again = parts_of(media).map(|scan| push(scan, content, &there, size, incomplete));
    assert_eq!(Some(&found), again.as_ref(), "what is found depends on the pieces");
    check(&found, content.len() as u64);
    for part in &found {
        let missing =
            part.content.iter().flat_map(|r| &there[r.start as usize..r.end as usize]).filter(|t| !**t).count();
        assert_eq!(part.missing, missing as u64, "{part:?}");
        let head = PartHead::new(&content[part.begins as usize..]);
        let _ = (head.filename(), head.field_name(), head.media_type());
    }
}

fn push(mut scan: Multipart, content: &[u8], there: &[bool], size: usize, incomplete: Option<Incomplete>) -> Vec<Part> {
    let mut at = 0;
    while at < content.len() {
        let same = there[at..].iter().take_while(|t| **t == there[at]).count();
        let length = if there[at] { same.min(size) } else { same };
        scan.push(if there[at] {
            Piece::Bytes(&content[at..at + length])
        } else {
            Piece::Hole(Gap { offset: StreamOffset(at as u64), length: length as u64, kind: GapKind::Missing })
        });
        at += length;
    }
    scan.finish(incomplete)
}

/// Three bytes of settings, how many holes, of four bytes each; then what the client sends and what the server sends, with `====` on
/// a line between them.
pub fn smtp(data: &[u8]) {
    session(data);
}

/// As [`smtp`] has it.
pub fn pop3(data: &[u8]) {
    session(data);
}

/// As [`smtp`] has it.
pub fn handover(data: &[u8]) {
    session(data);
}

fn session(data: &[u8]) {
    let mut script = Script(data);
    let (ends, reads, limit, holes) = (script.byte(), script.byte(), script.byte(), script.byte() & 7);
    let holes: Vec<(u8, u16, u8)> = (0..holes).map(|_| (script.byte(), script.short(), script.byte())).collect();
    let text = script.0;
    let between = text.windows(BETWEEN.len()).position(|bytes| bytes == BETWEEN);
    let (client, server) = between.map_or((text, &[][..]), |at| (&text[..at], &text[at + BETWEEN.len()..]));
    let source = |bytes: &[u8], direction: Direction| {
        let bits = ends >> (direction.index() * 4);
        let ended = [Some(Reason::Fin), None, Some(Reason::Rst), Some(Reason::SizeCutoff)][usize::from(bits & 3)];
        let marks =
            [Marks::SYN.with(Marks::FIN), Marks::default(), Marks::RST, Marks::MIDSTREAM][usize::from(bits >> 2 & 3)];
        holes
            .iter()
            .filter(|(kind, ..)| usize::from(kind & 1) == direction.index())
            .fold(MemorySource::new(bytes).with_end(ended, marks), |source, (_, at, length)| {
                source.with_gap(u64::from(*at), u64::from(*length), GapKind::Missing)
            })
    };
    let sources = [source(client, Direction::ToServer), source(server, Direction::ToClient)];
    let slow = sources.clone().map(|source| source.with_reads_of(1 + usize::from(reads % 67)));
    let limits = match limit {
        0 => Limits::default(),
        n => Limits { messages: u32::from(n & 15), ..Limits::default() },
    };
    let found = messages(&sources[0], &sources[1], &limits);
    let look = |sources: &[MemorySource; 2]| inside(&found, [&sources[0], &sources[1]], &limits);
    let answer = look(&sources);
    assert_eq!(answer, look(&slow), "what is found depends on how the bytes are read");
    let Some((in_message, answer)) = answer else { return };
    for direction in Direction::BOTH {
        let source = &sources[direction.index()];
        let parts = &answer.parts[direction.index()];
        let Some(index) = in_message[direction.index()] else {
            assert!(parts.is_empty(), "parts of no message");
            continue;
        };
        let message = &found.of(direction)[index.0 as usize];
        check(parts, message.span.len());
        for part in parts {
            take(part, message, source);
        }
    }
}

/// Hands out a part, as it was sent and as it was meant.
fn take(part: &Part, message: &Message, source: &dyn Source) {
    for decode in [Decode::Raw, Decode::Decoded] {
        let mut length = 0;
        let mut holes = 0;
        let outcome = part_body(
            part,
            decode,
            &BODY,
            None,
            &mut |take| {
                body(message, source, Decode::Raw, &BodyLimits { output: u64::MAX, ..BODY }, &mut counted(take));
            },
            &mut |piece| {
                match piece {
                    Piece::Bytes(bytes) => length += bytes.len() as u64,
                    Piece::Hole(gap) => (length, holes) = (length + gap.length, holes + gap.length),
                }
                ControlFlow::Continue(())
            },
        );
        assert_eq!(outcome.length, length);
        assert!(!outcome.complete || part.incomplete.is_none() && holes == 0, "{part:?}");
        if decode == Decode::Raw {
            assert!(length <= part.len() && holes <= part.missing, "{part:?}");
        }
    }
}

/// What must hold whatever the bytes are.
fn check(parts: &[Part], length: u64) {
    assert!(parts.is_sorted_by_key(|part| part.begins), "{parts:?}");
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(part.number as usize, n + 1);
        let mut at = 0;
        for range in &part.content {
            assert!(at <= range.start && range.start < range.end && range.end <= length, "{part:?}");
            at = range.end;
        }
        assert!(part.begins <= length && (part.missing == 0 || part.incomplete.is_some()), "{part:?}");
    }
}
