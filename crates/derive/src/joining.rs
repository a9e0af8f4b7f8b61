//! Follows the rows that are kept, and finds what in them is part of one content. How far it has come is kept with what it found, so
//! that nothing is found twice or left out, whenever it is killed.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use streamdb_extract::{BodyLimits, Decode, Piece};
use streamdb_storage::{
    DeriveLock, Error as StoreError, Join, JoinChange, JoinId, JoinMade, JoinsWriter, Store, Volume,
};
use streamdb_types::{BucketId, Timestamp};

use crate::digest::{Known, Taking};
use crate::error::Error;
use crate::indexing::IndexKeeper;
use crate::join::{append, plan};
use crate::joined::Joined;
use crate::pieces::{Found, is_piece, pieces};

/// Most joins that are kept,
const JOINS: usize = 1 << 16;
/// most parts of all of them,
const PARTS: usize = 1 << 18;
/// and most bytes of memory that they take.
const BYTES: usize = 64 << 20;
/// Most parts of one, and most of those that had nothing new.
const PARTS_OF_ONE: usize = 4096;
const SPARE: usize = 256;
/// What is not all there after so much time of the capture is given up, in nanoseconds: a week.
const LASTS: i64 = 7 * 86_400 * 1_000_000_000;
/// Content of at most this size is held in memory while its digests are made.
const HELD: usize = 4 << 20;
/// Most places that are told in which parts differ.
const CONFLICTS: usize = 64;
/// Connections between two commits.
const COMMIT_AFTER: usize = 4096;

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinProgress {
    /// Parts found.
    pub parts: u64,
    /// Contents of which every byte was found.
    pub whole: u64,
}

/// Finds and keeps joins. One at a time.
#[derive(Debug)]
pub struct Joiner {
    lock: Arc<DeriveLock>,
    volume: Arc<dyn Volume>,
    /// `None` before the first round, and after an error: what is kept is read again.
    writer: Option<JoinsWriter>,
    known: Known,
    /// The buckets that there were when it was looked last for what is to be forgotten.
    buckets: Vec<BucketId>,
}

impl Joiner {
    /// Beside a deriver.
    pub fn new(keeper: &IndexKeeper) -> Self {
        let IndexKeeper { lock, volume, .. } = keeper;
        Self {
            lock: Arc::clone(lock),
            volume: Arc::clone(volume),
            writer: None,
            known: Known::new(1 << 12),
            buckets: Vec::new(),
        }
    }

    /// Takes in the rows that were kept since the last time, until `stop` says so. What cannot be read is told to `damaged`.
    ///
    /// # Errors
    /// When the store cannot be listed, or what was found cannot be kept. It may be tried again.
    pub fn catch_up(
        &mut self,
        store: &Store,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<JoinProgress, Error> {
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => store.joins_writer(&self.lock, Arc::clone(&self.volume))?,
        };
        let progress = self.go_on(store, &mut writer, stop, damaged)?;
        self.writer = Some(writer);
        Ok(progress)
    }

