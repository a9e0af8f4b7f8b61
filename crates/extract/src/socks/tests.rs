//! Sessions as clients and servers lead them, and what goes through them.

use streamdb_types::{GapKind, Marks, Reason};

use super::*;
use crate::inside::inside;
use crate::memory::MemorySource;
use crate::message::Incomplete;
use crate::part::PartKind;

const ASK: &[u8] = b"GET /a HTTP/1.1\r\nHost: h.example\r\n\r\nPOST /b HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
    3\r\none\r\n3;x\r\ntwo\r\n0\r\n\r\nHTTP/1.0 404 No\r\nContent-Disposition: attachment; filename=f\r\nContent-Length: 2\r\n\r\nno";

/// Each way of asking, what is said of it, and for whom what goes through is.
fn ways() -> Vec<(Vec<u8>, Vec<u8>, &'static str, &'static str)> {
    let v4 = [1, 2, 3, 4, 0x1f, 0x90];
    let ok5 = [&b"\x05\x00\x05\x00\x00\x01"[..], &v4].concat();
    let ok5_password = [&b"\x05\x02\x01\x00\x05\x00\x00\x03\x01x\x00\x01"[..]].concat();
    let v6 = b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50";
    vec![
        ([&b"\x05\x01\x00\x05\x01\x00\x01"[..], &v4].concat(), ok5.clone(), "SOCKS5 to 1.2.3.4:8080", "1.2.3.4:8080"),
        (
            b"\x05\x02\x00\x02\x01\x02me\x02pw\x05\x01\x00\x03\x0dwww.x.example\x00\x50".to_vec(),
            ok5_password,
            "SOCKS5 as me to www.x.example:80",
            "www.x.example:80",
        ),
        (v6.to_vec(), ok5, "SOCKS5 to [2001:db8::1]:80", "[2001:db8::1]:80"),
        (
            b"\x04\x01\x00\x50\x01\x02\x03\x04me\x00".to_vec(),
            b"\x00\x5a\x00\x50\x01\x02\x03\x04".to_vec(),
            "SOCKS4 as me to 1.2.3.4:80",
            "1.2.3.4:80",
        ),
        (
            b"\x04\x01\x01\xbb\x00\x00\x00\x07\x00www.x.example\x00".to_vec(),
            b"\x00\x5a\0\0\0\0\0\0".to_vec(),
            "SOCKS4A to www.x.example:443",
            "www.x.example:443",
        ),
        (
            [&b"\x05\x01\x00\x05\x02\x00\x01"[..], &v4].concat(),
            [&b"\x05\x00\x05\x00\x00\x01"[..], &v4, b"\x05\x00\x00\x01", &v4].concat(),
            "SOCKS5 from 1.2.3.4:8080",
            "1.2.3.4:8080",
        ),
    ]
}

fn look(client: &[u8], server: &[u8]) -> Option<Found> {
    let sources = [MemorySource::new(client), MemorySource::new(server)];
    let found = find([&sources[0], &sources[1]], &Limits::default());
    let slow = sources.map(|source| source.with_reads_of(3));
    assert_eq!(found, find([&slow[0], &slow[1]], &Limits::default()));
    found
}

fn content(part: &Part, bytes: &[u8]) -> Vec<u8> {
    part.content.iter().flat_map(|range| bytes[range.start as usize..range.end as usize].to_vec()).collect()
}

#[test]
fn http_is_carved_through_each_kind() {
    for (asks, answers, sentence, to) in ways() {
        let (client, server) = ([&asks, ASK].concat(), [&answers, ANSWER].concat());
        let found = look(&client, &server).unwrap();
        for said in &found.sentences {
            assert_eq!(said.as_deref(), Some(format!("{sentence}, HTTP session").as_str()));
        }
        let [requests, responses] = &found.parts;
        let bodies = |parts: &[Part], bytes: &[u8]| parts.iter().map(|part| content(part, bytes)).collect::<Vec<_>>();
        assert_eq!(bodies(requests, &client), [&b""[..], b"abc"]);
        assert_eq!(bodies(responses, &server), [&b"onetwo"[..], b"no"]);
        for parts in [requests, responses] {
            assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2]);
            assert!(parts.iter().all(|part| part.incomplete.is_none() && part.protocol == "http"), "{parts:?}");
            let hosts: Vec<_> = parts.iter().map(|part| part.host.as_deref()).collect();
            assert_eq!(hosts, [Some(&b"h.example"[..]), Some(to.as_bytes())]);
            let targets: Vec<_> = parts.iter().map(|part| part.target.as_deref()).collect();
            assert_eq!(targets, [Some(&b"/a"[..]), Some(b"/b")]);
        }
        assert_eq!(requests[0].begins as usize, asks.len());
        assert_eq!((requests[1].kind, responses[1].kind), (PartKind::Request, PartKind::Response));
        assert_eq!((responses[0].status, responses[1].status), (Some(200), Some(404)));
        assert_eq!(responses[0].content_codings, ["gzip"]);
        assert_eq!(responses[0].declared_type.as_deref(), Some(&b"text/x"[..]));
        assert_eq!(responses[1].filename.as_deref(), Some("f"));
    }
}

