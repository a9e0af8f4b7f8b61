//! What an analyst does: a capture of known downloads is stored, `serve` is started, and every file that went over the
//! wire is found and handed out, decoded, byte for byte; or it is said what is missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Answer, Data, Frame, Made, Server, Talk, kill, noise, read_capture, testdata, text, until, wait};
use serde_json::Value;
use sha2::{Digest, Sha256};
use streamdb_storage::{Status, Teller};

/// One row of expected.tsv: what curl got or sent, as testdata/nginx-downloads/README.md describes it.
#[derive(Clone, Debug)]
struct Expected {
    kind: String,
    client: SocketAddr,
    server: SocketAddr,
    method: String,
    host: String,
    uri: String,
    status: String,
    declared_type: String,
    content_encoding: String,
    size: usize,
    sha256: String,
    /// What is told of it: yes, no, or partial.
    whole: String,
}

fn expected(case: &str) -> Vec<Expected> {
    let table = std::fs::read_to_string(testdata(case, "expected.tsv")).unwrap();
    let rows = table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |at: usize| fields[at].to_owned();
        Expected {
            kind: field(0),
            client: field(1).parse().unwrap(),
            server: field(2).parse().unwrap(),
            method: field(3),
            host: field(4),
            uri: field(5),
            status: field(6),
            declared_type: field(7),
            content_encoding: field(8),
            size: field(9).parse().unwrap(),
            sha256: field(10),
            whole: field(11),
        }
    });
    rows.collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a search by a row's addresses and ports lists: each request, and behind it its answer.
fn listed(server: &Server, row: &Expected) -> Vec<Value> {
    let (client, peer) = (row.client, row.server);
    let query = format!(
        "srcip={}&srcport={}&dstip={}&dstport={}&as_json=1",
        client.ip(),
        client.port(),
        peer.ip(),
        peer.port()
    );
    let answer = server.get(&format!("/streamdb/?{query}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{query}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// The entries of a listing that a row is about: the same request line, and the status where that is the answer's.
fn candidates(entries: &[Value], row: &Expected) -> Vec<Value> {
    let request = format!("{} {}{}", row.method, row.host, row.uri);
    let index = |entry: &Value| text(entry, "oid").rsplit('-').next().unwrap().parse::<u64>().unwrap();
    // What lies inside a body is listed behind it.
    let entries: Vec<&Value> = entries.iter().filter(|entry| index(entry) < 1 << 32).collect();
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| text(entry, "meta") == request) {
        // Behind a request come interim answers (RFC 9110 §15.2), if any, and then the one that counts. Parts lie in the body
        // of their request.
        let mut answers = entries[at + 1..].iter().take_while(|answer| text(answer, "direction") == "c");
        let status = format!("{} ", row.status);
        found.extend(match row.kind.as_str() {
            "response" => answers.find(|answer| text(answer, "meta").starts_with(&status)),
            _ => Some(entry),
        });
    }
    found.into_iter().copied().cloned().collect()
}

/// The bodies of a multipart body's parts (RFC 2046 §5.1.1), by its first line.
fn parts(body: &[u8]) -> Vec<&[u8]> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what);
    let line = find(body, b"\r\n").unwrap();
    let delimiter = [b"\r\n", &body[..line]].concat();
    let mut rest = &body[line..];
    let mut parts = Vec::new();
    while let Some(end) = find(rest, &delimiter) {
        let part = &rest[..end];
        parts.extend(find(part, b"\r\n\r\n").map(|head| &part[head + 4..]));
        rest = &rest[end + delimiter.len()..];
    }
    parts
}

/// What every answer with captured bytes must say, so that no browser shows them.
fn assert_download(answer: &Answer, oid: &str) {
    let header = |name: &str| answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    assert_eq!(answer.status, 200);
    let name = format!("attachment; filename=\"streamdb-{oid}");
    assert!(header("content-disposition").starts_with(&name), "{}", header("content-disposition"));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "sandbox; default-src 'none'");
}

