//! Rows of objects: made, kept, made again, and what lies inside an object.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::cell::Cell;
use std::ops::ControlFlow;

use common::{Said, Talk, store};
use streamdb_derive::{
    BodyLimits, Decode, Deriver, Error, Piece, Progress, Rows, Store, StoreError, StreamInfo, object, objects,
};
use streamdb_storage::{Covered, DiskVolume, MadeOf};
use streamdb_types::{BlockPlace, BucketId, ConnKey, ObjectKind, ObjectRow, Reason};

fn talk(client: &'static str, said: Vec<Said<'static>>) -> Talk<'static> {
    Talk { client, server: "203.0.113.9:80", begun: "2012-03-02T07:51:51Z", said, reason: Reason::Fin }
}

/// A page, one that is cut, and something that is no HTTP.
fn talks() -> Vec<Talk<'static>> {
    vec![
        talk(
            "10.0.0.5:1000",
            vec![
                Said::ToServer(b"GET /a/page.html?x=1 HTTP/1.1\r\nHost: www.example\r\n\r\n"),
                Said::ToClient(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>",
                ),
            ],
        ),
        talk(
            "10.0.0.5:1001",
            vec![
                Said::ToServer(b"PUT /up/x.bin HTTP/1.1\r\nHost: www.example\r\nContent-Length: 3\r\n\r\nabc"),
                Said::ToClient(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nab"),
                Said::Lost(4),
                Said::ToClient(b"ghi"),
            ],
        ),
        talk("10.0.0.5:1002", vec![Said::ToServer(b"\x00\x01\x02hello"), Said::ToClient(b"SSH-2.0-x\r\n")]),
    ]
}

fn streams(store: &Store) -> Vec<StreamInfo> {
    let mut all = Vec::new();
    let visit = &mut |info| {
        all.push(info);
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    all
}

fn caught_up(deriver: &mut Deriver, store: &Store) -> Progress {
    deriver.catch_up(store, &|| false, &mut |error| panic!("{error}")).unwrap()
}

fn one<'r>(rows: &'r [ObjectRow], kind: ObjectKind, uri: &str) -> &'r ObjectRow {
    rows.iter().find(|row| row.kind == kind && row.uri.as_deref() == Some(uri)).unwrap()
}

#[test]
fn what_was_made_when_it_was_to_stop_is_kept() {
    let (_folder, store) = store(&talks());
    let mut deriver = Deriver::new(&store).unwrap();
    let asked = Cell::new(0);
    // The bucket, and two connections.
    let stop = || asked.replace(asked.get() + 1) >= 3;
    let first = deriver.catch_up(&store, &stop, &mut |error| panic!("{error}")).unwrap();
    assert_eq!((first.connections, asked.get() >= 4), (2, true));
    drop(deriver);
    let rest = caught_up(&mut Deriver::new(&store).unwrap(), &store);
    assert_eq!(rest.connections, 1);
    assert_eq!(rest.objects + first.objects, 6);
}

#[test]
fn rows_say_what_objects_are() {
    let (_folder, store) = store(&talks());
    let mut rows = Vec::new();
    let mut made = Rows::new();
    for stream in streams(&store).iter().filter(|stream| stream.direction.letter() == 'c') {
        rows.extend(objects(&store, stream, &mut made).unwrap());
    }
    assert_eq!(rows.len(), 6);
    let page = one(&rows, ObjectKind::Response, "/a/page.html?x=1");
    assert_eq!(
        (page.method.as_deref(), page.host.as_deref(), page.status),
        (Some("GET"), Some("www.example"), Some(200))
    );
    assert_eq!((page.filename.as_deref(), page.declared_type.as_deref()), (Some("page.html"), Some("text/html")));
    assert_eq!((page.size, page.encoded_size, page.complete, page.reason.as_deref()), (13, 13, true, None));
    // sha256sum, md5sum and sha1sum of `<html></html>`.
    let digests = page.digests.unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(&digests.sha256), "b633a587c652d02386c4f16f8c6f6aab7352d97f16367c3c40576214372dd628");
    assert_eq!(hex(&digests.md5), "c83301425b2ad1d496473a5ff3d9ecca");
    assert_eq!(page.digests_encoded, None);
    let put = one(&rows, ObjectKind::Request, "/up/x.bin");
    assert_eq!((put.size, put.filename.as_deref(), put.status), (3, Some("x.bin"), Some(201)));
    let cut = one(&rows, ObjectKind::Response, "/up/x.bin");
    assert_eq!((cut.size, cut.complete, cut.missing_bytes, cut.reason.as_deref()), (9, false, 4, Some("gap")));
    assert_eq!(cut.digests, None, "nobody knows what was in the hole");
    let other = rows.iter().filter(|row| row.kind == ObjectKind::Stream).collect::<Vec<_>>();
    assert!(other.iter().any(|row| row.description.starts_with("SSH-2.0 session")), "{other:?}");
}

