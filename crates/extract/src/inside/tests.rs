#![allow(clippy::unwrap_used, reason = "only tests")]

use proptest::collection::vec;
use proptest::prelude::*;
use streamdb_types::{Direction, GapKind, Marks, Reason};

use crate::http1::SHOWN_BYTES;
use crate::limits::Limits;
use crate::memory::MemorySource;
use crate::message::Kind;

/// What is said of the client's stream.
fn sentence(client: &MemorySource, server: &MemorySource) -> Option<String> {
    let messages = crate::messages(client, server, &Limits::default());
    let (_, found) = crate::inside(&messages, [client, server], &Limits::default())?;
    found.sentences.into_iter().next().flatten()
}

/// Commands of POP3, of which it shows later that they are lines of a mail.
const CLIENT: &[u8] = b"x\r\nUSER a\r\nPASS b\r\nSTAT\r\n.\r\nQUIT\r\n";
const SERVER: &[u8] = b"250 ok\r\n250 ok\r\n";

#[test]
fn what_began_before_is_told_when_no_more_can_tell_better() {
    let late = |bytes: &[u8], ended| MemorySource::new(bytes).with_end(ended, Marks::MIDSTREAM);
    let fin = Some(Reason::Fin);
    for (client, server) in (0..=CLIENT.len()).flat_map(|client| (0..=SERVER.len()).map(move |server| (client, server)))
    {
        let (client, server) = (CLIENT.get(..client).unwrap(), SERVER.get(..server).unwrap());
        for ended in [[None, None], [fin, None], [None, fin]] {
            assert_eq!(sentence(&late(client, ended[0]), &late(server, ended[1])), None);
        }
    }
    for (length, said) in [(CLIENT.len(), "SMTP session"), (CLIENT.len() - 1, "POP3 session")] {
        let said_now = sentence(&late(CLIENT.get(..length).unwrap(), fin), &late(SERVER, fin));
        assert_eq!(said_now.as_deref(), Some(said), "{length}");
    }
    // So many bytes tell, whether more come or not.
    let long = |bytes: &[u8], length: usize| [bytes, &vec![b'\n'; length - bytes.len()]].concat();
    const MANY: usize = SHOWN_BYTES as usize;
    for (length, tells) in [(MANY - 1, false), (MANY, true)] {
        let (client, server) = (late(&long(CLIENT, length), None), late(&long(SERVER, MANY), None));
        assert_eq!(sentence(&client, &server).is_some(), tells, "{length}");
    }
}

#[test]
fn what_began_here_is_told_at_once() {
    let begun = |bytes: &[u8]| MemorySource::new(bytes).with_end(None, Marks::SYN);
    let (client, server) = (b"USER a\r\n".as_slice(), b"+OK ready\r\n".as_slice());
    assert_eq!(sentence(&begun(client), &begun(server)).as_deref(), Some("POP3 session"));
    // Where the beginning of one of both is missing, it is waited.
    let told = |ended| {
        let client = MemorySource::new([b"USER\r\n", client].concat()).with_gap(0, 6, GapKind::Missing);
        sentence(&client.with_end(ended, Marks::SYN), &MemorySource::new(server).with_end(ended, Marks::SYN))
    };
    assert_eq!(told(None), None);
    assert_eq!(told(Some(Reason::Fin)).as_deref(), Some("POP3 session"));
}

/// The lines of a mail, and what its server says; a request of HTTP is quoted in it.
const MAIL: [&[u8]; 2] = [
    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n.\r\nQUIT\r\n",
    b"220 s ESMTP\r\n250 s\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 ok\r\n221 bye\r\n",
];

/// The lines of a mail in which nothing is quoted.
const MAIL_ALONE: &[u8] = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n";

/// Messages and places of what is found when so much of both streams came, of a connection picked up in the middle.
fn places(client: &[u8], server: &[u8], ended: Option<Reason>) -> Option<Vec<(u32, u32, u64)>> {
    let [client, server] = [client, server].map(|bytes| MemorySource::new(bytes).with_end(ended, Marks::MIDSTREAM));
    let messages = crate::messages(&client, &server, &Limits::default());
    let (which, found) = crate::inside(&messages, [&client, &server], &Limits::default())?;
    let [Some(which), _] = which else { return Some(Vec::new()) };
    let [parts, _] = found.parts;
    Some(parts.iter().map(|part| (which.0, part.number, part.begins)).collect())
}

