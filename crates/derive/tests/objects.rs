//! Objects out of a store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::ops::{ControlFlow, Range};

use common::{HEADERS, Said, Talk, store};
use streamdb_derive::{
    BodyLimits, CaptureFormat, Decode, Error, Extent, Kind, Piece, Rows, Store, StoreError, StreamInfo, capture,
    capture_format, conversation, object, raw,
};
use streamdb_types::{Direction, Reason, StreamOffset};

fn talk(said: Vec<Said<'_>>) -> Talk<'_> {
    Talk {
        client: "10.0.0.5:49211",
        server: "203.0.113.9:80",
        begun: "2012-03-02T07:51:51Z",
        said,
        reason: Reason::Fin,
    }
}

fn streams(store: &Store) -> Vec<StreamInfo> {
    let mut all = Vec::new();
    let visit = &mut |info| {
        all.push(info);
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    all.sort_by_key(|info| info.direction);
    all
}

fn body(store: &Store, oid: streamdb_types::Oid) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let outcome = object(store, oid)
        .unwrap()
        .body(Decode::Decoded, &BodyLimits::default(), &mut |piece| {
            match piece {
                Piece::Bytes(piece) => bytes.extend_from_slice(piece),
                Piece::Hole(gap) => bytes.extend(std::iter::repeat_n(b'?', gap.length as usize)),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    (bytes, outcome.complete)
}

#[test]
fn messages_have_names_and_bodies() {
    let (_folder, store) = store(&[talk(vec![
        Said::ToServer(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"),
        Said::ToClient(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"),
        Said::ToClient(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"),
    ])]);
    let [to_server, to_client] = streams(&store).try_into().unwrap();
    assert_eq!(to_server.peer, Some(to_client.oid));
    let found = conversation(&store, to_client.oid).unwrap();
    assert_eq!(found.asked(), Direction::ToClient);
    assert_eq!(found.messages().of(Direction::ToServer).len(), 2);
    let names: Vec<_> = found.messages().of(Direction::ToClient).iter().map(|m| found.oid(m).unwrap()).collect();
    assert_eq!(names, [to_client.oid, to_client.oid.with_index(1)]);
    assert_eq!(body(&store, names[0]), (b"first".to_vec(), true));
    assert_eq!(body(&store, names[1]), (b"second".to_vec(), true));
    assert!(matches!(object(&store, to_server.oid).unwrap().message().kind, Kind::Request { .. }));

    assert!(matches!(object(&store, to_client.oid.with_index(2)), Err(Error::NoSuchMessage { messages: 2, .. })));
    assert!(matches!(object(&store, to_client.oid.with_index(1 << 32)), Err(Error::NothingInside(_))));
    assert!(matches!(object(&store, to_client.oid.with_index((1 << 32) + 2)), Err(Error::NoSuchMessage { .. })));
    let other = streamdb_types::Oid { length: to_client.oid.length + 1, ..to_client.oid };
    assert!(matches!(object(&store, other), Err(Error::Store(StoreError::NoSuchStream(_)))));
}

#[test]
fn holes_stay_where_they_are() {
    let (_folder, store) = store(&[talk(vec![
        Said::ToServer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        Said::ToClient(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
        Said::Lost(4),
        Said::ToClient(b"hi"),
    ])]);
    let [_, to_client] = streams(&store).try_into().unwrap();
    assert_eq!(body(&store, to_client.oid), (b"abc????hi".to_vec(), false));
    let (length, gaps) = object(&store, to_client.oid).unwrap().plain().unwrap();
    assert_eq!((length, gaps.len(), gaps[0].offset, gaps[0].length), (9, 1, StreamOffset(3), 4));

    let mut conversation = conversation(&store, to_client.oid).unwrap();
    let named = conversation.named(Direction::ToClient, to_client.oid).unwrap();
    assert_eq!(conversation.extent(&named), Extent { length: 9, holes: vec![Range { start: 3, end: 7 }] });

    let stream = store.stream(to_client.oid).unwrap();
    let end = stream.len().0;
    let mut seen = Vec::new();
    raw(&stream, StreamOffset(end - 7)..StreamOffset(end - 1), &mut |piece| {
        seen.push(match piece {
            Piece::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Piece::Hole(gap) => format!("{} at -{}", gap.length, end - gap.offset.0),
        });
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, ["c", "4 at -6", "h"]);
}

#[test]
fn a_connections_frames_are_a_capture_file() {
    let (_folder, store) = store(&[
        talk(vec![Said::ToServer(b"hello"), Said::ToClient(b"world")]),
        talk(vec![Said::ToServer(b"another")]),
    ]);
    let info = &streams(&store)[0];
    let stream = store.stream(info.oid).unwrap();
    let format = capture_format(&store, &stream).unwrap();
    assert_eq!(format, CaptureFormat::Pcap);
    let (file, frames) = capture(&store, &stream, format, Vec::new()).unwrap();
    assert_eq!(frames, 4);
    // The file's header, four frames with theirs, of which two have five bytes of payload.
    assert_eq!(file.len(), 24 + 4 * (16 + HEADERS) + 10);
    let holds = |bytes: &[u8]| file.windows(bytes.len()).any(|w| w == bytes);
    assert!(holds(b"hello") && holds(b"world") && !holds(b"another"));

    let refuses = capture(&store, &stream, format, Full);
    assert!(matches!(refuses, Err(Error::Output(_))));
}

/// An output that takes nothing.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_damaged_block_is_an_error_and_no_end() {
    // Random bytes, as the block has to be beyond what the directory reads.
    let mut noise = 1u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    })
    .take(3 << 20)
    .collect();
    let (folder, fresh) = store(&[talk(vec![Said::ToServer(&bytes)])]);
    let oid = streams(&fresh)[0].oid;
    assert_eq!(body(&fresh, oid).0, bytes);
    drop(fresh);
    let data = folder.path().join("data");
    let bucket = std::fs::read_dir(data.join("buckets")).unwrap().next().unwrap().unwrap().path();
    let mut file = std::fs::read(&bucket).unwrap();
    let wanted = &bytes[1 << 20..(1 << 20) + 32];
    let at = file.windows(32).position(|w| w == wanted).unwrap();
    file[at] ^= 1;
    std::fs::write(&bucket, file).unwrap();

    let store = Store::open(&data).unwrap();
    let result = object(&store, oid).and_then(|mut object| {
        object.body(Decode::Decoded, &BodyLimits::default(), &mut |_| ControlFlow::Continue(())).map(|_| ())
    });
    assert!(matches!(result, Err(Error::Store(StoreError::Damaged { .. }))), "{result:?}");
}

#[test]
fn a_range_of_a_file_is_not_the_file() {
    let said = |range: &str| {
        let answer =
            format!("HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: {range}\r\n\r\nabcde");
        let (_folder, store) = store(&[talk(vec![
            Said::ToServer(b"GET /f HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n"),
            Said::ToClient(answer.as_bytes()),
        ])]);
        let [_, to_client] = streams(&store).try_into().unwrap();
        let rows = Rows::new().of(&store, &to_client).unwrap();
        let row = rows.into_iter().find(|row| row.status == Some(206) && row.size == 5).unwrap();
        let range = row.facts.strip_prefix("range: ").map(|range| range.trim_end().to_owned());
        (row.complete, row.reason, range)
    };
    assert_eq!(said("bytes 0-4/5"), (true, None, Some("bytes 0 to 4 of 5".to_owned())));
    for (range, fact) in [
        ("bytes 2-6/100", Some("bytes 2 to 6 of 100")),
        ("bytes 0-4/*", Some("bytes 0 to 4")),
        ("bytes 95-99/100", Some("bytes 95 to 99 of 100")),
        ("5 bytes", None),
    ] {
        assert_eq!(said(range), (false, Some("partial".to_owned()), fact.map(str::to_owned)), "{range}");
    }
}
