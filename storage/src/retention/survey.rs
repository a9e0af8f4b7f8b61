//! What is there: the ledger's facts, the files, the holds, the clock, the room.

use std::collections::BTreeSet;
use std::path::Path;

use streamdb_types::{BucketId, Timestamp};

use super::choose::{Candidate, Choice, Survey, choose};
use super::limits::Limits;
use crate::error::{Error, Result};
use crate::folder::{bucket_ids, now};
use crate::ledger::Facts;
use crate::read::store::Store;
use crate::volume::Space;
use crate::write::bucket_file::file_name;

impl Survey {
    /// Of the buckets with these ids, which are in this folder.
    pub(super) fn of(
        folder: &Path,
        ids: &[BucketId],
        facts: &Facts,
        held: &BTreeSet<BucketId>,
        now: Timestamp,
        space: Option<Space>,
    ) -> Self {
        let mut survey = Self { now, space, ..Self::default() };
        for id in ids {
            match facts.sealed_bucket(*id) {
                // Its length is known since it was sealed: with many buckets, asking for each takes a while.
                Some(sealed) => survey.sealed.push(Candidate {
                    id: *id,
                    sealed: sealed.time,
                    bytes: sealed.bytes,
                    held: held.contains(id),
                }),
                None if facts.tombstone(*id).is_some() => survey.left_over.push(*id),
                None => {
                    let bytes = std::fs::metadata(folder.join(file_name(*id))).map_or(0, |metadata| metadata.len());
                    survey.unsealed = survey.unsealed.saturating_add(bytes);
                }
            }
        }
        survey
    }
}

impl Store {
    /// What these limits would drop now.
    ///
    /// # Errors
    /// When the folder cannot be listed, the holds cannot be read, or the system does not tell the room.
    pub fn would_drop(&self, limits: &Limits) -> Result<Choice> {
        let folder = self.folder().buckets();
        let ids = bucket_ids(&folder)?;
        let held = self.held()?;
        let space = space(limits, &folder, Space::of)?;
        let survey = self.folder().with_facts(|facts| Survey::of(&folder, &ids, facts, &held, now(), space));
        Ok(choose(limits, &survey))
    }
}

/// The room, if a limit is about it.
pub(super) fn space(
    limits: &Limits,
    folder: &Path,
    ask: impl FnOnce(&Path) -> std::io::Result<Space>,
) -> Result<Option<Space>> {
    let asked = limits.min_free.map(|_| ask(folder));
    asked.transpose().map_err(Error::io(folder, "see how much room is free"))
}