/// A row's object: found by a search, downloaded over HTTP and by `get`, and equal to what curl had.
fn check(data: &Data, server: &Server, row: &Expected, nth: usize) {
    let entries = listed(server, row);
    let found = candidates(&entries, row);
    let entry = found.get(nth).unwrap_or_else(|| panic!("{row:?} is not listed: {entries:?}"));
    let oid = text(entry, "oid");
    let answer = server.get(&format!("/streamdb/?oid={oid}"));
    assert_download(&answer, oid);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let by_command = data.run("get", &[oid]);
    assert_eq!((by_command.code, &by_command.out), (Some(0), &answer.body), "{row:?}");
    if row.kind == "part" {
        let hashes: Vec<String> = parts(&answer.body).into_iter().map(sha256).collect();
        return assert!(hashes.contains(&row.sha256), "{row:?}: {hashes:?}");
    }
    assert_eq!(answer.body.len(), row.size, "{row:?}");
    assert!(row.sha256 == "-" || sha256(&answer.body) == row.sha256, "{row:?}");
    let shown = text(entry, "data");
    for (name, value) in [("Content-Type", &row.declared_type), ("Content-Encoding", &row.content_encoding)] {
        let said = shown.contains(&format!("\n{name}: {value}"));
        assert_eq!(said, value != "-", "{row:?}: {shown}");
    }
    let complete = row.whole == "yes" || row.whole == "-";
    let said = if complete { "true" } else { "false" };
    assert_eq!(answer.header("x-streamdb-complete"), Some(said), "{row:?}");
    assert_eq!(entry["complete"], complete);
    assert_eq!(text(entry, "meta").ends_with("(INCOMPLETE)"), !complete);
    assert_eq!(by_command.err.contains("incomplete"), !complete, "{by_command:?}");
    assert_eq!(answer.header("x-streamdb-missing") == Some("0"), row.whole != "no");
}

/// All rows of a case. Rows that are the same in all but their body are found one after the other.
fn case(name: &str) {
    let data = Data::with("demo", &[&testdata(name, "capture.pcap")]);
    let server = Server::start(&data);
    // `inner` rows lie in what a connection became after 101 or CONNECT, which is not taken apart.
    let rows: Vec<Expected> = expected(name).into_iter().filter(|row| row.kind != "inner").collect();
    assert!(!rows.is_empty());
    let key = |row: &Expected| (row.kind.clone(), row.client, row.method.clone(), row.uri.clone(), row.status.clone());
    for (n, row) in rows.iter().enumerate() {
        let before = rows[..n].iter().filter(|other| row.kind != "part" && key(other) == key(row)).count();
        check(&data, &server, row, before);
    }
}

#[test]
fn every_download_is_found_and_handed_out() {
    case("nginx-downloads");
}

#[test]
fn a_program_that_is_called_a_page_is_found_among_ordinary_browsing() {
    case("imagedump");
    let data = Data::with("demo-imagedump", &[&testdata("imagedump", "capture.pcap")]);
    let server = Server::start(&data);
    let answer = server.get("/streamdb/?srcip=10.0.0.5&dstip=203.0.113.9");
    let line = "2012-03-02 07:51:51 10.0.0.5:49211 <- 203.0.113.9:80 5s 22968 bytes Time cutoff";
    let (first, rest) = answer.text().split_once("\n\n").unwrap();
    assert!(
        first.starts_with("Returning 2 of 2 at offset 0 from Fri Mar  2 07:51:51 2012 to Fri Mar  2 07:51:51 2012")
    );
    assert!(rest.starts_with(&format!("{line}\n")), "{rest}");
    // What came after it: a name, and a port that nothing answered.
    let knocked = data.streams(&["dstip=198.51.100.66"]);
    assert_eq!((knocked.len(), text(&knocked[0], "reason"), &knocked[0]["dst_port"]), (1, "t", &Value::from(7771)));
}

