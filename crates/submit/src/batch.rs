//! Copies that are taken into the queue together: what makes them durable costs about as much for all of them as for one.
//!
//! 1. The copies, and what is told beside them, are written to a [staging](Staging) folder. The queue is not locked for that.
//! 2. One step makes all of it durable: syncfs(2) where that is as good as fsync(2), and where there are enough files that it
//!    is worth writing out what others have on that file system. Otherwise each file is synced when it is written.
//! 3. With the queue locked it is decided what each target still wants, and that gets its place: a rename each, and a sync of
//!    both folders.
//! 4. Lines are appended to the record, with one sync. Now, and not before, they are taken in.
//!
//! A kill before the fourth step leaves copies without lines, which nobody was told of, and which go. One in it leaves lines
//! from the first on, each of them whole and with its copy; who hands the same over again learns that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use streamdb_types::{Oid, Timestamp};

use crate::about::{About, Submitted};
use crate::disk::{sync, sync_dir, sync_whole, syncs_whole};
use crate::error::Error;
use crate::hash::ContentHash;
use crate::incoming::{Finished, Incoming};
use crate::job::{Job, Jobs, State};
use crate::queue::{Queue, now};
use crate::receipt::{Placed, Receipt};
use crate::record::{Entry, Event, Taken};
use crate::rule::Choice;
use crate::settings::TargetName;
use crate::staging::Staging;

/// Fewer copies are synced one by one.
const FEW: usize = 4;
/// Most copies that are taken in together.
const COPIES: usize = 1000;
/// When they have more bytes, no further one is begun: they lie on the disk before it is known that the queue has room for
/// them.
const BYTES: u64 = 64 << 20;

/// What is put into the queue, besides its bytes.
#[derive(Clone, Debug)]
pub struct Item {
    /// The object.
    pub oid: Oid,
    /// Whether it is whole.
    pub complete: bool,
    /// What files of its kind usually end in, without the dot.
    pub extension: String,
    /// What is told beside it.
    pub about: About,
}

/// Copies that are taken in together, each with something by which whoever adds it knows it again.
pub struct Batch<'q, T> {
    queue: &'q Queue,
    /// How many copies there will be, as far as that is known.
    expected: usize,
    /// There from the first copy on.
    folder: Option<Folder>,
    copies: Vec<(T, Copy)>,
    /// Of which content there is, or was, one for which target.
    has: BTreeSet<(ContentHash, TargetName)>,
    bytes: u64,
}

/// Where its files are.
struct Folder {
    staging: Staging,
    /// Whether they are made durable together, at the end.
    together: bool,
    /// How many copies were begun.
    begun: usize,
}

/// One of them, written.
struct Copy {
    oid: Oid,
    joined: bool,
    complete: bool,
    extension: String,
    hash: ContentHash,
    size: u64,
    path: PathBuf,
    queued: Timestamp,
    /// Who wants it, and the file with what is told that target.
    targets: Vec<(Choice, PathBuf)>,
}

impl Queue {
    /// Begins to take copies in, some of these many at a time.
    pub const fn batch<T>(&self, expected: usize) -> Batch<'_, T> {
        Batch { queue: self, expected, folder: None, copies: Vec::new(), has: BTreeSet::new(), bytes: 0 }
    }
}