#[test]
fn what_begins_behind_an_opening_that_was_captured_is_told_at_once() {
    let connect = [&b"CONNECT d:25 HTTP/1.1\r\nHost: d\r\n\r\n"[..], b"HTTP/1.1 200 Connected\r\n\r\n"];
    let asked = [
        &b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nCONNECT d:25 HTTP/1.1\r\nHost: d\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 Connected\r\n\r\n",
    ];
    let socks = [&b"\x05\x01\0\x05\x01\0\x01\x0a\0\0\x01\0\x19"[..], b"\x05\0\x05\0\0\x01\0\0\0\0\0\0"];
    for (name, opening) in [("CONNECT", connect), ("another request and CONNECT", asked), ("SOCKS", socks)] {
        let [client, server] = [0, 1].map(|n| [opening[n], MAIL[n]].concat());
        let all = places(&client, &server, Some(Reason::Fin)).unwrap();
        assert_eq!(all.len(), 2, "{name}: the mail and what is in it");
        assert_eq!(places(&client, &server, None).as_ref(), Some(&all), "{name}");
        // However much of it has come, nothing is found that more takes back.
        let mut told = 0;
        for (to_server, to_client) in
            (0..=client.len()).flat_map(|client| (0..=server.len()).map(move |server| (client, server)))
        {
            let (client, server) = (client.get(..to_server).unwrap(), server.get(..to_client).unwrap());
            let found = places(client, server, None).unwrap_or_default();
            assert!(all.starts_with(&found), "{name}, {to_server}, {to_client}: {found:?}");
            told += usize::from(!found.is_empty());
            if name != "SOCKS" {
                continue;
            }
            // Nor is HTTP found in the middle of what goes through.
            let sources = [client, server].map(|bytes| MemorySource::new(bytes).with_end(None, Marks::MIDSTREAM));
            let messages = crate::messages(&sources[0], &sources[1], &Limits::default());
            let mut streams = messages.of(Direction::ToServer).iter().map(|message| &message.kind);
            assert!(streams.all(|kind| *kind == Kind::Stream), "{to_server}, {to_client}");
        }
        assert!(told > 500, "{name}: {told}");
    }
}

#[test]
fn what_begins_behind_an_opening_of_which_something_is_missing_is_waited_for() {
    // The first answer is one to a request that was not captured, which shows when there is one more.
    let client = [&b"CONNECT d:25 HTTP/1.1\r\nHost: d\r\n\r\n"[..], MAIL_ALONE].concat();
    let [before, answer] = [&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], b"HTTP/1.1 200 Connected\r\n\r\n"];
    let server = [before, answer, MAIL[1]].concat();
    assert_eq!(places(&client, &server, None), None);
    assert_eq!(places(&client, &server, Some(Reason::Fin)).unwrap_or_default().len(), 2);
    // A server that did not do it says nothing of what the first bytes are.
    let client = [&b"\x05\x01\0\x05\x01\0\x01\x0a\0\0\x01\0\x19"[..], b"EHLO c\r\n"].concat();
    for server in [&b""[..], b"\x05\0\x05\0\0\x01", b"\x05\0\x05\x01\0\x01\0\0\0\0\0\0"] {
        assert_eq!(places(&client, server, None), None, "{server:?}");
    }
}

