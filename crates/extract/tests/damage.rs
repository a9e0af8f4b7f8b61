//! Damaged traffic: conversations whose bodies are known lose bytes, are cut, and have bytes replaced by others. No message
//! is called complete whose body is not what was sent, and those all of whose bytes are there are complete and right: up to
//! the first damage whatever they are, and after a loss those that a search can tell from what lies before them.
//!
//! `STREAMDB_SOAK=1` does it a hundred times as often.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::conversation::{Exchange, exchange};
use proptest::prelude::*;
use proptest::sample::Index;
use streamdb_extract::{Decode, Kind, MemorySource, Message, Messages};
use streamdb_types::{Direction, GapKind, Marks, Reason};

/// What was written of a message, and where.
struct Sent {
    start: usize,
    end: usize,
    /// The first line, which no other message has.
    line: Vec<u8>,
    content: Vec<u8>,
    /// The answer that lasts until the close: it is whole only when the stream is.
    until_close: bool,
}

/// Both directions with all that was sent in them.
struct Wire {
    bytes: [Vec<u8>; 2],
    sent: [Vec<Sent>; 2],
}

impl Wire {
    fn new(exchanges: &[Exchange], last: Option<&Vec<u8>>) -> Self {
        let mut wire = Self { bytes: Default::default(), sent: Default::default() };
        for (i, exchange) in exchanges.iter().enumerate() {
            let mut exchange = exchange.clone();
            exchange.target = format!("/{i}");
            // Each message is told from all others by its first line.
            exchange.interim.clear();
            let [to_server, to_client] = &mut wire.bytes;
            let starts = [to_server.len(), to_client.len()];
            exchange.write(to_server, to_client);
            let reason = format!("HTTP/1.1 {} R", exchange.status);
            let numbered = format!("HTTP/1.1 {} R{i}", exchange.status);
            assert!(to_client[starts[1]..].starts_with(reason.as_bytes()));
            to_client.splice(starts[1]..starts[1] + reason.len(), numbered.bytes());
            let request = if exchange.has_request_body() { exchange.request_body.content.clone() } else { Vec::new() };
            let response =
                if exchange.has_response_body() { exchange.response_body.content.clone() } else { Vec::new() };
            let line = format!("{} /{i} HTTP/1.1", exchange.method);
            wire.add(starts, [line, numbered], [request, response], false);
        }
        if let Some(content) = last {
            let starts = wire.bytes.each_ref().map(Vec::len);
            wire.bytes[0].extend(b"GET /last HTTP/1.0\r\n\r\n");
            wire.bytes[1].extend(b"HTTP/1.0 200 Last\r\n\r\n");
            wire.bytes[1].extend(content);
            let lines = ["GET /last HTTP/1.0".into(), "HTTP/1.0 200 Last".into()];
            wire.add(starts, lines, [Vec::new(), content.clone()], true);
        }
        wire
    }

    fn add(&mut self, starts: [usize; 2], lines: [String; 2], contents: [Vec<u8>; 2], until_close: bool) {
        for (side, (line, content)) in lines.into_iter().zip(contents).enumerate() {
            let until_close = until_close && side == 1;
            let (start, end) = (starts[side], self.bytes[side].len());
            self.sent[side].push(Sent { start, end, line: line.into_bytes(), content, until_close });
        }
    }
}

/// What is done to a stream.
#[derive(Clone, Debug)]
struct Damage {
    /// Where bytes are missing, and how many.
    holes: Vec<(Index, u64)>,
    /// Where a byte is another one.
    replaced: Vec<(Index, u8)>,
    /// Where it ends early, if it does.
    cut: Option<Index>,
    end: Reason,
}

fn damage() -> impl Strategy<Value = Damage> {
    let holes = prop::collection::vec((any::<Index>(), 1u64..200), 0..4);
    let replaced = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((any::<Index>(), 1u8..), 1..4),
    ];
    let ends = vec![Reason::Fin, Reason::Rst, Reason::Exiting, Reason::SizeCutoff, Reason::TimeCutoff];
    (holes, replaced, prop::option::weighted(0.3, any::<Index>()), prop::sample::select(ends))
        .prop_map(|(holes, replaced, cut, end)| Damage { holes, replaced, cut, end })
}

/// A stream with the damage done.
struct Damaged {
    source: MemorySource,
    /// Which of the bytes that were sent are there as they were.
    there: Vec<bool>,
    /// The first one that is another: from there on nothing is sure.
    replaced: usize,
    /// Whether its sender closed it, and this was seen.
    closed: bool,
}

impl Damaged {
    fn new(bytes: &[u8], damage: &Damage, most: usize) -> Self {
        let end = damage.cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1));
        // A stream that was cut was not closed by its sender.
        let reason = match damage.end {
            Reason::Fin if end < bytes.len() => Reason::Exiting,
            reason => reason,
        };
        let closed = reason == Reason::Fin;
        let marks = if closed { Marks::SYN.with(Marks::FIN) } else { Marks::SYN };
        let mut there = vec![true; end];
        let mut kept = bytes[..end].to_vec();
        let mut replaced = usize::MAX;
        if end > 0 {
            for (at, by) in &damage.replaced {
                let at = at.index(end);
                kept[at] ^= by;
                replaced = replaced.min(at);
                there[at] = false;
            }
        }
        let mut source = MemorySource::new(kept).with_end(Some(reason), marks).with_reads_of(most);
        for (at, length) in damage.holes.iter().filter(|_| end > 0) {
            let at = at.index(end);
            source = source.with_gap(at as u64, *length, GapKind::Missing);
            there[at..end.min(at + *length as usize)].fill(false);
        }
        there.resize(bytes.len(), false);
        Self { source, there, replaced, closed }
    }

    fn has(&self, sent: &Sent) -> bool {
        self.there[sent.start..sent.end].iter().all(|there| *there)
    }

    /// Whether nothing was done to it up to the end of this message.
    fn is_sound_up_to(&self, sent: &Sent) -> bool {
        self.there[..sent.end].iter().all(|there| *there)
    }
}

