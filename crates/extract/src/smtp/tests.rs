//! Sessions, and what is found in them.

use proptest::prelude::*;
use streamdb_types::{GapKind, Marks, Reason};

use super::*;
use crate::body::{Decode, Piece, part_body};
use crate::limits::BodyLimits;
use crate::memory::MemorySource;
use crate::message::Incomplete;
use crate::part::{Part, PartKind};
use crate::window::Stop;

const GREETING: &str = "220 mx.example.com ESMTP\r\n";
const OPEN: &str = "EHLO pc.example.org\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n";
const OPENED: &str = "220 mx.example.com ESMTP\r\n250-hello\r\n250 SIZE\r\n250 ok\r\n250 ok\r\n354 go\r\n";

fn look(client: &MemorySource, server: &MemorySource) -> Option<Found> {
    find([client, server], &Limits::default())
}

fn in_both(client: impl Into<Vec<u8>>, server: impl Into<Vec<u8>>) -> Found {
    look(&MemorySource::new(client), &MemorySource::new(server)).expect("it is a session")
}

fn parts(found: &Found) -> &[Part] {
    &found.parts[0]
}

/// The bytes of a part, holes as question marks, and whether they are all.
fn bytes(part: &Part, source: &MemorySource, decode: Decode) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut walk = |take: &mut dyn FnMut(u64, Piece<'_>) -> std::ops::ControlFlow<()>| {
        let mut take = crate::part::counted(take);
        let mut window = Window::new(source, 7);
        let mut at = StreamOffset(0);
        loop {
            let view = window.look(at, 1);
            let (length, flow) = match (view.bytes, view.stop) {
                ([], Some(Stop::Hole(gap))) => (gap.length, take(Piece::Hole(gap))),
                ([], _) => return,
                (bytes, _) => (bytes.len() as u64, take(Piece::Bytes(bytes))),
            };
            if flow.is_break() {
                return;
            }
            at = at.add(length);
        }
    };
    let outcome = part_body(part, decode, &BodyLimits::default(), None, &mut walk, &mut |piece| {
        match piece {
            Piece::Bytes(bytes) => all.extend_from_slice(bytes),
            Piece::Hole(gap) => all.extend(std::iter::repeat_n(b'?', gap.length as usize)),
        }
        std::ops::ControlFlow::Continue(())
    });
    (all, outcome.complete)
}

#[test]
fn a_mail_is_a_file_with_its_parts() {
    let mail = "Message-ID: <1@pc>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n..dots\r\n--b\r\n\
        Content-Type: application/x; name=x.exe\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQ\r\n--b--\r\n";
    let client = format!("{OPEN}{mail}.\r\nQUIT\r\n");
    let server = format!("{OPENED}250 queued\r\n221 bye\r\n");
    let source = MemorySource::new(client.clone());
    let found = in_both(client, server);
    assert_eq!(found.sentences[0].as_deref(), Some("SMTP session, client pc.example.org"));
    assert_eq!(found.sentences[1].as_deref(), Some("SMTP session, mx.example.com ESMTP"));
    let [file, text, exe] = parts(&found) else { panic!("{found:?}") };
    assert_eq!([file.number, text.number, exe.number], [1, 2, 3]);
    assert_eq!([file.kind, text.kind, exe.kind], [PartKind::File, PartKind::Part, PartKind::Part]);
    for part in [file, text, exe] {
        assert_eq!((part.protocol, part.incomplete, part.status), ("smtp", None, Some(250)));
        assert_eq!(part.target.as_deref(), Some(&b"mailto:b@y?from=a@x"[..]));
        assert_eq!(part.host.as_deref(), Some(&b"mx.example.com"[..]));
        assert_eq!(part.method.as_deref(), Some(&b"DATA"[..]));
    }
    assert_eq!(file.filename.as_deref(), Some("1@pc.eml"));
    assert_eq!(file.declared_type.as_deref(), Some(&b"message/rfc822"[..]));
    assert_eq!(bytes(file, &source, Decode::Decoded), (mail.replace("..dots", ".dots").into_bytes(), true));
    assert_eq!(bytes(text, &source, Decode::Decoded), (b".dots".to_vec(), true));
    assert_eq!(exe.filename.as_deref(), Some("x.exe"));
    assert_eq!(bytes(exe, &source, Decode::Decoded), (b"MZ\x90".to_vec(), true));
}