impl<T> Batch<'_, T> {
    /// Begins a copy.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn copy(&mut self) -> Result<Incoming, Error> {
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => {
                let staging = self.queue.stage()?;
                let together = self.expected >= FEW && syncs_whole(staging.first());
                none.insert(Folder { staging, together, begun: 0 })
            }
        };
        folder.begun += 1;
        Incoming::begin(folder.staging.at(&folder.begun.to_string()))
    }

    /// Adds a copy for these targets.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn add(&mut self, tag: T, incoming: Incoming, item: &Item, targets: &[Choice]) -> Result<(), Error> {
        let durable = !self.folder.as_ref().is_some_and(|folder| folder.together);
        let Finished { path, size, digests } = incoming.finish(durable)?;
        let hash = ContentHash(digests.sha256);
        let Item { oid, complete, extension, about } = item;
        let extension = extension.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let queued = now();
        let tell = |choice: &Choice| {
            let Choice { target, rule } = choice;
            let submitted = Submitted { target: target.as_str(), rule, queued };
            let text = about.json(*oid, &digests, size, *complete, &submitted);
            let beside = path.with_extension(target.as_str());
            write(&beside, &text, durable).map_err(Error::io(&beside, "write what is told beside the copy"))?;
            Ok((choice.clone(), beside))
        };
        let targets = targets.iter().map(tell).collect::<Result<_, Error>>()?;
        let joined = about.is_joined();
        let copy = Copy { oid: *oid, joined, complete: *complete, extension, hash, size, path, queued, targets };
        self.has.extend(copy.targets.iter().map(|(choice, _)| (hash, choice.target.clone())));
        self.bytes += size;
        self.copies.push((tag, copy));
        Ok(())
    }

    /// Whether a copy of this content for this target was added, and perhaps taken since.
    pub(crate) fn has(&self, hash: ContentHash, target: &TargetName) -> bool {
        self.has.contains(&(hash, target.clone()))
    }

    /// Whether it is time to take in what was added.
    pub(crate) fn is_full(&self) -> bool {
        self.copies.len() >= COPIES || self.bytes > BYTES
    }

    /// Takes in what was added, and says of each what came of it when all of it is durable. What a target has got, or is to
    /// get, is not taken in for it again, unless `again` asks for it. An error of a copy is that each target that wants it has
    /// no room for it, or that the system refused something, and then nothing was taken in; where only some targets have no
    /// room, the receipt says so. After that copies can be added again.
    pub fn take(&mut self, again: bool, room: u64, told: &mut dyn FnMut(T, Result<Receipt, Error>)) {
        let (folder, copies) = (self.folder.take(), std::mem::take(&mut self.copies));
        self.bytes = 0;
        let (tags, copies): (Vec<T>, Vec<Copy>) = copies.into_iter().unzip();
        let Some(folder) = folder.filter(|_| !copies.is_empty()) else { return };
        self.expected = self.expected.saturating_sub(copies.len());
        match take(self.queue, &folder, &copies, again, room) {
            Ok(answers) => tags.into_iter().zip(answers).for_each(|(tag, answer)| told(tag, answer)),
            Err(error) => {
                let why = error.to_string();
                let mut first = Some(error);
                for tag in tags {
                    told(tag, Err(first.take().unwrap_or_else(|| Error::Together(why.clone()))));
                }
            }
        }
    }
}

/// Takes copies in, all or none; says of each what came of it.
fn take(
    queue: &Queue,
    folder: &Folder,
    copies: &[Copy],
    again: bool,
    room: u64,
) -> Result<Vec<Result<Receipt, Error>>, Error> {
    if folder.together {
        sync_whole(folder.staging.first()).map_err(Error::io(&folder.staging.at(""), "make the copies durable"))?;
    }
    queue.locked(|known| {
        let mut ahead = Ahead::new(&known.jobs, again, room);
        let answers: Vec<_> = copies.iter().map(|copy| ahead.decide(copy)).collect();
        let Ahead { entries, moves, .. } = ahead;
        if entries.is_empty() {
            return Ok(answers);
        }
        for (from, hash, target) in moves {
            let to = target.map_or_else(|| queue.content(hash), |target| queue.told(hash, &target));
            fs::rename(from, &to).map_err(Error::io(&to, "give the copy its name"))?;
        }
        ["about", "content"].into_iter().try_for_each(|name| sync_dir(&queue.at(name)))?;
        known.append(entries)?;
        Ok(answers)
    })
}

/// What will be in the queue when the lines are written that are decided on.
struct Ahead<'c> {
    jobs: &'c Jobs,
    again: bool,
    room: u64,
    /// The lines.
    entries: Vec<Entry>,
    /// Which files go where: copies, and what is told a target beside them.
    moves: Vec<(&'c Path, ContentHash, Option<TargetName>)>,
    /// What they say of a content and a target.
    new: BTreeMap<(ContentHash, TargetName), State>,
    /// How many bytes, in how many copies, there are more for a target.
    more: BTreeMap<TargetName, (u64, usize)>,
}

impl<'c> Ahead<'c> {
    fn new(jobs: &'c Jobs, again: bool, room: u64) -> Self {
        let (entries, moves) = (Vec::new(), Vec::new());
        Self { jobs, again, room, entries, moves, new: BTreeMap::new(), more: BTreeMap::new() }
    }

