//! Handshakes made of known certificates, cut into records at random, with holes and ends at random.

use std::ops::ControlFlow;

use proptest::prelude::*;
use streamdb_types::{GapKind, Marks, Reason};

use super::*;
use crate::body::{Decode, Piece, part_body};
use crate::limits::BodyLimits;
use crate::memory::MemorySource;
use crate::message::Incomplete;
use crate::source::Read;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

fn client_hello() -> Vec<u8> {
    let name = extension(0, &vector16(&[&[0][..], &vector16(b"example.com")].concat()));
    let protocols = extension(16, &vector16(b"\x02h2\x08http/1.1"));
    let versions = extension(43, &[4, 3, 4, 3, 3]);
    let signatures = extension(13, &vector16(&[4, 3, 8, 4]));
    let extensions = vector16(&[name, protocols, versions, signatures].concat());
    message(1, &[&[3, 3][..], &[7; 32], &[0], &vector16(&[0x13, 1, 0xc0, 0x2f]), &[1, 0], &extensions].concat())
}

fn server_hello(version: [u8; 2]) -> Vec<u8> {
    let extensions = match version {
        [3, 4] => extension(43, &[3, 4]),
        _ => extension(16, &vector16(b"\x02h2")),
    };
    let legacy = version.min([3, 3]);
    message(2, &[&legacy[..], &[9; 32], &[0], &[0xc0, 0x2f, 0], &vector16(&extensions)].concat())
}

fn certificate_message(certificates: &[Vec<u8>]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap().to_be_bytes()[1..].to_vec();
    let list: Vec<u8> = certificates.iter().flat_map(|c| [number(c.len()), c.clone()].concat()).collect();
    message(11, &[number(list.len()), list].concat())
}

/// Records of handshake, each of as many bytes as `cuts` says, over and over.
fn records(handshake: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), handshake);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (fragment, after) = rest.split_at((*cut).clamp(1, 16384).min(rest.len()));
        out.extend([&[22, 3, 3][..], &vector16(fragment)].concat());
        rest = after;
    }
    out
}

const SECRET: &[u8] = &[20, 3, 3, 0, 1, 1, 22, 3, 3, 0, 40, 1, 2, 3];

fn found(client: &MemorySource, server: &MemorySource) -> Option<Found> {
    find([client, server], &Limits::default())
}

/// The bytes of a part, holes as zeros, and whether they are said to be all.
fn bytes(part: &Part, source: &MemorySource) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut outer = |out: &mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>| {
        let mut out = crate::part::counted(out);
        let mut at = StreamOffset(0);
        let mut buffer = [0; 100];
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
    let outcome = part_body(part, Decode::Raw, &BodyLimits::default(), None, &mut outer, &mut |piece| {
        match piece {
            Piece::Bytes(piece) => all.extend_from_slice(piece),
            Piece::Hole(gap) => all.extend(vec![0; gap.length as usize]),
        }
        ControlFlow::Continue(())
    });
    (all, outcome.complete)
}

