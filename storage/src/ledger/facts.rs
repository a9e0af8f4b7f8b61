//! What follows from the ledger's events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use streamdb_types::{BucketId, Timestamp};

use super::line::{Entry, Event};
use crate::Error;

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedLine {
    /// Its number, from 1.
    pub line: u64,
    /// Where it begins in the file.
    pub position: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

impl DamagedLine {
    /// As an error that names the ledger.
    pub fn error(&self, path: &Path) -> Error {
        Error::damaged(path, self.position, format!("line {} cannot be read: {}", self.line, self.what))
    }
}

/// A bucket that was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBucket {
    /// When.
    pub time: Timestamp,
    /// Bytes of its file.
    pub bytes: u64,
    /// Frames in it.
    pub frames: u64,
}

/// Buckets that retention must not drop, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// When it began.
    pub time: Timestamp,
    /// The buckets.
    pub buckets: BTreeSet<BucketId>,
    /// What they are held for, as it was asked for.
    pub what: String,
    /// What somebody said about it.
    pub note: String,
}

/// An ingest that did not come to its end so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unfinished {
    worker: u16,
    /// What tells its files from any others; empty when one of them was a pipe.
    fingerprints: BTreeSet<String>,
    /// A line before this one cannot be read: it may have more files.
    in_doubt: bool,
    /// The buckets that its worker was given since.
    buckets: BTreeSet<BucketId>,
}

/// How many damaged lines are remembered one by one.
const DAMAGED_KEPT: usize = 100;

/// What follows from the ledger's events.
#[derive(Debug, Default)]
pub struct Facts {
    lines: u64,
    store: Option<Entry>,
    /// The highest number given, by sensor.
    given: BTreeMap<u32, u32>,
    /// Lines that cannot be read, since the last one that gives an id: each may have given one.
    in_doubt: u32,
    sealed: BTreeMap<BucketId, SealedBucket>,
    dropped: BTreeMap<BucketId, Timestamp>,
    ingested: BTreeMap<String, Entry>,
    /// Ingests that did not come to their end, by number.
    unfinished: BTreeMap<u64, Unfinished>,
    highest_ingest: u64,
    /// The line before cannot be read.
    after_damage: bool,
    holds: BTreeMap<u64, Hold>,
    highest_hold: u64,
    damaged: Vec<DamagedLine>,
    damage: u64,
}

impl Facts {
    /// How many lines there are.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// The entry that says what store this is; `None` in an empty ledger.
    pub const fn store(&self) -> Option<&Entry> {
        self.store.as_ref()
    }

    /// The sensor's number.
    pub fn sensor(&self) -> u32 {
        match self.store() {
            Some(Entry { event: Event::Store { sensor, .. }, .. }) => *sensor,
            _ => 0,
        }
    }

    /// The id that the next bucket gets: after the highest that was ever given, with the sensor's number in the high half.
    /// `None` when there is no further one.
    pub fn next_bucket(&self) -> Option<BucketId> {
        let sensor = self.sensor();
        let highest = self.given.get(&sensor).copied().unwrap_or_default();
        let number = highest.checked_add(self.in_doubt)?.checked_add(1)?;
        Some(BucketId(u64::from(sensor) << 32 | u64::from(number)))
    }

    /// When a bucket was dropped.
    pub fn tombstone(&self, id: BucketId) -> Option<Timestamp> {
        self.dropped.get(&id).copied()
    }

    /// When one of the buckets from `first` on and before `last` was dropped; of several, the last time.
    pub fn dropped_between(&self, first: BucketId, last: BucketId) -> Option<Timestamp> {
        let between = (first < last).then(|| self.dropped.range(first..last));
        between.into_iter().flatten().map(|(_, time)| *time).max()
    }

    /// All buckets that were dropped, and when.
    pub fn tombstones(&self) -> impl Iterator<Item = (BucketId, Timestamp)> {
        self.dropped.iter().map(|(id, time)| (*id, *time))
    }

    /// What is known of a bucket that was sealed and is not dropped.
    pub fn sealed_bucket(&self, id: BucketId) -> Option<SealedBucket> {
        self.sealed.get(&id).copied()
    }

    /// The buckets that were sealed and are not dropped.
    pub fn sealed(&self) -> impl Iterator<Item = (BucketId, SealedBucket)> {
        self.sealed.iter().map(|(id, sealed)| (*id, *sealed))
    }

    /// The entry of the capture file with this fingerprint; of its latest ingest, if there were several.
    pub fn ingested(&self, fingerprint: &str) -> Option<&Entry> {
        self.ingested.get(fingerprint)
    }

    /// The number that the next ingest gets.
    pub(crate) const fn next_ingest(&self) -> u64 {
        self.highest_ingest.saturating_add(1)
    }

