//! What is cheap to send must be cheap to look at: bounds on processor time and memory, each beside what it bounds.
//!
//! The streams are made up while they are read, so that the memory that counts is that of the code under test. There is one
//! test, as memory is counted for the whole process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;

use common::bomb::{Made, measures, within};
use common::coders;
use streamdb_extract::{
    BodyLimits, Decode, Fault, Framing, Incomplete, Kind, Limits, MemorySource, Messages, Piece, Problem, Source, body,
    messages,
};
use streamdb_types::Direction;

fn answer(to_client: &dyn Source) -> Messages {
    messages(&MemorySource::new(*b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"), to_client, &Limits::default())
}

/// The length and the problem of the first answer's body.
fn decoded(to_client: &dyn Source, limits: &BodyLimits) -> (u64, Option<Problem>) {
    let found = answer(to_client);
    let message = &found.of(Direction::ToClient)[0];
    let outcome = body(message, to_client, Decode::Decoded, limits, &mut |piece| match piece {
        Piece::Bytes(_) => ControlFlow::Continue(()),
        Piece::Hole(_) => ControlFlow::Break(()),
    });
    (outcome.length, outcome.problem)
}

fn coded(coding: &str, unit: &[u8], length: u64) -> Made {
    Made::new(format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n"), unit, length, b"")
}

#[test]
fn what_is_cheap_to_send_is_cheap_to_look_at() {
    if !measures("what_is_cheap_to_send_is_cheap_to_look_at") {
        return;
    }
    const MIB: u64 = 1 << 20;
    let zeros = vec![0; MIB as usize];

    // Heads. One beyond the limit is one message of kind stream, of which 256 KiB were looked at.
    let heads: [(&str, Made); 5] = [
        ("a header line of 1 GB", Made::new("HTTP/1.1 200 OK\r\nX: ", b"a", 1000 * MIB, b"\r\n\r\n")),
        ("a status line of 1 GB", Made::new("HTTP/1.1 200 ", b"a", 1000 * MIB, b"\r\n\r\n")),
        ("1 GB of folds", Made::new("HTTP/1.1 200 OK\r\nX: a\r\n", b" b\r\n", 1000 * MIB, b"\r\n")),
        ("1 GB of carriage returns", Made::new("HTTP/1.1 200 OK\r\n", b"\r", 1000 * MIB, b"\n\n")),
        ("ten million headers", Made::new("HTTP/1.1 200 OK\r\n", b"a:b\r\n", 50 * MIB, b"\r\n")),
    ];
    for (what, source) in &heads {
        let found = within(what, 1.0, 16.0, || answer(source));
        let [message] = found.of(Direction::ToClient) else { panic!("{what}: {found:?}") };
        assert_eq!((&message.kind, message.incomplete), (&Kind::Stream, Some(Incomplete::Limit)), "{what}");
    }
    // With the limit out of the way the same million headers are read, in linear time.
    let million = Made::new("HTTP/1.1 200 OK\r\n", b"a:b\r\n", 5 * MIB, b"\r\nbody");
    let wide = Limits { head: 8 << 20, ..Limits::default() };
    let found = within("a million headers, allowed", 5.0, 160.0, || messages(&million, &million, &wide));
    assert!(found.of(Direction::ToServer)[0].is_complete());

    // Answers before the answer: each knows whom the request was for, without a copy of it.
    let host = [&b"GET / HTTP/1.1\r\nHost: "[..], &[b'h'; 200 << 10], b"\r\n\r\n"].concat();
    let interim = Made::new(*b"", b"HTTP/1.1 103 E\r\n\r\n", 1200 << 10, b"");
    let found = within("65,000 interim answers to one request", 5.0, 128.0, || {
        messages(&MemorySource::new(host), &interim, &Limits::default())
    });
    let last = found.of(Direction::ToClient).last().unwrap();
    assert_eq!(last.host.as_ref().map(|host| host.len()), Some(200 << 10));

    // Lines of a request.
    let target = Made::new("GET /", b"a", 1000 * MIB, b" HTTP/1.1\r\n\r\n");
    within("a request line of 1 GB", 5.0, 16.0, || messages(&target, &MemorySource::new([]), &Limits::default()));

    // Chunks.
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = Made::new(head, b"1\r\na\r\n", 6 * MIB, b"0\r\n\r\n");
    let (length, problem) =
        within("a million chunks of one byte", 5.0, 16.0, || decoded(&chunks, &BodyLimits::default()));
    assert!(length > 1_000_000 && problem.is_none(), "{length} {problem:?}");
    let lines = [
        ("a chunk size of 1 GB", Made::new(head, b"0", 1000 * MIB, b"\r\n\r\n")),
        ("a chunk extension of 1 GB", Made::new(format!("{head}1;"), b"x", 1000 * MIB, b"\r\na\r\n")),
        ("trailers of 1 GB", Made::new(format!("{head}0\r\n"), b"a:b\r\n", 1000 * MIB, b"\r\n")),
    ];
    for (what, source) in &lines {
        // What follows the broken chunk is searched for a head: 64 MiB at most.
        within(what, 5.0, 16.0, || answer(source));
    }

    // Bombs. Within the usual limits 2000 bytes come out for each that went in, of which 64 KiB go in at a time; gzip, whose
    // ratio is at most 1032, is cut at the limit on output, 4 GiB by default and less here.
    let usual = BodyLimits::default();
    let gzip = coders::gzip(&zeros);
    let limits = BodyLimits { output: 256 * MIB, ..usual };
    let (length, problem) =
        within("a bomb of gzip members", 5.0, 16.0, || decoded(&coded("gzip", &gzip, 1000 * MIB), &limits));
    assert_eq!((length, problem), (256 * MIB, Some(Problem::OutputLimit)));
    let bombs = [
        ("gzip in gzip", coded("gzip, gzip", &coders::gzip(&coders::gzip(&zeros).repeat(1000)), 100 * MIB)),
        ("zstd", coded("zstd", &coders::zstd(&zeros), 100 * MIB)),
        ("zstd in zstd in br", coded("zstd, zstd, br", &coders::code("zstd, zstd, br", &zeros.repeat(256)), MIB)),
        ("br", coded("br", &coders::br(&zeros.repeat(256)), MIB)),
        ("br in br", coded("br, br", &coders::code("br, br", &zeros.repeat(256)), MIB)),
    ];
    for (what, source) in &bombs {
        // The largest windows are 16 MiB (br) and 8 MiB (zstd), for each coding.
        let (length, problem) = within(what, 5.0, 64.0, || decoded(source, &usual));
        assert!(length <= 2000 * (64 << 10), "{what}: {length}");
        assert_eq!(problem, Some(Problem::RatioLimit), "{what}");
    }
    // Much that decodes to nothing.
    let skipped = b"\x50\x2a\x4d\x18\0\0\0\0";
    let nothing = [
        ("zstd frames to be skipped", coded("zstd", skipped, 16 * MIB)),
        ("empty gzip members", coded("gzip", &coders::gzip(b""), 16 * MIB)),
    ];
    for (what, source) in &nothing {
        let (length, problem) = within(what, 5.0, 16.0, || decoded(source, &usual));
        assert_eq!((length, problem), (0, None), "{what}");
    }
    assert_eq!(answer(&nothing[0].1).of(Direction::ToClient)[0].framing, Framing::UntilClose);
    let start = b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\n\x50\x2a\x4d\x18\xff\xff\xff\xff";
    let long = Made::new(*start, b"\0", 1000 * MIB, b"");
    let what = "1 GB of a zstd frame to be skipped";
    let (length, problem) = within(what, 5.0, 16.0, || decoded(&long, &usual));
    assert_eq!((length, problem), (0, Some(Problem::Coding { coding: "zstd", fault: Fault::Truncated })));
}
