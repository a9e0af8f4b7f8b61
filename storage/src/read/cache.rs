//! Blocks that were read a moment ago: checked and decompressed once, bounded in bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::bucket::Block;

/// Whose block it is, and its position.
type Key = (Owner, u64);

/// A bucket as it was opened once. After a failed sync a bucket is cut, and what recovery writes takes the place of blocks
/// that were read before: so a file that was opened anew has none in common with what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner(u64);

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
    owners: AtomicU64,
}

impl BlockCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: Mutex::default(), limit, owners: AtomicU64::new(0) }
    }

    /// A new owner of blocks.
    pub(crate) fn owner(&self) -> Owner {
        Owner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn get(&self, owner: Owner, position: u64) -> Option<Arc<Block>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (block, used) = entries.blocks.get_mut(&(owner, position))?;
        *used = true;
        Some(Arc::clone(block))
    }

    /// The owner is gone, and its blocks with it: those that lie in its map keep its file's room taken, even when the file
    /// has been removed.
    pub(crate) fn forget(&self, owner: Owner) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Entries { blocks, order, bytes } = &mut *entries;
        blocks.retain(|(other, _), (block, _)| {
            let stays = *other != owner;
            if !stays {
                *bytes = bytes.saturating_sub(block.footprint());
            }
            stays
        });
        order.retain(|(other, _)| *other != owner);
    }

    pub(crate) fn put(&self, owner: Owner, position: u64, block: &Arc<Block>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner, position);
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
