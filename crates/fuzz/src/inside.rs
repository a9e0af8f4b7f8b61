//! Two streams of any bytes with holes, as finders see them: what is found lies where it says, is numbered by its place, is not called
//! whole where bytes are missing, and does not depend on how the bytes are read, nor its numbers on how much of them came.

use std::ops::ControlFlow;

use streamdb_extract::{
    BodyLimits, Context, Decode, Found, Limits, MemorySource, MessageIndex, Part, Piece, Span, body, counted, gaps,
    inside, messages, part_body,
};
use streamdb_types::{Direction, GapKind, Marks, Reason};

use super::script::Script;

/// What stands between the two streams.
const BETWEEN: &[u8] = b"\n====\n";
/// Most bytes out of a part: enough to see the limit at work, and quick.
const BODY: BodyLimits = BodyLimits { output: 1 << 18, ratio: 50, ratio_from: 64 << 10 };
const ASK: &[u8] = b"GET /s HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n";
/// What a server may agree upon.
const AGREED: [&str; 4] = [
    "",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
    "Sec-WebSocket-Extensions: x-own\r\n",
];

/// Four bytes of settings; then how many holes, of four bytes each; then what the client sends and what the server sends,
/// with `====` on a line between them.
pub fn http2(data: &[u8]) {
    look(data, [b"", b""], true);
}

/// The same.
pub fn socks(data: &[u8]) {
    look(data, [b"", b""], false);
}

/// A byte that says what the server agrees upon; then the same, behind the handshake.
pub fn websocket(data: &[u8]) {
    let Some((agreed, data)) = data.split_first() else { return };
    let agreed = AGREED[usize::from(agreed & 3)];
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{agreed}\r\n");
    look(data, [ASK, answer.as_bytes()], true);
}

fn look(data: &[u8], before: [&[u8]; 2], stays: bool) {
    let mut script = Script(data);
    let (ends, reads, limit, holes) = (script.byte(), script.byte(), script.byte(), script.byte() & 7);
    let holes: Vec<(u8, u16, u8)> = (0..holes).map(|_| (script.byte(), script.short(), script.byte())).collect();
    let text = script.0;
    let between = text.windows(BETWEEN.len()).position(|bytes| bytes == BETWEEN);
    let (to_server, to_client) = match between {
        Some(at) => (&text[..at], &text[at + BETWEEN.len()..]),
        None => (text, &[][..]),
    };
    let all = [[before[0], to_server].concat(), [before[1], to_client].concat()];
    let source = |direction: Direction, most: usize, open: bool| {
        let bits = ends >> (direction.index() * 4);
        let ended = [Some(Reason::Fin), None, Some(Reason::Rst), Some(Reason::SizeCutoff)][usize::from(bits & 3)];
        let marks = [Marks::SYN.with(Marks::FIN), Marks::default(), Marks::RST, Marks::SYN][usize::from(bits >> 2 & 3)];
        let bytes = &all[direction.index()];
        let ended = if open { (None, Marks::SYN) } else { (ended, marks) };
        let mut source = MemorySource::new(&bytes[..bytes.len().min(most)]).with_end(ended.0, ended.1);
        for (kind, at, length) in holes.iter().filter(|(kind, ..)| usize::from(kind & 1) == direction.index()) {
            let kind = if kind & 2 != 0 { GapKind::SnapLength } else { GapKind::Missing };
            let at = before[direction.index()].len() as u64 + u64::from(*at);
            source = source.with_gap(at, u64::from(*length), kind);
        }
        source
    };
    let sources = Direction::BOTH.map(|direction| source(direction, usize::MAX, false));
    let limits = match limit {
        0 => Limits::default(),
        n => Limits { messages: 4 + u32::from(n & 7), head: 32 + usize::from(n >> 3) * 16, kept: 5000 },
    };
    let found = find(&sources, &limits);
    let slow = sources.clone().map(|source| source.with_reads_of(1 + usize::from(reads % 67)));
    assert_eq!(found, find(&slow, &limits), "what is found depends on how the bytes are read");
    let Some((which, found)) = found else { return };
    for direction in Direction::BOTH {
        check(direction.of::<Vec<Part>>(&found.parts), *direction.of(&which), &sources, direction, &limits);
    }
    if stays {
        let earlier = Direction::BOTH.map(|direction| {
            let length = all[direction.index()].len().saturating_sub(before[direction.index()].len());
            source(direction, before[direction.index()].len() + length * usize::from(reads) / 256, true)
        });
        let Some((earlier_which, earlier)) = find(&earlier, &limits) else { return };
        // HTTP/1 that shows later on may leave something else to look into.
        if earlier_which != which {
            return;
        }
        for direction in Direction::BOTH {
            let places = |found: &Found| -> Vec<(u32, u64)> {
                direction.of::<Vec<Part>>(&found.parts).iter().map(|part| (part.number, part.begins)).collect()
            };
            let (before, after) = (places(&earlier), places(&found));
            assert!(after.starts_with(&before), "{earlier:?}\n{found:?}");
        }
    }
}

fn find(sources: &[MemorySource; 2], limits: &Limits) -> Option<([Option<MessageIndex>; 2], Found)> {
    let messages = messages(&sources[0], &sources[1], limits);
    inside(&messages, [&sources[0], &sources[1]], limits)
}

fn check(
    parts: &[Part],
    which: Option<MessageIndex>,
    sources: &[MemorySource; 2],
    direction: Direction,
    limits: &Limits,
) {
    let source = direction.of(sources);
    let messages = messages(&sources[0], &sources[1], limits);
    let message = which.and_then(|which| messages.of(direction).get(which.0 as usize));
    let Some(message) = message else {
        return assert!(parts.is_empty());
    };
    let start = message.body.start;
    let mut begun = None;
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(part.number as usize, n + 1);
        assert!(begun.is_none_or(|begun| begun < part.begins), "by their places: {parts:?}");
        begun = Some(part.begins);
        let mut at = 0;
        for range in &part.content {
            assert!(at <= range.start && range.start < range.end && range.end <= message.body.len(), "{part:?}");
            at = range.end;
            let span = Span::new(start.add(range.start), start.add(range.end));
            assert!(gaps(source, span).next().is_none() || part.incomplete.is_some(), "a hole: {part:?}");
        }
        for decode in [Decode::Raw, Decode::Decoded] {
            let mut length = 0;
            let outcome = part_body(
                part,
                decode,
                &BODY,
                None,
                &mut |take| {
                    body(message, source, Decode::Raw, &BodyLimits::default(), &mut counted(take));
                },
                &mut |piece| {
                    length += match piece {
                        Piece::Bytes(bytes) => bytes.len() as u64,
                        Piece::Hole(gap) => gap.length,
                    };
                    ControlFlow::Continue(())
                },
            );
            assert_eq!(outcome.length, length);
            assert!(!outcome.complete || part.incomplete.is_none());
            assert!(part.context != Context::Lost || part.incomplete.is_some());
            if decode == Decode::Raw {
                assert_eq!(length, part.len(), "{part:?}");
            }
        }
    }
}
