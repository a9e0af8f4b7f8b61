//! Conversations as they are on the wire, and what is known of the data connections after them.

use proptest::prelude::*;
use streamdb_types::{GapKind, Marks, Reason};

use super::*;
use crate::memory::MemorySource;
use crate::message::Incomplete;

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

/// A data connection that was closed carried a whole file where the server says so, in words or in numbers.
#[test]
fn what_tells_that_a_file_is_whole() {
    use Incomplete::{ClosedEarly, Unsure};
    let why = |to_client: &str, hole: Option<&str>, sent: u64| {
        let commands = MemorySource::new("USER a\r\nTYPE I\r\nPASV\r\nRETR a\r\nQUIT\r\n");
        let all = format!("220 ftp\r\n230 In.\r\n200 I.\r\n{to_client}");
        let mut replies = MemorySource::new(all.clone());
        if let Some(lost) = hole {
            replies = replies.with_gap(all.find(lost).unwrap() as u64, lost.len() as u64, GapKind::Missing);
        }
        find([&commands, &replies], &Limits::default()).unwrap().transfers[0].incomplete(sent)
    };
    let (passive, begun) = ("227 (1,2,3,4,5,6)\r\n", "150 Opening (10 bytes).\r\n");
    for end in ["226 Done.\r\n", "250 Done.\r\n", "226 Done.\r\n221 Bye.\r\n"] {
        assert_eq!(why(&format!("{passive}150 Ok.\r\n{end}"), None, 7), None, "{end}");
        assert_eq!(why(&format!("{passive}{begun}{end}"), None, 7), None, "{end}");
    }
    assert_eq!(why(&format!("{passive}{begun}426 Aborted.\r\n"), None, 10), Some(ClosedEarly));
    assert_eq!(why(&format!("{passive}{begun}451 Aborted.\r\n226 Done.\r\n"), None, 7), Some(ClosedEarly));
    // The control connection ended before the reply, or nothing else tells.
    for (replies, sent, wanted) in [
        (format!("{passive}150 Ok.\r\n"), 7, Some(Unsure)),
        (format!("{passive}{begun}"), 7, Some(Unsure)),
        (format!("{passive}{begun}"), 10, None),
        (format!("{passive}150 Ok.\r\n200 What?\r\n"), 7, Some(Unsure)),
        (passive.to_owned(), 7, Some(Unsure)),
    ] {
        assert_eq!(why(&replies, None, sent), wanted, "{replies}");
    }
    // With a hole before it, a reply may be the next one's.
    let all = format!("{passive}150 Ok.\r\n226 Done.\r\n");
    assert_eq!(why(&all, Some("230 In."), 7), None);
    assert_eq!(why(&all, Some("150 Ok."), 7), Some(Unsure));
    assert_eq!(why(&all, Some("226 Done."), 7), Some(Unsure));
    // What follows a hole in the announcement itself may be about the next one.
    let long = "227-(1,2,3,4,5,6)\r\n227 End\r\n150 Ok.\r\n226 Done.\r\n";
    assert_eq!(why(long, None, 7), None);
    assert_eq!(why(long, Some("227 End"), 7), Some(Unsure));
}

