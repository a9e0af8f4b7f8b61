//! Blocks that were read a moment ago: checked and decompressed once, bounded in bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use streamdb_types::BucketId;

use super::bucket::Block;

type Key = (BucketId, u64);

#[derive(Default)]
struct Entries {
    blocks: HashMap<Key, (Arc<Block>, bool)>,
    /// In the order of arrival; a block that was used meanwhile goes round once more.
    order: VecDeque<Key>,
    bytes: usize,
}

/// The cache that all buckets of a store share.
pub(crate) struct BlockCache {
    entries: Mutex<Entries>,
    limit: usize,
}

impl BlockCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: Mutex::default(), limit }
    }

    pub(crate) fn get(&self, bucket: BucketId, position: u64) -> Option<Arc<Block>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (block, used) = entries.blocks.get_mut(&(bucket, position))?;
        *used = true;
        Some(Arc::clone(block))
    }

    pub(crate) fn put(&self, bucket: BucketId, position: u64, block: &Arc<Block>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (bucket, position);
        if entries.blocks.insert(key, (Arc::clone(block), false)).is_none() {
            entries.order.push_back(key);
            entries.bytes += block.footprint();
        }
        while entries.bytes > self.limit {
            let Some(oldest) = entries.order.pop_front() else { break };
            match entries.blocks.get_mut(&oldest) {
                Some((_, used)) if *used => {
                    *used = false;
                    entries.order.push_back(oldest);
                }
                Some((block, _)) => {
                    let freed = block.footprint();
                    entries.bytes = entries.bytes.saturating_sub(freed);
                    entries.blocks.remove(&oldest);
                }
                None => {}
            }
        }
    }
}
