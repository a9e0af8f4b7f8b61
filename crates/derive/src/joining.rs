//! Follows the rows that are kept, and finds what in them is part of one content. How far it has come is kept with what it found, so
//! that nothing is found twice or left out, whenever it is killed.
//!
//! - `gathered` is what was found and is not settled yet
//! - `compare` tells whether parts are equal where they have the same bytes
//! - `forget` is what is given up

mod compare;
mod forget;
mod gathered;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use streamdb_extract::{BodyLimits, Decode, Piece};
use streamdb_storage::{
    DeriveLock, Error as StoreError, Join, JoinChange, JoinId, JoinMade, JoinsWriter, KeptMark, Store, Volume,
};
use streamdb_types::{BucketId, ObjectRow};

use self::compare::{compare, compare_spare};
use self::forget::{BYTES, let_go};
use self::gathered::Gathered;
use crate::digest::{Known, Taking};
use crate::error::Error;
use crate::guard::{PIECES, Stretch, guarded};
use crate::indexing::IndexKeeper;
use crate::join::plan;
use crate::joined::Joined;
use crate::pieces::{Found, is_piece, pieces};

/// Content of at most this size is held in memory while its digests are made.
const HELD: usize = 4 << 20;
/// With so many rows in memory no other connection is taken.
const ROWS: usize = 1024;
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
            let mut read = match writer.known().read().get(bucket).copied() {
                None => KeptMark::NOTHING,
                Some(mark) if store.has_kept(*bucket, mark)? => mark,
                Some(_) => {
                    writer.change(JoinChange::Forget(*bucket));
                    changed = true;
                    KeptMark::NOTHING
                }
            };
            let mut mark = read;
            loop {
                let (mut connections, mut held, mut with_pieces) = (0, 0, Vec::new());
                let end = store.kept_since(*bucket, mark, &mut |rows, behind| {
                    mark = behind;
                    connections += 1;
                    if rows.iter().any(is_piece) {
                        held += rows.len();
                        with_pieces.push(rows);
                    }
                    let more = held < ROWS && since + connections < COMMIT_AFTER;
                    if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })?;
                mark = end.unwrap_or(mark);
                for rows in with_pieces {
                    match guarded_pieces(store, &rows) {
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
                        Err(Error::Store(StoreError::NoBucket(_)) | Error::GivenUp { .. }) => {}
                        Err(error) => damaged(&error),
                    }
                }
                since += connections;
                let stopped = stop();
                if end.is_some() || since >= COMMIT_AFTER || stopped {
                    self.settle(store, writer, &mut gathered, &mut progress, damaged);
                    if mark != read {
                        writer.change(JoinChange::Read(*bucket, mark));
                        (read, changed) = (mark, true);
                    }
                }
                if since >= COMMIT_AFTER {
                    since = 0;
                    let_go(writer, &buckets);
                    writer.commit()?;
                }
                if stopped {
                    writer.commit()?;
                    return Ok(progress);
                }
                if end.is_some() {
                    break;
                }
            }
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

/// The parts in the connection that has these rows, as [`pieces`] finds them.
fn guarded_pieces(store: &Store, rows: &[ObjectRow]) -> Result<Vec<Found>, Error> {
    let Some((suspects, first)) = store.suspects().zip(rows.first()) else { return pieces(store, rows) };
    let stream = store.stream(first.oid)?;
    guarded(Some(&suspects), &Stretch::of(stream.info()), PIECES, || pieces(store, rows))
}

/// Whether every byte is there, and not in one part that is the content by itself.
fn is_whole(join: &Join) -> bool {
    join.parts.len() > 1
        && join.of.total.is_some()
        && plan(join.parts.iter().map(|part| part.runs.as_slice())).missing(join.of.total).is_empty()
}
