//! Sessions made up from exchanges, with padding, priorities, interim answers, trailers and split blocks, their frames mixed; then cut
//! and holed.

use proptest::prelude::*;
use streamdb_types::{GapKind, Marks, Reason};

use super::hpack::tests::Encoder;
use super::*;
use crate::memory::MemorySource;
use crate::message::{Incomplete, Side};
use crate::part::Part;

/// One exchange.
#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    path: String,
    asked: Vec<u8>,
    status: u16,
    answered: Vec<u8>,
    /// How both are sent, by bits.
    how: u32,
}

/// Bytes of one direction, and what they hold.
struct Writer {
    bytes: Vec<u8>,
    encoder: Encoder,
    /// Stream, head's place, and the content.
    heads: Vec<(u32, u64, Vec<u8>)>,
    /// Where data lies that is of no frame's or block's making.
    data: Vec<std::ops::Range<u64>>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

impl Writer {
    fn new(begin: &[u8]) -> Self {
        let mut bytes = begin.to_vec();
        bytes.extend(frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]));
        Self { bytes, encoder: Encoder::default(), heads: Vec::new(), data: Vec::new() }
    }

    fn head(&mut self, kind: u8, stream: u32, before: &[u8], fields: &[(&str, &str)], end: bool, how: u32) {
        let mut block = Vec::new();
        if how & 0x400 != 0 {
            self.encoder.resize((how >> 11 & 0x1ff) as usize, &mut block);
        }
        for (n, (name, value)) in fields.iter().enumerate() {
            self.encoder.field(name.as_bytes(), value.as_bytes(), (how >> n) as u8 & 31, &mut block);
        }
        let (first, second) = block.split_at(if how & 1 != 0 { block.len() / 2 } else { block.len() });
        let mut flags = u8::from(end) | if second.is_empty() { 4 } else { 0 };
        let mut payload = Vec::new();
        let padding = if how & 2 != 0 { (how >> 8) as u8 & 15 } else { 0 };
        if how & 2 != 0 {
            flags |= 8;
            payload.push(padding);
        }
        if how & 4 != 0 && kind == 1 {
            flags |= 0x20;
            payload.extend([0, 0, 0, 0, 7]);
        }
        payload.extend(before);
        payload.extend(first);
        payload.extend(vec![0; usize::from(padding)]);
        self.bytes.extend(frame(kind, flags, stream, &payload));
        if !second.is_empty() {
            self.bytes.extend(frame(9, 4, stream, second));
        }
    }

    fn body(&mut self, stream: u32, content: &[u8], end: bool, how: u32) {
        let mut flags = u8::from(end);
        let mut payload = Vec::new();
        let padding = how as u8 & 7;
        if how & 8 != 0 {
            flags |= 8;
            payload.push(padding);
        }
        let start = self.bytes.len() + 9 + payload.len();
        self.data.push(start as u64..(start + content.len()) as u64);
        payload.extend(content);
        if how & 8 != 0 {
            payload.extend(vec![0; usize::from(padding)]);
        }
        self.bytes.extend(frame(0, flags, stream, &payload));
    }
}

/// What is sent of a message, step by step.
enum Step {
    Head(u8, Vec<u8>, Vec<(String, String)>, bool),
    Data(Vec<u8>, bool),
}

fn steps(first: Vec<(String, String)>, content: &[u8], how: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut fields = first;
    if how & 0x10 != 0 {
        fields.push(("content-length".into(), content.len().to_string()));
    }
    fields.push(("content-type".into(), "text/x".into()));
    let trailers = how & 0x20 != 0;
    let chunks: Vec<&[u8]> = content.chunks((how >> 6 & 31) as usize + 1).collect();
    steps.push(Step::Head(1, Vec::new(), fields, chunks.is_empty() && !trailers));
    for (n, chunk) in chunks.iter().enumerate() {
        steps.push(Step::Data(chunk.to_vec(), n + 1 == chunks.len() && !trailers));
    }
    if trailers {
        steps.push(Step::Head(1, Vec::new(), vec![("x-sum".into(), "1".into())], true));
    }
    steps
}

fn pair(name: &str, value: impl ToString) -> (String, String) {
    (name.into(), value.to_string())
}

