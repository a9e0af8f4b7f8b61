//! Dissectors that panic, run away and eat memory: each costs the objects of its own connection, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use common::{Data, Made, Talk, kill, until, wait};
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
    assert!(asked.sentence().contains("the process that took it apart ended in it, three times"), "{}", asked.err);
    // The rows say the same to whoever compares them with the buckets.
    let report: Value = serde_json::from_slice(&data.run("verify", &["--deep", "--json"]).well()).unwrap();
    assert_eq!(report["findings"], Value::Array(vec![]));
}

#[test]
fn whoever_is_asked_to_end_does_so_at_once_and_blames_nobody() {
    let data = store("misbehave-asked", &["MISBEHAVE spin\n"]);
    // Oftener than it takes to be given up.
    for _ in 0..4 {
        let mut child = data.command("derive", &[]).spawn().unwrap();
        let in_work = || {
            let working = Status::read(&data.path(), Teller::Working).unwrap_or_default();
            working.is_some_and(|status| status.text("work").is_some())
        };
        until("a connection is taken apart", || in_work().then_some(()));
        // The harmless one before it is done quickly.
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        kill("-TERM", child.id());
        let status = wait(&mut child);
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(!in_work());
    }
    let given_up = fs::read_to_string(data.path().join("derived/given-up")).unwrap_or_default();
    assert!(!given_up.contains('-'), "{given_up}");
}
