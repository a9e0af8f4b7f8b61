//! Which index files there are, and what of each counts.
//!
//! A file covers ranges of buckets. Of two that cover the same, the one with the higher number counts: so a merge takes the
//! place of what went into it in one step, and a range that was made anew that of the old one, whenever anybody is killed.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use streamdb_types::{BlockPlace, BucketId};

use super::layout::Coverage;
use super::segment::Segment;
use crate::error::{Error, Result};

/// The folder of index files, in that of what is derived.
const FOLDER: &str = "index";
const ENDING: &str = "sdbx";
const TEMPORARY: &str = "part";

/// The folder of a data folder's index files.
pub(crate) fn folder(derived: &Path) -> PathBuf {
    derived.join(FOLDER)
}

/// The file with this number.
pub(crate) fn path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence}.{ENDING}"))
}

/// The name of a file with this number until it is whole.
pub(super) fn temporary(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence}.{TEMPORARY}"))
}

/// The name of a file with this number that is not believed.
pub(super) fn aside(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence}.damaged"))
}

/// The number in a name, whatever becomes of the file.
pub(super) fn number(name: &OsStr) -> Option<u64> {
    name.to_str()?.split('.').next()?.parse().ok()
}

/// Whether a file with this name was never whole.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.ends_with(TEMPORARY) || name.ends_with("moved"))
}

/// The number of a file with this name.
pub(crate) fn sequence(name: &OsStr) -> Option<u64> {
    let (number, ending) = name.to_str()?.split_once('.')?;
    if ending == ENDING { number.parse().ok() } else { None }
}

/// The index files of a folder, as far as they are known.
pub(crate) struct Files {
    folder: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    open: BTreeMap<u64, Arc<Segment>>,
    /// Those that are not believed, and why; `None`: another version wrote them.
    refused: BTreeMap<u64, Option<String>>,
    /// Which file of the file system had each number when it was listed first.
    inodes: BTreeMap<u64, u64>,
}

impl Known {
    /// Lets go of what is not there any more. When the file with the highest number is removed, the next one that is written gets
    /// that number again, and is another one; as long as the old one is open, it has an inode of its own.
    fn keep(&mut self, listed: BTreeMap<u64, u64>) {
        let Self { open, refused, inodes } = self;
        let same = |number: &u64| listed.get(number).is_some_and(|inode| inodes.get(number) == Some(inode));
        open.retain(|number, _| same(number));
        refused.retain(|number, _| same(number));
        self.inodes = listed;
    }
}

/// The index files that are there.
#[derive(Clone, Default)]
pub(crate) struct Listing {
    /// The older ones first.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Those that are damaged, each in a sentence.
    pub(crate) damaged: Vec<(u64, String)>,
    /// Those that another version wrote.
    pub(crate) foreign: Vec<u64>,
}

impl Files {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, known: Mutex::default() }
    }

    /// The files, opened.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub(crate) fn list(&self) -> Result<Listing> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A merge gives the new file its name before it removes the old ones; so when one is gone, there is another list.
        for _ in 0..100 {
            let listed = self.numbers()?;
            let numbers: Vec<u64> = listed.keys().copied().collect();
            known.keep(listed);
            let mut again = false;
            for number in numbers {
                if known.open.contains_key(&number) || known.refused.contains_key(&number) {
                    continue;
                }
                match Segment::open(&path(&self.folder, number), number) {
                    Ok(Some(segment)) => {
                        known.open.insert(number, Arc::new(segment));
                    }
                    Ok(None) => {
                        known.refused.insert(number, None);
                    }
                    Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => again = true,
                    // Too many files are open, or there is no memory: that says nothing of this one.
                    Err(error @ Error::Io { .. }) => return Err(error),
                    Err(error) => {
                        known.refused.insert(number, Some(error.to_string()));
                    }
                }
            }
            if !again {
                break;
            }
        }
        let damaged = known.refused.iter().filter_map(|(number, why)| Some((*number, why.clone()?)));
        let foreign = known.refused.iter().filter(|(_, why)| why.is_none()).map(|(number, _)| *number);
        Ok(Listing {
            segments: known.open.values().cloned().collect(),
            damaged: damaged.collect(),
            foreign: foreign.collect(),
        })
    }

    /// The numbers of the files that are there, each with its inode.
    fn numbers(&self) -> Result<BTreeMap<u64, u64>> {
        let failed = || Error::io(&self.folder, "list the index files");
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(failed())?,
        };
        let mut numbers = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(failed())?;
            numbers.extend(sequence(&entry.file_name()).map(|number| (number, entry.ino())));
        }
        Ok(numbers)
    }

    /// Believes a file no more.
    pub(crate) fn refuse(&self, sequence: u64, why: String) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.open.remove(&sequence).is_some() {
            known.refused.insert(sequence, Some(why));
        }
    }
}