#[test]
fn rows_are_kept_once_and_made_again() {
    let (_folder, store) = store(&talks());
    let all = streams(&store);
    let made: Vec<_> = all.iter().map(|stream| Rows::new().of(&store, stream).unwrap()).collect();
    let mut deriver = Deriver::new(&store).unwrap();
    assert!(matches!(Deriver::new(&store), Err(Error::Store(StoreError::Deriving(_)))), "one at a time");
    let progress = caught_up(&mut deriver, &store);
    assert_eq!(progress, Progress { connections: 3, objects: 6, damaged: 0, waits: false });
    assert_eq!(caught_up(&mut deriver, &store), Progress::default());
    let kept = || {
        let kept = all.iter().map(|stream| store.derived_rows(stream.oid.bucket, stream.key).unwrap().unwrap());
        kept.collect::<Vec<_>>()
    };
    assert_eq!(kept(), made);
    let mut steps = Vec::new();
    let again =
        deriver.reindex(&store, &|| false, &mut |error| panic!("{error}"), &mut |done, of| steps.push((done, of)));
    assert_eq!((again.unwrap(), steps), (progress, vec![(1, 1)]));
    assert_eq!(kept(), made);
    drop(deriver);
    // Another one finds that all is done.
    assert_eq!(caught_up(&mut Deriver::new(&store).unwrap(), &store), Progress::default());
}

/// Headers of a Windows program of one section, with a console.
fn program() -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x88].copy_from_slice(&[0x4c, 1, 1, 0]);
    bytes[0x94..0x98].copy_from_slice(&[0xe0, 0, 2, 1]);
    bytes[0x98..0x9a].copy_from_slice(&[0x0b, 1]);
    bytes[0xdc] = 3;
    bytes[1000..1005].copy_from_slice(b"hello");
    bytes
}

#[test]
fn an_executable_under_a_key_is_an_object_inside_the_one_that_hides_it() {
    let plain = program();
    let key = b"\x5a\xc3\x17\x88";
    let mut hidden = key.to_vec();
    hidden.extend(plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]));
    let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", hidden.len()).as_bytes(), &hidden].concat();
    let answer: &'static [u8] = answer.leak();
    let asked = Said::ToServer(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    let (_folder, store) = store(&[talk("10.0.0.5:1000", vec![asked, Said::ToClient(answer)])]);
    let all = streams(&store);
    let to_client = all.iter().find(|stream| stream.direction.letter() == 'c').unwrap();
    let rows = Rows::new().of(&store, to_client).unwrap();
    let [_, outer, inner] = rows.as_slice() else { panic!("{rows:#?}") };
    assert!(outer.description.starts_with("XOR obfuscated PE32 executable"), "{}", outer.description);
    assert_eq!(outer.xor_key.as_deref(), Some(&key[..]));
    assert_eq!((inner.kind, inner.oid, inner.size), (ObjectKind::File, outer.oid.with_index(1 << 32), 1024));
    assert!(inner.description.starts_with("PE32 executable (console) Intel 80386"), "{}", inner.description);
    let mut bytes = Vec::new();
    let outcome = object(&store, inner.oid).unwrap().body(Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        if let Piece::Bytes(piece) = piece {
            bytes.extend_from_slice(piece);
        }
        ControlFlow::Continue(())
    });
    assert_eq!((bytes, outcome.unwrap().length), (plain, 1024));
    assert!(matches!(object(&store, outer.oid.with_index(2 << 32)), Err(Error::NothingInside(_))));
}

