//! Sessions with known mails, with and without holes.

use std::ops::ControlFlow;

use proptest::prelude::*;
use streamdb_types::Reason;

use super::*;
use crate::body::{Decode, Piece, part_body};
use crate::limits::BodyLimits;
use crate::memory::MemorySource;
use crate::part::PartKind;
use crate::source::Read;

fn look(client: &MemorySource, server: &MemorySource) -> Option<Found> {
    find([client, server], &Limits::default())
}

/// The bytes of a part, holes as question marks, and whether they are all.
fn bytes(part: &Part, source: &MemorySource) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut outer = |out: &mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>| {
        let mut out = crate::part::counted(out);
        let (mut at, mut buffer) = (StreamOffset(0), [0; 64]);
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
    let outcome = part_body(part, Decode::Decoded, &BodyLimits::default(), None, &mut outer, &mut |piece| {
        match piece {
            Piece::Bytes(piece) => all.extend_from_slice(piece),
            Piece::Hole(gap) => all.extend(vec![b'?'; gap.length as usize]),
        }
        ControlFlow::Continue(())
    });
    (all, outcome.complete)
}

const MAIL: &str = "Message-ID: <1@x.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n.one\r\n--b\r\n\
    Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n--b--\r\n";

fn dotted(mail: &str) -> String {
    format!("{}.\r\n", mail.replace("\r\n.", "\r\n.."))
}

#[test]
fn a_session() {
    let client = MemorySource::new(
        *b"CAPA\r\nUSER ann lee\r\nPASS x\r\nSTAT\r\nLIST\r\nUIDL 1\r\nRETR 1\r\nDELE 1\r\nTOP 2 0\r\nRETR 9\r\nQUIT\r\n",
    );
    let server = MemorySource::new(format!(
        "+OK hi <1.2@pop.example>\r\n+OK\r\nTOP\r\nUIDL\r\n.\r\n+OK\r\n+OK in\r\n+OK 2 300\r\n+OK\r\n1 200\r\n2 100\r\n.\r\n+OK 1 x\r\n\
         +OK 200 octets\r\n{}+OK gone\r\n+OK\r\nSubject: two\r\n\r\n.\r\n-ERR none\r\n+OK bye\r\n",
        dotted(MAIL)
    ));
    let found = look(&client, &server).unwrap();
    assert_eq!(found.sentences[0].as_deref(), Some("POP3 session, user ann lee, 2 mails fetched"));
    assert_eq!(
        found,
        find([&server, &client], &Limits::default())
            .map(|found| Found {
                sentences: found.sentences,
                parts: {
                    let [a, b] = found.parts;
                    [b, a]
                },
                transfers: Vec::new(),
            })
            .unwrap()
    );
    let said: Vec<_> = found.parts[1]
        .iter()
        .map(|part| (part.kind, part.filename.clone().unwrap_or_default(), bytes(part, &server)))
        .collect();
    assert_eq!(
        said,
        [
            (PartKind::File, "1@x.example.eml".to_owned(), (MAIL.into(), true)),
            (PartKind::Part, String::new(), (b".one".to_vec(), true)),
            (PartKind::Part, "a.zip".to_owned(), (b"PK\x03\x04".to_vec(), true)),
            // The head alone, as TOP asks for it, is not the mail.
            (PartKind::File, "4.eml".to_owned(), (b"Subject: two\r\n\r\n".to_vec(), false)),
            (PartKind::Part, String::new(), (Vec::new(), false)),
        ]
    );
    let (first, last) = (&found.parts[1][0], &found.parts[1][3]);
    assert_eq!(first.target.as_deref(), Some(&b"pop://ann%20lee@pop.example/1"[..]));
    assert_eq!((first.method.as_deref(), last.method.as_deref()), (Some(&b"RETR"[..]), Some(&b"TOP"[..])));
    assert_eq!(first.host.as_deref(), Some(&b"pop.example"[..]));
}

#[test]
fn what_a_client_says_in_between_is_no_command() {
    let client = MemorySource::new(*b"AUTH LOGIN\r\nYW5u\r\ncHc=\r\nRETR 1\r\nRETR 1\r\nQUIT\r\n");
    let server = MemorySource::new(*b"+OK\r\n+ VXNlcg==\r\n+ UGFzcw==\r\n+OK in\r\n+OK\r\nA: b\r\n.\r\n+OK\r\n");
    let found = look(&client, &server).unwrap();
    assert_eq!(bytes(&found.parts[1][0], &server), (b"A: b\r\n".to_vec(), true));
    assert_eq!(found.parts[1][0].method.as_deref(), Some(&b"RETR"[..]));
}