#[test]
fn chunks_are_put_together() {
    let mail =
        "Message-ID: <2@pc>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n.\r\n..one\r\n--b--\r\n";
    let (a, b) = mail.split_at(70);
    let open = "EHLO pc\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<no@y>\r\nRCPT TO:<c%d@y>\r\n";
    let client = format!("{open}BDAT {}\r\n{a}BDAT 0\r\nBDAT {} LAST\r\n{b}QUIT\r\n", a.len(), b.len());
    let server =
        format!("{GREETING}250 hi\r\n250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n250 a\r\n250 0\r\n250 b\r\n221 bye\r\n");
    let source = MemorySource::new(client.clone());
    let found = in_both(client, server);
    let [file, text] = parts(&found) else { panic!("{found:?}") };
    assert_eq!(file.content.len(), 2);
    assert_eq!(file.target.as_deref(), Some(&b"mailto:b@y,c%25d@y?from=a@x"[..]));
    assert_eq!((file.method.as_deref(), file.status), (Some(&b"BDAT"[..]), Some(250)));
    assert_eq!(bytes(file, &source, Decode::Decoded), (mail.as_bytes().to_vec(), true));
    assert_eq!(bytes(text, &source, Decode::Decoded), (b".\r\n..one".to_vec(), true));
}

#[test]
fn what_the_server_says_is_told() {
    let of = |client: &str, server: &str| {
        let found = in_both(client, server);
        parts(&found)
            .iter()
            .filter(|part| part.kind == PartKind::File)
            .map(|part| (part.status, part.incomplete))
            .collect::<Vec<_>>()
    };
    let mail = format!("{OPEN}A: b\r\n\r\nx\r\n.\r\nQUIT\r\n");
    assert_eq!(of(&mail, &format!("{OPENED}550 spam\r\n221 bye\r\n")), [(Some(550), None)]);
    assert_eq!(of(&mail, OPENED), [(None, None)]);
    assert_eq!(of(&mail, ""), [(None, None)]);
    let refused = format!("{OPEN}RSET\r\nMAIL FROM:<a@x>\r\nQUIT\r\n");
    let no = format!("{GREETING}250 hi\r\n250 ok\r\n550 no\r\n503 no\r\n250 ok\r\n250 ok\r\n221 bye\r\n");
    assert_eq!(of(&refused, &no), []);
    assert_eq!(of(&refused, ""), []);
    // It says that it is a command, and is none.
    let sly = format!("{OPEN}RSET\r\nx\r\n.\r\nQUIT\r\n");
    assert_eq!(of(&sly, &format!("{OPENED}250 queued\r\n221 bye\r\n")), [(Some(250), None)]);
    // A login whose lines look like commands.
    let login = "EHLO pc\r\nAUTH LOGIN\r\nDATA\r\nQUIT\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nx\r\n.\r\n";
    let server =
        format!("{GREETING}250 hi\r\n334 x\r\n334 y\r\n235 in\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n");
    assert_eq!(of(login, &server), [(Some(250), None)]);
    let lmtp = "LHLO pc\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n";
    let server = "220 mx LMTP\r\n250 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n552 full\r\n250 ok\r\n221 bye\r\n";
    assert_eq!(of(lmtp, server), [(Some(250), None)]);
    assert_eq!(in_both(lmtp, server).sentences[1].as_deref(), Some("LMTP session, mx LMTP"));
}

