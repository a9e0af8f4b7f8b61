//! Dissectors that panic, run away and eat memory: each costs the objects of its own connection, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::Write;
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Answer, Data, Made, Server, Talk, kill, until, wait};
use serde_json::Value;
use streamdb_storage::{Status, Teller};

/// A store of connections of which each second one is harmless; the others' client says this first.
fn store(name: &str, says: &[&str]) -> Data {
    let mut made = Made::default();
    for (at, says) in says.iter().flat_map(|says| ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", says]).enumerate() {
        let at = at as u64;
        let mut talk = Talk::new(2000 + at as u16);
        talk.open(&mut made, 10 * at).ask(&mut made, 10 * at + 1, says.as_bytes());
        talk.answer(&mut made, 10 * at + 2, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        talk.close(&mut made, 10 * at + 3);
    }
    let data = Data::new(name);
    let capture = data.write("made.pcap", &made.file());
    data.ingest(&["--no-derive"], &[&capture]).well();
    data
}

fn derive(data: &Data, flags: &[&str]) -> Output {
    data.command("derive", &[&["--once", "--json"], flags].concat()).output().unwrap()
}

/// Runs it until it comes to its end, as whoever looks after it would; how often that was, and what was said.
fn derive_all(data: &Data, flags: &[&str]) -> (usize, String) {
    let mut said = String::new();
    for tries in 1..10 {
        let output = derive(data, flags);
        said += &String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return (tries, said);
        }
    }
    panic!("it does not come to its end: {said}");
}

/// The client's ports of all objects that were found, in order and each once.
fn found(data: &Data) -> Vec<u64> {
    let mut ports: Vec<u64> = data.json("objects", &[]).iter().map(|row| row["src_port"].as_u64().unwrap()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The stream to the server of this client's port.
fn oid(data: &Data, port: u64) -> String {
    let streams = data.streams(&[&format!("srcport={port}"), "direction=s"]);
    streams[0]["oid"].as_str().unwrap().to_owned()
}

#[test]
fn a_panic_costs_one_connection() {
    let data = store("misbehave-panic", &["MISBEHAVE panic\n", "MISBEHAVE panic\n"]);
    let (tries, said) = derive_all(&data, &[]);
    assert_eq!(tries, 1, "{said}");
    assert_eq!(found(&data), [2000, 2002]);
    // Its objects are not there, its bytes are; and whoever asks is told.
    let oid = oid(&data, 2001);
    assert_eq!(data.get(&oid, &["--raw"]), b"MISBEHAVE panic\n");
    let asked = data.run("get", &[&oid]);
    assert!(asked.sentence().contains("as taking it apart failed: a dissector that panics"), "{}", asked.err);
    data.is_well();
}

#[test]
fn running_away_costs_one_connection() {
    let data = store("misbehave-spin", &["MISBEHAVE spin\n"]);
    let (tries, said) = derive_all(&data, &["--max-seconds", "1"]);
    assert_eq!(tries, 2, "{said}");
    assert!(said.contains("taking it apart took longer than 1 s; this process ends"), "{said}");
    assert_eq!(found(&data), [2000]);
    let asked = data.run("get", &[&oid(&data, 2001)]);
    assert!(asked.sentence().contains("as taking it apart took longer than 1 s"), "{}", asked.err);
}

#[test]
fn eating_memory_costs_one_connection() {
    let data = store("misbehave-eat", &["MISBEHAVE eat\n", "MISBEHAVE eat\n"]);
    let (tries, said) = derive_all(&data, &["--max-memory", "1G"]);
    // Each ends three processes: until then it may have been something else.
    assert_eq!(tries, 7, "{said}");
    assert_eq!(found(&data), [2000, 2002]);
    let asked = data.run("get", &[&oid(&data, 2003)]);
    assert!(asked.sentence().contains("the process that took it apart ended in it, 3 times"), "{}", asked.err);
    // The rows say the same to whoever compares them with the buckets.
    let report: Value = serde_json::from_slice(&data.run("verify", &["--deep", "--json"]).well()).unwrap();
    assert_eq!(report["findings"], Value::Array(vec![]));
}

#[test]
fn whoever_is_asked_to_end_does_so_at_once_and_blames_nobody() {
    let data = store("misbehave-asked", &["MISBEHAVE spin\n"]);
    let in_work = || {
        let working = Status::read(&data.path(), Teller::Working).unwrap_or_default();
        working.is_some_and(|status| status.text("work").is_some())
    };
    // Oftener than it takes to be given up.
    for _ in 0..4 {
        let mut child = data.command("derive", &[]).spawn().unwrap();
        until("a connection is taken apart", || in_work().then_some(()));
        // The harmless one before it is done quickly.
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        kill("-TERM", child.id());
        let status = wait(&mut child);
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(!in_work());
    }
    // Who was to do all of it says that it did not.
    let child = data.command("derive", &["--once"]).stderr(Stdio::piped()).spawn().unwrap();
    until("a connection is taken apart", || in_work().then_some(()));
    kill("-TERM", child.id());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("asked to end before all was done")), (Some(1), true), "{said}");
    let given_up = fs::read_to_string(data.path().join("derived/given-up")).unwrap_or_default();
    assert!(!given_up.contains('-'), "{given_up}");
}

