//! Removing: a tombstone in the ledger, synced, and only then the file. Who dies in between leaves a file with a tombstone,
//! which the next start removes.
//!
//! Tombstones are written while `holds` is locked, so a hold either comes before and counts, or after and is told that the
//! bucket is gone. Files are removed with no lock: a large one takes the system a while.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use streamdb_types::{BucketId, Timestamp};

use super::choose::{Cause, Chosen, Survey, Unmet, choose};
use super::limits::Limits;
use super::survey::space;
use crate::derived;
use crate::error::{Error, Result};
use crate::folder::{BUCKETS, DERIVED, WriteFolder, bucket_ids, now};
use crate::holds::Holds;
use crate::ledger::Event;
use crate::volume::{Space, Volume};
use crate::write::bucket_file::file_name;

/// Most buckets that get their tombstones in one go: who wants to hold some waits as long.
const AT_ONCE: usize = 32;

/// A removed file takes its room as long as a reader has it mapped, and readers let go of it within seconds. For so long
/// what was removed counts as free, so that not ever more is.
const SETTLING: Duration = Duration::from_secs(60);

/// Keeps a store within its limits, look by look.
#[derive(Debug)]
pub struct Retention {
    limits: Limits,
    settling: Option<Settling>,
}

/// What was removed and is not free yet.
#[derive(Clone, Copy, Debug)]
struct Settling {
    since: Instant,
    /// How much will be free.
    target: u64,
    /// How much is missing to that.
    unseen: u64,
}

/// A bucket that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The bucket.
    pub id: BucketId,
    /// Bytes of its file.
    pub bytes: u64,
    /// Why.
    pub cause: Cause,
    /// When.
    pub time: Timestamp,
}

/// What a look did.
#[derive(Debug, Default)]
pub struct Retained {
    /// What was dropped.
    pub dropped: Vec<Dropped>,
    /// Limits that are not kept all the same.
    pub unmet: Vec<Unmet>,
    /// Dropped buckets whose files could not be removed; each names its file. As long as there are some, nothing more is
    /// dropped, as it would free nothing either.
    pub not_removed: Vec<Error>,
}

