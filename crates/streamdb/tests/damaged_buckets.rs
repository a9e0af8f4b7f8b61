//! Buckets that are harmed while a server has them mapped: what is wrong is named, everything else is served, wrong bytes
//! never are, and no process dies of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::{Data, PATIENCE, Server, json_lines, testdata, text};
use serde_json::Value;

/// A stream as it was before, and the buckets that it may lie in.
struct Known {
    oid: String,
    buckets: (u64, u64),
    bytes: Vec<u8>,
}

/// What somebody does to buckets; which of them, by number.
struct Harm {
    name: &'static str,
    /// Whether headers and tables show it.
    plain: bool,
    /// Whether a server that has it mapped cannot read a stream for it.
    costs: bool,
    act: fn(&Path, &Path),
}

const HARMS: [Harm; 7] = [
    Harm { name: "cut in half", plain: true, costs: true, act: |one, _| cut(one, |len| len / 2) },
    Harm { name: "cut within its trailer", plain: true, costs: false, act: |one, _| cut(one, |len| len - 100) },
    Harm { name: "cut to nothing", plain: true, costs: true, act: |one, _| cut(one, |_| 0) },
    Harm { name: "removed", plain: true, costs: true, act: |one, _| fs::remove_file(one).unwrap() },
    Harm { name: "exchanged", plain: true, costs: false, act: exchange },
    Harm { name: "overwritten by zeros", plain: true, costs: true, act: |one, _| overwrite(one, &|byte| *byte = 0) },
    Harm { name: "with flipped bits", plain: false, costs: true, act: |one, _| overwrite(one, &|byte| *byte ^= 0x04) },
];

fn cut(path: &Path, to: fn(u64) -> u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(to(file.metadata().unwrap().len())).unwrap();
}

fn exchange(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(&aside, other).unwrap();
}

/// In place, as a disk or a careless hand does it: every 97th byte of the blocks.
fn overwrite(path: &Path, change: &dyn Fn(&mut u8)) {
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.len() - 200;
    bytes[200..end].iter_mut().step_by(97).for_each(change);
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&bytes, 0).unwrap();
}

/// The bytes of an answer that is whole and says that all is well; `None` when it says otherwise, or breaks off.
fn asked(server: &Server, path: &str) -> Option<Vec<u8>> {
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", server.address).unwrap();
    let mut answer = Vec::new();
    // A reset is a way to break off.
    socket.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
    let length: Option<usize> =
        head.lines().find_map(|l| l.strip_prefix("content-length: ")).map(|l| l.parse().unwrap());
    let body = &answer[end + 4..];
    let well = head.starts_with("http/1.1 200") || head.starts_with("http/1.0 200");
    (well && length.is_none_or(|length| length == body.len())).then(|| body.to_vec())
}

fn known(data: &Data, server: &Server) -> Vec<Known> {
    let buckets = data.json("buckets", &[]);
    let rows = data.streams(&[]);
    let number = |oid: &str| oid.split('-').next().unwrap().parse::<u64>().unwrap();
    let begun = |row: &Value| {
        let bucket = buckets.iter().find(|bucket| text(bucket, "window_end") > text(row, "start")).unwrap();
        bucket["bucket"].as_u64().unwrap()
    };
    let know = |row: &Value| {
        let oid = text(row, "oid").to_owned();
        let bytes = asked(server, &format!("/streamdb/?raw=1&oid={oid}")).unwrap();
        Known { buckets: (begun(row), number(&oid)), oid, bytes }
    };
    rows.iter().filter(|row| row["length"] != 0).map(know).collect()
}

fn harmed(harm: &Harm) {
    let data = Data::new("harmed");
    data.ingest(&["--bucket", "1s"], &[&testdata("imagedump", "capture.pcap")]).well();
    // Streams that have blocks of their own, in buckets of their own.
    for case in ["nginx-downloads", "lossy-path"] {
        data.ingest(&["--compression", "fast"], &[&testdata(case, "capture.pcap")]).well();
    }
    let before = known(&data, &Server::start(&data));
    // Another one, which has the buckets mapped, and none of their long blocks in memory.
    let mut server = Server::start(&data);
    assert!(asked(&server, "/streamdb/?srcip=192.0.2.99").is_some());
    let bucket = |id: u64| -> PathBuf { data.path().join(format!("buckets/{id}.sdb")) };
    // The two largest in which streams end.
    let mut ids: Vec<u64> = before.iter().map(|stream| stream.buckets.1).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.sort_by_key(|id| std::cmp::Reverse(fs::metadata(bucket(*id)).unwrap().len()));
    let (one, other) = (ids[0], ids[1]);
    (harm.act)(&bucket(one), &bucket(other));
    let touched = |stream: &Known, id: u64| (stream.buckets.0..=stream.buckets.1).contains(&id);

    let (mut served, mut refused) = (0u32, 0u32);
    for stream in &before {
        let now = asked(&server, &format!("/streamdb/?raw=1&oid={}", stream.oid));
        let may_miss = touched(stream, one) || (harm.name == "exchanged" && touched(stream, other));
        match now {
            Some(bytes) => {
                assert_eq!(bytes, stream.bytes, "{}: wrong bytes of {}", harm.name, stream.oid);
                served += 1;
            }
            None => {
                assert!(may_miss, "{}: {} lies elsewhere", harm.name, stream.oid);
                refused += 1;
            }
        }
    }
    println!("{}: {served} served as before, {refused} refused", harm.name);
    assert!(served > 60 && (refused > 0) == harm.costs, "{}", harm.name);
    assert!(asked(&server, "/streamdb/?srcip=10.0.0.5").is_some(), "{}: the search goes on", harm.name);
    assert!(server.child.try_wait().unwrap().is_none(), "{}: the server is gone", harm.name);

    // A process that opens it so sees it, too.
    let name = format!("{one}.sdb");
    let said = data.run("verify", if harm.plain { &[] } else { &["--deep"] });
    assert_eq!(said.code, Some(1), "{}: {said:?}", harm.name);
    assert!(said.err.lines().any(|line| line.contains(&name)), "{}: {}", harm.name, said.err);
    let listed = data.run("streams", &["--json"]);
    assert!(listed.code.is_some(), "{}: {listed:?}", harm.name);
    for row in json_lines(&listed.out) {
        // Without its trailer a bucket is scanned, and without its last part a stream is named by the one before: what is
        // there is a beginning of what was.
        let said = data.run("get", &[text(&row, "oid"), "--raw"]);
        let known = |stream: &Known| stream.bytes.starts_with(&said.out);
        assert!(said.code != Some(0) || before.iter().any(known), "{}: {row}", harm.name);
        assert!(said.code.is_some(), "{}: {said:?}", harm.name);
    }
    let export = data.beside("export");
    let said = data.run("export", &["--pcap", export.to_str().unwrap()]);
    assert!(said.code.is_some(), "{}: {said:?}", harm.name);
}

#[test]
fn a_server_lives_through_what_is_done_to_its_buckets() {
    HARMS.iter().for_each(harmed);
}
