//! Sessions made up from messages: in fragments, under masks, compressed in each way, control frames between; then cut and holed.

use std::ops::ControlFlow;

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use streamdb_types::{GapKind, Marks};

use crate::body::{BodyOutcome, Decode, Piece, Problem, body, part_body};
use crate::inside::{Found, inside};
use crate::limits::{BodyLimits, Limits};
use crate::memory::MemorySource;
use crate::message::Incomplete;
use crate::part::counted;
use crate::part::{Context, Part};
use crate::source::gaps;
use crate::span::Span;
use streamdb_types::StreamOffset;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: h.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

#[derive(Clone, Debug)]
struct Sent {
    plain: Vec<u8>,
    /// Sizes of fragments, in turn.
    sizes: Vec<usize>,
    mask: [u8; 4],
    compressed: bool,
    ping: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let plain = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(prop::sample::select(b"abc ".to_vec()), 0..600),
        Just(b"again and again the same ".repeat(9)),
        // More than can be referred to.
        (0u8..9).prop_map(|n| (0..40_000u32).map(|i| (i / 7) as u8 ^ n).collect()),
    ];
    (plain, prop::collection::vec(0usize..300, 1..4), any::<[u8; 4]>(), any::<bool>(), any::<bool>())
        .prop_map(|(plain, sizes, mask, compressed, ping)| Sent { plain, sizes, mask, compressed, ping })
}

/// A coder of messages (RFC 7692 §7.2.1).
struct Coder {
    state: Compress,
    takeover: bool,
}

impl Coder {
    fn code(&mut self, plain: &[u8]) -> Vec<u8> {
        if plain.is_empty() {
            // RFC 7692 §7.2.3.6.
            return vec![0];
        }
        if !self.takeover {
            self.state.reset();
        }
        let mut out = Vec::with_capacity(plain.len() + 1000);
        let before = self.state.total_in();
        self.state.compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
        assert_eq!((self.state.total_in() - before) as usize, plain.len());
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "{out:x?}");
        out.truncate(out.len() - 4);
        out
    }
}

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(bit | n as u8),
        n @ 126..65_536 => bytes.extend([bit | 126, (n >> 8) as u8, n as u8]),
        n => {
            bytes.push(bit | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask.map_or(0, |mask| mask[i % 4])));
    bytes
}

/// One direction; and where each message begins and ends.
fn write(begin: &str, messages: &[Sent], client: bool, takeover: bool) -> (Vec<u8>, Vec<(u64, u64)>) {
    let mut bytes = begin.as_bytes().to_vec();
    let mut coder = Coder { state: Compress::new(Compression::default(), false), takeover };
    let mut places = Vec::new();
    let mut number = 0u8;
    for message in messages {
        let Sent { plain, sizes, mask, compressed, ping } = message;
        let coded = if *compressed { coder.code(plain) } else { plain.clone() };
        let begin = bytes.len() as u64;
        let mut rest = &coded[..];
        let mut first = 2 | if *compressed { 0x40 } else { 0 };
        for (n, size) in sizes.iter().enumerate() {
            let last = n + 1 == sizes.len();
            let (part, after) = rest.split_at(if last { rest.len() } else { rest.len().min(*size) });
            number = number.wrapping_add(77);
            let mask = client.then(|| mask.map(|b| b.wrapping_add(number)));
            bytes.extend(frame(first | if last { 0x80 } else { 0 }, mask, part));
            if *ping && !last {
                bytes.extend(frame(0x89, client.then_some([9; 4]), b"ping"));
            }
            (first, rest) = (0, after);
        }
        places.push((begin, bytes.len() as u64));
        if *ping {
            bytes.extend(frame(0x8a, None, b""));
        }
    }
    (bytes, places)
}

fn look(sources: &[MemorySource; 2]) -> Found {
    let find = |sources: &[MemorySource; 2]| {
        let limits = Limits::default();
        let messages = crate::messages(&sources[0], &sources[1], &limits);
        inside(&messages, [&sources[0], &sources[1]], &limits).map_or_else(Found::default, |(_, found)| found)
    };
    let found = find(sources);
    assert_eq!(found, find(&sources.clone().map(|source| source.with_reads_of(11))));
    found
}