impl Retention {
    /// Of these limits.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, settling: None }
    }

    /// Drops what has to go now. What was dropped before an error stays dropped, and `done` has been told of it.
    ///
    /// # Errors
    /// When the folder cannot be listed, the ledger not be written, or the holds not be read: then nobody knows what is
    /// held, and nothing is dropped.
    pub fn look(&mut self, folder: &WriteFolder, done: &mut dyn FnMut(&Dropped)) -> Result<Retained> {
        let mut retained = Retained::default();
        loop {
            let round = self.round(folder)?;
            retained.unmet = round.unmet;
            round.dropped.iter().for_each(&mut *done);
            let ids = round.left_over.iter().chain(round.dropped.iter().map(|dropped| &dropped.id));
            let ids: Vec<BucketId> = ids.copied().collect();
            retained.dropped.extend(round.dropped);
            for id in &ids {
                retained.not_removed.extend(remove(folder.volume(), folder.path(), *id).err());
            }
            if !ids.is_empty() {
                let buckets = folder.buckets();
                let synced = folder.volume().sync_dir(&buckets);
                retained.not_removed.extend(synced.map_err(Error::io(&buckets, "make durable what was removed")).err());
            }
            if let Some(before) = round.space {
                let freed = round.freed;
                self.settle(before, freed, space(&self.limits, folder.path(), |path| folder.volume().space(path))?);
            }
            if let Some(error) = round.failed {
                return Err(error);
            }
            if !round.more || !retained.not_removed.is_empty() {
                return Ok(retained);
            }
        }
    }

    /// Writes tombstones, at most so many.
    fn round(&self, folder: &WriteFolder) -> Result<Round> {
        let holds = Holds::open(folder.volume(), folder.path())?;
        let held = holds.held()?;
        let buckets = folder.buckets();
        let ids = bucket_ids(&buckets)?;
        let measured = space(&self.limits, folder.path(), |path| folder.volume().space(path))?;
        let counted = measured.map(|space| self.with_settling(space));
        let survey = {
            let ledger = folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
            Survey::of(&buckets, &ids, ledger.facts(), &held, now(), counted)
        };
        if !survey.left_over.is_empty() {
            // First those; a look at what is left comes after.
            return Ok(Round { left_over: survey.left_over, more: true, ..Round::default() });
        }
        let choice = choose(&self.limits, &survey);
        let more = choice.chosen.len() > AT_ONCE;
        let mut round = Round { unmet: choice.unmet, more, ..Round::default() };
        for Chosen { id, bytes, cause } in choice.chosen.into_iter().take(AT_ONCE) {
            let time = now();
            let event = Event::Dropped { id, reason: cause.word().to_owned() };
            let appended = folder.ledger().lock().unwrap_or_else(PoisonError::into_inner).append(time, &event);
            if let Err(error) = appended {
                // Those that have their tombstones go all the same, and are told.
                round.failed = Some(error);
                break;
            }
            round.freed = round.freed.saturating_add(bytes);
            round.dropped.push(Dropped { id, bytes, cause, time });
        }
        round.space = measured.filter(|_| round.freed > 0);
        Ok(round)
    }

    /// The room as it will be when readers have let go of what was removed.
    fn with_settling(&self, space: Space) -> Space {
        match self.settling.filter(|settling| settling.since.elapsed() < SETTLING) {
            Some(Settling { target, unseen, .. }) => {
                let expected = space.available.saturating_add(unseen).min(target);
                Space { available: space.available.max(expected), ..space }
            }
            None => space,
        }
    }

    /// So much was free before, so much of files was removed, and so much is free now.
    fn settle(&mut self, before: Space, freed: u64, after: Option<Space>) {
        let target = self.with_settling(before).available.saturating_add(freed);
        let unseen = target.saturating_sub(after.map_or(target, |after| after.available));
        self.settling = Some(Settling { since: Instant::now(), target, unseen });
    }
}

/// What one round did.
#[derive(Debug, Default)]
struct Round {
    dropped: Vec<Dropped>,
    left_over: Vec<BucketId>,
    unmet: Vec<Unmet>,
    /// There is more to do.
    more: bool,
    /// The room before, when something was dropped.
    space: Option<Space>,
    freed: u64,
    /// Why it did not go on to the end.
    failed: Option<Error>,
}

/// Removes the files of a bucket that has its tombstone: the bucket, and what was derived from it.
pub(crate) fn remove(volume: &dyn Volume, folder: &Path, id: BucketId) -> Result<()> {
    let bucket = folder.join(BUCKETS).join(file_name(id));
    let rows = derived::path(&folder.join(DERIVED), id);
    for (path, action) in [(bucket, "remove the dropped bucket"), (rows, "remove the rows of a dropped bucket")] {
        match volume.unlink(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(&path, action)(error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(available: u64) -> Space {
        Space { available, total: 1000 }
    }

    #[test]
    fn what_readers_have_mapped_is_not_dropped_for_twice() {
        let mut retention = Retention::new(Limits::default());
        assert_eq!(retention.with_settling(space(50)), space(50));
        // 30 were removed, and nothing is free of them yet.
        retention.settle(space(50), 30, Some(space(50)));
        assert_eq!(retention.with_settling(space(50)), space(80));
        // What is written meanwhile is taken off.
        assert_eq!(retention.with_settling(space(45)), space(75));
        // The reader let go.
        assert_eq!(retention.with_settling(space(80)), space(80));
        assert_eq!(retention.with_settling(space(90)), space(90));
        // 10 more, and the 30 are still mapped.
        retention.settle(space(45), 10, Some(space(55)));
        assert_eq!(retention.with_settling(space(55)), space(85));
        // A reader that does not let go does so at its own cost, not at that of the limit.
        retention.settling.as_mut().unwrap().since -= SETTLING;
        assert_eq!(retention.with_settling(space(55)), space(55));
    }
}