#[test]
fn a_bucket_that_cannot_be_read_is_told_once() {
    let (folder, store) = store(&talks());
    let mut deriver = Deriver::new(&store).unwrap();
    let bucket = folder.path().join("data/buckets/1.sdb");
    let mut bytes = std::fs::read(&bucket).unwrap();
    bytes[2000] ^= 1;
    std::fs::write(&bucket, bytes).unwrap();
    // As another process finds it, which has not had it open before.
    let store = Store::open(store.path()).unwrap();
    let mut said = Vec::new();
    for _ in 0..3 {
        deriver.catch_up(&store, &|| false, &mut |error| said.push(error.to_string())).unwrap();
    }
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("damaged at byte 0"), "{said:?}");
    let told = &mut |error: &Error| said.push(error.to_string());
    deriver.reindex(&store, &|| false, told, &mut |_, _| {}).unwrap();
    assert_eq!(said.len(), 2, "a reindex tries it again");
}

#[test]
fn rows_are_compared_with_what_the_bucket_gives() {
    let (_folder, store) = store(&talks());
    let wrong = |store: &Store| {
        let mut said = Vec::new();
        let checked = streamdb_derive::check(store, &mut |what| said.push(what), &mut |_, _| {}).unwrap();
        (checked, said)
    };
    assert_eq!(wrong(&store).0.connections, 0, "nothing is kept yet");
    caught_up(&mut Deriver::new(&store).unwrap(), &store);
    let (checked, said) = wrong(&store);
    assert_eq!((checked.connections, checked.objects, said), (3, 6, vec![]));

    // Rows as another program might have written them: one connection with a wrong digest, one without its rows.
    let id = store.bucket_ids().unwrap()[0];
    let all = streams(&store);
    let lock = store.derive_lock().unwrap();
    store.forget_derived(&lock, &DiskVolume, id).unwrap();
    let mut writer = store.derived_writer(&lock, &DiskVolume, id).unwrap();
    let mut keys: Vec<_> = all.iter().map(|stream| (stream.key, stream)).collect();
    keys.dedup_by_key(|(key, _)| *key);
    for (key, stream) in &keys[..2] {
        let mut rows = Rows::new().of(&store, stream).unwrap();
        if *key == keys[0].0 {
            rows[0].size += 1;
        }
        writer.connection(*key, &stream.tuple, &rows).unwrap();
    }
    writer.commit(Covered { to: BlockPlace(u64::MAX), whole: true }).unwrap();
    let (_, said) = wrong(&store);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("the rows of 1 connections are missing, those of 1 are not what the bucket gives"),
        "{said:?}"
    );
}

#[test]
fn what_was_made_for_a_question_is_there_for_the_next() {
    let (_folder, store) = store(&talks());
    let store = &*store;
    for stream in &streams(store) {
        let of = MadeOf::of(stream, true).unwrap();
        assert!(store.made_rows(&of).is_none());
        let rows = objects(store, stream, &mut Rows::new()).unwrap();
        assert_eq!(store.made_rows(&of).unwrap()[..], rows);
        assert_eq!(objects(store, stream, &mut Rows::new()).unwrap(), rows);
        // What was read in a hurry is not all.
        assert!(store.made_rows(&MadeOf::of(stream, false).unwrap()).is_none());
        // Of another record: it went on.
        let later = StreamInfo { oid: stream.oid.with_index(0), reason: None, ..stream.clone() };
        assert!(store.made_rows(&MadeOf::of(&later, true).unwrap()).is_none());
    }
    let stream = streams(store).remove(0);
    // Another bucket may have more to say of these.
    assert_eq!(MadeOf::of(&StreamInfo { goes_on: true, ..stream.clone() }, true), None);
    let begun_before = ConnKey { bucket: BucketId(stream.key.bucket.0 - 1), ..stream.key };
    assert_eq!(MadeOf::of(&StreamInfo { peer: None, key: begun_before, ..stream.clone() }, true), None);
}
