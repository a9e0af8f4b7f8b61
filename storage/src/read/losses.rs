//! What was lost around a stream: from what each bucket says of dropped frames, and of how many were kept at the time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use streamdb_types::{BucketId, Timestamp};

use super::bucket::Bucket;
use super::store::Store;
use super::stream::StreamInfo;
use crate::error::Result;
use crate::format::block::BlockKind;
use crate::format::directory::{BlockEntry, Directory};
use crate::format::record::{Loss, RecordKind};

/// What is said each second is of the second before, and is told when the ring is read: so much is around a stream.
const AROUND: i64 = 1_000_000_000;
/// Most buckets that are looked at for one stream: the newest.
const BUCKETS: usize = 256;
/// Most buckets whose losses are remembered.
const KEPT: usize = 4096;

/// What was lost in the time of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossAround {
    /// From when on it was looked.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Frames that were kept then, as far as can be told from the times of blocks.
    pub frames: u64,
    /// Frames that the kernel dropped, if those of which is known that they were dropped over a longer time were so evenly.
    pub kernel: u64,
    /// Frames that the interface dropped.
    pub interface: u64,
    /// Frames that we let go.
    pub shed: u64,
}

impl LossAround {
    /// All that were lost.
    pub const fn lost(&self) -> u64 {
        self.kernel.saturating_add(self.interface).saturating_add(self.shed)
    }

    /// How many of a hundred frames.
    pub fn percent(&self) -> f64 {
        let lost = self.lost() as f64;
        100.0 * lost / (lost + self.frames as f64).max(1.0)
    }

    /// `0.3 % of frames were lost in this window`.
    pub fn sentence(&self) -> String {
        match self.percent() {
            percent if percent < 0.1 => "less than 0.1 % of frames were lost in this window".to_owned(),
            percent => format!("{percent:.1} % of frames were lost in this window"),
        }
    }
}

/// Losses of buckets that were asked for, and how many notes these had by then.
pub(super) type Known = HashMap<BucketId, (usize, Arc<[Loss]>)>;

impl Store {
    /// What the worker that stored a stream lost in the time of the stream; `None` when that is nothing, or not known.
    ///
    /// # Errors
    /// When the buckets cannot be listed. One that cannot be read says nothing here.
    pub fn loss_around(&self, stream: &StreamInfo) -> Result<Option<LossAround>> {
        let (from, to) = (stream.first.plus(-AROUND), stream.last.plus(AROUND));
        let mut lost = [0.0; 3];
        let mut last = Vec::new();
        let ids = self.known_ids()?;
        let ids = ids.iter().rev().skip_while(|id| **id > stream.oid.bucket);
        let mut worker = None;
        for id in ids.take_while(|id| **id >= stream.key.bucket).take(BUCKETS) {
            let Ok(bucket) = self.bucket(*id) else { continue };
            if *worker.get_or_insert(bucket.superblock.worker) != bucket.superblock.worker {
                continue;
            }
            let Ok(contents) = self.contents(&bucket) else { continue };
            let losses = self.losses(&bucket, &contents);
            for loss in losses.iter() {
                let share = share(loss.from, loss.to, from, to);
                lost.iter_mut()
                    .zip([loss.kernel, loss.interface, loss.shed])
                    .for_each(|(all, n)| *all += share * n as f64);
            }
            last.push(contents);
        }
        // A part of a frame may be one that was lost here.
        let [kernel, interface, shed] = lost.map(|all: f64| all.ceil() as u64);
        let mut around = LossAround { from, to, frames: 0, kernel, interface, shed };
        if around.lost() == 0 {
            return Ok(None);
        }
        let journals =
            last.iter().flat_map(|contents| &contents.blocks).filter(|block| block.kind == BlockKind::Journal);
        let frames = journals.map(|block| within(block, from, to)).fold(0, u64::saturating_add);
        // A block of a quiet time is long, and what is in it did not come evenly.
        around.frames = frames.max(stream.packets);
        Ok(Some(around))
    }

    /// What a bucket says that was lost.
    fn losses(&self, bucket: &Bucket, contents: &Directory) -> Arc<[Loss]> {
        let id = bucket.superblock.id;
        let known = || self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, losses)) = known().get(&id).filter(|(notes, _)| *notes == contents.notes.len()) {
            return Arc::clone(losses);
        }
        let read = |place| {
            bucket.with_record(place, |record, _| {
                Ok((record.kind == RecordKind::Loss).then(|| record.loss().ok()).flatten())
            })
        };
        let losses: Arc<[Loss]> = contents.notes.iter().filter_map(|place| read(*place).ok().flatten()).collect();
        let mut known = known();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(id, (contents.notes.len(), Arc::clone(&losses)));
        losses
    }
}

/// How many frames of a block are of this time, if they came evenly.
fn within(block: &BlockEntry, from: Timestamp, to: Timestamp) -> u64 {
    (f64::from(block.records) * share(block.first_time, block.last_time, from, to)).round() as u64
}

/// How much of the time from `first` until `last` is between `from` and `to`.
fn share(first: Timestamp, last: Timestamp, from: Timestamp, to: Timestamp) -> f64 {
    let all = last.since(first);
    match (all, last.min(to).since(first.max(from))) {
        (_, ..0) => 0.0,
        (..=0, _) => 1.0,
        (all, part) => part as f64 / all as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::FrameNumber;

    #[test]
    fn the_frames_of_a_part_of_a_block_are_estimated() {
        let block = |first: i64, last: i64| BlockEntry {
            position: 4096,
            kind: BlockKind::Journal,
            raw_len: 1,
            records: 100,
            first_frame: FrameNumber(0),
            first_time: Timestamp(first),
            last_time: Timestamp(last),
        };
        let of = |first, last, from, to| within(&block(first, last), Timestamp(from), Timestamp(to));
        assert_eq!(of(10, 20, 0, 100), 100);
        assert_eq!(of(10, 20, 15, 100), 50);
        assert_eq!(of(10, 20, 12, 13), 10);
        assert_eq!(of(10, 20, 21, 30), 0);
        assert_eq!(of(10, 10, 5, 15), 100);
        assert_eq!(of(i64::MIN, i64::MAX, 0, 1), 0);
    }

    #[test]
    fn what_was_lost_over_a_long_time_is_not_all_of_a_short_one() {
        let of = |first, last, from, to| share(Timestamp(first), Timestamp(last), Timestamp(from), Timestamp(to));
        assert!((of(0, 3600, 1000, 1036) - 0.01).abs() < 1e-9);
        assert_eq!((of(0, 10, 5, 5), of(5, 5, 0, 10), of(5, 5, 6, 10)), (0.0, 1.0, 0.0));
    }

    #[test]
    fn a_share_is_said_in_a_sentence() {
        let around =
            |frames, kernel| LossAround { from: Timestamp(0), to: Timestamp(1), frames, kernel, interface: 0, shed: 0 };
        assert_eq!(around(997, 3).sentence(), "0.3 % of frames were lost in this window");
        assert_eq!(around(1_000_000, 1).sentence(), "less than 0.1 % of frames were lost in this window");
        assert_eq!(around(0, 5).sentence(), "100.0 % of frames were lost in this window");
    }
}