/// What of each file counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    /// For each file, which of its coverage counts.
    pub(crate) live: Vec<Vec<bool>>,
    /// How far each bucket is covered.
    pub(crate) covered: HashMap<BucketId, BlockPlace>,
}

impl Counting {
    /// What counts of these files, the older ones first, for the buckets that are there.
    pub(crate) fn of(segments: &[Arc<Segment>], is_there: &dyn Fn(BucketId) -> bool) -> Self {
        let mut by_bucket: HashMap<BucketId, Vec<(usize, usize, Coverage)>> = HashMap::new();
        for (file, segment) in segments.iter().enumerate().rev() {
            for (at, covered) in segment.coverage.iter().enumerate() {
                by_bucket.entry(covered.bucket).or_default().push((file, at, *covered));
            }
        }
        let mut live: Vec<Vec<bool>> = segments.iter().map(|segment| vec![false; segment.coverage.len()]).collect();
        let mut all = HashMap::new();
        for (bucket, ranges) in by_bucket {
            if !is_there(bucket) {
                continue;
            }
            let Some(chain) = chain(&ranges) else { continue };
            all.extend(chain.first().map(|(_, _, covered)| (bucket, covered.to)));
            for (file, at, _) in chain {
                if let Some(live) = live.get_mut(file).and_then(|live| live.get_mut(at)) {
                    *live = true;
                }
            }
        }
        Self { live, covered: all }
    }
}

/// Of these ranges of a bucket, those of the newest files first: the one that goes furthest, and those that lead from it back to
/// the bucket's beginning.
fn chain(ranges: &[(usize, usize, Coverage)]) -> Option<Vec<(usize, usize, Coverage)>> {
    // What may lie before a range ends earlier, and is looked at before it; of those that end alike the newest stays first.
    let mut sorted: Vec<&(usize, usize, Coverage)> = ranges.iter().collect();
    sorted.sort_by_key(|(_, _, covered)| covered.to);
    // By where they end: those from which it goes back to the beginning.
    let mut leading: BTreeMap<BlockPlace, &(usize, usize, Coverage)> = BTreeMap::new();
    for range @ (_, _, covered) in sorted {
        if !leading.contains_key(&covered.to) && (covered.from.is_none() || leading.contains_key(&covered.from)) {
            leading.insert(covered.to, range);
        }
    }
    let furthest = leading.last_key_value().map(|(_, range)| *range)?;
    let before = |range: &&(usize, usize, Coverage)| leading.get(&range.2.from).copied();
    Some(std::iter::successors(Some(furthest), before).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> (usize, usize, Coverage) {
        (0, 0, Coverage { bucket: BucketId(1), from: BlockPlace(from), to: BlockPlace(to) })
    }

    #[test]
    fn another_file_with_the_same_number_is_opened() {
        use crate::index::build::{Contents, build};
        let folder = streamdb_testkit::TestFolder::new("index-number");
        let write = |bucket| {
            let coverage = vec![Coverage { bucket: BucketId(bucket), from: BlockPlace::NONE, to: Coverage::WHOLE }];
            build(&crate::DiskVolume, folder.path(), &Contents { coverage, ..Contents::default() }).unwrap()
        };
        let files = Files::new(folder.path().to_owned());
        let buckets = || -> Vec<u64> {
            let listing = files.list().unwrap();
            assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
            listing.segments.iter().flat_map(|s| s.coverage.iter().map(|covered| covered.bucket.0)).collect()
        };
        let path = write(1);
        assert_eq!(buckets(), [1]);
        // Nobody looks in between.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(write(2), path);
        assert_eq!(buckets(), [2]);
        let first = files.list().unwrap().segments;
        assert!(Arc::ptr_eq(&first[0], &files.list().unwrap().segments[0]), "opened once");
    }

    #[test]
    fn what_leads_back_to_the_beginning_counts() {
        let found = |ranges: &[(usize, usize, Coverage)]| {
            let chain = chain(ranges)?;
            Some(chain.iter().map(|(_, _, covered)| (covered.from.0, covered.to.0)).collect::<Vec<_>>())
        };
        // A merge of the two oldest, and a newer one behind it.
        assert_eq!(found(&[range(5, 9), range(0, 5), range(3, 5), range(0, 3)]), Some(vec![(5, 9), (0, 5)]));
        // Made anew.
        assert_eq!(found(&[range(0, 9), range(5, 9), range(0, 5)]), Some(vec![(0, 9)]));
        // A merge that came after what is behind it.
        assert_eq!(found(&[range(0, 5), range(5, 9), range(3, 5), range(0, 3)]), Some(vec![(5, 9), (0, 5)]));
        assert_eq!(found(&[range(0, 9), range(0, 9), range(5, 9)]), Some(vec![(0, 9)]));
        // The merge is lost.
        assert_eq!(found(&[range(5, 9)]), None);
        assert_eq!(found(&[]), None);
    }
}
