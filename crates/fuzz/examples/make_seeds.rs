//! Makes seeds for the targets `bucket`, `records` and `journal` from sealed bucket files of small captures, and for `index_file`
//! from index files:
//!
//! ```text
//! cargo run --example make_seeds -- NAME BUCKET.sdb
//! ```

use std::path::Path;
use std::{env, fs};

use streamdb_storage::fuzzing::{RawBlock, blocks_of};
use streamdb_storage::index::fuzzing::pages_of;
use streamdb_types::BucketId;

/// The number of a bucket's id stands in its superblock; the first bucket of a data folder is this one.
const FIRST: BucketId = BucketId(1);
/// The kinds of blocks that journal frames and list what a bucket has; all others hold records.
const JOURNAL: u8 = 3;
const DIRECTORY: u8 = 4;

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(name), Some(bucket)) = (arguments.next(), arguments.next()) else {
        panic!("a name for the seeds and a bucket file, or an index file, are needed");
    };
    if bucket.ends_with(".sdbx") {
        return put("index_file", &name, &pages_of(&fs::read(&bucket).expect("the index file can be read")));
    }
    let blocks = blocks_of(FIRST, &fs::read(&bucket).expect("the bucket can be read"));
    assert!(!blocks.is_empty(), "{bucket}: bucket 1 of a data folder is needed");
    let mut whole = vec![1];
    for (number, (_, RawBlock { kind, bytes })) in blocks.iter().enumerate() {
        let length = u16::try_from(bytes.len()).expect("blocks of less than 64 KiB");
        whole.push(*kind);
        whole.extend(length.to_le_bytes());
        whole.extend(bytes);
        let (target, first) = match *kind {
            JOURNAL => ("journal", 0),
            DIRECTORY => ("records", DIRECTORY),
            _ => ("records", 0),
        };
        put(target, &format!("{name}-{number}"), &[&[first], &bytes[..]].concat());
    }
    put("bucket", &format!("{name}-sealed"), &whole);
    whole[0] = 0;
    put("bucket", &format!("{name}-open"), &whole);
}

fn put(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), bytes).expect("there is room");
}