/// Both directions; `mix` says whose turn it is.
fn session(exchanges: &[Exchange], mix: &[usize]) -> [Writer; 2] {
    let mut writers = [Writer::new(PREFACE), Writer::new(b"")];
    for (side, writer) in writers.iter_mut().enumerate() {
        let mut queues: Vec<(u32, u32, std::vec::IntoIter<Step>)> = Vec::new();
        for (n, exchange) in exchanges.iter().enumerate() {
            let Exchange { method, path, asked, status, answered, how } = exchange;
            let mut all = Vec::new();
            if side == 0 {
                let first = vec![
                    pair(":method", method),
                    pair(":scheme", "http"),
                    pair(":path", path),
                    pair(":authority", "h.example"),
                ];
                all.extend(steps(first, asked, *how));
            } else {
                if how & 0x8000 != 0 {
                    all.push(Step::Head(1, Vec::new(), vec![pair(":status", 103), pair("link", "<x>")], false));
                }
                let first = vec![pair(":status", status), pair("content-disposition", "attachment; filename=\"f\"")];
                all.extend(steps(first, answered, how.rotate_left(7)));
            }
            queues.push((n as u32 * 2 + 1, *how, all.into_iter()));
        }
        let mut turns = mix.iter().cycle();
        let mut how = 0u32;
        while !queues.is_empty() {
            let turn = turns.next().unwrap() % queues.len();
            let (stream, own, queue) = &mut queues[turn];
            let stream = *stream;
            how = how.wrapping_mul(31).wrapping_add(*own).rotate_left(3);
            match queue.next() {
                Some(Step::Head(kind, before, fields, end)) => {
                    let begins = writer.bytes.len() as u64;
                    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                    let interim = fields[0].1 == "103";
                    if !interim && fields[0].0 != "x-sum" {
                        writer.heads.push((stream, begins, Vec::new()));
                    }
                    writer.head(kind, stream, &before, &fields, end, how);
                }
                Some(Step::Data(content, end)) => {
                    let head = writer.heads.iter_mut().find(|(id, ..)| *id == stream).unwrap();
                    head.2.extend(&content);
                    writer.body(stream, &content, end, how);
                }
                None => {
                    queues.remove(turn);
                }
            }
            match how & 0x3f {
                0 => writer.bytes.extend(frame(6, 0, 0, &[0; 8])),
                1 => writer.bytes.extend(frame(8, 0, stream, &[0, 0, 1, 0])),
                2 => writer.bytes.extend(frame(0x42, 0xff, stream, b"grease")),
                3 => writer.bytes.extend(frame(2, 0, stream, &[0, 0, 0, 0, 1])),
                _ => {}
            }
        }
        writer.bytes.extend(frame(7, 0, 0, &[0; 8]));
    }
    writers
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let body = || prop::collection::vec(any::<u8>(), 0..120);
    (
        prop::sample::select(vec!["GET", "POST", "PUT"]),
        "/[a-z]{0,12}",
        body(),
        prop::sample::select(vec![200u16, 206, 404, 500, 204]),
        body(),
        any::<u32>(),
    )
        .prop_map(|(method, path, asked, status, answered, how)| Exchange {
            method,
            path,
            asked,
            status,
            answered,
            how,
        })
}

fn look(sources: &[MemorySource; 2]) -> Option<Found> {
    let limits = Limits::default();
    let found = find([&sources[0], &sources[1]], &limits);
    let slow = sources.clone().map(|source| source.with_reads_of(7));
    assert_eq!(found, find([&slow[0], &slow[1]], &limits), "what is found depends on how the bytes are read");
    if let Some(found) = &found {
        for (side, parts) in found.parts.iter().enumerate() {
            for (n, part) in parts.iter().enumerate() {
                assert_eq!(part.number as usize, n + 1);
                assert!(n == 0 || parts[n - 1].begins < part.begins);
                assert!(part.content.iter().all(|range| range.start < range.end && range.end <= sources[side].end().0));
                assert!(part.content.windows(2).all(|two| two[0].end < two[1].start));
            }
        }
    }
    found
}

fn content(part: &Part, bytes: &[u8]) -> Vec<u8> {
    part.content.iter().flat_map(|range| bytes[range.start as usize..range.end as usize].to_vec()).collect()
}

