//! What is found in `testdata/within`, recorded from real programs: each request, answer and message, byte for byte.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use streamdb_extract::{
    BodyLimits, Decode, Limits, MemorySource, Part, PartKind, Piece, body, counted, inside, messages, part_body,
};
use streamdb_types::Direction;

type End = ([u8; 4], u16);

/// The streams of a capture in which nothing is missing: who sends to whom, and what.
fn streams(capture: &[u8]) -> BTreeMap<(End, End), Vec<u8>> {
    let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_3c4d);
    let mut found: BTreeMap<(End, End), (u32, Vec<u8>)> = BTreeMap::new();
    let mut at = 24;
    while at < capture.len() {
        let frame = &capture[at + 16..][..word(at + 8) as usize];
        at += 16 + frame.len();
        let ip = &frame[14..];
        if frame[12..14] != [8, 0] || ip[9] != 6 {
            continue;
        }
        let short = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        let tcp = &ip[usize::from(ip[0] & 15) * 4..usize::from(short(&ip[2..]))];
        let end = |address: usize, port: usize| (ip[address..address + 4].try_into().unwrap(), short(&tcp[port..]));
        let seq = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
        let key = (end(12, 0), end(16, 2));
        if tcp[13] & 2 != 0 {
            found.insert(key, (seq.wrapping_add(1), Vec::new()));
        } else if let Some((first, bytes)) = found.get_mut(&key)
            && !payload.is_empty()
        {
            let place = seq.wrapping_sub(*first) as usize;
            assert!(place <= bytes.len(), "a hole");
            bytes.truncate(place);
            bytes.extend_from_slice(payload);
        }
    }
    found.into_iter().map(|(key, (_, bytes))| (key, bytes)).collect()
}

/// The row of a part, as in `expected.tsv`.
fn row(server: End, part: &Part, direction: Direction, content: &[u8]) -> String {
    let text =
        |text: Option<&[u8]>| text.map_or_else(|| "-".to_owned(), |text| String::from_utf8(text.to_vec()).unwrap());
    let kind = match (part.kind, direction) {
        (PartKind::Request, Direction::ToServer) => "request",
        (PartKind::Response, Direction::ToClient) => "response",
        (PartKind::File, Direction::ToServer) => "message",
        (PartKind::File, Direction::ToClient) => "echo",
        other => panic!("{other:?}"),
    };
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    [
        format!("{}:{}", server.0.map(|byte| byte.to_string()).join("."), server.1),
        kind.to_owned(),
        part.protocol.to_owned(),
        text(part.method.as_deref()),
        text(part.host.as_deref()),
        text(part.target.as_deref()),
        part.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        content.len().to_string(),
        hash,
    ]
    .join("\t")
}

#[test]
fn all_that_was_sent_is_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/within");
    let streams = streams(&fs::read(folder.join("capture.pcap")).unwrap());
    let limits = Limits::default();
    let (mut rows, mut sentences) = (Vec::new(), Vec::new());
    for ((client, server), to_server) in streams.iter().filter(|((from, _), _)| from.0[0] == 10) {
        let sources = [MemorySource::new(to_server.clone()), MemorySource::new(streams[&(*server, *client)].clone())];
        let messages = messages(&sources[0], &sources[1], &limits);
        let (which, found) =
            inside(&messages, [&sources[0], &sources[1]], &limits).expect("something in each connection");
        for direction in Direction::BOTH {
            sentences.extend(found.sentences[direction.index()].clone());
            for part in &found.parts[direction.index()] {
                let message = &messages.of(direction)[which[direction.index()].unwrap().0 as usize];
                let mut content = Vec::new();
                let outcome = part_body(
                    part,
                    Decode::Decoded,
                    &BodyLimits::default(),
                    None,
                    &mut |take| {
                        body(
                            message,
                            &sources[direction.index()],
                            Decode::Raw,
                            &BodyLimits::default(),
                            &mut counted(take),
                        );
                    },
                    &mut |piece| {
                        if let Piece::Bytes(bytes) = piece {
                            content.extend_from_slice(bytes);
                        }
                        ControlFlow::Continue(())
                    },
                );
                assert!(outcome.complete, "{part:?} {outcome:?}");
                rows.push(row(*server, part, direction, &content));
            }
        }
    }
    let expected = fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let mut expected: Vec<&str> = expected.lines().skip(1).collect();
    rows.sort();
    expected.sort_unstable();
    assert_eq!(rows, expected);
    sentences.sort();
    sentences.dedup();
    assert_eq!(
        sentences,
        [
            "HTTP/2 session, 1 request",
            "HTTP/2 session, 1 response",
            "HTTP/2 session, 6 requests",
            "HTTP/2 session, 6 responses",
            "SOCKS4 to 203.0.113.11:80, HTTP session",
            "SOCKS4A to web.example:80, refused",
            "SOCKS5 to 203.0.113.11:80, HTTP session",
            "SOCKS5 to 203.0.113.9:80, HTTP/2 session, 1 request",
            "SOCKS5 to 203.0.113.9:80, HTTP/2 session, 1 response",
            "SOCKS5 to web.example:80, HTTP session",
            "WebSocket session, 6 messages",
        ]
    );
}
