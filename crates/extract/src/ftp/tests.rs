//! Conversations as they are on the wire, and what is known of the data connections after them.

use streamdb_types::GapKind;

use super::*;
use crate::memory::MemorySource;

fn session(to_server: &str, to_client: &str) -> Found {
    find([&MemorySource::new(to_server), &MemorySource::new(to_client)], &Limits::default()).unwrap()
}

/// Command, path, who waits where, offset, and how it ended.
fn brief(found: &Found) -> Vec<String> {
    let path =
        |path: &Option<Box<[u8]>>| path.as_ref().map_or("?".into(), |path| String::from_utf8_lossy(path).into_owned());
    let brief = |t: &Transfer| {
        format!("{} {} {:?} {:?} {} {:?}", t.command.word(), path(&t.path), t.listener, t.address, t.offset, t.status)
    };
    found.transfers.iter().map(brief).collect()
}

#[test]
fn passive_and_active() {
    let found = session(
        "USER joe\r\nPASS x\r\nPWD\r\nTYPE I\r\nCWD pub\r\nPASV\r\nRETR a.bin\r\nPORT 10,0,0,5,200,10\r\nREST 100\r\nRETR /b\r\n\
         EPSV\r\nLIST -la\r\nEPRT |2|fd00::5|6000|\r\nSTOR ../c.bin\r\nQUIT\r\n",
        "220-Welcome\r\n220 to all\r\n331 Password?\r\n230 In.\r\n257 \"/home/joe\" is it\r\n200 Binary.\r\n250 Ok.\r\n\
         227 Entering Passive Mode (192,0,2,1,4,1).\r\n150 Opening (1234 bytes).\r\n226 Done.\r\n200 Ok.\r\n350 Ok.\r\n\
         150 Opening.\r\n426 Broken.\r\n229 Extended (|||6446|)\r\n150 Here it comes.\r\n226 Done.\r\n200 Ok.\r\n\
         150 Ok.\r\n226 Done.\r\n221 Bye.\r\n",
    );
    assert_eq!(
        brief(&found),
        [
            "RETR /home/joe/pub/a.bin Server Told(192.0.2.1:1025) 0 Some(226)",
            "RETR /b Client Told(10.0.0.5:51210) 100 Some(426)",
            "LIST /home/joe/pub Server OfServer(6446) 0 Some(226)",
            "STOR /home/joe/c.bin Client Told([fd00::5]:6000) 0 Some(226)",
        ]
    );
    let first = &found.transfers[0];
    assert_eq!((first.told_length, first.representation, first.mode), (Some(1234), Representation::Image, b'S'));
    assert_eq!((first.user.as_deref(), first.sender, first.guessed), (Some(&b"joe"[..]), Side::Server, false));
    assert_eq!((first.asked_at.0, first.begun_at.unwrap().0, first.ended_at.unwrap().0), (46, 138, 165));
    assert_eq!(found.sentences[0].as_deref(), Some("FTP session, user joe, 1 file fetched, 1 file stored"));
    assert_eq!(found.sentences[1].as_deref(), Some("FTP session, Welcome, user joe, 1 file fetched, 1 file stored"));
}

#[test]
fn what_is_refused_or_not_announced() {
    let found = session(
        "USER a\r\nRETR none\r\nPASV\r\nRETR missing\r\nRETR there\r\nRETR again\r\nMODE Z\r\nSTRU R\r\nEPSV\r\nSTOU\r\n",
        "220 ftp\r\n230 In.\r\n425 Use PASV first.\r\n227 (1,2,3,4,5,6)\r\n550 No such file.\r\n150 Ok.\r\n226 Ok.\r\n\
         425 Use PASV first.\r\n200 Z.\r\n200 R.\r\n229 (|||99|)\r\n150 FILE: new.1\r\n250 Ok.\r\n",
    );
    assert_eq!(
        brief(&found),
        [
            "RETR missing Server Told(1.2.3.4:1286) 0 Some(550)",
            "RETR there Server Told(1.2.3.4:1286) 0 Some(226)",
            "STOU new.1 Server OfServer(99) 0 Some(250)",
        ]
    );
    let last = found.transfers.last().unwrap();
    assert_eq!((last.mode, last.structure, last.sender), (b'Z', b'R', Side::Client));
}

