//! Follows the rows that are kept, and finds what in them is part of one content. How far it has come is kept with what it found, so
//! that nothing is found twice or left out, whenever it is killed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use streamdb_extract::{BodyLimits, Decode, Piece};
use streamdb_storage::{
    DeriveLock, Error as StoreError, Join, JoinChange, JoinId, JoinMade, JoinPart, JoinsWriter, Store, Volume,
};
use streamdb_types::{BucketId, ConnKey, Direction, Timestamp};

use crate::digest::{Known, Taking};
use crate::error::Error;
use crate::indexing::IndexKeeper;
use crate::join::{Cover, append, plan};
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
/// Connections between two commits,
const COMMIT_AFTER: usize = 4096;
/// and parts.
const GATHERED: usize = 1 << 14;
/// Most of those that could not be read that are tried again in one round.
const RETRIED: usize = 16;
/// One that could not be read so many times is tried again after two to the power of that many rounds; at most of this.
const LATEST: u32 = 12;

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
    /// What has every byte, and could not be read or compared.
    unread: BTreeMap<JoinId, Waits>,
    /// Rounds.
    round: u64,
}

/// When what could not be read is tried again.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    tries: u32,
    round: u64,
}

/// What was found and is not settled yet.
#[derive(Default)]
struct Gathered {
    /// What has parts that were not compared yet: so many had been.
    touched: BTreeMap<JoinId, usize>,
    laid: BTreeMap<JoinId, Laid>,
    /// Parts that have nothing new, and are not kept once they are compared.
    spare: BTreeMap<JoinId, Vec<JoinPart>>,
    parts: usize,
}

/// The parts of a join that are kept.
#[derive(Default)]
struct Laid {
    cover: Cover,
    /// The place of each.
    places: HashMap<(ConnKey, Direction, u64, u64), usize>,
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
            unread: BTreeMap::new(),
            round: 0,
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
            None => {
                let writer = store.joins_writer(&self.lock, Arc::clone(&self.volume))?;
                let unread = writer.known().all().filter(|join| match &join.made {
                    Some(made) => !made.compared,
                    None => is_whole(join),
                });
                self.unread = unread.map(|join| (join.id, Waits::default())).collect();
                writer
            }
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
        self.round += 1;
        let mut changed = self.try_again(store, writer, stop, &mut progress);
        let buckets = store.bucket_ids()?;
        let mut gathered = Gathered::default();
        let mut since = 0;
        for bucket in &buckets {
            if stop() {
                break;
            }
            let Some(new) = store.new_rows(*bucket, writer.known().read().get(bucket).copied())? else { continue };
            if new.anew && writer.known().read().contains_key(bucket) {
                writer.change(JoinChange::Forget(*bucket));
            }
            changed = true;
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
                                gathered.add(writer, found);
                                if gathered.parts >= GATHERED || writer.known().bytes() > BYTES {
                                    self.settle(store, writer, &mut gathered, &mut progress, damaged);
                                    let_go(writer, &buckets);
                                    writer.commit()?;
                                }
                            }
                        }
                        Err(Error::Store(StoreError::NoBucket(_))) => {}
                        Err(error) => damaged(&error),
                    }
                }
                self.settle(store, writer, &mut gathered, &mut progress, damaged);
                since += connections.len();
                if since >= COMMIT_AFTER {
                    since = 0;
                    let_go(writer, &buckets);
                    writer.commit()?;
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
        let known = writer.known();
        self.unread.retain(|id, _| known.get(*id).is_some());
        Ok(progress)
    }

    /// Tries again what could not be read; whether anything is known by that. What is still damaged was told before.
    fn try_again(
        &mut self,
        store: &Store,
        writer: &mut JoinsWriter,
        stop: &dyn Fn() -> bool,
        progress: &mut JoinProgress,
    ) -> bool {
        let due = self.unread.iter().filter(|(_, waits)| waits.round <= self.round).map(|(id, _)| *id);
        let due: Vec<JoinId> = due.take(RETRIED).collect();
        let mut changed = false;
        for id in due {
            if stop() {
                break;
            }
            let made = writer.known().get(id).and_then(|join| join.made.clone());
            progress.whole += u64::from(self.make(store, writer, id, 0, &mut |_| {}));
            changed |= writer.known().get(id).and_then(|join| join.made.clone()) != made;
        }
        changed
    }

    /// Compares what was gathered, and makes what is whole by it.
    fn settle(
        &mut self,
        store: &Store,
        writer: &mut JoinsWriter,
        gathered: &mut Gathered,
        progress: &mut JoinProgress,
        damaged: &mut dyn FnMut(&Error),
    ) {
        let Gathered { touched, spare, .. } = std::mem::take(gathered);
        for (id, parts) in spare {
            compare_spare(store, writer, id, &parts, damaged);
        }
        for (id, compared) in touched {
            progress.whole += u64::from(self.make(store, writer, id, compared, damaged));
        }
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
            self.unread.remove(&id);
            return false;
        };
        let join = join.clone();
        // Nothing is known of it as long as a part cannot be read.
        let made = self.made(store, &join, compared, damaged).unwrap_or_else(|error| {
            damaged(&error);
            None
        });
        if made.as_ref().is_some_and(|made| made.compared) {
            self.unread.remove(&id);
        } else {
            let waits = self.unread.entry(id).or_default();
            *waits = Waits { tries: (waits.tries + 1).min(LATEST), round: self.round + (1 << waits.tries) };
        }
        let new = join.made.is_none() && made.is_some();
        if made != join.made {
            writer.change(JoinChange::Made(id, made));
        }
        new
    }

    /// What a join is; `None` when bytes of it cannot be read, or not all can be compared.
    fn made(
        &mut self,
        store: &Store,
        join: &Join,
        compared: usize,
        damaged: &mut dyn FnMut(&Error),
    ) -> Result<Option<JoinMade>, Error> {
        let mut joined = Joined::new(store, join)?;
        if let Some(made) = &join.made {
            // What could not be compared is compared again with all others.
            let compared = if made.compared { compared } else { 0 };
            let mut made = JoinMade { compared: true, ..made.clone() };
            compare(&mut joined, join, compared, &mut made, damaged);
            return Ok(Some(made));
        }
        if joined.plan().unchecked {
            return Ok(None);
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
        let problem = outcome.problem.filter(|_| !outcome.complete).map(|problem| problem.to_string());
        let mut made = JoinMade {
            digests,
            digests_encoded,
            size: outcome.length,
            mime: outcome.what.mime.to_owned(),
            description: outcome.what.description.into_owned(),
            problem,
            conflicts: Vec::new(),
            compared: true,
        };
        compare(&mut joined, join, 0, &mut made, damaged);
        Ok(Some(made))
    }
}

