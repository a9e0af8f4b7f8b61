//! Both streams of a connection out of a script, and what must hold of what lies inside them.

use std::ops::ControlFlow;

use streamdb_extract::{
    BodyLimits, Decode, Found, Limits, MemorySource, Part, Piece, Read, Source, Span, Undo, counted, gaps, inside,
    messages, part_body,
};
use streamdb_types::{Direction, GapKind, Marks, Reason, StreamOffset};

use super::script::Script;

/// What stands between the two streams.
const BETWEEN: &[u8] = b"\n====\n";

/// Both streams, as a script has them.
pub struct Talk<'a> {
    bytes: [&'a [u8]; 2],
    holes: Vec<(u8, u16, u8)>,
    ends: u8,
    reads: u8,
    limits: Limits,
}

impl<'a> Talk<'a> {
    /// Four bytes of settings; then how many holes, of four bytes each; then what the client sends and what the server sends,
    /// with `====` on a line between them.
    pub fn read(data: &'a [u8]) -> Self {
        let mut script = Script(data);
        let (ends, reads, limit, holes) = (script.byte(), script.byte(), script.byte(), script.byte() & 7);
        let holes = (0..holes).map(|_| (script.byte(), script.short(), script.byte())).collect();
        let text = script.0;
        let bytes = match text.windows(BETWEEN.len()).position(|bytes| bytes == BETWEEN) {
            Some(at) => [&text[..at], &text[at + BETWEEN.len()..]],
            None => [text, &[]],
        };
        let limits = match limit {
            0 => Limits::default(),
            n => Limits { messages: 1 + u32::from(n & 7), kept: 200 * usize::from(n), ..Limits::default() },
        };
        Self { bytes, holes, ends, reads, limits }
    }

    /// What is found, of which what must hold is checked.
    pub fn check(&self) -> Option<Found> {
        let sources = self.sources([usize::MAX; 2], false);
        let found = look(&sources, &self.limits);
        let slow = sources.clone().map(|source| source.with_reads_of(1 + usize::from(self.reads % 67)));
        assert_eq!(found, look(&slow, &self.limits), "what is found depends on how the bytes are read");
        let found = found?;
        let begins = begins(&sources, &self.limits);
        for sentence in found.sentences.iter().flatten() {
            assert!(sentence.len() <= streamdb_sniff::SENTENCE_BYTES, "{sentence}");
            assert!(sentence.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{sentence}");
        }
        for direction in Direction::BOTH {
            let source = &sources[direction.index()];
            // Nobody goes on in clear after a handshake of TLS.
            let (mut before, mut ciphered) = (0, false);
            for (n, part) in found.parts[direction.index()].iter().enumerate() {
                assert_eq!(part.number as usize, n + 1);
                assert!(!ciphered || part.protocol == "tls", "{part:?}");
                ciphered = part.protocol == "tls";
                assert!(part.begins >= before, "{part:?}");
                // A mail and its first part begin at the same place.
                before = part.begins;
                check(part, source, *direction.of(&begins));
            }
        }
        // What was named while less was there keeps its name.
        let less = self.bytes.map(|bytes| bytes.len() - bytes.len() * usize::from(self.reads) / 512);
        let http = |found: &Found| found.parts.iter().flatten().any(|part| part.protocol == "http");
        // Which side of HTTP/1 behind SOCKS asks may show later on, and that it is HTTP/1.
        if let Some(earlier) =
            look(&self.sources(less, true), &self.limits).filter(|earlier| !http(earlier) && !http(&found))
        {
            for (early, late) in earlier.parts.iter().zip(&found.parts) {
                assert!(early.len() <= late.len(), "{earlier:?} {found:?}");
                for (early, late) in early.iter().zip(late) {
                    assert_eq!((early.number, early.begins), (late.number, late.begins));
                }
            }
        }
        Some(found)
    }

    fn sources(&self, most: [usize; 2], open: bool) -> [MemorySource; 2] {
        Direction::BOTH.map(|direction| {
            let bytes = self.bytes[direction.index()];
            let bits = self.ends >> (direction.index() * 4);
            let ended = [Some(Reason::Fin), None, Some(Reason::Rst), Some(Reason::SizeCutoff)][usize::from(bits & 3)];
            let marks = [Marks::SYN.with(Marks::FIN), Marks::default(), Marks::RST, Marks::MIDSTREAM]
                [usize::from(bits >> 2 & 3)];
            // How a stream began does not change while it is open.
            let begun = if marks.contains(Marks::MIDSTREAM) { marks } else { Marks::SYN };
            let (ended, marks) = if open { (None, begun) } else { (ended, marks) };
            let bytes = &bytes[..bytes.len().min(most[direction.index()])];
            let mut source = MemorySource::new(bytes).with_end(ended, marks);
            for (kind, at, length) in self.holes.iter().filter(|(kind, ..)| usize::from(kind & 1) == direction.index())
            {
                let kind = if kind & 2 != 0 { GapKind::SnapLength } else { GapKind::Missing };
                source = source.with_gap(u64::from(*at), u64::from(*length), kind);
            }
            source
        })
    }
}

fn look(sources: &[MemorySource; 2], limits: &Limits) -> Option<Found> {
    let found = messages(&sources[0], &sources[1], &Limits::default());
    inside(&found, [&sources[0], &sources[1]], limits).map(|(_, found)| found)
}

/// Where the messages begin in which something is found.
fn begins(sources: &[MemorySource; 2], limits: &Limits) -> [StreamOffset; 2] {
    let messages = messages(&sources[0], &sources[1], &Limits::default());
    let which = inside(&messages, [&sources[0], &sources[1]], limits).map(|(which, _)| which).unwrap_or_default();
    Direction::BOTH.map(|direction| {
        let message = direction.of(&which).and_then(|which| messages.of(direction).get(which.0 as usize));
        message.map_or(StreamOffset(0), |message| message.span.start)
    })
}

/// Its ranges lie in order in what begins there, and it is whole only when all of them is there.
fn check(part: &Part, source: &MemorySource, begins: StreamOffset) {
    let mut at = part.begins;
    let mut holes = 0;
    for range in &part.content {
        assert!(range.start >= at && range.start < range.end && range.end <= source.end().since(begins), "{part:?}");
        at = range.end;
        let span = Span::new(begins.add(range.start), begins.add(range.end));
        holes += gaps(source, span).map(|gap| gap.length).sum::<u64>();
    }
    assert!(part.missing >= holes, "{part:?}");
    assert!(part.incomplete.is_some() || part.missing == 0, "{part:?}");
    let mut outer = |out: &mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>| {
        let mut out = counted(out);
        let (mut at, mut buffer) = (begins, [0; 4096]);
        while at < source.end() {
            let (piece, length) = match source.read(at, &mut buffer) {
                Read::Bytes(n) => (Piece::Bytes(&buffer[..n]), n as u64),
                Read::Hole(gap) => (Piece::Hole(gap), gap.length),
                Read::End => break,
            };
            at = at.add(length);
            if out(piece).is_break() {
                break;
            }
        }
    };
    let mut length = 0;
    let outcome = part_body(part, Decode::Raw, &BodyLimits::default(), None, &mut outer, &mut |piece| {
        length += match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Hole(gap) => gap.length,
        };
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.complete, part.incomplete.is_none(), "{part:?}");
    // Of a mail's lines the dots that were put before them are taken away.
    match part.undo {
        Undo::Nothing => assert_eq!(length, part.len(), "{part:?}"),
        _ => assert!(length <= part.len(), "{part:?}"),
    }
}