#[test]
fn status_and_abort_while_it_goes_on() {
    let found = session(
        "USER a\r\nPASV\r\nRETR big\r\nSTAT\r\nABOR\r\nNOOP\r\nPASV\r\nRETR small\r\n",
        "220 ftp\r\n230 In.\r\n227 (1,2,3,4,5,6)\r\n150 Ok.\r\n213 Half of it.\r\n426 Aborted.\r\n226 Abort done.\r\n200 Ok.\r\n\
         227 (1,2,3,4,5,7)\r\n150 Ok.\r\n226 Ok.\r\n",
    );
    assert_eq!(
        brief(&found),
        ["RETR big Server Told(1.2.3.4:1286) 0 Some(426)", "RETR small Server Told(1.2.3.4:1287) 0 Some(226)",]
    );
    assert!(found.transfers.iter().all(|transfer| !transfer.guessed));
}

#[test]
fn it_falls_into_step_again_after_a_loss() {
    let to_server = "USER a\r\nPASS b\r\nNOOP\r\nPASV\r\nRETR one\r\nNOOP\r\nPASV\r\nRETR two\r\n";
    let to_client = "220 ftp\r\n331 Ok.\r\n230 Ok.\r\n200 Ok.\r\n227 (1,2,3,4,5,6)\r\n150 Ok.\r\n226 Ok.\r\n200 Ok.\r\n\
                     227 (1,2,3,4,5,7)\r\n150 Ok.\r\n226 Ok.\r\n";
    let at = to_client.find("200 Ok").unwrap() as u64;
    let holed = MemorySource::new(to_client).with_gap(at, 20, GapKind::Missing);
    let found = find([&MemorySource::new(to_server), &holed], &Limits::default()).unwrap();
    assert_eq!(brief(&found), ["RETR two Server Told(1.2.3.4:1287) 0 Some(226)"]);
    assert!(found.transfers[0].guessed);
    let at = to_server.find("NOOP").unwrap() as u64;
    let holed = MemorySource::new(to_server).with_gap(at, 20, GapKind::Missing);
    let found = find([&holed, &MemorySource::new(to_client)], &Limits::default()).unwrap();
    // Nothing tells which of the two was lost, but that one was.
    assert_eq!(brief(&found), ["RETR two Server Told(1.2.3.4:1286) 0 Some(226)"]);
    assert!(found.transfers[0].guessed);
}

/// Passive mode file by file, and the replies of a whole round lost.
#[test]
fn names_in_replies_bring_it_into_step_again() {
    let (mut to_server, mut to_client) = ("USER a\r\n".to_owned(), "220 ftp\r\n230 In.\r\n".to_owned());
    let mut round = 0..0;
    for n in 0..20 {
        to_server.push_str(&format!("CWD /{n}\r\nPASV\r\nRETR file-{n}.gz\r\n"));
        let replies =
            format!("250 Ok.\r\n227 (1,2,3,4,5,{n})\r\n150 Opening for file-{n}.gz (9 bytes).\r\n226 Ok.\r\n");
        if n == 7 {
            round = to_client.len() as u64..(to_client.len() + replies.len()) as u64;
        }
        to_client.push_str(&replies);
    }
    let holed = MemorySource::new(to_client.clone()).with_gap(round.start, round.end - round.start, GapKind::Missing);
    let found = find([&MemorySource::new(to_server.clone()), &holed], &Limits::default()).unwrap();
    let all = |lost: std::ops::Range<u32>| {
        let line = |n| format!("RETR /{n}/file-{n}.gz Server Told(1.2.3.4:{}) 0 Some(226)", 5 * 256 + n);
        (0..20).filter(|n| !lost.contains(n)).map(line).collect::<Vec<_>>()
    };
    assert_eq!(brief(&found), all(7..8));
    assert!(found.transfers.iter().all(|transfer| transfer.guessed == (transfer.ended_at.unwrap().0 > round.start)));
    // The commands of three rounds.
    let (from, to) = (to_server.find("CWD /7").unwrap() as u64, to_server.find("CWD /10").unwrap() as u64);
    let holed = MemorySource::new(to_server).with_gap(from, to - from, GapKind::Missing);
    let found = find([&holed, &MemorySource::new(to_client)], &Limits::default()).unwrap();
    let mut wanted = all(7..10);
    // The hole may have had the beginning of the line behind it.
    wanted[7] = wanted[7].replace("/10/", "");
    assert_eq!(brief(&found), wanted);
}

