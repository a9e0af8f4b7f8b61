//! Connections that are cheap to send and would be dear to keep: what their rows may cost is bounded for each connection,
//! whatever its messages are.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{Said, Talk, store};
use streamdb_derive::{BodyLimits, Rows, Store};
use streamdb_types::{ObjectKind, ObjectRow, Reason};

/// The rows of a connection in which this is said.
fn rows(said: Vec<Said<'_>>) -> Vec<ObjectRow> {
    let talk = Talk {
        client: "10.0.0.5:49211",
        server: "203.0.113.9:80",
        begun: "2012-03-02T07:51:51Z",
        said,
        reason: Reason::Fin,
    };
    let (_folder, store) = store(&[talk]);
    of(&store)
}

fn of(store: &Store) -> Vec<ObjectRow> {
    let mut found = None;
    let visit = &mut |info| {
        found = Some(info);
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    Rows::new().of(store, &found.unwrap()).unwrap()
}

#[test]
fn many_answers_to_one_request_do_not_each_keep_its_texts() {
    let request = format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "u".repeat(60_000), "h".repeat(60_000));
    let answers = b"HTTP/1.1 103 E\r\n\r\n".repeat(10_000);
    let rows = rows(vec![Said::ToServer(request.as_bytes()), Said::ToClient(&answers)]);
    assert_eq!(rows.len(), 10_001);
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    assert_eq!((length(&rows[1].uri), length(&rows[1].host)), (16 << 10, 16 << 10), "the first ones are as ever");
    let texts: usize = rows.iter().map(|row| length(&row.uri) + length(&row.host)).sum();
    assert!(texts < 32 << 20, "{} MiB of texts", texts >> 20);
}

/// A zstd frame of some 2 KiB that decodes to as many zeros as are allowed without a look at the ratio (RFC 8878 §3.1.1).
fn bomb() -> Vec<u8> {
    const BLOCK: u64 = 128 << 10;
    let blocks = BodyLimits::default().ratio_from / BLOCK;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for block in 1..=blocks {
        let header = u64::from(block == blocks) | 1 << 1 | BLOCK << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn many_bombs_in_one_connection_are_not_all_set_off() {
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    let bomb = bomb();
    for _ in 0..60 {
        requests.extend(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        answers.extend(
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n", bomb.len()).bytes(),
        );
        answers.extend(&bomb);
    }
    // What decodes to no more than content does is not affected.
    requests.extend(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let plain = b"\x28\xb5\x2f\xfd\x00\x58\x29\x00\x00hello";
    answers.extend(b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 14\r\n\r\n");
    answers.extend(plain);
    let rows = rows(vec![Said::ToServer(&requests), Said::ToClient(&answers)]);
    let answers: Vec<&ObjectRow> = rows
        .iter()
        .filter(|row| row.status == Some(200) && row.declared_type.is_none() && row.encoded_size > 0)
        .collect();
    assert_eq!(answers.len(), 61);
    let first = answers[0];
    assert_eq!((first.size, first.complete), (64 << 20, true));
    let cut = answers[59];
    assert_eq!((cut.complete, cut.reason.as_deref()), (false, Some("limit")));
    let last = answers[60];
    assert_eq!((last.size, last.complete), (5, true), "{last:?}");
    let decoded: u64 = answers.iter().map(|row| row.size).sum();
    assert!(decoded < 1 << 30, "{} MiB", decoded >> 20);
}

#[test]
fn files_that_lie_one_in_the_other_are_not_all_read_to_the_end() {
    let head = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    let said = [b"!".as_slice(), &[&head[..], &[b'.'; 2000]].concat().repeat(1000)].concat();
    let rows = rows(vec![Said::ToServer(b"?"), Said::ToClient(&said)]);
    let files: Vec<&ObjectRow> = rows.iter().filter(|row| row.kind == ObjectKind::File).collect();
    assert_eq!(files.len(), 1000);
    assert!(files.iter().all(|row| !row.complete));
    let read: u64 = files.iter().filter(|row| row.digests.is_some()).map(|row| row.size).sum();
    let all = said.len() as u64;
    assert!(read > all && read <= 2 * all + (4 << 20), "{read} of {all}");
    let limited = files.iter().filter(|row| row.reason.as_deref() == Some("limit")).count();
    assert!(limited > 900, "{limited}");
}