/// What a server tells in text, of a part or of other bytes is no measure.
#[test]
fn lengths_that_are_told_of_something_else() {
    let replies = "220 ftp\r\n230 In.\r\n200 Ok.\r\n200 Ok.\r\n227 (1,2,3,4,5,6)\r\n150 Opening (10 bytes).\r\n";
    let why = |before: &str, transfer: &str| {
        let found = session(&format!("USER a\r\n{before}PASV\r\n{transfer}\r\n"), replies);
        found.transfers[0].incomplete(10)
    };
    assert_eq!(why("TYPE I\r\nMODE S\r\n", "RETR a"), None);
    for before in ["TYPE A\r\nMODE S\r\n", "TYPE I\r\nMODE Z\r\n", "TYPE I\r\nSTRU R\r\n"] {
        assert_eq!(why(before, "RETR a"), Some(Incomplete::Unsure), "{before}");
    }
    assert_eq!(why("TYPE I\r\nMODE S\r\n", "LIST"), Some(Incomplete::Unsure));
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

/// As long as a command may come that an earlier reply answers, it is not known what was accepted.
#[test]
fn what_follows_is_said_when_it_is_known() {
    let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3][..], &[1; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    let server = MemorySource::new([&b"220 here\r\n230 in\r\n234 go on\r\n"[..], &hello].concat());
    let follows = |asked: &str, ended: Option<Reason>| {
        let client = MemorySource::new(asked.as_bytes()).with_end(ended, Marks::SYN);
        let found = find([&client, &server], &Limits::default()).unwrap();
        found.sentences[1].as_ref().unwrap().contains("then TLS")
    };
    assert!(!follows("AUTH TLS\r\nPASS b\r", None));
    assert!(!follows("AUTH TLS\r\nPASS b\r\n", None));
    assert!(follows("AUTH TLS\r\nPASS b\r", Some(Reason::Fin)));
    // A reply to each of them.
    let server = MemorySource::new([&b"220 here\r\n234 go on\r\n"[..], &hello].concat());
    let client = MemorySource::new(b"AUTH TLS\r\n").with_end(None, Marks::SYN);
    let found = find([&client, &server], &Limits::default()).unwrap();
    assert!(found.sentences[1].as_ref().unwrap().contains("then TLS"));
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

/// One file in a made conversation.
#[derive(Clone, Debug)]
struct Round {
    how: u8,
    folder: Option<u8>,
    rest: bool,
    refused: bool,
    named: bool,
    chatter: u8,
}

fn round() -> impl Strategy<Value = Round> {
    (0u8..4, any::<(Option<u8>, bool, bool, bool)>(), 0u8..4)
        .prop_map(|(how, (folder, rest, refused, named), chatter)| Round { how, folder, rest, refused, named, chatter })
}

/// Both sides of a conversation of so many files, and what has to come out, as [`brief`] has it.
fn made(rounds: &[Round]) -> (String, String, Vec<String>) {
    let (mut asked, mut answers) =
        ("USER joe\r\nPASS x\r\n".to_owned(), "220-Hi\r\n220 ftp\r\n331 Ok.\r\n230 In.\r\n".to_owned());
    let (mut folder, mut wanted) = (String::new(), Vec::new());
    let mut say = |command: &str, reply: &str| {
        asked.push_str(&format!("{command}\r\n"));
        answers.push_str(&format!("{reply}\r\n"));
    };
    for (n, round) in rounds.iter().enumerate() {
        match round.chatter {
            0 => say("NOOP", "200 Fine."),
            1 => say("FEAT", "211-Features:\r\n REST STREAM\r\n 226 SIZE\r\n211 End"),
            2 => say("SIZE any", "550 No."),
            _ => {}
        }
        if let Some(to) = round.folder {
            folder = format!("/f{to}/");
            say(&format!("CWD /f{to}"), "250 Ok.");
        }
        let (high, low) = (4 + n / 256, n % 256);
        let port = high * 256 + low;
        let place = match round.how {
            0 => {
                say("PASV", &format!("227 Entering Passive Mode (10,0,0,1,{high},{low})."));
                format!("Server Told(10.0.0.1:{port})")
            }
            1 => {
                say("EPSV", &format!("229 Entering Extended Passive Mode (|||{port}|)"));
                format!("Server OfServer({port})")
            }
            2 => {
                say(&format!("PORT 10,0,0,5,{high},{low}"), "200 Ok.");
                format!("Client Told(10.0.0.5:{port})")
            }
            _ => {
                say(&format!("EPRT |2|fd00::5|{port}|"), "200 Ok.");
                format!("Client Told([fd00::5]:{port})")
            }
        };
        let offset = if round.rest { 1000 + n } else { 0 };
        if round.rest {
            say(&format!("REST {offset}"), "350 Ok.");
        }
        let reply = match (round.refused, round.named) {
            (true, _) => "550 No such file.".to_owned(),
            (_, true) => format!("150 Opening data connection for file{n:04} (77 bytes).\r\n226 Done."),
            (..) => "150 Here it comes.\r\n226 Done.".to_owned(),
        };
        say(&format!("RETR file{n:04}"), &reply);
        let status = if round.refused { 550 } else { 226 };
        wanted.push(format!("RETR {folder}file{n:04} {place} {offset} Some({status})"));
    }
    say("QUIT", "221 Bye.");
    (asked, answers, wanted)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_guessed_is_true(
        rounds in prop::collection::vec(round(), 1..40),
        holes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 1u64..300), 0..4),
        cuts in any::<(prop::sample::Index, prop::sample::Index)>(),
        reads in 1usize..50,
    ) {
        let (asked, answers, wanted) = made(&rounds);
        let whole = session(&asked, &answers);
        prop_assert_eq!(&brief(&whole), &wanted);
        prop_assert!(whole.transfers.iter().all(|transfer| !transfer.guessed));
        // While it is open, a part of both is there.
        let cut = [cuts.0.index(asked.len()), cuts.1.index(answers.len())];
        let open = [&asked[..cut[0]], &answers[..cut[1]]].map(|text| MemorySource::new(text).with_end(None, Marks::SYN));
        for transfer in find([&open[0], &open[1]], &Limits::default()).unwrap_or_default().transfers {
            let known = whole.transfers.iter().any(|whole| {
                whole.asked_at == transfer.asked_at && whole.path == transfer.path && whole.address == transfer.address
            });
            prop_assert!(known || transfer.guessed, "{:?}", transfer);
        }
        let mut damaged = [MemorySource::new(asked.clone()), MemorySource::new(answers.clone())];
        for (side, at, length) in &holes {
            let at = at.index(if *side { asked.len() } else { answers.len() }) as u64;
            let side = &mut damaged[usize::from(!*side)];
            *side = side.clone().with_gap(at, *length, GapKind::Missing);
        }
        let found = find([&damaged[0], &damaged[1]], &Limits::default());
        let slow = damaged.clone().map(|source| source.with_reads_of(reads));
        prop_assert_eq!(&find([&slow[0], &slow[1]], &Limits::default()), &found);
        let found = found.unwrap_or_default();
        for (line, transfer) in brief(&found).iter().zip(&found.transfers) {
            // How it ended may not be known.
            let known = line.strip_suffix("None").unwrap_or(line);
            prop_assert!(transfer.guessed || wanted.iter().any(|wanted| wanted.starts_with(known)), "{} {:?}", line, holes);
        }
    }
}