#[test]
fn ends_and_holes() {
    let client = MemorySource::new(*b"USER a\r\nPASS b\r\nRETR 1\r\nRETR 2\r\nQUIT\r\n");
    let text = "+OK\r\n+OK\r\n+OK\r\n+OK 1\r\nA: one, and more\r\n.\r\n+OK 2\r\nB: two, and more\r\n.\r\n+OK\r\n";
    let two = text.find("B:").unwrap() as u64;
    let one = text.find("A:").unwrap() as u64;
    let whole = |server: &MemorySource| -> Vec<(Vec<u8>, Option<Incomplete>)> {
        let found = look(&client, server).unwrap();
        let files = found.parts[1].iter().filter(|part| part.kind == PartKind::File);
        files.map(|part| (bytes(part, server).0, part.incomplete)).collect()
    };
    let missing = Some(Incomplete::Gap(GapKind::Missing));
    let (a, b) = (b"A: one, and more\r\n".to_vec(), b"B: two, and more\r\n".to_vec());
    assert_eq!(whole(&MemorySource::new(text)), [(a.clone(), None), (b.clone(), None)]);
    // In the first mail: the second is whole all the same.
    let holed = MemorySource::new(text).with_gap(one + 3, 2, GapKind::Missing);
    assert_eq!(whole(&holed), [(b"A: ??e, and more\r\n".to_vec(), missing), (b.clone(), None)]);
    // Before it: what ends with the first dot alone may be more than a mail.
    let holed = MemorySource::new(text).with_gap(7, 2, GapKind::Missing);
    assert_eq!(whole(&holed)[1..], [(b.clone(), None)]);
    assert_eq!(whole(&holed)[0].1, missing);
    // Over the end of the first and the beginning of the second, they are one.
    let holed = MemorySource::new(text).with_gap(one + 10, two - one - 8, GapKind::Missing);
    assert_eq!(whole(&holed).len(), 1);
    assert_eq!(whole(&holed)[0].1, missing);
    // Cut in the second.
    let cut = MemorySource::new(&text.as_bytes()[..two as usize + 4]);
    assert_eq!(
        whole(&cut.clone().with_end(Some(Reason::Fin), Marks::FIN))[1],
        (b"B: t".to_vec(), Some(Incomplete::ClosedEarly))
    );
    assert_eq!(whole(&cut.with_end(None, Marks::SYN))[1].1, Some(Incomplete::Open));
    // From the middle of the first on.
    let late = MemorySource::new(&text.as_bytes()[one as usize + 4..])
        .with_end(Some(Reason::Fin), Marks::MIDSTREAM.with(Marks::FIN));
    assert_eq!(whole(&late), [(a[4..].to_vec(), missing), (b, None)]);
}

/// The rest of a stream begins where its bytes do, not where a hole ends so far.
#[test]
fn the_rest_behind_a_hole_begins_when_it_is_there() {
    let parts = |length: usize, hole: u64| {
        let server = MemorySource::new([b"+OK\r\n".as_slice(), &vec![b'x'; length]].concat());
        let server = server.with_gap(10, hole, GapKind::SnapLength).with_end(None, Marks::SYN);
        let client = MemorySource::new(b"STAT\r\n").with_end(None, Marks::SYN);
        let limits = Limits { messages: 1, ..Limits::default() };
        find([&client, &server], &limits).unwrap().parts[1].iter().map(|part| part.begins).collect::<Vec<u64>>()
    };
    assert_eq!(parts(15, 10), [] as [u64; 0]);
    assert_eq!(parts(16, 11), [] as [u64; 0]);
    assert_eq!(parts(17, 11), [21]);
}

#[test]
fn what_is_no_session() {
    let said = |client: &[u8], server: &[u8]| look(&MemorySource::new(client), &MemorySource::new(server)).is_some();
    assert!(said(b"QUIT\r\n", b"+OK ready\r\n"));
    assert!(!said(b"QUIT\r\n", b"+PONG\r\n"));
    assert!(!said(b"GET / HTTP/1.1\r\n\r\n", b"+OK\r\n"));
    assert!(!said(b"*1\r\n$4\r\nPING\r\n", b"+OK\r\n"));
    assert!(!said(b"USER a\r\nPASS b\r\nQUIT\r\n", b""));
}