#[test]
fn content_codings_are_undone_and_what_is_not_http_any_more_is_not_guessed_at() {
    case("codings");
    assert_eq!(expected("codings").iter().filter(|row| row.kind == "inner").count(), 2);
}

#[test]
fn disorder_loss_and_repetition_change_no_byte() {
    case("lossy-path");
}

/// Addresses and ports of an Ethernet frame with TCP or UDP over IP without options, lower end first.
fn ends(frame: &Frame) -> Option<[(Vec<u8>, [u8; 2]); 2]> {
    let packet = frame.data.get(14..)?;
    let (protocol, addresses, transport) = match frame.data.get(12..14)? {
        [8, 0] => (packet[9], packet.get(12..20)?, packet.get(20..)?),
        [0x86, 0xdd] => (packet[6], packet.get(8..40)?, packet.get(40..)?),
        _ => return None,
    };
    if protocol != 6 && protocol != 17 {
        return None;
    }
    let (src, dst) = addresses.split_at(addresses.len() / 2);
    let mut ends = [(src.to_vec(), [transport[0], transport[1]]), (dst.to_vec(), [transport[2], transport[3]])];
    ends.sort();
    Some(ends)
}

#[test]
fn the_streams_own_bytes_and_the_connections_frames_are_handed_out() {
    let capture = testdata("nginx-downloads", "capture.pcap");
    let data = Data::with("demo-frames", &[&capture]);
    let server = Server::start(&data);
    let all = read_capture(&capture).frames;
    let mut seen = 0;
    for row in data.streams(&["direction=c"]) {
        let oid = text(&row, "oid");
        let raw = server.get(&format!("/streamdb/?oid={oid}&raw=1"));
        assert_download(&raw, oid);
        assert_eq!(raw.body.len() as u64, row["length"].as_u64().unwrap());
        assert_eq!(raw.body, data.get(oid, &["--raw"]));

        let pcap = server.get(&format!("/streamdb/?oid={oid}&as_pcap=1"));
        assert_download(&pcap, oid);
        assert_eq!(pcap.header("content-type"), Some("application/vnd.tcpdump.pcap"));
        assert_eq!(pcap.body, data.get(oid, &["--pcap"]));
        let frames = common::Capture::read(&pcap.body);
        assert!(frames.whole);
        let one = ends(&frames.frames[0]).unwrap();
        let wanted: Vec<Frame> = all.iter().filter(|frame| ends(frame).as_ref() == Some(&one)).cloned().collect();
        assert_eq!(frames.differs(&wanted), None, "{row}");
        seen += wanted.len();
    }
    // No two connections of this capture have the same ends, so that every frame of them was handed out once.
    assert_eq!(seen, all.iter().filter(|frame| ends(frame).is_some()).count());
}

