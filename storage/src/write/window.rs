//! The open bucket: how it begins, who is in it, when it is full or over, how it ends.

use std::sync::PoisonError;

use streamdb_types::{BucketId, ConnKey, Counters, FrameNumber, Timestamp};

use super::bucket_file::{BlockRef, CutEnd, Seal};
use super::facts::WriterSummary;
use super::track::ConnTrack;
use super::trouble::{Given, Held};
use super::writer::Writer;
use crate::error::Result;
use crate::format::record::{self, Standing};
use crate::format::superblock::Superblock;

/// The most blocks of a bucket, but for what a commit adds.
const MAX_BLOCKS: u32 = 1 << 18;
/// The most records of no stream in a bucket.
const MAX_NOTES: usize = 1 << 16;
/// The most connections of a bucket that can be set: their streams fit into the largest directory that readers take.
const MAX_CONNECTIONS: u32 = 2_000_000;

/// The bucket that is open.
#[derive(Debug)]
pub(super) struct OpenBucket {
    pub(super) id: BucketId,
    pub(super) window_end: Timestamp,
    pub(super) window_start: Timestamp,
    /// The time of the last frame that was committed; before that, of the first thing in the bucket.
    pub(super) last_time: Timestamp,
    /// The id that the next block gets.
    pub(super) next_id: u32,
    /// Uncompressed bytes so far.
    pub(super) bytes: u64,
    /// Bytes of streams that were given.
    pub(super) payload: u64,
    pub(super) connections: u32,
    /// Frames before the rows at hand.
    pub(super) frames: u64,
    /// Connections that had a frame, in the order of their ordinals.
    pub(super) members: Vec<u32>,
    pub(super) ends: Vec<CutEnd>,
    /// Records of no stream.
    pub(super) notes: Vec<BlockRef>,
    /// Which interfaces are described in it.
    pub(super) described: Vec<bool>,
}

impl Writer {
    /// Whether the open bucket has as much as it may have (bytes, connections, blocks, notes): it has to end, whatever the
    /// time is. So what is kept of it in memory, and its directory, are bounded.
    pub fn bucket_is_full(&self) -> bool {
        self.bucket.as_ref().is_some_and(|bucket| {
            bucket.bytes >= self.config.bucket_bytes
                || bucket.connections >= self.config.bucket_connections.clamp(1, MAX_CONNECTIONS)
                || bucket.next_id >= MAX_BLOCKS
                || bucket.notes.len() >= MAX_NOTES
        })
    }

    /// Whether the open bucket has to end before a frame of this time.
    pub fn bucket_is_over(&self, now: Timestamp) -> bool {
        let Some(bucket) = &self.bucket else { return false };
        now >= bucket.window_end || now < bucket.window_start.plus(-self.config.bucket_window) || self.bucket_is_full()
    }

    /// Ends the open bucket: everything at hand is written, what is open goes on in the next one. `counters` are those of
    /// the whole run so far.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn end_bucket(&mut self, counters: &Counters) -> Result<()> {
        self.full_buckets += u64::from(self.bucket_is_full());
        let Some(members) = self.bucket.as_mut().map(|b| std::mem::take(&mut b.members)) else { return Ok(()) };
        for (ordinal, slot) in members.into_iter().enumerate() {
            let Some(conn) = self.conns.get(slot as usize).and_then(Option::as_ref) else { continue };
            if conn.ordinal == ordinal as u32 && conn.changed && self.is_current(conn) {
                let standing = if conn.standing == Standing::Open { Standing::Continues } else { conn.standing };
                self.emit_ends(slot, standing)?;
            }
        }
        self.commit()?;
        let Some(bucket) = self.bucket.take() else { return Ok(()) };
        let counters = self.corrected(counters);
        let since = counters.since(&self.sealed_counters);
        self.sealed_counters = counters;
        let OpenBucket { id, payload, ends, notes, connections, frames, .. } = bucket;
        let given = Given { held: Held { frames, payload }, counters: Box::new(since) };
        self.losses.bucket_ended(id, given);
        self.pipeline.seal(Seal {
            ends,
            notes,
            known_notes: Vec::new(),
            connections,
            frames,
            counters: since,
            recovered: false,
        })
    }

    /// Ends the open bucket and waits until all that was given is on disk, as far as the disk takes it; what is open goes on in
    /// the next bucket. Gives what was written and lost since this was called before. `counters` are those of the whole run so far.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn end_capture(&mut self, counters: &Counters) -> Result<WriterSummary> {
        self.end_bucket(counters)?;
        let summary = self.pipeline.account()?;
        self.settle();
        Ok(WriterSummary { lost: self.losses.since_asked(), troubles: self.take_troubles(), ..summary })
    }

    pub(super) fn is_current(&self, conn: &ConnTrack) -> bool {
        self.bucket.as_ref().is_some_and(|b| b.id == conn.bucket)
    }

    /// Begins a bucket when there is none; false when that has to wait for the next tick.
    pub(super) fn ensure_bucket(&mut self, time: Timestamp) -> Result<bool> {
        if self.bucket.is_some() {
            return Ok(true);
        }
        if self.losses.waiting {
            return Ok(false);
        }
        let window = self.config.bucket_window.max(1);
        let start = Timestamp(time.0.div_euclid(window).saturating_mul(window));
        let mut ledger = self.folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
        let given = ledger.give_bucket(crate::folder::now(), self.worker);
        drop(ledger);
        let id = match given {
            Ok(id) => id,
            Err(error) => {
                self.losses.failed(&error);
                self.losses.waiting = true;
                return Ok(false);
            }
        };
        let superblock = Superblock { id, worker: self.worker, window_start: start, window_end: start.plus(window) };
        self.pipeline.begin(superblock, self.losses.is_failing())?;
        self.bucket = Some(OpenBucket {
            id,
            window_start: start,
            window_end: superblock.window_end,
            last_time: time,
            next_id: 1,
            bytes: 0,
            payload: 0,
            connections: 0,
            frames: 0,
            members: Vec::new(),
            ends: Vec::new(),
            notes: Vec::new(),
            described: Vec::new(),
        });
        self.push_held_notes(time)?;
        Ok(true)
    }

    /// Describes an interface in this bucket, once.
    pub(super) fn describe(&mut self, index: u32) -> Result<()> {
        let at = index as usize;
        let Some(bucket) = &mut self.bucket else { return Ok(()) };
        if bucket.described.get(at).copied().unwrap_or(false) {
            return Ok(());
        }
        if bucket.described.len() <= at {
            bucket.described.resize(at + 1, false);
        }
        if let Some(described) = bucket.described.get_mut(at) {
            *described = true;
        }
        self.scratch.clear();
        if let Some(interface) = self.interfaces.get(at) {
            record::put_interface(&mut self.scratch, index, interface);
        }
        self.push_note()
    }

    /// Makes sure that a connection has its ordinal in the open bucket.
    pub(super) fn join_bucket(&mut self, slot: u32) {
        let Some(bucket) = &mut self.bucket else { return };
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if conn.bucket == bucket.id {
            return;
        }
        if conn.bucket == BucketId(0) {
            conn.key = ConnKey { bucket: bucket.id, number: bucket.connections };
        }
        for stream in &mut conn.streams {
            stream.next_part(conn.bucket);
        }
        conn.bucket = bucket.id;
        conn.ordinal = bucket.connections;
        conn.first_frame = FrameNumber(u64::MAX);
        conn.last_frame = FrameNumber(0);
        conn.standing = Standing::Open;
        bucket.connections += 1;
        bucket.members.push(slot);
    }
}
