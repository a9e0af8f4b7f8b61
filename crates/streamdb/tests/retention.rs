//! Retention as an operator meets it: what the limits drop, what a hold keeps, and what readers are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Data, Made, PATIENCE, Server, Talk, json_lines, may_capture, text, until, wait};
use serde_json::Value;

/// Bytes that no compression makes fewer.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// Five seconds: in each a connection comes and goes, and one goes on over all of them.
fn made() -> Made {
    let mut made = Made::default();
    let mut long = Talk::new(40_000);
    long.open(&mut made, 0).ask(&mut made, 10, b"GET /long HTTP/1.1\r\nHost: a.example\r\n\r\n");
    long.answer(&mut made, 20, b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n");
    for second in 0..5_u64 {
        let at = second * 1000;
        let mut short = Talk::new(41_000 + second as u16);
        short.open(&mut made, at + 100).ask(&mut made, at + 110, b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let body = noise(5000, second as u32 + 1);
        short.answer(&mut made, at + 120, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
        short.answer(&mut made, at + 130, &body).close(&mut made, at + 140);
        long.answer(&mut made, at + 200, &noise(10_000, second as u32 + 100));
    }
    long.close(&mut made, 4_900);
    made
}

/// A store of it, in buckets of a second.
fn five(name: &str, flags: &[&str]) -> Data {
    let data = Data::new(name);
    let capture = data.write("capture", &made().file());
    let said = data.ingest(&[&["--bucket", "1s"], flags].concat(), &[&capture]);
    assert_eq!(said.code, Some(0), "{said:?}");
    data
}

fn ids(data: &Data) -> Vec<u64> {
    data.json("buckets", &[]).iter().map(|row| row["bucket"].as_u64().unwrap()).collect()
}

/// A limit in bytes that lets the last `n` buckets stay.
fn last(data: &Data, n: usize) -> String {
    let rows = data.json("buckets", &[]);
    rows[rows.len() - n..].iter().map(|row| row["bytes"].as_u64().unwrap()).sum::<u64>().to_string()
}

/// The oid of what the server said to the short connection of a second, and to the long one.
fn oid(data: &Data, port: u16) -> String {
    let rows = data.streams(&[&format!("srcport={port}"), "direction=c"]);
    assert_eq!(rows.len(), 1);
    text(&rows[0], "oid").to_owned()
}

/// When the ledger says that a bucket was dropped.
fn dropped_at(data: &Data, bucket: u64) -> String {
    let rows = data.json("buckets", &["--dropped"]);
    let row = rows.iter().find(|row| row["bucket"] == bucket && row["state"] == "dropped").unwrap();
    text(row, "dropped").to_owned()
}

#[test]
fn the_oldest_buckets_go_and_their_streams_are_gone_since_then() {
    let data = five("retention", &[]);
    assert_eq!(ids(&data), [1, 2, 3, 4, 5]);
    let (short, long) = (oid(&data, 41_000), oid(&data, 40_000));
    let limit = last(&data, 3);
    let server = Server::start(&data);
    assert_eq!(server.get(&format!("/streamdb/?oid={short}")).status, 200);

    let said = data.run("retain", &["--max-bytes", &limit, "--dry-run"]).well();
    assert!(String::from_utf8(said).unwrap().ends_with(": would be dropped\n"));
    assert_eq!(ids(&data).len(), 5);
    let rows = json_lines(&data.run("retain", &["--max-bytes", &limit, "--json"]).well());
    let rows: Vec<_> = rows.iter().map(|row| (row["bucket"].as_u64().unwrap(), text(row, "reason"))).collect();
    assert_eq!(rows, [(1, "max-bytes"), (2, "max-bytes")]);
    let said = data.run("retain", &["--max-bytes", &limit]).well();
    assert_eq!(String::from_utf8(said).unwrap(), "0 buckets, 0 B: dropped\n");
    assert_eq!(ids(&data), [3, 4, 5]);
    assert!(!data.path().join("derived/1.objects").exists());
    data.is_well();

    // What was in them is gone since then, whoever asks and however.
    let sentence = format!("{short}: retention dropped this stream's bucket at {}", dropped_at(&data, 1));
    for flags in [&[][..], &["--raw"], &["--pcap"]] {
        assert_eq!(data.run("get", &[&[short.as_str()], flags].concat()).sentence(), sentence);
    }
    assert_eq!(data.run("query", &["--oid", &short]).sentence(), sentence);
    for more in ["", "&raw=1", "&as_pcap=1", "&as_hex=1", "&as_zip=1"] {
        let answer = server.get(&format!("/streamdb/?oid={short}{more}"));
        assert_eq!((answer.status, answer.text().trim_end()), (410, sentence.as_str()), "{more}");
    }
    let other = short.replacen("1-", "77-", 1);
    assert_eq!(server.get(&format!("/streamdb/?oid={other}")).status, 404);
    let stats = &data.json("stats", &[])[0];
    assert_eq!((&stats["buckets"], &stats["dropped_buckets"]), (&Value::from(3), &Value::from(2)));
    assert_eq!(text(stats, "last_dropped"), dropped_at(&data, 2));

    // Searches go on. The stream that began in a dropped bucket has the rest, and it says how much is missing.
    let found = server.get("/streamdb/?srcip=10.0.0.5&as_json=1");
    assert_eq!(found.status, 200);
    assert!(!found.text().contains(&short));
    let row = data.streams(&["srcport=40000", "direction=c"]).remove(0);
    assert_eq!(row["oid"], *long);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n".len() as u64;
    let said = data.run("get", &[&long, "--raw"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let missing = head + 20_000;
    let second = dropped_at(&data, 2);
    let dropped = format!("{long}: retention dropped a bucket with part of this stream at {second}; the rest is here");
    assert_eq!(
        said.err,
        format!("streamdb: {dropped}\nstreamdb: {missing} bytes from 0 on are missing (lost); zeros stand for them\n")
    );
    assert!(said.out[missing as usize..missing as usize + 10_000] == noise(10_000, 102));
    let objects = data.json("objects", &["srcport=40000", "direction=c"]);
    assert!(!objects.is_empty());
    assert!(
        objects.iter().all(|row| row["complete"] == false && row["missing_bytes"].as_u64() >= Some(20_000)),
        "{objects:?}"
    );
    let page = server.get("/streamdb/?srcip=10.0.0.5&srcport=40000&direction=c");
    assert!(page.text().contains("(INCOMPLETE)"), "{}", page.text());
    // All frames that are left come back.
    let frames: usize = data.json("buckets", &[]).iter().map(|row| row["frames"].as_u64().unwrap() as usize).sum();
    assert_eq!(data.export().frames.len(), frames);
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Now {
    Whole,
    Rest,
    Gone,
}

/// Whatever retention takes of a connection, and whether rows are kept or made anew: an oid gives the object that it always
/// gave, or the rest of it, or says that it is gone; and so does each that was made later.
#[test]
fn an_oid_never_names_another_object() {
    let body = |n: usize| noise(7_000 + 100 * n, 400 + n as u32);
    let data = Data::new("never-another");
    let mut made = Made::default();
    let mut talk = Talk::new(40_000);
    talk.open(&mut made, 0);
    for n in 0..20 {
        // Two in a second, and every other second one goes on in the next second.
        let at = n as u64 * 500 + 10;
        talk.ask(&mut made, at, format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
        let answer =
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body(n).len()).as_bytes(), &body(n)].concat();
        let (first, second) = answer.split_at(answer.len() / 2);
        talk.answer(&mut made, at + 10, first);
        talk.answer(&mut made, at + if n % 4 == 3 { 495 } else { 20 }, second);
    }
    talk.close(&mut made, 10_100);
    let capture = data.write("capture", &made.file());
    data.ingest(&["--bucket", "1s"], &[&capture]).well();
    let number = |row: &Value| text(row, "uri").trim_start_matches('/').parse::<usize>().unwrap();
    let rows = data.json("objects", &["direction=c"]);
    assert_eq!(rows.iter().map(number).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    let mut known: Vec<(String, usize)> = rows.iter().map(|row| (text(row, "oid").to_owned(), number(row))).collect();
    let buckets = ids(&data).len();
    let mut seen = std::collections::HashMap::<Now, usize>::new();
    for left in (1..buckets).rev() {
        let limit = last(&data, left);
        data.run("retain", &["--max-bytes", &limit]).well();
        assert_eq!(ids(&data).len(), left);
        if left == buckets / 2 {
            // What was counted once is forgotten.
            data.run("reindex", &[]).well();
        }
        let server = Server::start(&data);
        for (oid, n) in &known {
            let said = data.run("get", &[oid]);
            let now = match said.code {
                Some(0) if said.out == body(*n) => Now::Whole,
                Some(0) => {
                    let rest = said.out.iter().position(|byte| *byte != 0).unwrap_or(said.out.len());
                    assert!(body(*n).ends_with(&said.out[rest..]), "{left} buckets are left: {oid} is not /{n}");
                    assert!(said.err.contains(" missing"), "{said:?}");
                    Now::Rest
                }
                _ => {
                    assert!(said.sentence().contains(": retention dropped this "), "{said:?}");
                    Now::Gone
                }
            };
            *seen.entry(now).or_default() += 1;
            let answer = server.get(&format!("/streamdb/?oid={oid}"));
            assert_eq!(answer.status, if now == Now::Gone { 410 } else { 200 }, "{oid}");
            if now != Now::Gone {
                assert_eq!(
                    answer.header("x-streamdb-complete"),
                    Some(if now == Now::Whole { "true" } else { "false" })
                );
            }
        }
        // What the lists say now are names, too, and none that was another's.
        for row in data.json("objects", &["direction=c", "kind=response"]) {
            let (oid, n) = (text(&row, "oid").to_owned(), body_number(&row, &body));
            match known.iter().find(|(other, _)| *other == oid) {
                Some((_, other)) => assert_eq!(*other, n, "{oid}"),
                None => known.push((oid, n)),
            }
        }
        let page = server.get("/streamdb/?srcip=10.0.0.5&srcport=40000&direction=c&as_text=1");
        assert_eq!(page.status, 200);
        data.is_well();
    }
    // A rest is there only as long as the cut goes through its object, and as rows are kept.
    let least = [(Now::Whole, 100), (Now::Rest, 2), (Now::Gone, 100)];
    assert!(least.iter().all(|(now, least)| seen.get(now) >= Some(least)), "{seen:?}");
}

/// Where an answer ends may depend on what was asked: without that, a head in a body is taken for the next answer. All answers
/// are there, and are named as ever all the same.
#[test]
fn an_oid_names_no_other_answer_when_the_questions_are_gone() {
    let answer =
        |body: &[u8]| [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    // The other end of the connection is heard again, or not.
    for closes in [true, false] {
        let data = Data::new("no-other-answer");
        let mut made = Made::default();
        let mut talk = Talk::new(40_000);
        let asked: Vec<String> = (0..3).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n")).collect();
        talk.open(&mut made, 0).ask(&mut made, 10, asked.concat().as_bytes());
        let bodies = [answer(b"another one"), b"the second".to_vec(), b"the last one".to_vec()];
        for (body, at) in bodies.iter().zip(1_100..) {
            talk.answer(&mut made, at, &answer(body));
        }
        if closes {
            talk.close(&mut made, 1_200);
        }
        let capture = data.write("capture", &made.file());
        data.ingest(&["--bucket", "1s"], &[&capture]).well();
        // Each once, by whichever of the streams it is met.
        assert_eq!(data.json("objects", &[]).len(), 6);
        let rows = data.json("objects", &["direction=c"]);
        let known: Vec<String> = rows.iter().map(|row| text(row, "oid").to_owned()).collect();
        let all = || -> Vec<_> {
            known.iter().map(|oid| data.run("get", &[oid])).map(|said| (said.code, said.out)).collect()
        };
        assert_eq!(all(), bodies.clone().map(|body| (Some(0), body)));
        data.run("retain", &["--max-bytes", &last(&data, 1)]).well();
        let first = (Some(0), Vec::new());
        let rest = bodies[1..].iter().map(|body| (Some(0), body.clone()));
        assert_eq!(all(), [first].into_iter().chain(rest).collect::<Vec<_>>(), "{closes}");
        // Those that are made now are other names: of the four heads that there are.
        data.run("reindex", &[]).well();
        let rows = data.json("objects", &["direction=c"]);
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|row| !known.contains(&text(row, "oid").to_owned())), "{known:?}");
        assert!(all().iter().all(|(code, _)| *code != Some(0)));
    }
}

/// Which of the bodies this is, by its size: the request may be gone.
fn body_number(row: &Value, body: &dyn Fn(usize) -> Vec<u8>) -> usize {
    let size = row["size"].as_u64().unwrap() as usize;
    (0..20).find(|n| body(*n).len() == size).unwrap_or_else(|| panic!("no body is this: {row}"))
}

#[test]
fn age_counts_from_sealing_and_free_room_from_the_disk() {
    let data = five("age", &[]);
    // All of it was captured in 2012.
    data.run("retain", &["--max-age", "1h"]).well();
    assert_eq!(ids(&data).len(), 5);
    std::thread::sleep(Duration::from_millis(1100));
    data.run("retain", &["--max-age", "1s"]).well();
    assert!(ids(&data).is_empty());
    // And so that it never goes on for ever: as much as no disk has is not to be had.
    let data = five("free", &["--no-derive"]);
    let said = data.run("retain", &["--min-free", "8000000T"]);
    assert_eq!(said.code, Some(0));
    assert!(said.err.contains("nothing more can be dropped: no bucket is left; make room on the disk"), "{}", said.err);
    assert!(ids(&data).is_empty());
}

/// A file system in memory, mounted until the test ends.
struct Disk<'d>(&'d Path);

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn room_is_made_on_a_disk_that_fills_up() {
    let data = Data::new("disk");
    fs::create_dir(data.path()).unwrap();
    let path = data.path();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&path).stderr(Stdio::null());
    if !mount.status().is_ok_and(|status| status.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let _disk = Disk(&path);
    let capture = data.write("capture", &made().file());
    data.ingest(&["--bucket", "1s", "--no-derive"], &[&capture]).well();
    assert_eq!(ids(&data), [1, 2, 3, 4, 5]);
    data.run("retain", &["--min-free", "50%"]).well();
    assert_eq!(ids(&data).len(), 5);
    // Somebody else fills the disk, but for 64 KiB.
    let bucket = fs::metadata(path.join("buckets/1.sdb")).unwrap().len();
    let mut ballast = fs::File::create(path.join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    drop(ballast);
    let length = fs::metadata(path.join("ballast")).unwrap().len();
    fs::OpenOptions::new().write(true).open(path.join("ballast")).unwrap().set_len(length - 65_536).unwrap();
    let rows = json_lines(&data.run("retain", &["--min-free", &(65_536 + bucket + 100).to_string(), "--json"]).well());
    assert!((1..=3).contains(&rows.len()), "{rows:?}");
    assert!(rows.iter().all(|row| row["reason"] == "min-free"));
    assert_eq!(ids(&data).len(), 5 - rows.len());
}

#[test]
fn limits_of_the_configuration_hold_after_an_ingest() {
    let data = Data::new("configured");
    let capture = data.write("capture", &made().file());
    let config = data.write("streamdb.toml", b"[retention]\nmax_bytes = \"1\"\nmax_age = \"90d\"\n");
    let config = config.to_str().unwrap().to_owned();
    let said = data.ingest(&["--bucket", "1s", "--config", &config, "--max-bytes", "1G"], &[&capture]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "a flag overrides the file");
    assert_eq!(ids(&data).len(), 5);
    let said = data.run("retain", &["--config", &config]);
    assert_eq!(said.code, Some(0));
    assert!(ids(&data).is_empty());
    let said = data.ingest(&["--bucket", "1s", "--config", &config, "--again"], &[&capture]);
    assert!(said.err.starts_with("streamdb: retention dropped 5 buckets, "), "{}", said.err);
    assert_eq!(
        data.run("retain", &[]).sentence().split(':').next(),
        Some("there is no limit to keep the store within")
    );
    let nowhere = Data::new("nowhere");
    assert!(nowhere.run("retain", &["--max-bytes", "1G"]).sentence().contains("there is no StreamDB data folder here"));
    assert!(!nowhere.path().exists());
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let data = five("hold", &[]);
    let (second, long) = (oid(&data, 41_001), oid(&data, 40_000));
    let said = data.run("hold", &[&second, "--note", "case 7\nfor Ann"]).well();
    assert_eq!(String::from_utf8(said).unwrap(), "hold 1: bucket 2 kept until `streamdb hold --release 1`\n");
    // Every part of a long stream is kept.
    let row = &json_lines(&data.run("hold", &["--json", &long]).well())[0];
    assert_eq!((&row["hold"], &row["buckets"]), (&Value::from(2), &Value::from(vec![1, 2, 3, 4, 5])));
    let said = data.run("retain", &["--max-bytes", "1"]);
    let wanted = "and nothing more can be dropped: ";
    assert!(said.code == Some(0) && said.err.contains(wanted) && said.err.contains("are held"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1);
    assert_eq!(ids(&data), [1, 2, 3, 4, 5]);
    assert_eq!(data.json("stats", &[])[0]["held_buckets"], 5);
    data.run("hold", &["--release", "2"]).well();
    assert_eq!(
        data.run("hold", &["--release", "2"]).sentence(),
        "there is no hold 2; `streamdb hold --list` shows those that there are"
    );
    data.run("retain", &["--max-bytes", "1"]);
    assert_eq!(ids(&data), [2]);
    assert_eq!(data.json("buckets", &[])[0]["held"], true);
    assert!(String::from_utf8(data.run("buckets", &[]).well()).unwrap().ends_with(" frames held\n"));
    let list = String::from_utf8(data.run("hold", &["--list"]).well()).unwrap();
    assert!(
        list.starts_with("   1 ") && list.ends_with(&format!(" {second} (case 7\\nfor Ann): bucket 2\n")),
        "{list}"
    );
    let row = &json_lines(&data.run("hold", &["--list", "--json"]).well())[0];
    assert_eq!(text(row, "note"), "case 7\nfor Ann");

    // What is left of the long one can be held, and what is gone is said.
    let long = oid(&data, 40_000);
    let said = data.run("hold", &[&long]);
    let first = dropped_at(&data, 1);
    assert_eq!(
        said.err,
        format!("streamdb: part of it was dropped before and is not held: bucket 1, at {first} the last\n")
    );
    data.run("hold", &["--release", "1"]).well();
    data.run("hold", &["--release", "3"]).well();
    data.run("retain", &["--max-bytes", "1"]).well();
    assert!(ids(&data).is_empty());
    let time = dropped_at(&data, 2);
    let gone = format!("{second}: retention dropped this stream's bucket at {time}");
    assert_eq!(data.run("hold", &[&second]).sentence(), gone);
}

#[test]
fn what_is_to_be_held_can_be_searched_for() {
    let data = five("find", &[]);
    let held =
        |flags: &[&str]| json_lines(&data.run("hold", &[&["--json"], flags].concat()).well())[0]["buckets"].clone();
    let object = &data.json("objects", &["srcport=41003", "direction=c"])[0];
    assert_eq!(held(&["--sha256", text(object, "sha256")]), Value::from(vec![4]));
    assert_eq!(
        held(&["--ip", "10.0.0.5", "--start", "2012-03-02 07:51:54", "--end", "2012-03-02 07:51:54.9"]),
        Value::from(vec![4])
    );
    assert_eq!(held(&["--ip", "203.0.113.0/24"]), Value::from(vec![1, 2, 3, 4, 5]));
    let nothing = data.run("hold", &["--ip", "192.0.2.1"]);
    assert_eq!(nothing.sentence(), "nothing in the store fits, so nothing is held");
    let bad = data.run("hold", &["--sha256", "abc"]);
    assert!(bad.sentence().contains("sha256"), "{}", bad.err);
    assert_eq!(data.run("hold", &[]).code, Some(2));
}

/// As a writer leaves it that was killed between the tombstone and the end of the files.
#[test]
fn a_writer_that_died_in_a_drop_is_made_good_by_the_next() {
    let data = five("killed", &[]);
    let kept = ["buckets/1.sdb", "derived/1.objects"].map(|name| (name, fs::read(data.path().join(name)).unwrap()));
    data.run("retain", &["--max-bytes", &last(&data, 4)]).well();
    for (name, bytes) in &kept {
        fs::write(data.path().join(name), bytes).unwrap();
    }
    data.run("retain", &["--max-bytes", "1G"]).well();
    for (name, _) in &kept {
        assert!(!data.path().join(name).exists(), "{name}");
    }
    assert_eq!(ids(&data), [2, 3, 4, 5]);
    assert_eq!(data.json("buckets", &["--dropped"]).len(), 5);
}

#[test]
fn a_download_that_has_begun_is_finished() {
    let body = noise(24 << 20, 77);
    let mut made = Made::default();
    let mut talk = Talk::new(40_000);
    talk.open(&mut made, 0).ask(&mut made, 10, b"GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
    talk.answer(&mut made, 20, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    talk.answer(&mut made, 30, &body).close(&mut made, 900);
    let data = Data::new("download");
    let capture = data.write("capture", &made.file());
    data.ingest(&[], &[&capture]).well();
    let oid = oid(&data, 40_000);
    let server = Server::start(&data);
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = server.address;
    write!(socket, "GET /streamdb/?oid={oid} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = vec![0; 65_536];
    socket.read_exact(&mut answer).unwrap();

    data.run("retain", &["--max-bytes", "1"]).well();
    assert!(ids(&data).is_empty());
    assert_eq!(server.get(&format!("/streamdb/?oid={oid}")).status, 410);
    let mapped = || fs::read_to_string(format!("/proc/{}/maps", server.child.id())).unwrap().contains("/buckets/1.sdb");
    assert!(mapped());
    socket.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&body), "{} bytes came", answer.len());
    // Then its room is free, though nobody asks the server for anything.
    until("the server lets go of what was dropped", || (!mapped()).then_some(()));
}

/// Connections over loopback, one after the other, each with this much of noise.
fn talk(listener: &TcpListener, len: usize, seed: u32) {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&noise(len, seed)).unwrap();
    drop(client);
    server.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_capture_keeps_its_limit_and_what_somebody_holds_meanwhile() {
    if !may_capture() {
        println!("skipped: this user may not capture");
        return;
    }
    let data = Data::new("capturing");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let filter = format!("tcp port {}", listener.local_addr().unwrap().port());
    let flags = ["-i", "lo", "--filter", &filter, "--bucket", "1s", "--max-bytes", "300K", "--json"];
    let mut child = data.command("capture", &flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("it captures", || data.path().join("ledger").exists().then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    let seed = std::cell::Cell::new(1);
    let go_on = |what: &str, done: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
            seed.set(seed.get() + 1);
            talk(&listener, 30_000, seed.get());
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let streams = || json_lines(&data.run("streams", &["--json", "direction=s"]).out);
    go_on("a stream is there", &|| !streams().is_empty());
    let held = text(&streams()[0], "oid").to_owned();
    let bytes = data.get(&held, &["--raw"]);
    assert_eq!(data.run("hold", &[&held]).code, Some(0));
    let dropped = || data.json("buckets", &["--dropped"]).iter().filter(|row| row["state"] == "dropped").count();
    go_on("buckets are dropped", &|| dropped() >= 3);
    assert!(data.get(&held, &["--raw"]) == bytes);
    // One that was not held is gone, and the capture goes on all the same.
    assert!(data.run("retain", &["--max-bytes", "1"]).sentence().contains("another process"));
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(wait(&mut child).success());
    let (mut err, mut out) = (String::new(), Vec::new());
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    assert!(err.contains("streamdb: retention dropped "), "{err}");
    let taken: u64 = data.json("buckets", &[]).iter().map(|row| row["bytes"].as_u64().unwrap()).sum();
    assert!(taken <= 300 << 10, "{taken}");
    assert!(data.get(&held, &["--raw"]) == bytes);
    data.is_well();
}
