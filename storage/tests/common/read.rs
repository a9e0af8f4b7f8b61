//! Reads a store back, and compares it with the model.

use std::collections::BTreeMap;
use std::path::Path;

use streamdb_storage::{FrameFilter, Packets, Read, Store, Stream, StreamInfo, Verify};
use streamdb_types::{Direction, Gap, StreamOffset};

use super::content;
use super::model::{FrameModel, Model};

/// A run of a stream's bytes, and where it begins.
pub type Run = (u64, Vec<u8>);

/// A whole stream, as it is read: its runs of bytes and its gaps.
pub fn read_all(stream: &Stream, step: usize) -> Result<(Vec<Run>, Vec<Gap>), streamdb_storage::Error> {
    let mut runs: Vec<Run> = Vec::new();
    let mut gaps = Vec::new();
    let mut at = 0;
    let mut buffer = vec![0; step];
    loop {
        match stream.read_at(StreamOffset(at), &mut buffer)? {
            Read::Bytes(n) => {
                assert!(n > 0);
                match runs.last_mut() {
                    Some((start, bytes)) if *start + bytes.len() as u64 == at => bytes.extend_from_slice(&buffer[..n]),
                    _ => runs.push((at, buffer[..n].to_vec())),
                }
                at += n as u64;
            }
            Read::Gap(length, kind) => {
                assert!(length > 0);
                gaps.push(Gap { offset: StreamOffset(at), length, kind });
                at += length;
            }
            Read::End => {
                assert_eq!(at, stream.len().0, "a stream ends before its length");
                return Ok((runs, gaps));
            }
        }
    }
}

/// All streams of a store, and what could not be read.
pub fn list(store: &Store) -> (Vec<StreamInfo>, Vec<streamdb_storage::Error>) {
    let (mut streams, mut errors) = (Vec::new(), Vec::new());
    store
        .streams(
            &mut |info| {
                streams.push(info);
                Ok(())
            },
            &mut |error| errors.push(error),
        )
        .unwrap();
    (streams, errors)
}

/// A frame as the store gives it, in the model's terms; the connection is not told.
pub fn frame_of(model: &Model, frame: &streamdb_storage::StoredFrame<'_>) -> FrameModel {
    let interface = model.interfaces.iter().position(|i| i == &**frame.interface).unwrap() as u32;
    FrameModel {
        time: frame.time,
        interface,
        wire_len: frame.wire_len,
        data: frame.data.to_vec(),
        conn: None,
        bucket: 0,
    }
}

/// A frame without what the store does not tell of it.
pub fn bare(frame: &FrameModel) -> FrameModel {
    FrameModel { conn: None, bucket: 0, ..frame.clone() }
}

/// Holds a whole store against the model.
pub fn check(folder: &Path, model: &Model, packets: Packets) {
    let store = Store::open(folder).unwrap();
    let verified = store.verify(Verify::Deep, &mut |_, _| {}).unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(verified.frames, model.frames.len() as u64);
    let (infos, errors) = list(&store);
    assert!(errors.is_empty(), "{errors:?}");
    let mut seen = BTreeMap::new();
    for info in infos {
        let port = info.tuple.client.port;
        let number = usize::from(port - 1024);
        let conn = &model.conns[number];
        let model_stream = info.direction.of(&conn.streams);
        assert!(seen.insert((port, info.direction), info.key).is_none(), "{port} is listed twice");
        assert_eq!(info.tuple, conn.tuple);
        assert_eq!(info.path, conn.path);
        assert_eq!(
            (info.packets, info.first, info.last, info.length.0, info.marks),
            (model_stream.packets, model_stream.first, model_stream.last, model_stream.length, model_stream.marks),
            "connection {number} {:?}",
            info.direction
        );
        assert_eq!(info.reason, conn.said, "connection {number} {:?}", info.direction);
        let stream = store.stream(info.oid).unwrap();
        let newest = store.newest(info.key, info.direction).unwrap().unwrap();
        assert_eq!(stream.info(), newest.info());
        let step = if number % 2 == 0 { 1 << 20 } else { 1000 };
        if let Some(peer) = info.peer {
            let peer = store.stream(peer).unwrap();
            assert_eq!((peer.info().key, peer.info().direction), (info.key, info.direction.flip()));
        }
        let (runs, gaps) = read_all(&stream, step).unwrap();
        assert!(stream.gaps() == model_stream.gaps(), "gaps of connection {number} {:?}", info.direction);
        assert!(gaps == model_stream.gaps(), "gaps as read of connection {number}");
        let ranges: Vec<_> = runs.iter().map(|(at, bytes)| (*at, at + bytes.len() as u64)).collect();
        assert!(ranges == model_stream.ranges, "connection {number} {:?}", info.direction);
        for (at, bytes) in &runs {
            assert!(content(number, info.direction, *at, bytes.len()) == *bytes, "wrong bytes in run at {at}");
        }
        let mut frames = Vec::new();
        store
            .stream_frames(&stream, &mut |frame| {
                frames.push(frame_of(model, frame));
                Ok(())
            })
            .unwrap();
        let is_its = |f: &&FrameModel| f.conn == Some(number) && model_stream.buckets.contains(&f.bucket);
        let expected: Vec<_> = model.frames.iter().filter(is_its).map(bare).collect();
        if packets == Packets::Off {
            assert!(frames.is_empty());
        }
        assert!(frames == expected, "frames of {number}: {} and not {}", frames.len(), expected.len());
    }
    for (number, conn) in model.conns.iter().enumerate() {
        for direction in Direction::BOTH {
            let there = seen.contains_key(&(1024 + number as u16, direction));
            assert_eq!(there, direction.of(&conn.streams).packets > 0, "connection {number} {direction:?}");
        }
    }
    let mut at = 0;
    store
        .frames(&FrameFilter::default(), &mut |frame| {
            let expected = &model.frames[at];
            assert_eq!(frame.connected, expected.conn.is_some());
            assert_eq!(frame_of(model, frame), bare(expected), "frame {at}");
            at += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(at, model.frames.len());
}

/// The bytes of all buckets, by name.
pub fn bucket_bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder.join("buckets"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}