/// A client's mail is told when the server has begun, and is none of HTTP/1: else a request may be found in the client's stream later.
#[test]
fn what_http_may_take_back_is_waited_for() {
    let mails = |opening: [&[u8]; 2], server: &[u8], ended, marks| {
        let client = MemorySource::new([opening[0], MAIL_ALONE].concat()).with_end(ended, Marks::SYN);
        let server = MemorySource::new([opening[1], server].concat()).with_end(ended, marks);
        let messages = crate::messages(&client, &server, &Limits::default());
        let found = crate::inside(&messages, [&client, &server], &Limits::default());
        found.map_or(0, |(_, found)| found.parts.iter().flatten().filter(|part| part.protocol == "smtp").count())
    };
    let socks = [&b"\x05\x01\0\x05\x01\0\x01\x0a\0\0\x01\0\x19"[..], b"\x05\0\x05\0\0\x01\0\0\0\0\0\0"];
    for opening in [socks, [b"", b""]] {
        for server in [&b""[..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            assert_eq!(mails(opening, server, None, Marks::SYN), 0, "{server:?}");
            assert_eq!(mails(opening, server, Some(Reason::Fin), Marks::SYN), 2, "{server:?}");
        }
        assert_eq!(mails(opening, MAIL[1], None, Marks::SYN), 2);
    }
    // No frame of the server was seen, and none will be.
    assert_eq!(mails([b"", b""], b"", None, Marks::default()), 2);
}

/// What a client and a server may send, in any order: HTTP/1, what may come behind it, and other protocols.
const CLIENT_SENDS: [&[u8]; 10] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"\x16\x03\x01\0\x05\x01\0\0\x01\0",
    b"USER a\r\nPASS b\r\nRETR 1\r\nQUIT\r\n",
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /s HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"CONNECT d:25 HTTP/1.1\r\nHost: d\r\n\r\n",
    b"\x81\x82\0\0\0\0hi",
    b"\x81\x85\0\0\0\0GET /",
    b"\r\n",
    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\n",
];
const SERVER_SENDS: [&[u8]; 10] = [
    b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0",
    b"\x16\x03\x01\0\x05\x02\0\0\x01\0",
    b"+OK a\r\n+OK b\r\n+OK c\r\nSubject: x\r\n\r\ny\r\n.\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 200 Connected\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\x81\x02ho",
    b"\r\n",
    b"220 s ESMTP\r\n250 s\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 ok\r\n",
];

/// Where the parts are found, of each stream: the message, the number, the place.
fn all_places(sources: &[MemorySource; 2]) -> [Vec<(u32, u32, u64)>; 2] {
    let messages = crate::messages(&sources[0], &sources[1], &Limits::default());
    let found = crate::inside(&messages, [&sources[0], &sources[1]], &Limits::default());
    let (which, found) = found.unwrap_or_default();
    Direction::BOTH.map(|direction| {
        let which = direction.of::<Option<crate::MessageIndex>>(&which).map_or(0, |which| which.0);
        direction.of::<Vec<crate::Part>>(&found.parts).iter().map(|part| (which, part.number, part.begins)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is spoken, in a tunnel or not, and whatever is missing: what was named while the streams were open keeps its name.
    #[test]
    fn what_was_named_keeps_its_name(
        sent in [vec(0..10_usize, 0..6), vec(0..10_usize, 0..6)],
        midstream in [any::<bool>(), any::<bool>()],
        holes in vec((0..2_usize, 0..200_u64, 1..90_u64), 0..3),
        parts in [0..=32_usize, 0..=32_usize],
    ) {
        let sources = |parts: [usize; 2], ended: Option<Reason>| {
            [0, 1].map(|n| {
                let units = if n == 0 { &CLIENT_SENDS } else { &SERVER_SENDS };
                let mut bytes: Vec<u8> = sent[n].iter().flat_map(|unit| units[*unit].iter().copied()).collect();
                bytes.truncate(bytes.len() * parts[n] / 32);
                let marks = if midstream[n] { Marks::MIDSTREAM } else { Marks::SYN };
                let source = MemorySource::new(bytes).with_end(ended, marks);
                holes.iter().filter(|(of, ..)| *of == n).fold(source, |source, (_, at, length)| {
                    source.with_gap(*at, *length, GapKind::Missing)
                })
            })
        };
        let early = all_places(&sources(parts, None));
        for ended in [None, Some(Reason::Fin)] {
            let all = all_places(&sources([32; 2], ended));
            for (early, all) in early.iter().zip(&all) {
                prop_assert!(all.starts_with(early), "{early:?} {all:?} {:?}", sources(parts, None));
            }
        }
    }
}
