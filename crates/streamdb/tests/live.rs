//! A capture that still goes on: what came so far can be read by other processes, stays readable when the writer is killed,
//! and is all there when the next one has recovered it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};

use common::{Capture, Data, Made, Server, Talk, text, until, wait};
use serde_json::Value;

/// What the server says in the connection that stays open.
const BEGIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nabcdefghijklm";
const REST: &[u8] = b"nopqrstuvwxyz";
const ASKED: &[u8] = b"GET /slow HTTP/1.1\r\nHost: slow.example\r\n\r\n";

/// The frames of one second, in which one connection begins and ends, another one begins, and a datagram is sent; and those
/// of some seconds later.
fn halves() -> (Made, Made) {
    let mut first = Made::default();
    let (mut short, mut slow) = (Talk::new(40_001), Talk::new(40_002));
    short.open(&mut first, 0).ask(&mut first, 10, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    short.answer(&mut first, 20, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    slow.open(&mut first, 100).ask(&mut first, 110, ASKED).answer(&mut first, 120, BEGIN);
    short.close(&mut first, 130);
    first.datagram(200, 53, b"a question", 1480);
    let mut second = Made::default();
    let mut late = Talk::new(40_003);
    late.open(&mut second, 5_000);
    slow.answer(&mut second, 5_100, REST).close(&mut second, 5_200);
    late.ask(&mut second, 5_300, b"GET /late HTTP/1.1\r\nHost: a.example\r\n\r\n").close(&mut second, 5_400);
    (first, second)
}

fn records(made: &Made) -> Vec<u8> {
    made.frames.iter().flat_map(Made::record).collect()
}

/// An `ingest -` that waits for more, with what it was fed so far.
struct Feed {
    child: Child,
    pipe: ChildStdin,
}

impl Feed {
    fn start(data: &Data) -> Self {
        let mut command = data.command("ingest", &["-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&Made::header()).unwrap();
        Self { child, pipe }
    }

    fn give(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).unwrap();
    }

    /// No more comes.
    fn end(self) {
        let Self { mut child, pipe } = self;
        drop(pipe);
        assert!(wait(&mut child).success());
    }

    /// kill -9.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The first half, and as a frame of a later second tells that this one is over, the first frame of the second half.
fn fed_until_the_second_half(data: &Data) -> Feed {
    let (first, second) = halves();
    let mut feed = Feed::start(data);
    feed.give(&records(&first));
    feed.give(&Made::record(&second.frames[0]));
    feed
}

/// The row of the server's side of the slow connection, once it is there.
fn slow_row(data: &Data) -> Value {
    until("the open stream is published", || {
        let said = data.run("streams", &["--json", "srcport=40002", "direction=c"]);
        // Before the first bucket there is no folder yet.
        if said.code == Some(0) { common::json_lines(&said.out).pop() } else { None }
    })
}

/// Every stream's row by its connection and direction.
fn rows(data: &Data) -> BTreeMap<(u64, String), Value> {
    let key = |row: &Value| (row["src_port"].as_u64().unwrap(), text(row, "direction").to_owned());
    data.streams(&[]).into_iter().map(|row| (key(&row), row)).collect()
}

#[test]
fn others_read_what_came_so_far() {
    let data = Data::new("live");
    let mut feed = fed_until_the_second_half(&data);
    let row = slow_row(&data);
    assert_eq!((text(&row, "reason"), row["length"].as_u64()), ("open", Some(BEGIN.len() as u64)));
    let early = text(&row, "oid").to_owned();
    assert_eq!(data.get(&early, &["--raw"]), BEGIN);
    let peer = data.streams(&["srcport=40002", "direction=s"]).pop().unwrap();
    assert_eq!((text(&peer, "reason"), data.get(text(&peer, "oid"), &["--raw"])), ("open", ASKED.to_vec()));
    // What has ended has its reason.
    let before = rows(&data);
    assert_eq!(text(&before[&(40_001, "c".to_owned())], "reason"), "c");
    let (first, _) = halves();
    let wanted = Capture::read(&first.file());
    assert_eq!(data.export().differs(&wanted.frames), None);
    assert_eq!(common::json_lines(&data.run("buckets", &["--json"]).well())[0]["state"], "open");

    // A server that was started meanwhile goes along with the writer.
    let server = Server::start(&data);
    let listing = |wanted: &str| {
        until("the listing goes on", || {
            let answer = server.get("/streamdb/?srcip=10.0.0.5&srcport=40002");
            answer.text().contains(wanted).then_some(answer)
        })
    };
    let answer = listing(" open\n");
    assert!(answer.text().contains("(INCOMPLETE)") && answer.text().contains("\nabcdefghijklm\n"), "{}", answer.text());
    let (_, second) = halves();
    second.frames[1..].iter().for_each(|frame| feed.give(&Made::record(frame)));
    feed.end();
    let answer = listing(" FIN\n");
    assert!(answer.text().contains("abcdefghijklmnopqrstuvwxyz"), "{}", answer.text());

    // The whole stream has a name of its own, and the early name means what it meant.
    let row = slow_row(&data);
    assert_eq!(text(&row, "reason"), "c");
    assert_eq!(data.get(text(&row, "oid"), &["--raw"]), [BEGIN, REST].concat());
    assert_eq!(data.get(&early, &["--raw"]), BEGIN);
    assert_eq!(server.get(&format!("/streamdb/?oid={early}&raw=1")).body, BEGIN);
    data.is_well();
}

#[test]
fn a_killed_writer_loses_nothing_that_was_published() {
    let data = Data::new("live-killed");
    let feed = fed_until_the_second_half(&data);
    let early = text(&slow_row(&data), "oid").to_owned();
    let before = rows(&data);
    feed.kill();

    // Readers find by themselves what is whole.
    let (first, second) = halves();
    assert_eq!(rows(&data), before);
    assert_eq!(data.get(&early, &["--raw"]), BEGIN);
    assert_eq!(data.export().differs(&Capture::read(&first.file()).frames), None);

    // The next writer makes it whole and says so.
    let later = data.write("later.pcap", &second.file());
    let said = data.ingest(&[], &[&later]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let wanted = format!(
        "streamdb: bucket 1: its writer died before it was sealed; {} frames in it are whole, 3 streams that were open end \
         there, and 0 bytes that were not whole are cut\n",
        first.frames.len()
    );
    assert_eq!(said.err, wanted);
    data.is_well();
    let buckets = common::json_lines(&data.run("buckets", &["--json"]).well());
    let states: Vec<&str> = buckets.iter().map(|bucket| text(bucket, "state")).collect();
    assert_eq!(states, ["recovered", "sealed"]);

    // Nothing is lost and nothing is there twice; the open streams have ended, as the capture of them has.
    let both = Made { frames: [first.frames, second.frames].concat() };
    assert_eq!(data.export().differs(&Capture::read(&both.file()).frames), None);
    assert_eq!(data.get(&early, &["--raw"]), BEGIN);
    let slow: Vec<Value> = data.streams(&["srcport=40002", "direction=c"]);
    let contents: Vec<_> =
        slow.iter().map(|row| (text(row, "reason"), data.get(text(row, "oid"), &["--raw"]))).collect();
    assert_eq!(contents, [("e", BEGIN.to_vec()), ("c", REST.to_vec())]);
}

/// Killed at many moments, with much data and no regard to what is being written.
#[test]
fn killed_at_any_moment() {
    let mut made = Made::default();
    let mut talks: Vec<Talk> = (0..20).map(|n| Talk::new(41_000 + n)).collect();
    let body: Vec<u8> = (0..40_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (n, talk) in talks.iter_mut().enumerate() {
        talk.open(&mut made, n as u64);
    }
    for second in 1..12 {
        for (n, talk) in talks.iter_mut().enumerate() {
            talk.answer(&mut made, second * 1000 + n as u64 * 10, &body[n * 1000..]);
        }
    }
    let bytes = records(&made);
    let wanted = Capture::read(&made.file()).frames;
    for round in 1..=5 {
        let data = Data::new("live-any-moment");
        let mut feed = Feed::start(&data);
        let (some, more) = (bytes.len() * round / 6 - 700, bytes.len() * (round + 1) / 6 - 700);
        feed.give(&bytes[..some]);
        until("something is published", || (data.run("streams", &["srcport=41000"]).out.len() > 1).then_some(()));
        let before = rows(&data);
        // No more of these lies in the pipe than it holds: the writer is at work on the rest.
        feed.give(&bytes[some..more]);
        feed.kill();
        let after = rows(&data);
        for (key, row) in &before {
            assert!(after[key]["length"].as_u64() >= row["length"].as_u64(), "{row}, and then {}", after[key]);
            let oid = text(row, "oid");
            let n = (key.0 - 41_000) as usize;
            let said = body[n * 1000..].iter().cycle().take(row["length"].as_u64().unwrap() as usize);
            assert!(key.1 == "s" || data.get(oid, &["--raw"]).iter().eq(said), "{row}");
        }
        let found = data.export().frames;
        assert!(found.len() > 60, "{} frames", found.len());
        let other = data.write("other.pcap", &halves().0.file());
        let said = data.ingest(&[], &[&other]);
        assert!(said.code == Some(0) && said.err.contains("its writer died before it was sealed"), "{said:?}");
        data.is_well();
        // All that readers saw, and the other capture after it.
        let all = data.export().frames;
        assert!(all.len() >= found.len() + 10);
        let ours = all.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
        assert!(ours >= found.len(), "{ours} frames are left of {}", found.len());
        assert_eq!(all.len() - ours, halves().0.frames.len());
    }
}