#[test]
fn sentences_of_both_sides() {
    let client = MemorySource::new(records(&client_hello(), &[16000]));
    let said =
        |server: Vec<u8>| found(&client, &MemorySource::new(server)).unwrap().sentences.map(Option::unwrap_or_default);
    let [to_server, to_client] = said([records(&server_hello([3, 4]), &[5]), SECRET.to_vec()].concat());
    assert_eq!(
        to_server,
        "TLS 1.3 session, SNI example.com, ALPN h2,http/1.1, JA4 t13d0204h2_c1929292aa6b_ef5f37ab036a"
    );
    assert_eq!(to_client, "TLS 1.3 session, SNI example.com, cipher TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    let [to_server, to_client] = said(records(&server_hello([3, 3]), &[1]));
    assert!(
        to_server.starts_with("TLS 1.2 session, SNI example.com, ALPN h2,http/1.1, offered TLS 1.3, JA4 t13d0204h2_")
    );
    assert_eq!(to_client, "TLS 1.2 session, SNI example.com, ALPN h2, cipher TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    assert_eq!(said(vec![21, 3, 1, 0, 2, 2, 40])[1], "TLS 1.3 session, SNI example.com, alert 40");
    assert_eq!(said(b"HTTP/1.1 400 Bad Request\r\n".to_vec())[1], "");
}

/// What the first bytes say stays, word by word.
#[test]
fn a_sentence_says_no_less_than_that_of_the_first_bytes() {
    let bytes = records(&client_hello(), &[16000]);
    let sniffed = streamdb_sniff::sniff_stream(streamdb_sniff::Content::beginning(&bytes)).description;
    let client = MemorySource::new(bytes);
    for end in 9..client.end().0 {
        let part = MemorySource::new(&records(&client_hello(), &[16000])[..end as usize]);
        let said = found(&part, &MemorySource::new(*b"")).unwrap().sentences[0].clone().unwrap();
        let head = streamdb_sniff::sniff_stream(streamdb_sniff::Content::beginning(
            &records(&client_hello(), &[16000])[..end as usize],
        ));
        assert!(
            said.starts_with(&*head.description) || said.len() >= head.description.len(),
            "{said} {}",
            head.description
        );
    }
    let said = found(&client, &MemorySource::new(*b"")).unwrap().sentences[0].clone().unwrap();
    assert!(said.starts_with(&*sniffed) && sniffed.ends_with("ALPN h2,http/1.1"), "{said}");
}

#[test]
fn a_hello_of_version_2_is_known_by_its_answer() {
    let hello = [&[0x80, 28, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 5][..], &[7; 16]].concat();
    let client = MemorySource::new(hello);
    assert_eq!(found(&client, &MemorySource::new(*b"")), None);
    let answered = found(&client, &MemorySource::new(records(&server_hello([3, 1]), &[99]))).unwrap();
    assert_eq!(answered.sentences[0].as_deref(), Some("TLS 1.0 session, SSL 2.0 hello"));
}

#[test]
fn what_is_not_tls_is_left_alone() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", b"\x16\x03", &[22, 3, 1, 0, 40, 11, 0, 0, 36], &[23, 3, 3, 0, 9, 1]]
    {
        assert_eq!(found(&MemorySource::new(bytes), &MemorySource::new(*b"220 ready\r\n")), None, "{bytes:?}");
    }
    let datagrams = MemorySource::new(records(&client_hello(), &[16000])).of_datagrams();
    assert_eq!(found(&datagrams, &datagrams), None);
}

/// As long as more may come, what begins as a hello is no client of anything else.
#[test]
fn what_may_become_a_hello_is_waited_for() {
    let (limits, hello) = (Limits::default(), records(&client_hello(), &[99]));
    let what = |client: &[u8], ended| {
        let server = MemorySource::new(b"+OK ready\r\n").with_end(ended, Marks::SYN);
        let client = MemorySource::new(client).with_end(ended, Marks::MIDSTREAM);
        let messages = crate::messages(&client, &server, &limits);
        crate::inside(&messages, [&client, &server], &limits).and_then(|(_, found)| found.sentences[0].clone())
    };
    // It is told by its header, and by that of its first message.
    for length in 1..9 {
        assert_eq!(what(&hello[..length], None), None, "{length}");
        assert_eq!(what(&hello[..length], Some(Reason::Fin)).as_deref(), Some("POP3 session"), "{length}");
    }
    assert!(what(&hello[..9], None).unwrap().starts_with("TLS session"));
    // No hello any more.
    for other in [&b"\x16\x03\x05"[..], b"\x16\x03\x01\x42", b"\x16\x03\x01\0\x99\x03", b"QUIT"] {
        let [client, server] = [other, b""].map(|bytes| MemorySource::new(bytes).with_end(None, Marks::SYN));
        assert!(!may_begin([&client, &server]), "{other:?}");
        assert_eq!(what(other, Some(Reason::Fin)).as_deref(), Some("POP3 session"), "{other:?}");
    }
}

#[test]
fn too_many_certificates_end_in_one_that_says_so() {
    let certificates = vec![vec![0x30, 0x01, 0x05]; 300];
    let flight = [server_hello([3, 3]), certificate_message(&certificates)].concat();
    let server = MemorySource::new(records(&flight, &[16000]));
    let parts = &found(&MemorySource::new(*b""), &server).unwrap().parts[1];
    assert_eq!(parts.len(), 101);
    assert!(parts.iter().take(100).all(|part| part.incomplete.is_none()));
    assert_eq!(parts[100].incomplete, Some(Incomplete::Limit));
    // Each byte in a record of its own.
    let flight = [server_hello([3, 3]), certificate_message(&[vec![1; 20_000], vec![2; 10]])].concat();
    let server = MemorySource::new(records(&flight, &[1]));
    let parts = &found(&MemorySource::new(*b""), &server).unwrap().parts[1];
    assert_eq!((parts.len(), parts[0].incomplete, parts[0].missing), (1, Some(Incomplete::Limit), 20_000 - 16_384));
}

#[test]
fn lengths_that_lie_are_malformed_and_bare_keys_are_no_certificates() {
    let mut flight = [server_hello([3, 3]), certificate_message(&[vec![7; 50]])].concat();
    let at = flight.len() - 53 + 2;
    flight[at] = 60;
    let server = MemorySource::new(records(&[flight, message(14, b"")].concat(), &[70]));
    let parts = &found(&MemorySource::new(*b""), &server).unwrap().parts[1];
    assert_eq!((parts.len(), parts[0].len(), parts[0].missing), (1, 50, 10));
    assert_eq!(parts[0].incomplete, Some(Incomplete::Malformed));
    let key = [&[0x30, 0x82, 0, 64][..], &[1; 64]].concat();
    let bare = message(11, &[&[0, 0, 68][..], &key].concat());
    let server = MemorySource::new(records(&[server_hello([3, 3]), bare].concat(), &[70]));
    assert!(found(&MemorySource::new(*b""), &server).unwrap().parts[1].is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn certificates_come_out_as_they_were_sent_or_are_not_said_to_be_whole(
        lengths in prop::collection::vec(prop_oneof![1usize..40, 1usize..3000], 0..6),
        cuts in prop::collection::vec(prop_oneof![2usize..20, 1usize..4000], 1..6),
        holes in prop::collection::vec((any::<prop::sample::Index>(), 1u64..200), 0..3),
        end in prop::option::of(any::<prop::sample::Index>()),
        split in any::<bool>(),
        reads in 1usize..100,
    ) {
        let certificates: Vec<Vec<u8>> = lengths.iter().enumerate()
            .map(|(n, length)| (0..*length).map(|at| (at as u8).wrapping_mul(7).wrapping_add(n as u8) | 1).collect())
            .collect();
        let mut messages = vec![server_hello([3, 3])];
        if split {
            messages.extend(certificates.iter().map(|one| certificate_message(std::slice::from_ref(one))));
        } else {
            messages.push(certificate_message(&certificates));
        }
        messages.push(message(14, b""));
        let sent = [records(&messages.concat(), &cuts), SECRET.to_vec()].concat();
        let client = MemorySource::new(*b"");
        let whole = MemorySource::new(sent.clone());
        let all = found(&client, &whole).unwrap().parts[1].clone();
        prop_assert_eq!(all.len(), certificates.len());
        for (part, certificate) in all.iter().zip(&certificates) {
            prop_assert_eq!(bytes(part, &whole), (certificate.clone(), true));
            prop_assert_eq!(part.missing, 0);
        }
        // Cut off while it is open, and with holes.
        let cut = end.map_or(sent.len(), |end| end.index(sent.len()));
        let mut damaged = MemorySource::new(&sent[..cut]).with_end(None, Marks::SYN);
        let open = found(&client, &damaged).map(|found| found.parts[1].clone()).unwrap_or_default();
        for (part, later) in open.iter().zip(&all) {
            prop_assert_eq!((part.number, part.begins), (later.number, later.begins));
            let whole = part.incomplete.is_none();
            prop_assert_eq!(part.missing, later.len() - part.len());
            prop_assert_eq!(whole, part.len() == later.len());
            prop_assert!(whole || part.incomplete == Some(Incomplete::Open));
        }
        prop_assert!(open.len() <= all.len());
        for (at, length) in &holes {
            damaged = damaged.with_gap(at.index(sent.len()) as u64, *length, GapKind::Missing);
        }
        let slow = found(&client, &damaged.clone().with_reads_of(reads));
        let found = found(&client, &damaged);
        prop_assert_eq!(&found, &slow);
        for part in &found.map(|found| found.parts[1].clone()).unwrap_or_default() {
            let (bytes, complete) = bytes(part, &damaged);
            prop_assert_eq!(complete, part.incomplete.is_none());
            let certificate = certificates.iter().find(|certificate| **certificate == bytes);
            prop_assert!(!complete || certificate.is_some(), "{:?}", part);
            prop_assert!(complete || part.missing > 0 || part.incomplete == Some(Incomplete::Malformed));
        }
        // What ends a connection ends what was to come.
        let reset = MemorySource::new(&sent[..cut]).with_end(Some(Reason::Rst), Marks::RST);
        let parts = find([&client, &reset], &Limits::default()).map(|found| found.parts[1].clone()).unwrap_or_default();
        prop_assert!(parts.iter().all(|part| part.incomplete.is_none() || matches!(part.incomplete, Some(Incomplete::Reset(_)))));
    }
}
