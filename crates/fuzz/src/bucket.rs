//! A bucket of any blocks behind right checksums, in a data folder: everything that reads it ends, recovery makes of an
//! unsealed one a sealed one that says the same, and nothing is left to do the second time.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use streamdb_storage::fuzzing::{RawBlock, seal_bytes};
use streamdb_storage::{FrameFilter, Read, Store, StreamInfo, Verify, WriteFolder};
use streamdb_testkit::QuickVolume;
use streamdb_types::{BucketId, StreamOffset};

use super::script::Script;

const ID: BucketId = BucketId(1);
/// The most frames that are looked at, and the most bytes of streams: a few blocks can name the same bytes very often.
const FRAMES: usize = 2000;
const BYTES: u64 = 1 << 20;

thread_local! {
    static FOLDER: OnceCell<Folder> = const { OnceCell::new() };
}

/// A data folder in memory, used for one input after the other.
struct Folder {
    path: PathBuf,
    ledger: Vec<u8>,
}

impl Folder {
    fn new() -> Self {
        let path = Path::new("/dev/shm").join(format!(
            "streamdb-fuzz-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let _ = fs::remove_dir_all(&path);
        drop(WriteFolder::open(&path, Box::new(QuickVolume)).expect("a new folder"));
        let ledger = fs::read(path.join("ledger")).expect("it has a ledger");
        Self { path, ledger }
    }

    fn put(&self, bucket: &[u8]) {
        fs::write(self.path.join("ledger"), &self.ledger).expect("room");
        let buckets = self.path.join("buckets");
        fs::remove_dir_all(&buckets).expect("the folder is ours");
        fs::create_dir(&buckets).expect("room");
        fs::write(self.file(), bucket).expect("room");
    }

    fn file(&self) -> PathBuf {
        self.path.join("buckets").join(format!("{ID}.sdb"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// One byte of settings, then blocks: kind, length in two bytes, bytes. With the lowest bit of the settings set the bucket
/// has a trailer, with the next one bytes are added behind it, with the next one the last byte is cut off.
pub fn bucket(data: &[u8]) {
    let mut script = Script(data);
    let setting = script.byte();
    let mut blocks = Vec::new();
    while !script.is_over() && blocks.len() < 64 {
        let kind = script.byte();
        let length = usize::from(script.short());
        blocks.push(RawBlock { kind, bytes: script.bytes(length).to_vec() });
    }
    let mut file = seal_bytes(ID, &blocks, setting & 1 != 0);
    if setting & 2 != 0 {
        file.extend_from_slice(b"bytes of something else");
    }
    if setting & 4 != 0 {
        file.pop();
    }
    FOLDER.with(|folder| play(folder.get_or_init(Folder::new), &file));
}

fn play(folder: &Folder, file: &[u8]) {
    folder.put(file);
    let before = look(&folder.path);
    let sealed = before.sealed;
    match WriteFolder::open(&folder.path, Box::new(QuickVolume)) {
        Ok(opened) => assert!(!sealed || opened.recovered().is_empty(), "a sealed bucket is not recovered"),
        Err(_) => return,
    }
    let once = fs::read(folder.file()).expect("it is still there");
    assert!(!sealed || once == file, "a sealed bucket does not change");
    drop(WriteFolder::open(&folder.path, Box::new(QuickVolume)).expect("what was recovered can be opened"));
    assert!(fs::read(folder.file()).expect("it is still there") == once, "recovery happens once");
    if sealed {
        return;
    }
    let after = look(&folder.path);
    assert!(after.sealed, "recovery seals");
    assert!(after.quick.is_empty(), "what recovery wrote is as it should be: {:?}", after.quick);
    assert_eq!(before.frames, after.frames, "the same frames come back");
    assert_eq!(names(&before.streams), names(&after.streams), "the same streams are there");
    for (one, two) in before.streams.iter().zip(&after.streams) {
        assert_eq!(one.1, two.1, "a stream has other bytes after recovery: {:?}", one.0);
    }
}

/// What a reader sees.
struct Seen {
    sealed: bool,
    /// By key and direction, each with its bytes.
    streams: Vec<(StreamInfo, Vec<u8>)>,
    frames: Vec<Vec<u8>>,
    quick: Vec<String>,
}

fn names(streams: &[(StreamInfo, Vec<u8>)]) -> Vec<String> {
    streams.iter().map(|(info, _)| format!("{:?} {:?} {:?}", info.key, info.direction, info.length)).collect()
}

fn look(path: &Path) -> Seen {
    let store = Store::open(path).expect("the ledger is whole");
    let infos = store.buckets().expect("the folder is there");
    let sealed =
        infos.iter().any(|info| info.as_ref().is_ok_and(|info| info.sealed)) || infos.iter().any(Result::is_err);
    let mut all = Vec::new();
    store
        .streams(
            &mut |info| {
                all.push(info);
                Ok(())
            },
            &mut |_| {},
        )
        .expect("damage is told, not returned");
    all.sort_by_key(|info| (info.key, info.direction, info.oid.place));
    let mut left = BYTES;
    let mut frames = Vec::new();
    let mut streams = Vec::new();
    for info in all {
        let mut bytes = Vec::new();
        if let Ok(stream) = store.stream(info.oid) {
            assert_eq!(stream.len(), info.length);
            bytes = read(&stream, &mut left);
            let mut seen = 0;
            let _ = store.stream_frames(&stream, &mut |_| {
                seen += 1;
                if seen > FRAMES { Err(enough(path)) } else { Ok(()) }
            });
        }
        let newest = store.newest(info.key, info.direction);
        if let Ok(Some(newest)) = newest {
            assert_eq!(newest.info().key, info.key);
        }
        streams.push((info, bytes));
    }
    let _ = store.frames(&FrameFilter::default(), &mut |frame| {
        frames.push(frame.data.to_vec());
        if frames.len() > FRAMES { Err(enough(path)) } else { Ok(()) }
    });
    let quick = store.verify(Verify::Quick, &mut |_, _| {}).expect("findings are no errors");
    if frames.len() <= FRAMES {
        store.verify(Verify::Deep, &mut |_, _| {}).expect("findings are no errors");
    }
    let quick = quick.findings.into_iter().map(|finding| finding.what).collect();
    Seen { sealed, streams, frames, quick }
}

/// Walks over a stream to its end; the bytes that were there, and what was not as text.
fn read(stream: &streamdb_storage::Stream, left: &mut u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = StreamOffset(0);
    let mut buffer = [0; 700];
    while *left > 0 {
        match stream.read_at(at, &mut buffer) {
            Ok(Read::Bytes(n)) => {
                assert!(n > 0 && n <= buffer.len());
                out.extend_from_slice(&buffer[..n]);
                at = at.add(n as u64);
                *left = left.saturating_sub(n as u64);
            }
            Ok(Read::Gap(length, _)) => {
                assert!(length > 0);
                out.extend_from_slice(format!("<{length}>").as_bytes());
                at = at.add(length);
                *left -= 1;
            }
            Ok(Read::End) => {
                assert_eq!(at, stream.len(), "bytes and gaps cover the stream");
                break;
            }
            Err(_) => {
                out.extend_from_slice(b"<damaged>");
                break;
            }
        }
    }
    let mut end = StreamOffset(0);
    for gap in stream.gaps() {
        assert!(gap.length > 0 && gap.offset >= end && gap.end() <= stream.len());
        end = gap.end();
    }
    out
}

fn enough(path: &Path) -> streamdb_storage::Error {
    streamdb_storage::Error::NoFolder(path.to_owned())
}