/// Whether a part says of its exchange what is so.
fn is_right(part: &Part, side: usize, writers: &[Writer; 2], exchanges: &[Exchange]) -> bool {
    let Some((stream, _, wanted)) = writers[side].heads.iter().find(|(_, begins, _)| *begins == part.begins) else {
        return false;
    };
    let exchange = &exchanges[*stream as usize / 2];
    let own = match side {
        0 => {
            part.method.as_deref() == Some(exchange.method.as_bytes())
                && part.target.as_deref() == Some(exchange.path.as_bytes())
                && part.host.as_deref() == Some(b"h.example")
        }
        _ => part.status == Some(exchange.status) && part.filename.as_deref() == Some("f"),
    };
    own && part.declared_type.as_deref() == Some(b"text/x") && content(part, &writers[side].bytes) == *wanted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn all_is_found_when_all_is_there(
        exchanges in prop::collection::vec(exchange(), 1..6),
        mix in prop::collection::vec(0usize..7, 1..20),
    ) {
        let writers = session(&exchanges, &mix);
        let sources = [0, 1].map(|side| MemorySource::new(writers[side].bytes.clone()));
        let found = look(&sources).unwrap();
        for side in [0, 1] {
            prop_assert_eq!(found.parts[side].len(), exchanges.len());
            for (part, (stream, begins, _)) in found.parts[side].iter().zip(&writers[side].heads) {
                let exchange = &exchanges[*stream as usize / 2];
                prop_assert!(part.incomplete.is_none() && part.missing == 0, "{:?}", part);
                prop_assert_eq!(part.begins, *begins);
                prop_assert!(is_right(part, side, &writers, &exchanges), "{:?}", part);
                prop_assert_eq!(part.method.as_deref(), Some(exchange.method.as_bytes()));
                prop_assert_eq!(part.target.as_deref(), Some(exchange.path.as_bytes()));
            }
        }
    }

    /// What is cut short keeps its numbers when more comes, and nothing is called whole that is not.
    #[test]
    fn numbers_stay_when_more_comes(
        exchanges in prop::collection::vec(exchange(), 1..6),
        mix in prop::collection::vec(0usize..7, 1..20),
        cut in any::<[prop::sample::Index; 2]>(),
    ) {
        let writers = session(&exchanges, &mix);
        let whole = look(&[0, 1].map(|side| MemorySource::new(writers[side].bytes.clone()))).unwrap();
        let sources = [0, 1].map(|side| {
            let bytes = &writers[side].bytes;
            MemorySource::new(&bytes[..cut[side].index(bytes.len() + 1)]).with_end(None, Marks::SYN)
        });
        let Some(found) = look(&sources) else { return Ok(()) };
        for side in [0, 1] {
            prop_assert!(found.parts[side].len() <= whole.parts[side].len());
            for (part, later) in found.parts[side].iter().zip(&whole.parts[side]) {
                prop_assert_eq!((part.number, part.begins), (later.number, later.begins));
                if part.incomplete.is_none() {
                    prop_assert!(is_right(part, side, &writers, &exchanges), "{:?}", part);
                } else {
                    prop_assert_eq!(part.incomplete, Some(Incomplete::Open));
                }
            }
        }
    }

    #[test]
    fn nothing_with_a_hole_is_called_whole(
        exchanges in prop::collection::vec(exchange(), 1..6),
        mix in prop::collection::vec(0usize..7, 1..20),
        holes in prop::collection::vec((0usize..2, any::<prop::sample::Index>(), 1u64..60), 1..4),
    ) {
        let writers = session(&exchanges, &mix);
        let whole = look(&[0, 1].map(|side| MemorySource::new(writers[side].bytes.clone()))).unwrap();
        let mut sources = [0, 1].map(|side| MemorySource::new(writers[side].bytes.clone()));
        let mut first = [u64::MAX; 2];
        let mut in_data = true;
        for (side, at, length) in holes {
            let at = at.index(writers[side].bytes.len()) as u64;
            sources[side] = sources[side].clone().with_gap(at, length, GapKind::Missing);
            first[side] = first[side].min(at);
            in_data &= writers[side].data.iter().any(|data| data.start <= at && at + length <= data.end);
        }
        let Some(found) = look(&sources) else { return Ok(()) };
        for side in [0, 1] {
            for part in &found.parts[side] {
                let right = is_right(part, side, &writers, &exchanges);
                let holed = part.content.iter().any(|range| {
                    gaps_in(&sources[side], range)
                });
                prop_assert!(part.incomplete.is_some() || (right && !holed), "{:?}", part);
                prop_assert!(!holed || part.missing > 0);
                prop_assert!(!(in_data && right && !holed) || part.incomplete.is_none(), "{:?}", part);
            }
            // What ended before the hole is as it was.
            for (part, before) in found.parts[side].iter().zip(&whole.parts[side]) {
                if before.content.last().map_or(before.begins, |range| range.end) < first[side] && part.incomplete.is_none() {
                    prop_assert_eq!(&part.content, &before.content);
                }
            }
            if in_data {
                prop_assert_eq!(found.parts[side].len(), whole.parts[side].len());
            }
        }
    }
}