/// Once it is said who is the server, that stays.
#[test]
fn who_is_the_server_is_said_when_it_is_known() {
    let both = "x\r\nUSER a\r\nPASS b\r\nSTAT\r\n";
    let late = |bytes: &str| MemorySource::new(bytes.as_bytes()).with_end(Some(Reason::Fin), Marks::MIDSTREAM);
    let is_server = |client: &MemorySource, server: &MemorySource| look(client, server).is_some();
    // The first whole line of the server tells; of those who both give commands none is one.
    assert!(!is_server(&late(both), &late(both)));
    // No line, and there will be none: it ended, or one is longer than what is looked at.
    for server in ["x\r\n+OK\r\n", "+OK 1", "x\r\nU", &"x".repeat(HEAD_BYTES)] {
        assert!(is_server(&late(both), &late(server)), "{server}");
        assert!(is_server(&late(server), &late(both)), "{server}");
    }
    // The client is silent so far; or will be for ever; or was not seen.
    let greeting = MemorySource::new(b"+OK ready\r\n").with_end(None, Marks::SYN);
    let silent = MemorySource::new(b"");
    assert!(!is_server(&silent.clone().with_end(None, Marks::SYN), &greeting));
    assert!(is_server(&silent.clone().with_end(Some(Reason::Fin), Marks::SYN), &greeting));
    assert!(is_server(&silent, &greeting));
}

/// The slow twin: all answers of a session of which nothing is missing, line by line.
fn slow(commands: &[&str], server: &str) -> Vec<(String, bool)> {
    let mut lines = server.split_inclusive("\r\n").skip(1);
    let mut mails = Vec::new();
    for command in commands {
        let Some(status) = lines.next() else { break };
        if status.starts_with("+OK") && (command.starts_with("RETR") || command.starts_with("TOP")) {
            let body = lines.by_ref().take_while(|line| *line != ".\r\n");
            let mail = body.map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
            mails.push((mail, command.starts_with("RETR")));
        } else if status.starts_with("+OK") && (*command == "LIST" || *command == "CAPA") {
            lines.by_ref().take_while(|line| *line != ".\r\n").for_each(drop);
        }
    }
    mails
}

proptest! {
    #[test]
    fn it_finds_what_its_twin_finds(
        session in prop::collection::vec(
            (prop::sample::select(vec!["RETR 1", "TOP 1 2", "LIST", "CAPA", "DELE 1", "STAT"]), any::<bool>(), "(\\+OK\r\n|\\.?a?: b\r\n|\\.\\.\r\n){0,5}"),
            0..8,
        ),
        hole in prop::option::of((any::<prop::sample::Index>(), 1u64..30)),
        reads in 1usize..40,
    ) {
        let mut server = "+OK\r\n+OK\r\n".to_owned();
        let mut commands = vec!["USER a"];
        for (command, ok, body) in &session {
            commands.push(command);
            server.push_str(if *ok { "+OK\r\n" } else { "-ERR\r\n" });
            if *ok && !matches!(*command, "DELE 1" | "STAT") {
                // No line is a dot alone, as it is doubled; those of lists are no fields.
                let body = if command.len() == 4 { body.replace("a: b", "1 b").replace(": b", "1 b") } else { body.clone() };
                let body = format!("\r\n{body}").replace("\r\n.", "\r\n..");
                server.push_str(body.strip_prefix("\r\n").unwrap());
                server.push_str(".\r\n");
            }
        }
        let asked: String = commands.iter().map(|command| format!("{command}\r\n")).collect();
        let client = MemorySource::new(asked);
        let mut source = MemorySource::new(server.as_bytes()).with_reads_of(reads);
        let wanted = slow(&commands, &server);
        if let Some((at, length)) = hole {
            source = source.with_gap(at.index(server.len()) as u64, length, GapKind::Missing);
        }
        let found = look(&client, &source).map_or_else(Vec::new, |found| found.parts[1].clone());
        let files: Vec<(Vec<u8>, bool)> = found.iter().filter(|part| part.kind == PartKind::File).map(|part| bytes(part, &source)).collect();
        if hole.is_none() {
            let wanted: Vec<(Vec<u8>, bool)> = wanted.into_iter().map(|(mail, whole)| (mail.into_bytes(), whole)).collect();
            prop_assert_eq!(files, wanted);
        } else {
            for (mail, _) in files.into_iter().filter(|(_, whole)| *whole) {
                prop_assert!(wanted.iter().any(|(wanted, _)| wanted.as_bytes() == mail), "{}", mail.escape_ascii());
            }
        }
    }
}