/// However little has come so far, nothing is said that more of it takes back.
#[test]
fn numbers_stay_when_more_comes() {
    for (asks, answers, ..) in ways() {
        let all = [[&asks, ASK].concat(), [&answers, ANSWER].concat()];
        let whole = look(&all[0], &all[1]).unwrap();
        for side in [0, 1] {
            for cut in 0..all[side].len() {
                let sources = [0, 1].map(|n| {
                    let bytes = if n == side { &all[n][..cut] } else { &all[n][..] };
                    MemorySource::new(bytes).with_end(None, Marks::SYN)
                });
                let Some(found) = find([&sources[0], &sources[1]], &Limits::default()) else { continue };
                for part in &found.parts[side] {
                    let later = &whole.parts[side][part.number as usize - 1];
                    assert_eq!((part.number, part.begins), (later.number, later.begins));
                    assert!(part.incomplete.is_some() || part.content == later.content, "{cut}");
                }
            }
        }
    }
}

#[test]
fn other_protocols_and_more_servers_are_seen() {
    let (asks, answers) =
        (b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50", b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0");
    // HTTP/2; a WebSocket; another server, and HTTP behind it; nothing that is known; nothing at all.
    let h2 = look(
        &[&asks[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x02\x01\x05\0\0\0\x01\x82\x84"]
            .concat(),
        answers,
    );
    let h2 = h2.unwrap();
    assert_eq!(h2.sentences[0].as_deref(), Some("SOCKS5 to 1.2.3.4:80, HTTP/2 session, 1 request"));
    assert_eq!((h2.parts[0][0].begins, h2.parts[0][0].host.as_deref()), (13 + 24 + 9, Some(&b"1.2.3.4:80"[..])));
    let upgrade = b"GET /w HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n\x81\x83\0\0\0\0abc";
    let accept = b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n\x81\x02hi";
    let (client, server) = ([&asks[..], upgrade].concat(), [&answers[..], accept].concat());
    let socket = look(&client, &server).unwrap();
    assert_eq!(socket.sentences[1].as_deref(), Some("SOCKS5 to 1.2.3.4:80, WebSocket session, 1 message"));
    for (parts, bytes, text) in [(&socket.parts[0], &client, &b"abc"[..]), (&socket.parts[1], &server, b"hi")] {
        let kinds: Vec<_> = parts.iter().map(|part| (part.number, part.protocol)).collect();
        assert_eq!(kinds, [(1, "http"), (2, "websocket")]);
        assert_eq!(content(&parts[1], bytes), text);
    }
    let twice = look(&[&asks[..], asks, ASK].concat(), &[&answers[..], answers, ANSWER].concat()).unwrap();
    assert_eq!(twice.sentences[0].as_deref(), Some("SOCKS5 to 1.2.3.4:80, SOCKS5 to 1.2.3.4:80, HTTP session"));
    assert_eq!(twice.parts[1].len(), 2);
    let many = look(&asks.repeat(500), &answers.repeat(500)).unwrap();
    assert!(many.parts == [vec![], vec![]]);
    let other = look(&[&asks[..], b"\x01\x02\x03\x04\x05"].concat(), answers).unwrap();
    assert_eq!(other.sentences[0].as_deref(), Some("SOCKS5 to 1.2.3.4:80"));
    assert!(other.parts == [vec![], vec![]]);
}

/// The client chooses the names in a sentence.
#[test]
fn a_sentence_has_an_end() {
    let asks = [&b"\x04\x01\0\x50\0\0\0\x01me\0"[..], &[0xff; 255], b"\0"].concat();
    let sources = [MemorySource::new(asks), MemorySource::new(b"\0\x5b\0\0\0\0\0\0")];
    let limits = Limits::default();
    let messages = crate::messages(&sources[0], &sources[1], &limits);
    let (_, found) = crate::inside(&messages, [&sources[0], &sources[1]], &limits).unwrap();
    let sentence = found.sentences[0].as_deref().unwrap();
    assert!(sentence.starts_with("SOCKS4A as me to \\xff\\xff"), "{sentence}");
    assert_eq!(sentence.len(), streamdb_sniff::SENTENCE_BYTES);
}

#[test]
fn what_was_refused_says_so() {
    let asks = b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50GET / HTTP/1.1\r\n\r\n";
    let found = look(asks, b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0").unwrap();
    assert_eq!(found.sentences[1].as_deref(), Some("SOCKS5 to 1.2.3.4:80, refused"));
    assert!(found.parts[0].is_empty());
    let said = |client: &[u8], server: &[u8]| look(client, server).and_then(|found| found.sentences[0].clone());
    assert_eq!(said(b"\x05\x01\x02", b"\x05\xff").as_deref(), Some("SOCKS5 session, refused"));
    assert_eq!(
        said(b"\x05\x01\x02\x01\x01u\x01p", b"\x05\x02\x01\x01").as_deref(),
        Some("SOCKS5 session as u, refused")
    );
    assert_eq!(said(b"\x05\x01\x01\x01\x01xx", b"\x05\x01").as_deref(), Some("SOCKS5 session"));
    assert_eq!(
        said(b"\x04\x01\x00\x50\x01\x02\x03\x04\x00", b"\x00\x5b\0\0\0\0\0\0").as_deref(),
        Some("SOCKS4 to 1.2.3.4:80, refused")
    );
    let datagrams = said(b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0", b"\x05\x00\x05\x00\x00\x01\x7f\0\0\x01\x10\0");
    assert_eq!(datagrams.as_deref(), Some("SOCKS5 for datagrams"));
}

#[test]
fn what_is_no_socks_is_left_alone() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"\x05\x00", b"\x05\x00"),
        (b"\x05\x01\x00", b""),
        (b"\x05\x01\x00", b"\x05\x02"),
        (b"\x05\x01\x00", b"HTTP"),
        (b"\x04\x01\x00\x50\x01\x02\x03\x04\x00", b""),
        (b"\x04\x01\x00\x50\x01\x02\x03\x04\x00", b"\x00\x00\0\0\0\0\0\0"),
        (b"\x04\x03\x00\x50\x01\x02\x03\x04\x00", b"\x00\x5a\0\0\0\0\0\0"),
    ];
    for (client, server) in cases {
        assert!(look(client, server).is_none(), "{} {}", client.escape_ascii(), server.escape_ascii());
    }
}

#[test]
fn one_side_alone_and_holes_are_told() {
    let asks = [&b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50"[..], ASK].concat();
    let found = look(&asks, b"").unwrap();
    assert_eq!(found.parts[0].len(), 2);
    let client = MemorySource::new(asks.clone()).with_gap(asks.len() as u64 - 2, 1, GapKind::Missing);
    let server =
        MemorySource::new(*b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
            .with_end(Some(Reason::Exiting), Marks::SYN);
    let messages = crate::messages(&client, &server, &Limits::default());
    let (which, found) = inside(&messages, [&client, &server], &Limits::default()).unwrap();
    assert!(which.iter().all(Option::is_some));
    let last = &found.parts[0][1];
    assert_eq!((last.incomplete, last.missing, last.len()), (Some(Incomplete::Gap(GapKind::Missing)), 1, 3));
    let answer = &found.parts[1][0];
    assert_eq!((answer.incomplete, answer.missing, answer.len()), (Some(Incomplete::CaptureEnded), 2, 3));
}

#[test]
fn limits_hold() {
    let (asks, answers) =
        (b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50", b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0");
    let chunks = [
        &answers[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        &b"1\r\nx\r\n".repeat(1000),
        b"0\r\n\r\n",
    ]
    .concat();
    let sources = [MemorySource::new(*asks), MemorySource::new(chunks)];
    let limits = Limits { kept: 4000, ..Limits::default() };
    let found = find([&sources[0], &sources[1]], &limits).unwrap();
    let part = &found.parts[1][0];
    assert_eq!((part.incomplete, part.content.len()), (Some(Incomplete::Limit), 250));
    assert!(find([&sources[0], &sources[1]], &Limits::default()).unwrap().parts[1][0].incomplete.is_none());
}