fn gaps_in(source: &MemorySource, range: &std::ops::Range<u64>) -> bool {
    crate::source::gaps(source, crate::span::Span::new(StreamOffset(range.start), StreamOffset(range.end)))
        .next()
        .is_some()
}

/// A server's stream of settings and `count` answers of `size` bytes each, every 16 KiB or less in a frame.
fn answers(count: u32, size: usize) -> Writer {
    let mut writer = Writer::new(b"");
    for n in 0..count {
        let stream = n * 2 + 1;
        writer.heads.push((stream, writer.bytes.len() as u64, vec![]));
        writer.head(1, stream, b"", &[(":status", "200"), ("x-n", &n.to_string())], false, 7);
        let body: Vec<u8> = (0..size).map(|i| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(n) as u8).collect();
        let chunks: Vec<&[u8]> = body.chunks(1000).collect();
        for (i, chunk) in chunks.iter().enumerate() {
            writer.body(stream, chunk, i + 1 == chunks.len(), 0);
        }
    }
    writer
}

#[test]
fn frames_are_found_again_behind_a_hole() {
    let writer = answers(40, 3500);
    // Over the header of the second frame of the fifth answer.
    let hole = writer.data[4 * 4 + 1].start - 20;
    let gap = |from, length| MemorySource::new(writer.bytes.clone()).with_gap(from, length, GapKind::Missing);
    for length in [15, 21, 2000, 9000] {
        let client = MemorySource::new(PREFACE);
        let found = find([&client, &gap(hole, length)], &Limits::default()).unwrap();
        let parts = &found.parts[1];
        assert!(parts[..4].iter().all(|part| part.incomplete.is_none() && part.len() == 3500));
        assert_eq!(parts[4].incomplete, Some(Incomplete::Gap(GapKind::Missing)));
        assert!(parts[4].content.last().unwrap().end <= hole + 11);
        // Of what came later, the heads are whole: their fields were sent anew or stand in the static table.
        let later: Vec<&Part> = parts[5..].iter().filter(|part| part.incomplete.is_none()).collect();
        assert!(
            later.len() > 25 && later.iter().all(|part| part.len() == 3500 && part.status == Some(200)),
            "{parts:?}"
        );
    }
}

#[test]
fn frames_within_a_body_are_not_taken_for_frames() {
    // A body that is a session itself, up to the end of its frame; and one that goes on so in the next frames.
    let inner = answers(30, 100).bytes;
    let mut writer = answers(2, 3000);
    let begin = writer.bytes.len() as u64;
    writer.head(1, 5, b"", &[(":status", "200")], false, 0);
    writer.body(5, &inner, true, 0);
    let true_end = writer.bytes.len() as u64;
    for n in 0..1200 {
        writer.head(1, 7 + n * 2, b"", &[(":status", "404")], true, 7);
    }
    let source = MemorySource::new(writer.bytes.clone()).with_gap(begin + 3, 30, GapKind::Missing);
    let found = find([&MemorySource::new(PREFACE), &source], &Limits::default()).unwrap();
    assert!(found.parts[1].iter().all(|part| part.begins < begin || part.begins >= true_end), "{found:?}");
    assert!(found.parts[1].len() > 100, "{found:?}");
}