#[test]
fn tls_ends_what_can_be_read() {
    let client = "EHLO pc\r\nSTARTTLS\r\n\x16\x03\x01MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nx\r\n.\r\n";
    for server in [&format!("{GREETING}250 hi\r\n220 go\r\n\x16\x03")[..], ""] {
        let found = in_both(client, server);
        assert_eq!(found.sentences[0].as_deref(), Some("SMTP session, client pc, STARTTLS"));
        assert!(parts(&found).is_empty());
    }
}

#[test]
fn tls_that_was_taken_off_goes_on() {
    let client = format!("EHLO pc\r\nSTARTTLS\r\n{OPEN}x\r\n.\r\nQUIT\r\n");
    let opened = OPENED.split_once("\r\n").unwrap().1;
    let found = in_both(client, format!("{GREETING}250 hi\r\n220 go\r\n{opened}250 queued\r\n221 bye\r\n"));
    assert_eq!(parts(&found).iter().map(|part| part.status).collect::<Vec<_>>(), [Some(250), Some(250)]);
}

#[test]
fn other_protocols_are_left_alone() {
    let none = |client: &str, server: &str| {
        assert_eq!(look(&MemorySource::new(client), &MemorySource::new(server)), None, "{client}");
        let midstream = MemorySource::new(client).with_end(Some(Reason::Fin), Marks::MIDSTREAM);
        assert_eq!(look(&midstream, &MemorySource::new(server)), None, "{client}");
    };
    none("USER me\r\nPASS x\r\n", "220 mail.example.com FTP server\r\n331 go\r\n");
    none("USER me\r\n", "220 SMTP and FTP server\r\n");
    none("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n");
    none("\x16\x03\x01\x02\0", "220 x ESMTP\r\n");
    none("", "");
    none("EHLO x\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n");
    let only = look(&MemorySource::new(""), &MemorySource::new("220 x.y ESMTP\r\n")).unwrap();
    assert_eq!(only.sentences, [None, Some("SMTP session, x.y ESMTP".to_owned())]);
    let swapped = look(&MemorySource::new(OPENED), &MemorySource::new(format!("{OPEN}x\r\n.\r\n"))).unwrap();
    assert_eq!((swapped.parts[0].len(), swapped.parts[1].len()), (0, 2));
}

#[test]
fn a_beginning_that_is_not_there() {
    let client = "tail of a mail\r\n.\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let client = MemorySource::new(client).with_end(Some(Reason::Fin), Marks::MIDSTREAM.with(Marks::FIN));
    let server = MemorySource::new("250 queued\r\n250 ok\r\n").with_end(Some(Reason::Fin), Marks::MIDSTREAM);
    let found = look(&client, &server).unwrap();
    let [tail, mail, text] = parts(&found) else { panic!("{found:?}") };
    assert_eq!(tail.incomplete, Some(Incomplete::Gap(GapKind::Missing)));
    assert_eq!(bytes(tail, &client, Decode::Decoded).0, b"tail of a mail\r\n");
    // All of it may be what a chunk quotes.
    assert_eq!((mail.incomplete, text.incomplete), (Some(Incomplete::Unsure), Some(Incomplete::Unsure)));
}

#[test]
fn the_server_tells_how_many_mails_there_were() {
    let mail = "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\n";
    let client = MemorySource::new(format!("EHLO pc\r\n{mail}{mail}QUIT\r\n"));
    let answers = "250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n";
    let server = format!("{GREETING}250 hi\r\n{answers}{answers}221 bye\r\n");
    let holed = client.with_gap(12, 38, GapKind::Missing);
    let why = |server: &str| {
        let found = look(&holed, &MemorySource::new(server)).unwrap();
        files(&found).iter().map(|file| file.incomplete).collect::<Vec<_>>()
    };
    assert_eq!(why(&server), [Some(Incomplete::Gap(GapKind::Missing)), None]);
    assert_eq!(
        why(&server.replacen("354 go", "250 ok", 1)),
        [Some(Incomplete::Gap(GapKind::Missing)), Some(Incomplete::Unsure)]
    );
    assert_eq!(why(""), [Some(Incomplete::Gap(GapKind::Missing)), Some(Incomplete::Unsure)]);
}