#[test]
fn what_cannot_be_answered_is_refused_with_the_reason() {
    let data = Data::with("demo-refusals", &[&testdata("nginx-downloads", "capture.pcap")]);
    let server = Server::start(&data);
    let oid = text(&data.streams(&["srcport=46378", "direction=c"])[0], "oid").to_owned();
    let [bucket, place, length, _] = oid.split('-').collect::<Vec<_>>()[..] else { panic!("{oid}") };
    for (path, status, why) in [
        ("/streamdb/".to_owned(), 400, "an address is needed"),
        ("/streamdb/?dstport=80".to_owned(), 400, "an address is needed"),
        ("/streamdb/?scrip=10.0.0.5".to_owned(), 400, "did you mean srcip?"),
        ("/streamdb/?srcip=10.0.0.500".to_owned(), 400, "srcip: \"10.0.0.500\" is not accepted"),
        ("/streamdb/?oid=1-2-3".to_owned(), 400, "\"1-2-3\" is no oid"),
        (format!("/streamdb/?oid={oid}&raw=1&as_pcap=1"), 400, "exclude each other"),
        (format!("/streamdb/?oid={bucket}-{place}-{length}-1"), 404, "this stream has one message; ask for it as "),
        (format!("/streamdb/?oid={bucket}-{place}-1-0"), 404, "there is no such stream"),
        (format!("/streamdb/?oid=7-{place}-{length}-0"), 404, "there is no such stream"),
        ("/elsewhere".to_owned(), 404, "no such page"),
    ] {
        let answer = server.get(&path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.text().contains(why), "{path}: {}", answer.text());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    // A name of somebody else's that resolves to this machine.
    let stranger = server.get_as(&format!("/streamdb/?oid={oid}"), "evil.example");
    assert_eq!(stranger.status, 421);
    assert_eq!(server.get_as(&format!("/streamdb/?oid={oid}"), "localhost").status, 200);
}

#[test]
fn a_listing_reads_as_it_always_did() {
    let data = Data::with("demo-text", &[&testdata("nginx-downloads", "capture.pcap")]);
    let server = Server::start(&data);
    let answer = server.get("/streamdb/?srcip=10.0.0.5&srcport=46400");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let lines: Vec<&str> = answer.text().lines().collect();
    let begin = "Returning 2 of 2 at offset 0 from Mon Nov 23 23:01:46 2026 to Mon Nov 23 23:01:46 2026 (";
    assert!(lines[0].starts_with(begin) && lines[0].ends_with(" ms)"), "{}", lines[0]);
    assert_eq!(lines[1], "");
    assert_eq!(lines[2], "2026-11-23 23:01:46 10.0.0.5:46400 <- 203.0.113.9:80 0s 22798 bytes FIN");
    let metas: Vec<&str> = lines.windows(3).filter(|w| w[2].starts_with("oid=")).map(|w| w[0]).collect();
    let uri = "downloads.example/imagedump/image.php?size=0&imageid=0&resize=0&data=&thumbnail=1";
    assert_eq!(metas.len(), 2);
    assert_eq!(metas[0], format!("GET {uri}"));
    // What it is, not what it claims to be.
    assert!(metas[1].starts_with("200 MS-DOS executable PE "), "{}", metas[1]);
}

#[test]
fn a_server_that_is_asked_to_end_ends_well() {
    let data = Data::with("demo-end", &[&testdata("lossy-path", "capture.pcap")]);
    let mut server = Server::start(&data);
    assert_eq!(server.get("/streamdb/?ip=10.0.0.5").status, 200);
    assert!(Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap().success());
    assert!(wait(&mut server.child).success());
}

/// A connection whose body is on its way to somebody slow when the server is asked to end did not end it.
#[test]
fn a_server_that_is_asked_to_end_blames_no_connection() {
    let mut made = Made::default();
    let mut talk = Talk::new(2000);
    talk.open(&mut made, 0).ask(&mut made, 1, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in noise(1, 24 << 20).chunks(65_536) {
        answer.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    answer.extend(b"0\r\n\r\n");
    talk.answer(&mut made, 2, &answer).close(&mut made, 3);
    let data = Data::new("demo-blame");
    let capture = data.write("made.pcap", &made.file());
    data.ingest(&[], &[&capture]).well();
    let oid = text(&data.json("objects", &["kind=response"])[0], "oid").to_owned();
    let in_work = || {
        let serving = Status::read(&data.path(), Teller::Serving).unwrap_or_default();
        serving.is_some_and(|status| status.text("work").is_some())
    };
    let mut server = Server::start(&data);
    let mut slow = TcpStream::connect(server.address).unwrap();
    write!(slow, "GET /streamdb/?oid={oid} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).unwrap();
    until("its body is taken apart", || in_work().then_some(()));
    // As much as goes into the socket is sent; the rest waits for who reads it.
    std::thread::sleep(Duration::from_millis(300));
    assert!(in_work());
    let asked = Instant::now();
    kill("-TERM", server.child.id());
    until("nobody is blamed", || (!in_work()).then_some(()));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    // However it ends from here on.
    kill("-KILL", server.child.id());
    wait(&mut server.child);
    assert!(!in_work());
    drop(slow);
}
