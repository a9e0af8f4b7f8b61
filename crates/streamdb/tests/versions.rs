//! Where two frames carried different bytes for one place of an object, both are there, with their digests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use common::{Data, Made, Server, Talk, text};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn head(length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// Two answers; other bytes came for the second one.
fn stored(name: &str, flags: &[&str]) -> Data {
    let (mut made, mut talk) = (Made::default(), Talk::new(50_000));
    talk.open(&mut made, 0).ask(&mut made, 1, b"GET /a HTTP/1.1\r\nHost: x.example\r\n\r\n");
    talk.answer(&mut made, 2, &[&head(5)[..], b"plain"].concat());
    talk.ask(&mut made, 3, b"GET /b HTTP/1.1\r\nHost: x.example\r\n\r\n");
    talk.answer(&mut made, 4, &head(14));
    let before = talk.clone();
    talk.answer(&mut made, 5, b"harmless ").answer(&mut made, 6, b"bytes");
    // The same place again, in one frame, and once more, otherwise.
    before.clone().answer(&mut made, 7, b"harmful  bytes");
    before.clone().answer(&mut made, 8, b"nothing..");
    // What keeps a connection alive is a byte of nothing, and contradicts nothing.
    let mut alive = talk.clone();
    alive.back(1, 1).answer(&mut made, 9, b"\0");
    talk.close(&mut made, 10);
    let data = Data::new(name);
    let capture = data.write("made.pcap", &made.file());
    data.ingest(flags, &[&capture]).well();
    data
}

fn answers(data: &Data) -> [Value; 2] {
    data.json("objects", &["kind=response", "sort=0"]).try_into().unwrap()
}

#[test]
fn both_versions_of_an_object_can_be_had() {
    let data = stored("versions", &[]);
    let [first, second] = answers(&data);
    assert_eq!(first["conflict"], Value::Null, "the conflict lies elsewhere in its stream");
    assert_eq!((&second["conflict"], &second["complete"]), (&true.into(), &true.into()));
    let oid = text(&second, "oid");
    let (own, other) = (b"harmless bytes", b"harmful  bytes");
    assert_eq!(data.get(oid, &[]), own);
    assert_eq!(data.get(oid, &["--other=1"]), other);
    assert_eq!(text(&second, "sha256"), sha256(own));
    let fact = format!("14 bytes, SHA-256 {}", sha256(other));
    let third = b"nothing..bytes";
    assert_eq!(data.get(oid, &["--other=2"]), third);
    let facts = [fact, format!("14 bytes, SHA-256 {}", sha256(third))];
    assert_eq!(second["facts"]["other version"], serde_json::json!(facts));
    assert_eq!(data.json("objects", &[&format!("fact=other version: .*{}", sha256(other))]).len(), 1);
    data.run("verify", &["--deep"]).well();

    let server = Server::start(&data);
    let answer = server.get(&format!("/streamdb/?oid={oid}&other=1"));
    assert_eq!((answer.status, answer.body.as_slice()), (200, &other[..]));
    assert_eq!(answer.header("x-streamdb-sha256"), Some(&*sha256(other)));
    let answer = server.get(&format!("/streamdb/?oid={oid}"));
    assert_eq!((answer.body.as_slice(), answer.header("x-streamdb-sha256")), (&own[..], Some(&*sha256(own))));
}

#[test]
fn where_there_is_no_other_version_it_is_said() {
    let data = stored("versions-none", &["--packets", "off"]);
    let [first, second] = answers(&data);
    // Without frames nobody knows where in the stream it was.
    assert_eq!((&first["conflict"], &second["conflict"]), (&true.into(), &true.into()));
    let said = data.run("get", &[text(&second, "oid"), "--other=1"]);
    assert!(said.sentence().contains("no such other bytes were captured"), "{said:?}");
}
