//! Captures that are ingested: the ledger says when they begin and when they are whole, so that one that comes again is
//! known, and what an interrupted ingest left is not stored twice.
//!
//! An ingest has a worker of its own beside that of a capture that may run: so its buckets have nothing else in them, and can
//! go as a whole. As one process may ingest with two workers at once, each first claims its captures: one that goes on is so
//! never taken for one that was interrupted.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use streamdb_types::BucketId;

use crate::error::{Error, Result};
use crate::folder::{WriteFolder, now};
use crate::holds::Holds;
use crate::ledger::Event;
use crate::retention::remove;

/// The worker of who stores captures itself.
pub const INGEST: u16 = 1;
/// The worker of what was handed over by others.
pub const SPOOL: u16 = 2;
/// The worker of captures that appear in a folder: one after the other, with connections that go on from one to the next. It is
/// the last for which there is a place among the marks.
pub const FOLDER: u16 = 61;

/// Why the buckets of an interrupted ingest are dropped, as the ledger has it.
const UNFINISHED: &str = "unfinished";

/// A capture that is to be ingested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureName {
    /// What tells its content from any other; `None` of a pipe.
    pub fingerprint: Option<String>,
    /// What it is called.
    pub name: String,
}

/// Captures that nobody else stores meanwhile; until it is dropped.
pub struct Claim<'f> {
    folder: &'f WriteFolder,
    captures: &'f [CaptureName],
}

impl Claim<'_> {
    fn fingerprints(&self) -> impl Iterator<Item = &String> {
        self.captures.iter().filter_map(|capture| capture.fingerprint.as_ref())
    }
}

impl std::fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Claim").field(&self.captures).finish()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claimed = self.folder.claimed().lock().unwrap_or_else(PoisonError::into_inner);
        for fingerprint in self.fingerprints() {
            claimed.remove(fingerprint);
        }
    }
}

impl WriteFolder {
    /// Claims captures for an ingest; `None` as long as another one has one of them. Whether they were ingested before is to
    /// be asked after this.
    pub fn claim<'f>(&'f self, captures: &'f [CaptureName]) -> Option<Claim<'f>> {
        let mut claimed = self.claimed().lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprints = || captures.iter().filter_map(|capture| capture.fingerprint.as_ref());
        if fingerprints().any(|fingerprint| claimed.contains(fingerprint)) {
            return None;
        }
        claimed.extend(fingerprints().cloned());
        Some(Claim { folder: self, captures })
    }

    /// What is claimed is about to be stored, together, by this worker, which stores nothing else. What ingests of these
    /// captures, and of no others, left when they were interrupted is dropped, but for buckets that are held; returns what
    /// was. The claim has to last until all is stored.
    ///
    /// # Errors
    /// When the ledger cannot be written, the holds cannot be read, or a file cannot be removed.
    pub fn begin_ingest(&self, worker: u16, claim: &Claim<'_>) -> Result<BTreeSet<BucketId>> {
        let captures = claim.captures;
        let fingerprints: Option<BTreeSet<String>> = captures.iter().map(|name| name.fingerprint.clone()).collect();
        let left = fingerprints.as_ref().map(|fingerprints| {
            let ledger = self.ledger().lock().unwrap_or_else(PoisonError::into_inner);
            ledger.facts().left_by_ingests_of(fingerprints)
        });
        let dropped = left.filter(|left| !left.is_empty()).map(|left| self.drop_unfinished(&left)).transpose()?;
        let mut ledger = self.ledger().lock().unwrap_or_else(PoisonError::into_inner);
        let ingest = ledger.facts().next_ingest();
        for capture in captures {
            // With a pipe among them nobody can ask for the same again.
            let fingerprint = capture.fingerprint.clone().filter(|_| fingerprints.is_some());
            let name = capture.name.clone();
            ledger.append(now(), &Event::Ingesting { ingest, worker, fingerprint, name })?;
        }
        Ok(dropped.unwrap_or_default())
    }

    fn drop_unfinished(&self, left: &BTreeSet<BucketId>) -> Result<BTreeSet<BucketId>> {
        let dropped = {
            let held = Holds::open(self.volume(), self.path())?;
            let kept = held.held()?;
            let dropped: BTreeSet<BucketId> = left.difference(&kept).copied().collect();
            let mut ledger = self.ledger().lock().unwrap_or_else(PoisonError::into_inner);
            for id in &dropped {
                ledger.append(now(), &Event::Dropped { id: *id, reason: UNFINISHED.to_owned() })?;
            }
            dropped
        };
        for id in &dropped {
            remove(self.volume(), self.path(), *id)?;
        }
        let buckets = self.buckets();
        self.volume().sync_dir(&buckets).map_err(Error::io(&buckets, "make durable what was removed"))?;
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::FOLDER;
    use crate::live::MAX_WORKERS;

    #[test]
    fn readers_see_what_all_of_them_write() {
        assert_eq!(usize::from(FOLDER), MAX_WORKERS - 1);
    }
}