#[test]
fn a_stream_that_is_given_up_says_by_whom() {
    let client = [PREFACE, &frame(4, 0, 0, b""), &frame(3, 0, 1, &[0, 0, 0, 8])].concat();
    let mut server = Writer::new(b"");
    server.head(1, 1, b"", &[(":status", "200"), ("content-length", "9")], false, 0);
    server.body(1, b"abc", false, 0);
    server.head(1, 3, b"", &[(":status", "200")], false, 0);
    server.bytes.extend(frame(3, 0, 3, &[0; 4]));
    let sources = [MemorySource::new(client), MemorySource::new(server.bytes)];
    let parts = &look(&sources).unwrap().parts[1];
    assert_eq!((parts[0].incomplete, parts[0].missing), (Some(Incomplete::Reset(Some(Side::Client))), 6));
    assert_eq!((parts[1].incomplete, parts[1].missing), (Some(Incomplete::Reset(Some(Side::Server))), 0));
}

#[test]
fn lengths_are_compared() {
    let answer = |fields: &[(&str, &str)], body: &[u8], request: &str| {
        let mut client = Writer::new(PREFACE);
        if !request.is_empty() {
            client.head(1, 1, b"", &[(":method", request), (":path", "/")], true, 0);
        }
        let mut server = Writer::new(b"");
        server.head(1, 1, b"", fields, body.is_empty(), 0);
        if !body.is_empty() {
            server.body(1, body, true, 0);
        }
        let found = look(&[MemorySource::new(client.bytes), MemorySource::new(server.bytes)]).unwrap();
        (found.parts[1][0].incomplete, found.parts[1][0].missing)
    };
    let of = |length| [(":status", "200"), ("content-length", length)];
    assert_eq!(answer(&of("3"), b"abc", "GET"), (None, 0));
    assert_eq!(answer(&of("5"), b"abc", "GET"), (Some(Incomplete::ClosedEarly), 2));
    assert_eq!(answer(&of("2"), b"abc", "GET"), (Some(Incomplete::Malformed), 0));
    assert_eq!(answer(&of("x"), b"abc", "GET"), (Some(Incomplete::Malformed), 0));
    assert_eq!(answer(&of("5"), b"", "HEAD"), (None, 0));
    assert_eq!(answer(&of("5"), b"", "GET"), (Some(Incomplete::ClosedEarly), 5));
    assert_eq!(answer(&of("5"), b"", ""), (Some(Incomplete::Unsure), 5));
    assert_eq!(answer(&[(":status", "304"), ("content-length", "5")], b"", "GET"), (None, 0));
}

#[test]
fn promised_answers_have_their_request() {
    let mut server = Writer::new(b"");
    server.head(5, 1, &[0, 0, 0, 2], &[(":method", "GET"), (":path", "/style"), (":authority", "h")], false, 0);
    server.head(1, 2, b"", &[(":status", "200")], false, 2);
    server.body(2, b"abc", true, 9);
    let parts = look(&[MemorySource::new(PREFACE), MemorySource::new(server.bytes)]).unwrap().parts[1].clone();
    assert_eq!(parts.len(), 1);
    assert_eq!((parts[0].target.as_deref(), parts[0].incomplete, parts[0].len()), (Some(&b"/style"[..]), None, 3));
}