impl Gathered {
    /// Takes in a part.
    fn add(&mut self, writer: &mut JoinsWriter, (id, of, part): Found) {
        if writer.known().get(id).is_none() {
            writer.change(JoinChange::New(id, of));
        }
        let Some(join) = writer.known().get(id) else { return };
        let laid = self.laid.entry(id).or_insert_with(|| {
            let mut laid = Laid::default();
            join.parts.iter().for_each(|part| laid.add(part));
            laid
        });
        self.parts += 1;
        self.touched.entry(id).or_insert(join.parts.len());
        if let Some(known) = laid.places.get(&place(&part)).and_then(|place| join.parts.get(*place)) {
            if *known == part {
                return;
            }
            if known.runs != part.runs {
                self.laid.remove(&id);
                if join.made.is_some() {
                    // There is more of it by now: all is compared anew.
                    writer.change(JoinChange::Made(id, None));
                }
            }
            writer.change(JoinChange::Part(id, part));
            return;
        }
        let new = !part.runs.iter().all(|run| laid.cover.has(run));
        if !new && join.parts.len() >= SPARE {
            self.spare.entry(id).or_default().push(part);
        } else if join.parts.len() >= PARTS_OF_ONE {
            let mut more = join.more.clone();
            more.parts = more.parts.saturating_add(1);
            more.unchecked = more.unchecked.saturating_add(1);
            writer.change(JoinChange::More(id, more));
        } else {
            laid.add(&part);
            writer.change(JoinChange::Part(id, part));
        }
    }
}

impl Laid {
    fn add(&mut self, part: &JoinPart) {
        part.runs.iter().for_each(|run| self.cover.add(run));
        self.places.insert(place(part), self.places.len());
    }
}

/// What makes a part [the same](JoinPart::is) as an earlier or later record names.
const fn place(part: &JoinPart) -> (ConnKey, Direction, u64, u64) {
    (part.key, part.direction, part.begins.0, part.oid.index >> 32)
}

/// Whether every byte is there, and not in one part that is the content by itself.
fn is_whole(join: &Join) -> bool {
    join.parts.len() > 1
        && join.of.total.is_some()
        && plan(join.parts.iter().map(|part| part.runs.as_slice())).missing(join.of.total).is_empty()
}

/// Compares the parts of a join from this one on with those before them, where they have the same bytes.
fn compare(
    joined: &mut Joined<'_>,
    join: &Join,
    compared: usize,
    made: &mut JoinMade,
    damaged: &mut dyn FnMut(&Error),
) {
    // Over all that were seen: what retention took before it was compared is not known to be equal.
    let plan = plan(join.parts.iter().map(|part| part.runs.as_slice()));
    let here: Vec<bool> = joined.parts().map(|(_, here)| here).collect();
    if plan.unchecked {
        made.compared = false;
        return;
    }
    for (range, part, other) in plan.checks.into_iter().filter(|(_, part, _)| *part >= compared) {
        let here = [part, other].iter().all(|part| here.get(*part).is_some_and(|here| *here));
        let differ = match (join.parts.get(part), join.parts.get(other)) {
            (Some(part), Some(other)) if here => differ(joined, &range, [part, other], damaged),
            _ => None,
        };
        match differ {
            Some(true) => conflict(&mut made.conflicts, range),
            Some(false) => {}
            None => made.compared = false,
        }
    }
}