    /// Forgets all, so that it is found again by the next round.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(&mut self, store: &Store) -> Result<(), Error> {
        self.writer = None;
        Ok(store.forget_joins(&self.lock, &*self.volume)?)
    }

    fn go_on(
        &mut self,
        store: &Store,
        writer: &mut JoinsWriter,
        stop: &dyn Fn() -> bool,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<JoinProgress, Error> {
        let mut progress = JoinProgress::default();
        let buckets = store.bucket_ids()?;
        let mut changed = false;
        for bucket in &buckets {
            if stop() {
                break;
            }
            let Some(new) = store.new_rows(*bucket, writer.known().read().get(bucket).copied())? else { continue };
            if new.anew && writer.known().read().contains_key(bucket) {
                writer.change(JoinChange::Forget(*bucket));
            }
            changed = true;
            // What has parts that were not compared yet: so many had been.
            let mut touched: BTreeMap<JoinId, usize> = BTreeMap::new();
            for connections in new.connections.chunks(COMMIT_AFTER) {
                for key in connections {
                    let rows = store.derived_rows(*bucket, *key)?.unwrap_or_default();
                    if !rows.iter().any(is_piece) {
                        continue;
                    }
                    match pieces(store, &rows) {
                        Ok(found) => {
                            progress.parts += found.len() as u64;
                            for found in found {
                                let id = found.0;
                                let had = writer.known().get(id).map_or(0, |join| join.parts.len());
                                touched.entry(id).or_insert(had);
                                add(writer, found);
                            }
                        }
                        Err(Error::Store(StoreError::NoBucket(_))) => {}
                        Err(error) => damaged(&error),
                    }
                }
                for (id, compared) in std::mem::take(&mut touched) {
                    progress.whole += u64::from(self.make(store, writer, id, compared, damaged));
                }
                if stop() {
                    // The rows of this bucket are read once more, and what is known of them by then is found to be so.
                    writer.commit()?;
                    return Ok(progress);
                }
            }
            writer.change(JoinChange::Read(*bucket, new.read));
        }
        if changed || buckets != self.buckets {
            changed |= let_go(writer, &buckets);
            self.buckets = buckets;
        }
        if changed {
            writer.commit()?;
        }
        Ok(progress)
    }

    /// Makes the digests of a join that has every byte, and compares its parts, of which the first so many were compared before when
    /// it had been made; whether it had not.
    fn make(
        &mut self,
        store: &Store,
        writer: &mut JoinsWriter,
        id: JoinId,
        compared: usize,
        damaged: &mut dyn FnMut(&Error),
    ) -> bool {
        let Some(join) = writer.known().get(id).filter(|join| join.made.is_some() || is_whole(join)) else {
            return false;
        };
        let join = join.clone();
        // Nothing is known of it as long as a part cannot be read.
        let made = self.made(store, &join, compared).unwrap_or_else(|error| {
            damaged(&error);
            None
        });
        let new = join.made.is_none() && made.is_some();
        if made != join.made {
            writer.change(JoinChange::Made(id, made));
        }
        new
    }

    /// What a join is; `None` when bytes of it cannot be read, or not all can be compared.
    fn made(&mut self, store: &Store, join: &Join, compared: usize) -> Result<Option<JoinMade>, Error> {
        let mut joined = Joined::new(store, join)?;
        if joined.plan().unchecked {
            return Ok(None);
        }
        let checks = joined.plan().checks.clone();
        if let Some(made) = &join.made {
            let mut made = made.clone();
            for (range, part, other) in checks.into_iter().filter(|(_, part, _)| *part >= compared) {
                if differs(&mut joined, &range, part, other)? {
                    conflict(&mut made.conflicts, range);
                }
            }
            return Ok(Some(made));
        }
        let (mut content, mut sent) = (Taking::holding(Vec::new()), Taking::holding(Vec::new()));
        let limits = BodyLimits::default();
        let outcome = joined.body(Decode::Decoded, &limits, Some(&mut |piece| sent.piece(piece, 0)), &mut |piece| {
            content.piece(piece, HELD);
            ControlFlow::Continue(())
        })?;
        let content = content.finish();
        let Some(sha256) = content.sha256 else { return Ok(None) };
        let digests = self.known.digests(sha256, |others| match &content.held {
            Some(held) => {
                others.update(held);
                Ok::<_, Error>(())
            }
            None => joined
                .body(Decode::Decoded, &limits, None, &mut |piece| {
                    if let Piece::Bytes(bytes) = piece {
                        others.update(bytes);
                    }
                    ControlFlow::Continue(())
                })
                .map(|_| ()),
        })?;
        let sent = sent.finish().sha256.filter(|_| outcome.decoded);
        let digests_encoded = match sent {
            Some(sha256) => Some(self.known.digests(sha256, |others| {
                let all = 0..joined.sent_len();
                joined.sent(all, &mut |piece| {
                    if let Piece::Bytes(bytes) = piece {
                        others.update(bytes);
                    }
                    ControlFlow::Continue(())
                })
            })?),
            None => None,
        };
        let mut conflicts = Vec::new();
        for (range, part, other) in checks {
            if differs(&mut joined, &range, part, other)? {
                conflict(&mut conflicts, range);
            }
        }
        let problem = outcome.problem.filter(|_| !outcome.complete).map(|problem| problem.to_string());
        Ok(Some(JoinMade {
            digests,
            digests_encoded,
            size: outcome.length,
            mime: outcome.what.mime.to_owned(),
            description: outcome.what.description.into_owned(),
            problem,
            conflicts,
        }))
    }
}

/// Whether every byte is there, and not in one part that is the content by itself.
fn is_whole(join: &Join) -> bool {
    join.parts.len() > 1
        && join.of.total.is_some()
        && plan(join.parts.iter().map(|part| part.runs.as_slice())).missing(join.of.total).is_empty()
}

