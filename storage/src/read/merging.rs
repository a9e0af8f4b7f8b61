//! The frames of several workers that captured at once, in the order of their times. A worker's bucket has them nearly so: what
//! another worker handed over came a little later.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use streamdb_types::{BucketId, Interface, StreamOffset, Timestamp};

use super::bucket::Bucket;
use super::frames::{BucketFrames, FrameFilter, StoredFrame};
use super::store::Store;
use crate::error::{Error, Result};
use crate::format::block::BlockKind;
use crate::format::directory::BlockEntry;

/// Most bytes that are held for their order. More are only where a clock was set back: from there on frames come as they can.
const HELD: usize = 64 << 20;

/// A journal block that is to be read.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: Timestamp,
    bucket: BucketId,
    position: u64,
}

/// A frame that waits for those before it.
struct Held {
    time: Timestamp,
    /// Where it stands among those of one time.
    number: u64,
    interface: Arc<Interface>,
    wire_len: u32,
    data: Vec<u8>,
    connected: bool,
    placed: Option<StreamOffset>,
}

impl Held {
    const fn key(&self) -> (Timestamp, u64) {
        (self.time, self.number)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A bucket that is being read, and how many of its blocks are left.
struct Open {
    frames: BucketFrames<Arc<Bucket>>,
    only: Option<Vec<u32>>,
    left: usize,
}

/// Calls with each frame that is wanted of these buckets, in order of time.
pub(super) fn merged(
    store: &Store,
    buckets: &[BucketId],
    filter: &FrameFilter<'_>,
    visit: &mut dyn FnMut(&StoredFrame<'_>) -> Result<()>,
) -> Result<()> {
    let mut blocks = Vec::new();
    let mut left: BTreeMap<BucketId, usize> = BTreeMap::new();
    for id in buckets {
        let Some(bucket) = there(store, *id)? else { continue };
        let contents = store.contents(&bucket)?;
        let wanted = |entry: &&BlockEntry| {
            entry.kind == BlockKind::Journal && filter.overlaps(entry.first_time, entry.last_time)
        };
        let of = |entry: &BlockEntry| Block { first: entry.first_time, bucket: *id, position: entry.position };
        let before = blocks.len();
        blocks.extend(contents.blocks.iter().filter(wanted).map(of));
        left.insert(*id, blocks.len() - before);
    }
    blocks.sort_by_key(|block| (block.first, block.bucket, block.position));
    let mut blocks = blocks.into_iter().peekable();
    let mut open: BTreeMap<BucketId, Open> = BTreeMap::new();
    let mut held: BinaryHeap<Reverse<Held>> = BinaryHeap::new();
    let (mut bytes, mut number) = (0, 0);
    loop {
        while let Some(block) =
            blocks.next_if(|block| held.peek().is_none_or(|Reverse(next)| block.first <= next.time && bytes < HELD))
        {
            read(store, &block, &mut open, &mut left, filter, &mut |frame| {
                bytes += frame.data.len();
                number += 1;
                held.push(Reverse(Held {
                    time: frame.time,
                    number,
                    interface: Arc::clone(frame.interface),
                    wire_len: frame.wire_len,
                    data: frame.data.to_vec(),
                    connected: frame.connected,
                    placed: frame.placed,
                }));
                Ok(())
            })?;
        }
        let Some(Reverse(next)) = held.pop() else { return Ok(()) };
        bytes -= next.data.len();
        let Held { time, interface, wire_len, data, connected, placed, .. } = &next;
        let (time, wire_len, connected, placed) = (*time, *wire_len, *connected, *placed);
        visit(&StoredFrame { time, interface, wire_len, data, connected, placed })?;
    }
}

/// The bucket, unless retention took it.
fn there(store: &Store, id: BucketId) -> Result<Option<Arc<Bucket>>> {
    match store.bucket(id) {
        Err(Error::NoBucket(_)) => Ok(None),
        bucket => bucket.map(Some),
    }
}

/// Reads a block. A bucket is open from its first block to its last.
fn read(
    store: &Store,
    block: &Block,
    open: &mut BTreeMap<BucketId, Open>,
    left: &mut BTreeMap<BucketId, usize>,
    filter: &FrameFilter<'_>,
    visit: &mut dyn FnMut(&StoredFrame<'_>) -> Result<()>,
) -> Result<()> {
    if !open.contains_key(&block.bucket) {
        let left = left.remove(&block.bucket);
        let (Some(left), Some(bucket)) = (left, there(store, block.bucket)?) else { return Ok(()) };
        let contents = store.contents(&bucket)?;
        let frames = BucketFrames::new(bucket, &contents)?;
        let only = filter.connections.map(|wanted| frames.connections(wanted)).transpose()?;
        open.insert(block.bucket, Open { frames, only, left });
    }
    let Some(bucket) = open.get_mut(&block.bucket) else { return Ok(()) };
    bucket.frames.block(block.position, bucket.only.as_deref(), &mut |_, frame| {
        if filter.overlaps(frame.time, frame.time) { visit(frame) } else { Ok(()) }
    })?;
    bucket.left = bucket.left.saturating_sub(1);
    if bucket.left == 0 {
        open.remove(&block.bucket);
    }
    Ok(())
}