    /// Decides for which of its targets a copy is taken.
    fn decide(&mut self, copy: &'c Copy) -> Result<Receipt, Error> {
        let Copy { oid, joined, complete, hash, size, .. } = *copy;
        let mut placed = Vec::new();
        let mut full = None;
        let before = self.entries.len();
        for (Choice { target, rule }, beside) in &copy.targets {
            if let Some(state) = self.state(hash, target).filter(|state| !self.is_free(state)) {
                placed.push((target.clone(), Placed::Known(state.clone())));
                continue;
            }
            if let Some(held) = self.over(hash, target, size) {
                full.get_or_insert((target.clone(), held));
                placed.push((target.clone(), Placed::NoRoom));
                continue;
            }
            let (extension, rule) = (copy.extension.clone(), rule.clone());
            let event = Event::Queued(Taken { oid, joined, size, complete, extension, rule });
            self.enter(copy, target, beside, event);
            placed.push((target.clone(), Placed::Queued));
        }
        if self.entries.len() > before {
            self.moves.push((&copy.path, hash, None));
        }
        match full {
            Some((target, held)) if placed.iter().all(|(_, placed)| *placed == Placed::NoRoom) => {
                Err(Error::Full { target, held, size, room: self.room })
            }
            _ => Ok(Receipt { oid, joined, hash, size, complete, placed }),
        }
    }

    /// What became of a content at a target, but for what is as if nobody had submitted it.
    fn state(&self, hash: ContentHash, target: &TargetName) -> Option<&State> {
        let job = || self.jobs.get(hash, target).filter(|job| !job.was_not_taken());
        self.new.get(&(hash, target.clone())).or_else(|| job().map(|job| &job.state))
    }

    /// Whether it is taken once more.
    const fn is_free(&self, state: &State) -> bool {
        self.again && !matches!(state, State::Waits { .. })
    }

    /// How many bytes a target has already, if it has no room for a content.
    fn over(&self, hash: ContentHash, target: &TargetName, size: u64) -> Option<u64> {
        let more = self.more.get(target).copied().unwrap_or_default();
        self.jobs.over(hash, target, size, self.room, more)
    }

    fn enter(&mut self, copy: &'c Copy, target: &TargetName, beside: &'c Path, event: Event) {
        let Copy { hash, size, queued, .. } = *copy;
        if !self.jobs.get(hash, target).is_some_and(Job::holds) {
            let (bytes, copies) = self.more.entry(target.clone()).or_default();
            (*bytes, *copies) = (bytes.saturating_add(size), copies.saturating_add(1));
        }
        self.new.insert((hash, target.clone()), State::Waits { due: queued, why: String::new() });
        self.moves.push((beside, hash, Some(target.clone())));
        self.entries.push(Entry { time: queued, hash, target: target.clone(), event });
    }
}

/// Writes a small file.
fn write(path: &Path, text: &str, durable: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if durable { sync(&file) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SYNCS;
    use streamdb_testkit::TestFolder;

    /// Takes in so many copies together; gives how often the disk was waited for, and the lines of the record.
    fn take_in(copies: usize) -> (usize, usize) {
        let folder = TestFolder::new("batch");
        let queue = Queue::open(folder.path()).unwrap();
        let target = Choice { target: TargetName::folder(), rule: String::new() };
        let before = SYNCS.get();
        let mut batch = queue.batch(copies);
        for n in 0..copies {
            let mut incoming = batch.copy().unwrap();
            write!(incoming, "{n}").unwrap();
            let oid = "1-2-3-4".parse().unwrap();
            let item = Item { oid, complete: true, extension: String::new(), about: About::default() };
            batch.add(n, incoming, &item, std::slice::from_ref(&target)).unwrap();
        }
        let mut told = 0;
        batch.take(false, 1 << 20, &mut |n, receipt| {
            assert_eq!(n, told);
            assert!(receipt.unwrap().is_new());
            told += 1;
        });
        assert_eq!(told, copies);
        let lines = fs::read_to_string(folder.path().join("queue/record")).unwrap().lines().count();
        (SYNCS.get() - before, lines)
    }

    #[test]
    fn the_disk_is_waited_for_once_a_batch() {
        let together = syncs_whole(&fs::File::open(TestFolder::new("batch-where").path()).unwrap());
        for copies in [1, FEW - 1, FEW, 500] {
            // The file system; or each copy, and what is told beside it.
            let files = if together && copies >= FEW { 1 } else { 2 * copies };
            // The folders of both, and the record.
            assert_eq!(take_in(copies), (files + 3, copies));
        }
    }
}