#[test]
fn what_a_mail_quotes_is_not_sure() {
    // The hole hides that a mail began.
    let quoted = "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let client = MemorySource::new(format!("{OPEN}said:\r\n{quoted}"));
    let hidden = OPEN.len() as u64 - 6;
    let found = look(&client.with_gap(hidden, 10, GapKind::Missing), &MemorySource::new("")).unwrap();
    assert!(parts(&found).iter().all(|part| part.incomplete.is_some()), "{found:?}");
}

#[test]
fn lines_of_lf_alone() {
    let client = "EHLO pc\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nDATA\nA: b\n\nx\n.\nQUIT\n";
    let found = in_both(client, "");
    assert_eq!(parts(&found)[0].incomplete, None);
    assert_eq!(parts(&found)[0].len(), 8);
    let found = in_both(client.replace("x\n", "..x\n"), "");
    assert_eq!(parts(&found)[0].incomplete, Some(Incomplete::Malformed));
    // A dot after LF alone ends nothing where lines end with CRLF.
    let found = in_both(format!("{OPEN}A: b\r\n\r\nx\n.\nMAIL FROM:<s@m>\r\n.\r\nQUIT\r\n"), OPENED);
    assert_eq!(parts(&found).len(), 2);
}

/// One mail of a session that is built: how it is sent, and what it says.
#[derive(Clone)]
struct Sent {
    text: Vec<u8>,
    chunk: Option<usize>,
    accepted: bool,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in chunks of {:?}, {}", self.text.escape_ascii(), self.chunk, self.accepted)
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let word = prop_oneof![
        Just("\r\n"),
        Just("."),
        Just("\r\n.\r\n"),
        Just("\n"),
        Just("\r"),
        Just("--b\r\n"),
        Just("QUIT\r\n"),
        Just("x"),
        Just("MAIL FROM:<q@q>\r\nRCPT TO:<q@q>\r\nDATA\r\n"),
        Just("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"),
    ];
    (prop::collection::vec(word, 0..10), prop::option::of(1usize..40), any::<bool>()).prop_map(
        |(words, chunk, accepted)| Sent {
            text: format!("Message-ID: <0@x>\r\n{}\r\n", words.concat()).into_bytes(),
            chunk,
            accepted,
        },
    )
}

/// Mails of one session: a client sends all of them in the same way.
fn session() -> impl Strategy<Value = Vec<Sent>> {
    (prop::collection::vec(sent(), 1..4), any::<bool>()).prop_map(|(mut mails, data)| {
        for mail in &mut mails {
            mail.chunk = if data { None } else { mail.chunk.or(Some(20)) };
        }
        mails
    })
}

/// A session, what the server says, and where in the client's stream each mail lies, from its command to the end of it.
fn built(mails: &[Sent]) -> (Vec<u8>, Vec<u8>, Vec<std::ops::Range<usize>>) {
    let (mut client, mut server, mut places) =
        (b"EHLO pc\r\n".to_vec(), format!("{GREETING}250 hi\r\n").into_bytes(), Vec::new());
    for mail in mails {
        client.extend(b"MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n");
        server.extend(b"250 ok\r\n250 ok\r\n");
        let start = client.len();
        match mail.chunk {
            None => {
                client.extend(b"DATA\r\n");
                server.extend(b"354 go\r\n");
                let mut text = String::from_utf8(mail.text.clone()).unwrap();
                text = text
                    .split("\r\n")
                    .map(|line| if line.starts_with('.') { format!(".{line}") } else { line.into() })
                    .collect::<Vec<_>>()
                    .join("\r\n");
                client.extend(text.bytes());
                client.extend(b".\r\n");
            }
            Some(size) => {
                let chunks: Vec<&[u8]> = mail.text.chunks(size).collect();
                for (n, chunk) in chunks.iter().enumerate() {
                    let last = if n + 1 == chunks.len() {
                        " LAST"
                    } else {
                        server.extend(b"250 ok\r\n");
                        ""
                    };
                    client.extend(format!("BDAT {}{last}\r\n", chunk.len()).bytes());
                    client.extend(*chunk);
                }
            }
        }
        server.extend(if mail.accepted { &b"250 queued\r\n"[..] } else { b"554 no\r\n" });
        places.push(start..client.len());
    }
    client.extend(b"QUIT\r\n");
    server.extend(b"221 bye\r\n");
    (client, server, places)
}