#[test]
fn what_is_no_http2_is_left_alone() {
    let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let cases: &[(&[u8], &[u8], bool)] = &[
        (b"", b"", false),
        (b"GET / HTTP/1.1\r\n\r\n", b"", false),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", true),
        (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
        (b"PRI * HTTP/2.0\r\n\r\nXM\r\n\r\n", b"", false),
        (b"", &settings, false),
        (b"", &[settings.clone(), frame(6, 0, 0, &[0; 8])].concat(), true),
        (b"x", &[settings.clone(), frame(6, 0, 0, &[0; 8])].concat(), false),
        (b"", &[settings.clone(), b"GET / HTTP".to_vec()].concat(), false),
        (b"", &[0; 100], false),
    ];
    for (client, server, is) in cases {
        let found = look(&[MemorySource::new(*client), MemorySource::new(*server)]);
        assert_eq!(found.is_some(), *is, "{} {}", client.escape_ascii(), server.escape_ascii());
    }
}

#[test]
fn limits_hold() {
    let writer = answers(50, 10);
    let sources = [MemorySource::new(PREFACE), MemorySource::new(writer.bytes)];
    for limits in [Limits { messages: 10, ..Limits::default() }, Limits { kept: 10_000, ..Limits::default() }] {
        let parts = find([&sources[0], &sources[1]], &limits).unwrap().parts[1].clone();
        assert!(parts.len() > 5 && parts.len() < 50);
        assert_eq!(parts.last().unwrap().incomplete, Some(Incomplete::Limit));
    }
    let mut writer = Writer::new(b"");
    writer.head(1, 1, b"", &[(":status", "200"), ("x-long", &"x".repeat(500))], true, 8);
    writer.head(1, 3, b"", &[(":status", "200")], true, 3);
    let sources = [MemorySource::new(PREFACE), MemorySource::new(writer.bytes)];
    let parts = find([&sources[0], &sources[1]], &Limits { head: 100, ..Limits::default() }).unwrap().parts[1].clone();
    assert_eq!(parts.iter().map(|part| part.incomplete).collect::<Vec<_>>(), [Some(Incomplete::Limit), None]);
}

/// CVE-2025-53538 (Suricata): data on stream 0, which is of no exchange, kept a file open for ever. Here it is of no part. Both ends
/// give up the connection there (RFC 9113 §6.1): what was before it stays, and what was open then is not whole.
#[test]
fn data_of_the_connection_itself_is_no_part() {
    let mut server = Writer::new(b"");
    server.head(1, 1, b"", &[(":status", "200")], false, 0);
    server.body(1, b"this", true, 0);
    server.head(1, 3, b"", &[(":status", "200")], false, 0);
    server.body(3, b"half", false, 0);
    for _ in 0..1000 {
        server.bytes.extend(frame(0, 0, 0, &[b'x'; 1000]));
    }
    let sources = [MemorySource::new(PREFACE), MemorySource::new(server.bytes)];
    let parts = look(&sources).unwrap().parts[1].clone();
    assert_eq!(parts.len(), 2);
    assert_eq!((parts[0].len(), parts[0].incomplete), (4, None));
    assert!(parts[1].len() <= 4 && parts[1].incomplete.is_some(), "{:?}", parts[1]);
}

/// CVE-2024-23836 (Suricata): looking for an exchange among many took a time that grew with their number, for each frame. Here a
/// hundred thousand streams, each looked for again and again, are quick, and what is kept of them is bounded.
#[test]
fn many_streams_at_once_cost_little() {
    let mut writer = Writer::new(b"");
    for n in 0..100_000_u32 {
        // :status 200 of the static table, and the stream stays open.
        writer.bytes.extend(frame(1, 4, n * 2 + 1, &[0x88]));
    }
    for n in 0..100_000_u32 {
        writer.bytes.extend(frame(0, 0, (n % 1000) * 200 + 1, b"x"));
    }
    let begun = std::time::Instant::now();
    let found = find([&MemorySource::new(PREFACE), &MemorySource::new(writer.bytes)], &Limits::default()).unwrap();
    assert!(found.parts[1].len() > 100, "{}", found.parts[1].len());
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

/// Tables full of long entries, which each byte after them names: neither copied nor kept. CVE-2024-32663 and CVE-2024-38535
/// (Suricata): copies of fields, of duplicate ones above all, ate all memory.
#[test]
fn a_bomb_of_fields_costs_little() {
    let mut writer = Writer::new(b"");
    let mut block = Vec::new();
    writer.encoder.resize(1 << 20, &mut block);
    writer.encoder.field(b":path", &vec![b'x'; 200_000], 2, &mut block);
    block.extend(vec![0xbe; 50_000]);
    writer.bytes.extend(frame(1, 4, 1, &block));
    for n in 1..2000 {
        writer.bytes.extend(frame(1, 5, n * 2 + 1, &[0xbe; 1000]));
    }
    let client = [PREFACE, &writer.bytes].concat();
    let begun = std::time::Instant::now();
    let found = find([&MemorySource::new(client), &MemorySource::new(b"")], &Limits::default()).unwrap();
    assert!(found.parts[0].len() > 300 && found.parts[0].len() < 400, "{}", found.parts[0].len());
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn a_capture_that_ended_says_so() {
    let mut server = Writer::new(b"");
    server.head(1, 1, b"", &[(":status", "200")], false, 0);
    server.body(1, b"abcdef", true, 0);
    let bytes = &server.bytes[..server.bytes.len() - 2];
    let source = MemorySource::new(bytes).with_end(Some(Reason::Exiting), Marks::SYN);
    let parts = look(&[MemorySource::new(PREFACE), source]).unwrap().parts[1].clone();
    assert_eq!((parts[0].incomplete, parts[0].missing, parts[0].len()), (Some(Incomplete::CaptureEnded), 2, 4));
}