/// The message that was found where this one was sent.
fn found_as<'m>(found: &'m Messages, direction: Direction, sent: &Sent) -> Option<&'m Message> {
    let inside = |message: &&Message| (sent.start..sent.end).contains(&(message.head.start.0 as usize));
    found.of(direction).iter().filter(|message| message.kind != Kind::Stream).find(inside)
}

/// The first line of a message, as it was sent.
fn line<'b>(bytes: &'b [u8], message: &Message) -> &'b [u8] {
    let start = message.head.start.0 as usize;
    bytes[start..].split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end()
}

/// Nothing is called complete that is not; says how often something was.
fn nothing_wrong_is_called_complete(wire: &Wire, streams: &[Damaged; 2], found: &Messages) {
    // Where one side was altered the other is not sure either: what is asked decides how answers are framed.
    if streams.iter().any(|stream| stream.replaced != usize::MAX) {
        return;
    }
    for direction in Direction::BOTH {
        let side = direction.index();
        for sent in &wire.sent[side] {
            let Some(message) = found_as(found, direction, sent) else { continue };
            // A body may hold what looks like a message, and after a loss it is taken for one.
            if line(&wire.bytes[side], message) != sent.line {
                continue;
            }
            let (content, outcome) = common::collect(message, &streams[side].source, Decode::Decoded);
            if outcome.complete {
                assert_eq!(content, sent.content, "called complete: {message:?} {outcome:?}");
            }
        }
    }
}

/// All that is there is found, complete and right.
fn whole_ones_are_whole(wire: &Wire, streams: &[Damaged; 2], found: &Messages, after_loss: bool) {
    for direction in Direction::BOTH {
        let side = direction.index();
        for (i, sent) in wire.sent[side].iter().enumerate() {
            let asked = &wire.sent[Direction::ToServer.index()][i];
            let is_there = if after_loss {
                streams[side].has(sent) && streams[0].has(asked)
            } else {
                // An answer that was altered may begin a tunnel.
                let answers = streams[1].replaced >= wire.sent[1][i].start;
                streams[side].is_sound_up_to(sent) && streams[0].is_sound_up_to(asked) && answers
            };
            if !is_there {
                continue;
            }
            let message = found_as(found, direction, sent);
            let message = message.unwrap_or_else(|| panic!("{} is not found in {found:?}", sent.line.escape_ascii()));
            let (content, outcome) = common::collect(message, &streams[side].source, Decode::Decoded);
            assert_eq!(content, sent.content, "{message:?} {outcome:?}");
            assert!(outcome.complete || (sent.until_close && !streams[side].closed), "{message:?} {outcome:?}");
        }
    }
}

/// The exchange made such that its messages can be told from whatever lies before them: see `search.rs`, which looks for
/// registered methods at the beginning of a line, and for nothing in bodies that looks like a head. Answers to HEAD need
/// their question.
fn tame(mut exchange: Exchange) -> Exchange {
    if matches!(exchange.method, "HEAD" | "X-OWN") {
        exchange.method = "POST";
    }
    for body in [&mut exchange.request_body, &mut exchange.response_body] {
        for byte in &mut body.content {
            if *byte == b'/' {
                *byte = b'|';
            }
        }
    }
    exchange.blanks = 1;
    exchange
}

fn cases(few: u32) -> ProptestConfig {
    let times = if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 100 } else { 1 };
    // A case that failed once becomes a sample; no files are written beside the sources.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(few * times) }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn damage_is_never_hidden(
        exchanges in prop::collection::vec(exchange(), 1..6),
        last in prop::option::of(prop::collection::vec(any::<u8>(), 0..500)),
        damage in [damage(), damage()],
        most in 1usize..2000,
    ) {
        let wire = Wire::new(&exchanges, last.as_ref());
        let streams = [0, 1].map(|side| Damaged::new(&wire.bytes[side], &damage[side], most));
        let found = common::scan(&streams[0].source, &streams[1].source);
        nothing_wrong_is_called_complete(&wire, &streams, &found);
        whole_ones_are_whole(&wire, &streams, &found, false);
    }

    #[test]
    fn what_comes_after_a_loss_is_found(
        exchanges in prop::collection::vec(exchange().prop_map(tame), 1..6),
        damage in [damage(), damage()],
        most in 1usize..2000,
    ) {
        let wire = Wire::new(&exchanges, None);
        let streams = [0, 1].map(|side| {
            Damaged::new(&wire.bytes[side], &Damage { replaced: Vec::new(), ..damage[side].clone() }, most)
        });
        let found = common::scan(&streams[0].source, &streams[1].source);
        nothing_wrong_is_called_complete(&wire, &streams, &found);
        whole_ones_are_whole(&wire, &streams, &found, true);
    }
}