fn files(found: &Found) -> Vec<&Part> {
    parts(found).iter().filter(|part| part.kind == PartKind::File).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// All is found in what is whole, with or without the server's side.
    #[test]
    fn what_was_sent_is_found(mails in prop::collection::vec(sent(), 0..4), reads in 1usize..40, alone: bool) {
        let (client, server, _) = built(&mails);
        let source = MemorySource::new(client);
        let server = if alone { MemorySource::new("") } else { MemorySource::new(server) };
        let found = look(&source, &server).unwrap();
        prop_assert_eq!(&look(&source.clone().with_reads_of(reads), &server.clone().with_reads_of(reads)).unwrap(), &found);
        let all = files(&found);
        prop_assert_eq!(all.len(), mails.len());
        for (file, mail) in all.iter().zip(&mails) {
            prop_assert_eq!(bytes(file, &source, Decode::Decoded), (mail.text.clone(), true));
            prop_assert_eq!(file.status, (!alone).then_some(if mail.accepted { 250 } else { 554 }));
        }
        for (n, part) in parts(&found).iter().enumerate() {
            prop_assert_eq!(part.number as usize, n + 1);
        }
        prop_assert!(parts(&found).is_sorted_by_key(|part| part.begins));
    }

    /// What was found while the stream was shorter keeps its number, and what was whole stays whole.
    #[test]
    fn numbers_stay(mails in prop::collection::vec(sent(), 0..3), cut in 0usize..600, answered in 0usize..300) {
        let (client, server, _) = built(&mails);
        let open = |bytes: &[u8], end: usize| MemorySource::new(&bytes[..end.min(bytes.len())]).with_end(None, Marks::SYN);
        let Some(early) = look(&open(&client, cut), &open(&server, answered.max(1))) else { return Ok(()) };
        let late = look(&MemorySource::new(client), &MemorySource::new(server)).unwrap();
        for part in parts(&early) {
            let same = &parts(&late)[part.number as usize - 1];
            prop_assert_eq!((part.begins, part.kind), (same.begins, same.kind));
            if part.incomplete.is_none() {
                prop_assert_eq!((same.incomplete, &same.content), (None, &part.content));
            }
        }
    }

    /// Holes make nothing whole that is not, and take nothing away from mails that lie far enough from them.
    #[test]
    fn holes_are_told(
        mails in session(),
        hole in (0usize..500, 1usize..60),
        server_hole: bool,
        cut in prop_oneof![Just(usize::MAX), 0usize..500],
    ) {
        let (client, server, places) = built(&mails);
        let length = cut.min(client.len());
        let source = MemorySource::new(&client[..length]).with_gap(hole.0 as u64, hole.1 as u64, GapKind::Missing);
        let mut server = MemorySource::new(server);
        if server_hole {
            server = server.with_gap(30, 20, GapKind::Missing);
        }
        let Some(found) = look(&source, &server) else { return Ok(()) };
        for file in files(&found) {
            if file.incomplete.is_none() {
                let (text, whole) = bytes(file, &source, Decode::Decoded);
                prop_assert!(whole);
                let n = places.iter().position(|place| place.contains(&(file.begins as usize)));
                prop_assert!(n.is_some_and(|n| mails[n].text == text), "{:?}\n{}", file, client.escape_ascii());
            }
        }
        for (n, place) in places.iter().enumerate() {
            // What lies before the hole is whole.
            if place.end <= hole.0.min(length) {
                prop_assert!(files(&found)[n].incomplete.is_none(), "{found:?}");
            }
        }
    }
}