/// Whether two parts differ in a range. A hole is like nothing else.
fn differs(joined: &mut Joined<'_>, range: &Range<u64>, part: usize, other: usize) -> Result<bool, Error> {
    let mut digests = [None, None];
    for (part, digest) in [part, other].into_iter().zip(&mut digests) {
        let mut taking = Taking::holding(Vec::new());
        let _ = joined.read(part, range.clone(), &mut |piece| {
            taking.piece(piece, 0);
            ControlFlow::Continue(())
        })?;
        *digest = taking.finish().sha256;
    }
    let [one, two] = digests;
    Ok(one != two)
}

/// Adds a place in which parts differ to those that are known.
fn conflict(conflicts: &mut Vec<Range<u64>>, range: Range<u64>) {
    if conflicts.len() >= CONFLICTS {
        return;
    }
    conflicts.push(range);
    conflicts.sort_by_key(|range| range.start);
    let mut all = Vec::with_capacity(conflicts.len());
    conflicts.drain(..).for_each(|range| append(&mut all, range));
    *conflicts = all;
}

/// Takes in a part.
fn add(writer: &mut JoinsWriter, (id, of, part): Found) {
    let Some(join) = writer.known().get(id) else {
        writer.change(JoinChange::New(id, of));
        writer.change(JoinChange::Part(id, part));
        return;
    };
    let known = join.parts.iter().find(|known| known.is(&part));
    if known.is_none() {
        let plan = plan(join.parts.iter().map(|part| part.runs.as_slice()).chain([part.runs.as_slice()]));
        let new = plan.taken.iter().any(|(_, owner)| *owner == join.parts.len());
        if join.parts.len() >= PARTS_OF_ONE || (!new && join.parts.len() >= SPARE) {
            let more = join.more.saturating_add(1);
            writer.change(JoinChange::More(id, more));
            return;
        }
    } else if known == Some(&part) {
        return;
    } else if known.is_some_and(|known| known.runs != part.runs) && join.made.is_some() {
        // There is more of it by now: all is compared anew.
        writer.change(JoinChange::Made(id, None));
    }
    writer.change(JoinChange::Part(id, part));
}

/// Forgets what is too old or too much, and what is of buckets that are gone; whether there was anything.
fn let_go(writer: &mut JoinsWriter, buckets: &[BucketId]) -> bool {
    let known = writer.known();
    let is_there = |id: &BucketId| buckets.binary_search(id).is_ok();
    let newest = known.all().filter_map(|join| join.times()).map(|(_, last)| last.0).max().unwrap_or(i64::MIN);
    let mut gone: Vec<JoinChange> =
        known.read().keys().filter(|id| !is_there(id)).map(|id| JoinChange::Forget(*id)).collect();
    // What was read of buckets that are gone is of no use; that their parts were there is, as long as others are.
    gone.retain(|change| match change {
        JoinChange::Forget(id) => !known.all().any(|join| join.parts.iter().any(|part| part.oid.bucket == *id)),
        _ => true,
    });
    let mut left: Vec<(i64, JoinId, usize)> = Vec::new();
    for join in known.all() {
        let last = join.times().map_or(i64::MIN, |(_, Timestamp(last))| last);
        let over = join.made.is_none() && last < newest.saturating_sub(LASTS);
        if over || !join.parts.iter().any(|part| is_there(&part.oid.bucket)) {
            gone.push(JoinChange::Gone(join.id));
        } else {
            left.push((last, join.id, join.parts.len()));
        }
    }
    let parts: usize = left.iter().map(|(_, _, parts)| parts).sum();
    if left.len() > JOINS || parts > PARTS || known.bytes() > BYTES {
        // An eighth of the oldest, so that it does not have to be done for each.
        left.sort_unstable();
        let most = JOINS - JOINS / 8;
        let (mut joins, mut parts) = (left.len(), parts);
        let mut bytes = known.bytes();
        for (_, id, of_one) in left {
            if joins <= most && parts <= PARTS - PARTS / 8 && bytes <= BYTES - BYTES / 8 {
                break;
            }
            joins -= 1;
            parts -= of_one;
            bytes = bytes.saturating_sub(of_one.max(1) * (known.bytes() / known.parts().max(1)));
            gone.push(JoinChange::Gone(id));
        }
    }
    let any = !gone.is_empty();
    gone.into_iter().for_each(|change| writer.change(change));
    any
}