/// What comes out of a part of the stream of `source`, of which `before` bytes are the handshake's.
fn decoded(part: &Part, source: &MemorySource, before: usize) -> (Vec<u8>, BodyOutcome) {
    let all = Span::new(StreamOffset(before as u64), crate::Source::end(source));
    let message = crate::message::Message::stream(1, streamdb_types::Direction::ToServer, all);
    let mut out = Vec::new();
    let mut outer = |take: &mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>| {
        body(&message, source, Decode::Raw, &BodyLimits::default(), &mut counted(take));
    };
    let outcome = part_body(part, Decode::Decoded, &BodyLimits::default(), None, &mut outer, &mut |piece| {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Hole(gap) => out.extend(vec![b'?'; gap.length as usize]),
        }
        ControlFlow::Continue(())
    });
    (out, outcome)
}

fn answer(extensions: &str) -> String {
    format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{extensions}\r\n")
}

fn answer_for(takeover: [bool; 2]) -> String {
    let client = if takeover[0] { "" } else { "; client_no_context_takeover" };
    let server = if takeover[1] { "" } else { "; server_no_context_takeover" };
    answer(&format!("Sec-WebSocket-Extensions: permessage-deflate{client}{server}\r\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn all_is_found_when_all_is_there(
        messages in prop::collection::vec(sent(), 1..7),
        takeover in any::<[bool; 2]>(),
    ) {
        let begins = [ASK.to_owned(), answer_for(takeover)];
        let written = [0, 1].map(|side| write(&begins[side], &messages, side == 0, takeover[side]));
        let sources = [0, 1].map(|side| MemorySource::new(written[side].0.clone()));
        let found = look(&sources);
        for side in [0, 1] {
            prop_assert_eq!(found.parts[side].len(), messages.len());
            for (n, (part, message)) in found.parts[side].iter().zip(&messages).enumerate() {
                let (plain, outcome) = decoded(part, &sources[side], begins[side].len());
                prop_assert!(outcome.complete, "{:?} {:?}", part, outcome);
                prop_assert!(plain == message.plain);
                prop_assert_eq!(part.begins + begins[side].len() as u64, written[side].1[n].0);
                prop_assert_eq!((part.number as usize, part.missing), (n + 1, 0));
                prop_assert_eq!(part.host.as_deref(), Some(&b"h.example"[..]));
                prop_assert_eq!(part.target.as_deref(), Some(&b"/chat"[..]));
            }
        }
    }

    #[test]
    fn nothing_damaged_is_called_whole(
        messages in prop::collection::vec(sent(), 1..7),
        takeover in any::<[bool; 2]>(),
        hole in (any::<prop::sample::Index>(), 1u64..400),
        cut in prop::option::of(any::<prop::sample::Index>()),
        side in 0usize..2,
    ) {
        let begins = [ASK.to_owned(), answer_for(takeover)];
        let written = [0, 1].map(|side| write(&begins[side], &messages, side == 0, takeover[side]));
        let mut sources = [0, 1].map(|side| MemorySource::new(written[side].0.clone()));
        let begin = begins[side].len();
        let bytes = &written[side].0;
        let (at, length) = (begin + hole.0.index(bytes.len() - begin), hole.1);
        sources[side] = match cut {
            None => MemorySource::new(bytes.clone()).with_gap(at as u64, length, GapKind::Missing),
            Some(cut) => MemorySource::new(&bytes[..begin + cut.index(bytes.len() - begin)]).with_end(None, Marks::SYN),
        };
        let found = look(&sources);
        let mut harmed = false;
        for (n, part) in found.parts[side].iter().enumerate() {
            let (from, to) = written[side].1[n];
            prop_assert_eq!((part.begins + begin as u64, part.number as usize), (from, n + 1));
            let (plain, outcome) = decoded(part, &sources[side], begin);
            let span = Span::new(StreamOffset(from), StreamOffset(to));
            let intact = crate::Source::end(&sources[side]).0 >= to && gaps(&sources[side], span).next().is_none();
            prop_assert!(!outcome.complete || (intact && plain == messages[n].plain), "{:?}", part);
            prop_assert_eq!(part.incomplete.is_none(), outcome.complete);
            // With takeover the first harm to a compressed message spoils those after it.
            let leans = messages[n].compressed && takeover[side];
            prop_assert!(!(intact && !(harmed && leans)) || outcome.complete, "{:?}", part);
            if harmed && leans {
                prop_assert_eq!(&part.context, &Context::Lost);
            }
            harmed |= leans && !intact;
        }
    }
}

#[test]
fn what_lost_its_context_is_left_as_sent() {
    let message =
        |text: &[u8]| Sent { plain: text.to_vec(), sizes: vec![0], mask: [1; 4], compressed: true, ping: false };
    let messages = [message(b"hello hello hello"), message(b"hello hello world")];
    let begin = answer_for([true, true]);
    let (bytes, places) = write(&begin, &messages, false, true);
    let server = MemorySource::new(bytes).with_gap(places[0].0 + 4, 1, GapKind::Missing);
    let found = look(&[MemorySource::new(ASK), server.clone()]);
    let part = &found.parts[1][1];
    assert_eq!(part.incomplete, Some(Incomplete::Gap(GapKind::Missing)));
    let (raw, outcome) = decoded(part, &server, begin.len());
    assert_eq!(outcome.problem, Some(Problem::NoContext("permessage-deflate".into())));
    assert!(!outcome.complete && !outcome.decoded && raw.len() as u64 == part.len());
    assert_eq!(found.sentences[1].as_deref(), Some("WebSocket session, 2 messages"));
}

#[test]
fn unknown_extensions_are_named_and_broken_rules_end_it() {
    let parts = |extensions: &str, bytes: &[u8]| {
        let server = [answer(extensions).as_bytes(), bytes].concat();
        look(&[MemorySource::new(ASK), MemorySource::new(server)]).parts[1].clone()
    };
    let other = parts("Sec-WebSocket-Extensions: X-Own; a=b\r\n", b"\xc1\x02ab\x81\x01c");
    assert_eq!(other[0].content_codings, ["x-own"]);
    assert!(other[1].content_codings.is_empty());
    // A bit that nobody asked for; a message within a message; one that goes on without having begun; nothing after a close.
    let whole = |parts: &[Part]| parts.iter().map(|part| part.incomplete).collect::<Vec<_>>();
    assert_eq!(whole(&parts("", b"\x81\x01a\xc1\x01b\x81\x01c")), [None]);
    assert_eq!(whole(&parts("", b"\x81\x01a\x01\x01b\x81\x01c")), [None, Some(Incomplete::Malformed)]);
    assert_eq!(whole(&parts("", b"\x81\x01a\x80\x01b")), [None]);
    assert_eq!(whole(&parts("", b"\x81\x01a\x88\x00\x81\x01c")), [None]);
    assert_eq!(
        whole(&parts("", b"\x81\x01a\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xffb")),
        [None, Some(Incomplete::ClosedEarly)]
    );
}

#[test]
fn limits_hold() {
    let server = [answer("").into_bytes(), b"\x81\x01a".repeat(50)].concat();
    let sources = [MemorySource::new(ASK), MemorySource::new(server)];
    for limits in [Limits { messages: 10, ..Limits::default() }, Limits { kept: 3000, ..Limits::default() }] {
        let messages = crate::messages(&sources[0], &sources[1], &Limits::default());
        let (_, found) = inside(&messages, [&sources[0], &sources[1]], &limits).unwrap();
        let parts = &found.parts[1];
        assert!(parts.len() > 5 && parts.len() < 50, "{}", parts.len());
        assert_eq!(parts.iter().filter(|part| part.incomplete.is_some()).count(), 1);
        assert_eq!(parts.last().unwrap().incomplete, Some(Incomplete::Limit));
    }
}