#[test]
fn without_replies_the_commands_are_believed() {
    let commands = "USER a\r\nPASS b\r\nTYPE I\r\nCWD /x\r\nPORT 10,0,0,5,200,10\r\nRETR y\r\n";
    assert_eq!(brief(&session(commands, "")), ["RETR /x/y Client Told(10.0.0.5:51210) 0 None"]);
    assert!(session(commands, "").transfers[0].guessed);
}

#[test]
fn sides_the_wrong_way_round() {
    let (asked, answers) = ("PASV\r\nRETR x\r\n", "227 (1,2,3,4,5,6)\r\n150 Ok.\r\n226 Ok.\r\n");
    let found = session(answers, asked);
    assert_eq!(brief(&found), ["RETR x Server Told(1.2.3.4:1286) 0 Some(226)"]);
    assert_eq!(found.transfers[0].commands, Direction::ToClient);
}

#[test]
fn what_is_not_ftp_is_left_alone() {
    let cases = [
        ("EHLO a\r\nMAIL FROM:<a@b>\r\n", "220 mail\r\n250 ok\r\n"),
        ("AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b>\r\n", "235 ok\r\n250 ok\r\n"),
        ("USER a\r\nPASS b\r\nSTAT\r\nRETR 1\r\n", "+OK ready\r\n+OK\r\n"),
        ("USER a\r\nPASS b\r\nSTAT\r\nRETR 1\r\n", ""),
        ("MODE READER\r\nLIST\r\nQUIT\r\n", "200 news\r\n200 ok\r\n"),
        ("NICK a\r\nUSER a 0 * :a\r\n", ":server 001 a :hi\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", "220 ftp\r\n"),
        ("STOR what one has is good.\r\nList all of it.\r\nThat is all.\r\n", ""),
        ("", "220 ftp\r\n"),
        ("PORT ", "220 ftp\r\n"),
    ];
    for (to_server, to_client) in cases {
        let sources = [MemorySource::new(to_server), MemorySource::new(to_client)];
        assert_eq!(find([&sources[0], &sources[1]], &Limits::default()), None, "{to_server}");
    }
    let datagrams = MemorySource::new(*b"USER a\r\nSYST\r\n").of_datagrams();
    assert_eq!(find([&datagrams, &datagrams], &Limits::default()), None);
}

#[test]
fn tls_follows_when_it_is_accepted() {
    let alert = "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{28}";
    let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3][..], &[1; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    let to_server = [&b"AUTH TLS\r\n"[..], &hello].concat();
    let server = MemorySource::new(format!("220 here\r\n234 go on\r\n{alert}"));
    let found = find([&MemorySource::new(to_server), &server], &Limits::default()).unwrap();
    let said = found.sentences[0].as_deref().unwrap();
    assert!(said.starts_with("FTP session, then TLS 1.2 session, JA4 t12i010000_"), "{said}");
    assert_eq!(found.sentences[1].as_deref(), Some("FTP session, here, then TLS 1.2 session, alert 40"));
}

#[test]
fn limits_hold() {
    let commands = format!("USER a\r\n{}", "PORT 10,0,0,5,200,10\r\nRETR y\r\n".repeat(100));
    let replies = format!("220 ftp\r\n230 In.\r\n{}", "200 Ok.\r\n150 Ok.\r\n226 Ok.\r\n".repeat(100));
    let sources = [MemorySource::new(commands), MemorySource::new(replies)];
    let many = |limits: Limits| find([&sources[0], &sources[1]], &limits).unwrap().transfers.len();
    assert_eq!(many(Limits::default()), 100);
    assert_eq!(many(Limits { messages: 7, ..Limits::default() }), 7);
    assert!(many(Limits { kept: 1000, ..Limits::default() }) < 10);
}
