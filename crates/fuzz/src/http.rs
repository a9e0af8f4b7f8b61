//! Two streams of any bytes with holes: messages cover them exactly, their parts lie within them, and nothing depends on
//! how the bytes are read.

use std::ops::ControlFlow;

use streamdb_extract::{
    BodyLimits, BodyOutcome, Decode, Kind, Limits, MemorySource, Message, Messages, Piece, Source, body, gaps, head,
    messages, trailers,
};
use streamdb_types::{Direction, GapKind, Marks, Reason};

use super::script::Script;

/// What stands between the two streams.
const BETWEEN: &[u8] = b"\n====\n";
/// Most bytes out of a body: enough to see the limit at work, and quick.
const BODY: BodyLimits = BodyLimits { output: 1 << 20, ratio: 50, ratio_from: 64 << 10 };

/// Four bytes of settings; then how many holes, of four bytes each; then what the client sends and what the server sends,
/// with `====` on a line between them.
pub fn http(data: &[u8]) {
    let mut script = Script(data);
    let (ends, reads, limit, holes) = (script.byte(), script.byte(), script.byte(), script.byte() & 7);
    let holes: Vec<(u8, u16, u8)> = (0..holes).map(|_| (script.byte(), script.short(), script.byte())).collect();
    let text = script.0;
    let between = text.windows(BETWEEN.len()).position(|bytes| bytes == BETWEEN);
    let (to_server, to_client) = match between {
        Some(at) => (&text[..at], &text[at + BETWEEN.len()..]),
        None => (text, &[][..]),
    };
    let source = |bytes: &[u8], direction: Direction| {
        let bits = ends >> (direction.index() * 4);
        let ended = [Some(Reason::Fin), None, Some(Reason::Rst), Some(Reason::SizeCutoff)][usize::from(bits & 3)];
        let marks =
            [Marks::SYN.with(Marks::FIN), Marks::default(), Marks::RST, Marks::MIDSTREAM][usize::from(bits >> 2 & 3)];
        let mut source = MemorySource::new(bytes).with_end(ended, marks);
        for (kind, at, length) in holes.iter().filter(|(kind, ..)| usize::from(kind & 1) == direction.index()) {
            let kind = if kind & 2 != 0 { GapKind::SnapLength } else { GapKind::Missing };
            source = source.with_gap(u64::from(*at), u64::from(*length), kind);
        }
        source
    };
    let sources = [source(to_server, Direction::ToServer), source(to_client, Direction::ToClient)];
    let limits = match limit {
        0 => Limits::default(),
        n => Limits { messages: 1 + u32::from(n & 7), head: 32 + usize::from(n >> 3) * 16, kept: 200 },
    };
    let slow = sources.clone().map(|source| source.with_reads_of(1 + usize::from(reads % 67)));
    let found = look(&sources, &limits);
    assert_eq!(found, look(&slow, &limits), "what is found depends on how the bytes are read");
    assert!(found.streams.iter().all(|stream| stream.len() <= limits.messages as usize));
    for message in found.in_order() {
        let source = &sources[message.direction.index()];
        let slow = &slow[message.direction.index()];
        let (raw, outcome) = collect(message, source, Decode::Raw);
        assert!(raw.len() as u64 <= message.body.len());
        assert_eq!(outcome.encoded_length, outcome.length);
        assert_eq!(collect(message, slow, Decode::Raw), (raw, outcome));
        let (decoded, outcome) = collect(message, source, Decode::Decoded);
        assert!(decoded.len() as u64 <= BODY.output.max(message.body.len()));
        assert_eq!(collect(message, slow, Decode::Decoded), (decoded, outcome));
        let _ = head(message, source).map(|head| head.fields().count());
        let _ = trailers(message, source);
    }
}

/// The messages, of which what must hold is checked.
fn look(sources: &[MemorySource; 2], limits: &Limits) -> Messages {
    let found = messages(&sources[0], &sources[1], limits);
    for direction in Direction::BOTH {
        let source = &sources[direction.index()];
        let mut at = 0;
        for (i, message) in found.of(direction).iter().enumerate() {
            assert_eq!((message.index.0 as usize, message.direction), (i, direction));
            assert_eq!(message.span.start.0, at, "messages lie side by side: {message:?}");
            assert!(!message.span.is_empty(), "{message:?}");
            at = message.span.end.0;
            assert!(message.span.start <= message.head.start && message.head.start <= message.head.end);
            assert!(message.head.end <= message.body.start && message.body.start <= message.body.end);
            assert!(message.body.end <= message.trailers.start && message.trailers.start <= message.trailers.end);
            assert!(message.trailers.end <= message.span.end, "{message:?}");
            for part in [message.head, message.body] {
                if gaps(source, part).next().is_some() {
                    assert!(message.missing > 0 && !message.is_complete(), "a hole makes it incomplete: {message:?}");
                }
            }
            if let (Kind::Request { .. }, Some(peer)) = (&message.kind, message.peer) {
                let answer = &found.of(direction.flip())[peer.0 as usize];
                assert_eq!(answer.peer, Some(message.index), "pairs are mutual");
            }
        }
        assert_eq!(at, source.end().0, "messages cover the stream: {found:?}");
    }
    assert_eq!(found.in_order().count(), found.streams.iter().map(Vec::len).sum::<usize>());
    found
}

/// A body, holes as zeros.
fn collect(message: &Message, source: &MemorySource, decode: Decode) -> (Vec<u8>, BodyOutcome) {
    let mut bytes = Vec::new();
    let outcome = body(message, source, decode, &BODY, &mut |piece| {
        match piece {
            Piece::Bytes(piece) => {
                assert!(!piece.is_empty());
                bytes.extend_from_slice(piece);
            }
            Piece::Hole(gap) => bytes.extend(std::iter::repeat_n(0, gap.length as usize)),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.length, bytes.len() as u64);
    assert!(!outcome.complete || message.is_complete());
    (bytes, outcome)
}