/// A server started again when it dies, as whoever looks after it would; and a capture whose connections are open as long as it runs.
struct Open {
    data: Data,
    flags: &'static [&'static str],
    server: Server,
    deaths: usize,
    capture: Child,
}

impl Open {
    fn new(name: &str, says: &[&str], flags: &'static [&'static str]) -> Self {
        let mut made = Made::default();
        for (at, says) in says.iter().enumerate() {
            let mut talk = Talk::new(2000 + at as u16);
            talk.open(&mut made, 10 * at as u64).ask(&mut made, 10 * at as u64 + 1, says.as_bytes());
        }
        // What came is published when more comes.
        made.datagram(5000, 53, b"later", 1400);
        let data = Data::new(name);
        let mut capture = data.command("ingest", &["--no-derive", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        capture.stdin.as_mut().unwrap().write_all(&made.file()).unwrap();
        capture.stdin.as_mut().unwrap().flush().unwrap();
        until("the connections are published", || {
            let found = data.run("streams", &["--json", "direction=s", "dstport=80"]);
            (found.out.iter().filter(|byte| **byte == b'\n').count() == says.len()).then_some(())
        });
        let server = Server::start_with(&data, flags);
        Self { data, flags, server, deaths: 0, capture }
    }

    /// Asks until there is an answer.
    fn get(&mut self, path: &str) -> Answer {
        loop {
            if let Some(answer) = self.server.try_get(path) {
                return answer;
            }
            assert!(!wait(&mut self.server.child).success());
            self.deaths += 1;
            assert!(self.deaths < 10, "it dies again and again");
            self.server = Server::start_with(&self.data, self.flags);
        }
    }

    /// The stream to the server of this client's port is there, and so is what the others said; of its objects it is said why not.
    fn costs_one(&mut self, port: u64, deaths: usize, why: &str) {
        let listed = self.get("/streamdb/?ip=10.0.0.5").text().to_owned();
        assert_eq!(self.deaths, deaths, "{listed}");
        assert!(listed.contains("/harmless"), "{listed}");
        assert_eq!(listed.matches(why).count(), 1, "{listed}");
        let oid = oid(&self.data, port);
        let answer = self.get(&format!("/streamdb/?oid={oid}"));
        assert_eq!(answer.status, 404);
        let sentence = answer.text().to_owned();
        assert!(sentence.contains(why) && sentence.trim_end().lines().count() == 1, "{sentence}");
        assert!(self.get(&format!("/streamdb/?oid={oid}&raw=1")).text().starts_with("MISBEHAVE"));
        assert_eq!(self.deaths, deaths);
        // The next server remembers it.
        self.server.child.kill().unwrap();
        self.server.child.wait().unwrap();
        self.server = Server::start_with(&self.data, self.flags);
        assert!(self.get("/streamdb/?ip=10.0.0.5").text().contains(why));
        assert_eq!(self.deaths, deaths);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        _ = self.capture.kill();
        _ = self.capture.wait();
    }
}

const HARMLESS: &str = "GET /harmless HTTP/1.1\r\nHost: a\r\n\r\n";
const FLAGS: &[&str] = &["--listen", "127.0.0.1:0", "--max-seconds", "1", "--max-memory", "2G"];
/// With time enough to come to the limit of memory, on a machine with much else to do.
const TO_EAT: &[&str] = &["--listen", "127.0.0.1:0", "--max-seconds", "60", "--max-memory", "2G"];

#[test]
fn an_open_connection_that_panics_is_given_up_by_who_serves() {
    let mut open = Open::new("misbehave-open-panic", &[HARMLESS, "MISBEHAVE panic\n"], FLAGS);
    open.costs_one(2001, 0, "taking it apart failed: a dissector that panics");
}

#[test]
fn an_open_connection_that_runs_away_ends_who_serves_once() {
    let mut open = Open::new("misbehave-open-spin", &[HARMLESS, "MISBEHAVE spin\n"], FLAGS);
    open.costs_one(2001, 1, "taking it apart took longer than 1 s");
}

#[test]
fn an_open_connection_that_eats_memory_ends_who_serves_three_times() {
    let mut open = Open::new("misbehave-open-eat", &[HARMLESS, "MISBEHAVE eat\n"], TO_EAT);
    open.costs_one(2001, 3, "the process that took it apart ended in it, 3 times");
}

/// What is in a connection is read well each time, and what hands out an object of it ends the process.
#[test]
fn an_object_that_eats_memory_ends_who_serves_three_times() {
    let mut open = Open::new("misbehave-body-eat", &[HARMLESS, "MISBEHAVE-BODY eat\n"], TO_EAT);
    let oid = oid(&open.data, 2001);
    let answer = open.get(&format!("/streamdb/?oid={oid}"));
    assert_eq!((open.deaths, answer.status), (3, 404), "{}", answer.text());
    assert!(answer.text().contains("the process that took it apart ended in it, 3 times"), "{}", answer.text());
}

#[test]
fn an_object_that_runs_away_ends_who_serves_once_also_where_it_may_not_write() {
    let mut open = Open::new("misbehave-body-spin", &[HARMLESS, "MISBEHAVE-BODY spin\n"], FLAGS);
    let oid = oid(&open.data, 2001);
    // The one before it is still there and keeps what it takes apart: this one ends all the same, and nobody knows why.
    open.server = Server::start_with(&open.data, FLAGS);
    assert!(open.server.try_get(&format!("/streamdb/?oid={oid}")).is_none());
    assert_eq!(wait(&mut open.server.child).code(), Some(70));
    open.server = Server::start_with(&open.data, FLAGS);
    let answer = open.get(&format!("/streamdb/?oid={oid}"));
    assert_eq!((open.deaths, answer.status), (1, 404), "{}", answer.text());
    assert!(answer.text().contains("taking it apart took longer than 1 s"), "{}", answer.text());
    assert!(open.get("/metrics").text().contains("streamdb_serve_given_up_connections 1"));
    assert!(open.get("/status").text().contains("1 connection given up here"));
}

/// A server in which a dissector runs away ends when it is asked to.
#[test]
fn a_server_ends_when_it_is_asked_to_whatever_is_in_work() {
    const FLAGS: &[&str] = &["--listen", "127.0.0.1:0"];
    let mut open = Open::new("misbehave-body-asked", &["MISBEHAVE-BODY spin\n"], FLAGS);
    let oid = oid(&open.data, 2000);
    let mut asked = std::net::TcpStream::connect(open.server.address).unwrap();
    write!(asked, "GET /streamdb/?oid={oid} HTTP/1.1\r\nHost: {}\r\n\r\n", open.server.address).unwrap();
    let folder = open.data.path();
    let in_work = || Status::read(&folder, Teller::Serving).unwrap().filter(|status| status.text("work").is_some());
    until("the object is taken apart", in_work);
    let begun = Instant::now();
    kill("-TERM", open.server.child.id());
    let status = wait(&mut open.server.child);
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn what_runs_away_while_parts_are_joined_costs_one_connection() {
    let data = with_parts("misbehave-join-spin", "/JOIN-spin");
    let (tries, said) = derive_all(&data, &["--max-seconds", "1"]);
    assert_eq!(tries, 2, "{said}");
    let asked = data.run("get", &[&oid(&data, 2000)]);
    assert!(asked.sentence().contains("taking it apart took longer than 1 s"), "{}", asked.err);
    let joined = data.json("joins", &[]);
    assert!(serde_json::to_string(&joined).unwrap().contains("/harmless"), "{joined:?}");
}

#[test]
fn what_fails_while_parts_are_joined_costs_one_connection() {
    let data = with_parts("misbehave-join", "/JOIN-panic");
    let (tries, said) = derive_all(&data, &[]);
    assert_eq!(tries, 1, "{said}");
    let asked = data.run("get", &[&oid(&data, 2000)]);
    assert!(asked.sentence().contains("taking it apart failed: a dissector that panics"), "{}", asked.err);
    // The one behind it was looked at.
    let status = fs::read_to_string(data.path().join("derived/given-up")).unwrap();
    assert_eq!(status.matches("a dissector that panics").count(), 1, "{status}");
    let joined = data.json("joins", &[]);
    assert!(serde_json::to_string(&joined).unwrap().contains("/harmless"), "{joined:?}");
}

/// A store of two connections with parts of one content each: of this path, and of a harmless one.
fn with_parts(name: &str, path: &str) -> Data {
    let mut made = Made::default();
    for (at, path) in [path, "/harmless"].into_iter().enumerate() {
        let at = at as u64;
        let mut talk = Talk::new(2000 + at as u16);
        talk.open(&mut made, 10 * at);
        talk.ask(
            &mut made,
            10 * at + 1,
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,4-5\r\n\r\n").as_bytes(),
        );
        let part = |range: &str, content: &str| format!("--b\r\nContent-Range: bytes {range}/6\r\n\r\n{content}\r\n");
        let body = format!("{}{}--b--\r\n", part("0-1", "ab"), part("4-5", "ef"));
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: \"x\"\r\nContent-Type: multipart/byteranges; boundary=b\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        talk.answer(&mut made, 10 * at + 2, (head + &body).as_bytes()).close(&mut made, 10 * at + 3);
    }
    let data = Data::new(name);
    let capture = data.write("made.pcap", &made.file());
    data.ingest(&["--no-derive"], &[&capture]).well();
    data
}