    /// The buckets in which ingests of these files, or of some of them, left what they had stored when they were interrupted.
    pub(crate) fn left_by_ingests_of(&self, fingerprints: &BTreeSet<String>) -> BTreeSet<BucketId> {
        let is_known = |ingest: &Unfinished| !ingest.in_doubt && !ingest.fingerprints.is_empty();
        let of_these = |ingest: &&Unfinished| is_known(ingest) && ingest.fingerprints.is_subset(fingerprints);
        let left = self.unfinished.values().filter(of_these).flat_map(|ingest| &ingest.buckets);
        left.filter(|id| self.tombstone(**id).is_none()).copied().collect()
    }

    /// The holds that are not over, by number.
    pub const fn holds(&self) -> &BTreeMap<u64, Hold> {
        &self.holds
    }

    /// The number that the next hold gets, if it was not given by a line that cannot be read.
    pub fn next_hold(&self) -> u64 {
        self.highest_hold.saturating_add(self.damage).saturating_add(1)
    }

    /// The first hundred lines that cannot be read.
    pub fn damaged(&self) -> &[DamagedLine] {
        &self.damaged
    }

    /// How many lines cannot be read.
    pub const fn damage(&self) -> u64 {
        self.damage
    }

    pub(super) fn line(&mut self, position: u64, line: &[u8]) {
        match Entry::decode(line) {
            Ok(entry) => self.entry(&entry),
            Err(what) => {
                self.lines = self.lines.saturating_add(1);
                self.damage = self.damage.saturating_add(1);
                self.in_doubt = self.in_doubt.saturating_add(1);
                // It may have said that another ingest begins, or of which other files this one is: what is stored twice is
                // better than what is dropped and was another's.
                self.unfinished.clear();
                self.after_damage = true;
                if self.damaged.len() < DAMAGED_KEPT {
                    self.damaged.push(DamagedLine { line: self.lines, position, what });
                }
            }
        }
    }

    pub(super) fn entry(&mut self, entry: &Entry) {
        self.lines = self.lines.saturating_add(1);
        let after_damage = std::mem::take(&mut self.after_damage);
        let time = entry.time;
        match &entry.event {
            Event::Store { .. } => {
                self.store.get_or_insert_with(|| entry.clone());
            }
            Event::Bucket { id, worker } => {
                self.given(*id);
                let mut ingests = self.unfinished.values_mut().rev();
                if let Some(ingest) = ingests.find(|ingest| ingest.worker == *worker) {
                    ingest.buckets.insert(*id);
                }
                // Ids ascend, so what a damaged line before this one gave is below it.
                self.in_doubt = 0;
            }
            Event::Sealed { id, bytes, frames } => {
                self.sealed.insert(*id, SealedBucket { time, bytes: *bytes, frames: *frames });
            }
            Event::Dropped { id, .. } => {
                self.sealed.remove(id);
                self.dropped.insert(*id, time);
            }
            Event::Ingesting { ingest, worker, fingerprint, .. } => {
                if *ingest > self.highest_ingest {
                    self.highest_ingest = *ingest;
                    // What nobody can ask for again, or left nothing, is not remembered once another one begins.
                    let is_over = |other: &Unfinished| {
                        other.worker == *worker && (other.fingerprints.is_empty() || other.buckets.is_empty())
                    };
                    self.unfinished.retain(|_, other| !is_over(other));
                }
                let unfinished = self.unfinished.entry(*ingest).or_default();
                unfinished.worker = *worker;
                unfinished.in_doubt |= after_damage;
                unfinished.fingerprints.extend(fingerprint.clone());
            }
            Event::Ingested { fingerprint, .. } => {
                // The files of an ingest are stored together: the first such line says so of all of them.
                let mut ingests = self.unfinished.iter().rev();
                let ended = ingests.find(|(_, ingest)| ingest.fingerprints.contains(fingerprint));
                if let Some(ended) = ended.map(|(number, _)| *number) {
                    self.unfinished.remove(&ended);
                }
                self.ingested.insert(fingerprint.clone(), entry.clone());
            }
            Event::Held { hold, buckets, what, note } => {
                self.highest_hold = self.highest_hold.max(*hold);
                let new = || Hold { time, buckets: BTreeSet::new(), what: what.clone(), note: note.clone() };
                self.holds.entry(*hold).or_insert_with(new).buckets.extend(buckets);
            }
            Event::Released { hold } => {
                self.holds.remove(hold);
            }
            Event::Other { .. } => {}
        }
    }

    pub(super) fn given(&mut self, id: BucketId) {
        let (sensor, number) = ((id.0 >> 32) as u32, id.0 as u32);
        let highest = self.given.entry(sensor).or_default();
        *highest = number.max(*highest);
    }
}
