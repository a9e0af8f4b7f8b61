//! Whatever the bytes and the holes are: no panic, no endless loop, every byte in exactly one message.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use proptest::prelude::*;
use streamdb_extract::{Decode, Limits, MemorySource, messages};
use streamdb_types::{GapKind, Marks, Reason};

/// Pieces of which conversations are thrown together.
const WORDS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"HEAD /x HTTP/1.0\r\n",
    b"POST /p HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"Host: h\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n",
    b"HTTP/1.1 101 S\r\n",
    b"HTTP/1.1 204 N\r\n",
    b"HTTP/1.1 304 N\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: x\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: deflate\r\n",
    b"Content-Encoding: br\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: x\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\n\n",
    b"\r",
    b" folded\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"ffffffffffffffff\r\n",
    b"3;x=y\r\nabc\r\n",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    b"\x1f\x8b\x08\x1f",
    b"\x78\x9c",
    b"\0",
    b"\xff\xff",
    b"HTTP/1.",
    b"GET ",
    b":",
];

fn stream() -> impl Strategy<Value = MemorySource> {
    let word = prop_oneof![
        9 => prop::sample::select(WORDS).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let gaps = prop::collection::vec((any::<prop::sample::Index>(), 1u64..30), 0..4);
    let ends = prop::sample::select(vec![None, Some(Reason::Fin), Some(Reason::Rst), Some(Reason::SizeCutoff)]);
    let marks = prop::sample::select(vec![Marks::default(), Marks::FIN, Marks::RST, Marks::MIDSTREAM]);
    (prop::collection::vec(word, 0..40), gaps, ends, marks, 1usize..70).prop_map(|(words, gaps, end, marks, most)| {
        let bytes = words.concat();
        let length = bytes.len();
        let mut source = MemorySource::new(bytes).with_end(end, marks).with_reads_of(most);
        for (offset, gap) in gaps {
            if length > 0 {
                source = source.with_gap(offset.index(length) as u64, gap, GapKind::Missing);
            }
        }
        source
    })
}

fn cases(few: u32) -> ProptestConfig {
    let times = if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 100 } else { 1 };
    // A case that failed once becomes a sample; no files are written beside the sources.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(few * times) }
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn anything_is_covered_by_messages(to_server in stream(), to_client in stream()) {
        let found = common::scan(&to_server, &to_client);
        common::view(&found, &to_server, &to_client);
        for message in found.in_order() {
            let sources = [&to_server, &to_client];
            let (raw, outcome) = common::collect(message, *message.direction.of(&sources), Decode::Raw);
            prop_assert!(raw.len() as u64 <= message.body.len());
            prop_assert_eq!(outcome.encoded_length, outcome.length);
        }
        // What was found does not depend on how the bytes were read.
        let again = common::scan(&to_server.clone().with_reads_of(1 << 20), &to_client.clone().with_reads_of(1 << 20));
        prop_assert_eq!(&found, &again);
    }

    #[test]
    fn limits_hold(to_server in stream(), to_client in stream(), most in 2u32..6, head in 32usize..100) {
        let limits = Limits { messages: most, head, kept: 200 };
        let found = messages(&to_server, &to_client, &limits);
        common::check(&found, &to_server, &to_client);
        for stream in &found.streams {
            prop_assert!(stream.len() <= most as usize);
        }
    }
}

/// Streams that cost little to send must not cost much to look at. CVE-2024-45797 (Suricata): a head of very many fields took a
/// time that grew with the square of their number.
#[test]
fn costly_streams_are_cheap() {
    let start = std::time::Instant::now();
    let repeat = |words: &[u8], bytes: usize| words.repeat(bytes / words.len());
    let mut streams = vec![
        repeat(b"HTTP/1.1 200 OK\r\n", 8 << 20),
        repeat(b"HTTP/1.1 204 OK\r\n\r\n", 8 << 20),
        repeat(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz", 8 << 20),
        repeat(b"\r\n", 8 << 20),
        [b"HTTP/1.1 200 OK\r\n".to_vec(), repeat(b"a:b\n", 8 << 20)].concat(),
        [b"HTTP/1.1 200 OK\r\n".to_vec(), repeat(b"\r", 8 << 20)].concat(),
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), repeat(b"1\r\na\r\n", 8 << 20)].concat(),
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_vec(), repeat(b"x", 8 << 20)].concat(),
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_vec(), repeat(b"a:b\r\n", 8 << 20)].concat(),
    ];
    streams.push(
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nz".to_vec(),
            repeat(b"HTTP/1.1 200 OK\r\n ", 8 << 20),
        ]
        .concat(),
    );
    for stream in streams {
        let began = std::time::Instant::now();
        let to_client = MemorySource::new(stream);
        let found = common::scan(&MemorySource::new(*b"GET / HTTP/1.1\r\n\r\n"), &to_client);
        for message in found.in_order().take(10) {
            if !message.body.is_empty() {
                streamdb_extract::body(message, &to_client, Decode::Decoded, &Default::default(), &mut |_| {
                    std::ops::ControlFlow::Continue(())
                });
            }
        }
        println!("{:?} for {} messages", began.elapsed(), found.streams[1].len());
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}