/// Compares parts that are not kept with those that are, which have all that they have.
fn compare_spare(
    store: &Store,
    writer: &mut JoinsWriter,
    id: JoinId,
    parts: &[JoinPart],
    damaged: &mut dyn FnMut(&Error),
) {
    let Some(join) = writer.known().get(id).cloned() else { return };
    let mut joined = Joined::new(store, &join).map_err(|error| damaged(&error)).ok();
    let mut more = join.more.clone();
    for part in parts {
        more.parts = more.parts.saturating_add(1);
        if part.conflict {
            part.runs.iter().for_each(|run| conflict(&mut more.conflicts, run.clone()));
        }
        let mut all = joined.is_some();
        if let Some(joined) = &mut joined {
            for run in &part.runs {
                let mut equal = 0;
                for (range, other) in joined.plan().taken_in(run) {
                    let Some(other) = join.parts.get(other) else { continue };
                    match differ(joined, &range, [part, other], damaged) {
                        Some(true) => conflict(&mut more.conflicts, range.clone()),
                        Some(false) => {}
                        None => continue,
                    }
                    equal += range.end - range.start;
                }
                all &= equal == run.end - run.start;
            }
        }
        more.unchecked = more.unchecked.saturating_add(u64::from(!all));
    }
    writer.change(JoinChange::More(id, more));
}

/// Whether two parts differ in a range; `None` when that cannot be told, as one of them cannot be read there.
fn differ(
    joined: &mut Joined<'_>,
    range: &Range<u64>,
    parts: [&JoinPart; 2],
    damaged: &mut dyn FnMut(&Error),
) -> Option<bool> {
    let mut digest = |part: &JoinPart| {
        let mut taking = Taking::holding(Vec::new());
        let read = joined.read(part, range.clone(), &mut |piece| {
            taking.piece(piece, 0);
            ControlFlow::Continue(())
        });
        let _ = read.map_err(|error| damaged(&error)).ok()?;
        taking.finish().sha256
    };
    let [one, other] = parts;
    Some(digest(one)? != digest(other)?)
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

/// Forgets what is too old or too much, and what is of buckets that are gone; whether there was anything.
fn let_go(writer: &mut JoinsWriter, buckets: &[BucketId]) -> bool {
    let known = writer.known();
    let is_there = |id: &BucketId| buckets.binary_search(id).is_ok();
    let newest = known.all().filter_map(|join| join.times()).map(|(_, last)| last.0).max().unwrap_or(i64::MIN);
    let mut gone: Vec<JoinChange> =
        known.read().keys().filter(|id| !is_there(id)).map(|id| JoinChange::Forget(*id)).collect();
    // What was read of buckets that are gone is of no use; that their parts were there is, as long as others are.
    let used: BTreeSet<BucketId> = match gone.as_slice() {
        [] => BTreeSet::new(),
        _ => known.all().flat_map(|join| join.parts.iter().map(|part| part.oid.bucket)).collect(),
    };
    gone.retain(|change| !matches!(change, JoinChange::Forget(id) if used.contains(id)));
    let mut left: Vec<(i64, JoinId, usize, usize)> = Vec::new();
    for join in known.all() {
        let last = join.times().map_or(i64::MIN, |(_, Timestamp(last))| last);
        let over = join.made.is_none() && last < newest.saturating_sub(LASTS);
        if over || !join.parts.iter().any(|part| is_there(&part.oid.bucket)) {
            gone.push(JoinChange::Gone(join.id));
        } else {
            left.push((last, join.id, join.parts.len(), join.size()));
        }
    }
    let parts: usize = left.iter().map(|(_, _, parts, _)| parts).sum();
    let bytes: usize = left.iter().map(|(_, _, _, bytes)| bytes).sum();
    if left.len() > JOINS || parts > PARTS || bytes > BYTES {
        // An eighth of the oldest, so that it does not have to be done for each.
        left.sort_unstable();
        let most = JOINS - JOINS / 8;
        let (mut joins, mut parts, mut bytes) = (left.len(), parts, bytes);
        for (_, id, of_one, bytes_of_one) in left {
            if joins <= most && parts <= PARTS - PARTS / 8 && bytes <= BYTES - BYTES / 8 {
                break;
            }
            joins -= 1;
            parts -= of_one;
            bytes -= bytes_of_one;
            gone.push(JoinChange::Gone(id));
        }
    }
    let any = !gone.is_empty();
    gone.into_iter().for_each(|change| writer.change(change));
    any
}
