//! Keeps a store's index files: new ones are written, many become few, what is damaged is set aside, and what counts no more
//! goes.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use streamdb_types::BucketId;

use super::build::{Contents, build};
use super::layout::{Coverage, Table};
use super::merge::{Failure, Input, merge};
use super::segment::Segment;
use super::set::{self, Counting, Listing};
use crate::error::{Error, Result};
use crate::read::derived::DeriveLock;
use crate::read::store::Store;
use crate::read::tail::Indexed;
use crate::volume::Volume;

/// So many files of a size become one.
const TIER: usize = 4;
/// Most files that become one at once.
const MOST: usize = 16;
/// Files of this many rows and fewer are of one size; the next one is four times as much.
const SMALLEST: u64 = 4096;
/// So many times the rows of the largest of them a new file has at least.
const GROWS: u64 = 3;
/// Files of so many rows and fewer cost nothing to write again.
const NOTHING: u64 = 256;
/// Most files that are left beside those of buckets that are still written to.
const FILES: usize = 24;

impl Store {
    /// Adds to the index.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_to_index(&self, _lock: &DeriveLock, volume: &dyn Volume, contents: &Contents) -> Result<PathBuf> {
        build(volume, &self.index_folder(), contents)
    }

    /// Removes what a killed process left half written. Nobody may be adding meanwhile.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clean_index(&self, _lock: &DeriveLock, volume: &dyn Volume) -> Result<()> {
        let folder = self.index_folder();
        for name in list(volume, &folder)? {
            if set::is_temporary(&name) {
                remove(volume, &folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Does one thing that is due: sets damaged files aside, removes those that count no more, or makes one file of several, unless
    /// `stop` says so meanwhile. Whether there was anything to do.
    ///
    /// # Errors
    /// When files cannot be written or removed.
    pub fn tidy_index(
        &self,
        _lock: &DeriveLock,
        volume: &dyn Volume,
        stop: &dyn Fn() -> bool,
        say: &mut dyn FnMut(&str),
    ) -> Result<bool> {
        let folder = self.index_folder();
        let (Listing { segments, damaged, foreign }, Indexed { counting, .. }) = self.indexed()?;
        for (sequence, why) in &damaged {
            let aside = set::aside(&folder, *sequence);
            volume
                .rename(&set::path(&folder, *sequence), &aside)
                .map_err(Error::io(&aside, "set an index file aside"))?;
            say(&format!("{why}; it is set aside as {}, and made again", aside.display()));
        }
        foreign.iter().try_for_each(|sequence| remove(volume, &set::path(&folder, *sequence)))?;
        let files: Vec<Kept> =
            segments.iter().zip(&counting.live).map(|(segment, live)| Kept::of(segment, live, &counting)).collect();
        let gone: Vec<&Kept> = files.iter().filter(|file| file.live == 0).collect();
        for file in &gone {
            remove(volume, &set::path(&folder, file.sequence))?;
        }
        if !damaged.is_empty() || !foreign.is_empty() || !gone.is_empty() {
            return Ok(true);
        }
        let Some(chosen) = choose(&files) else { return Ok(false) };
        let inputs: Vec<Input<'_>> = segments
            .iter()
            .zip(&counting.live)
            .enumerate()
            .filter(|(at, _)| chosen.contains(at))
            .map(|(_, (segment, live))| Input { segment, live: live.clone() })
            .collect();
        match merge(volume, &folder, &inputs, stop) {
            Ok(_) => {
                for input in &inputs {
                    remove(volume, &set::path(&folder, input.segment.sequence()))?;
                }
                Ok(true)
            }
            Err(Failure::Damaged(input, error)) => {
                if let Some(input) = inputs.get(input) {
                    self.index_files().refuse(input.segment.sequence(), error.to_string());
                }
                Ok(true)
            }
            Err(Failure::Stopped) => Ok(false),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    /// Reads every page of every index file; what is damaged is not believed any more, and is told.
    ///
    /// # Errors
    /// When the index cannot be listed.
    pub fn verify_index(&self, wrong: &mut dyn FnMut(String)) -> Result<usize> {
        let Listing { segments, damaged, .. } = self.index_files().list()?;
        damaged.into_iter().for_each(|(_, why)| wrong(why));
        for segment in &segments {
            if let Err(error) = segment.verify() {
                self.index_files().refuse(segment.sequence(), error.to_string());
                wrong(error.to_string());
            }
        }
        Ok(segments.len())
    }

    fn index_folder(&self) -> PathBuf {
        set::folder(&self.path().join(crate::folder::DERIVED))
    }
}

/// Removes every index file that has anything of this bucket, as what it says of it may not be so any more; durably. `derived`
/// is the folder of what is derived.
pub(crate) fn forget(volume: &dyn Volume, derived: &Path, bucket: BucketId) -> Result<()> {
    let folder = set::folder(derived);
    let names = match volume.list(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        names => names.map_err(Error::io(&folder, "list the index files"))?,
    };
    for name in names {
        let path = folder.join(&name);
        let Some(sequence) = set::sequence(&name) else { continue };
        let of_it = match Segment::open(&path, sequence) {
            Ok(Some(segment)) => segment.coverage.iter().any(|covered| covered.bucket == bucket),
            // What cannot be read is made again anyhow.
            Ok(None) | Err(_) => true,
        };
        if of_it {
            remove(volume, &path)?;
        }
    }
    volume.sync_dir(&folder).map_err(Error::io(&folder, "make it durable that index files are removed"))
}

fn list(volume: &dyn Volume, folder: &Path) -> Result<Vec<OsString>> {
    match volume.list(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(Error::io(folder, "list the index files")),
    }
}

fn remove(volume: &dyn Volume, path: &Path) -> Result<()> {
    match volume.unlink(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path, "remove an index file")(error)),
        _ => Ok(()),
    }
}

/// What decides what becomes of a file.
struct Kept {
    sequence: u64,
    /// How much of its coverage counts, and how much there is.
    live: usize,
    all: usize,
    /// The first bucket of it that counts.
    first: BucketId,
    /// Where all that counts is settled: no bucket. Else its one bucket.
    unsettled: Option<BucketId>,
    rows: u64,
}

impl Kept {
    fn of(segment: &Segment, live: &[bool], counting: &Counting) -> Self {
        let counts: Vec<BucketId> =
            segment.coverage.iter().zip(live).filter(|(_, live)| **live).map(|(covered, _)| covered.bucket).collect();
        let settled = |id: &&BucketId| counting.covered.get(id) == Some(&Coverage::SETTLED);
        Self {
            sequence: segment.sequence(),
            live: counts.len(),
            all: segment.coverage.len(),
            first: counts.iter().copied().min().unwrap_or_default(),
            unsettled: counts.iter().find(|id| !settled(id)).copied(),
            rows: Table::ALL.iter().map(|table| u64::from(segment.rows(*table))).sum(),
        }
    }

    /// How large it is, in steps of four times as much.
    const fn size(&self) -> u32 {
        (self.rows / SMALLEST + 1).ilog2() / 2
    }
}

/// Which files become one, by their places in the list.
fn choose(files: &[Kept]) -> Option<Vec<usize>> {
    // What a bucket that is not settled has so far stays apart, so that it can go alone.
    let mut buckets: Vec<BucketId> = files.iter().filter_map(|file| file.unsettled).collect();
    buckets.sort_unstable();
    let several = buckets.chunk_by(|a, b| a == b).find(|of_bucket| of_bucket.len() >= TIER);
    if let Some(bucket) = several.and_then(<[BucketId]>::first) {
        let of_it = |at: &usize| files.get(*at).is_some_and(|file| file.unsettled == Some(*bucket));
        return Some((0..files.len()).filter(of_it).collect());
    }
    let mut order: Vec<usize> =
        (0..files.len()).filter(|at| files.get(*at).is_some_and(|f| f.unsettled.is_none())).collect();
    let of = |at: &usize| files.get(*at);
    order.sort_by_key(|at| of(at).map(|file| (file.first, file.sequence)));
    let rows = |some: &[usize]| some.iter().filter_map(of).map(|file| file.rows).sum::<u64>();
    let fits = |some: &[usize]| rows(some) < super::layout::MOST_ROWS;
    // Else each few small ones would have a large one beside them written again. With a greater factor rows are written less
    // often, and there are more files.
    let is_worth_it = |some: &[usize]| {
        let rows = some.iter().filter_map(of).map(|file| file.rows.max(NOTHING));
        rows.clone().sum::<u64>() >= GROWS * rows.max().unwrap_or(0)
    };
    for size in 0..32 {
        let small = |at: &usize| of(at).is_some_and(|file| file.size() <= size);
        for run in order.chunk_by(|a, b| small(a) == small(b)) {
            let run = run.get(..MOST).unwrap_or(run);
            if run.first().is_some_and(small) && run.len() >= TIER && fits(run) && is_worth_it(run) {
                return Some(run.to_vec());
            }
        }
    }
    if order.len() > FILES {
        let least = order.windows(TIER).filter(|run| fits(run)).min_by_key(|run| rows(run));
        return least.map(<[usize]>::to_vec);
    }
    // A quarter of it counts no more.
    let stale = |at: &&usize| of(at).is_some_and(|file| (file.all - file.live) * 4 >= file.all && file.live < file.all);
    order.iter().find(stale).map(|at| vec![*at])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds files of so many rows, one after the other: how many files there are at most, and how often a row is written.
    fn keep(added: u64, rows: u64) -> (usize, f64) {
        let mut files: Vec<Kept> = Vec::new();
        let (mut most, mut written) = (0, 0);
        for n in 0..added {
            files.push(Kept { sequence: n, live: 1, all: 1, first: BucketId(n), unsettled: None, rows });
            written += rows;
            while let Some(chosen) = choose(&files) {
                assert!(chosen.len() > 1);
                let all: u64 = chosen.iter().map(|at| files[*at].rows).sum();
                written += all;
                let first = chosen.iter().map(|at| files[*at].first).min().unwrap();
                let mut at = 0..;
                files.retain(|_| !chosen.contains(&at.next().unwrap()));
                files.push(Kept { sequence: n, live: 1, all: 1, first, unsettled: None, rows: all });
            }
            most = most.max(files.len());
        }
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), added * rows);
        (most, written as f64 / (added * rows) as f64)
    }

    #[test]
    fn a_row_is_written_about_as_often_as_there_are_sizes() {
        for (added, rows, times) in [(16, 100_000, 3.0), (1000, 150_000, 5.5), (26_000, 4400, 8.0), (26_000, 40, 8.0)] {
            let (most, written) = keep(added, rows);
            assert!(
                most <= FILES && written <= times,
                "{added} files of {rows}: {most} at once, written {written} times"
            );
        }
    }
}
