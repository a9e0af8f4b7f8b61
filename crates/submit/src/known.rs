//! The file of the record: read as far as others wrote it, and written to, all lines or none. Where it has become long, it is written
//! anew without what is forgotten.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::disk::{sync, sync_appended};
use crate::error::Error;
use crate::job::{Jobs, Key, REMEMBERED};
use crate::record::{Entry, Event, MAX_LINE};

/// The record as far as it was read.
pub(crate) struct Known {
    path: PathBuf,
    record: File,
    /// What its lines add up to.
    pub(crate) jobs: Jobs,
    /// Bytes of whole lines.
    read: u64,
    /// Lines that could not be read.
    pub(crate) damaged: u64,
    /// How many are remembered, as for [`Jobs::surplus`].
    most: usize,
    /// It is not written anew before it has so many bytes: that could not be done.
    long_at: u64,
}

/// What a new record is called until it is whole.
pub(crate) const NEW: &str = "record.new";
/// After so many bytes more it is tried again to write it anew.
const AGAIN: u64 = 1 << 20;

impl Known {
    /// Opens the record, and makes it if it is not there. Nothing of it is read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let record = opened().create(true).open(&path).map_err(Error::io(&path, "open the record"))?;
        Ok(Self { path, record, jobs: Jobs::default(), read: 0, damaged: 0, most: REMEMBERED, long_at: 0 })
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.record.metadata().is_ok_and(|facts| facts.len() == 0)
    }

    /// Reads what others wrote.
    pub(crate) fn refresh(&mut self) -> Result<(), Error> {
        self.read_on().map_err(Error::io(&self.path, "read the record"))
    }

    fn read_on(&mut self) -> io::Result<()> {
        let facts = self.record.metadata()?;
        let replaced = match fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) != (facts.dev(), facts.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if replaced {
            self.record = opened().open(&self.path)?;
        }
        if replaced || facts.len() < self.read {
            // Somebody wrote it anew, or put an older one in its place.
            (self.jobs, self.read, self.damaged) = (Jobs::default(), 0, 0);
        }
        self.record.seek(SeekFrom::Start(self.read))?;
        let mut lines = BufReader::new(&self.record);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
            let whole = line.strip_suffix(b"\n");
            if whole.is_none() && read < MAX_LINE {
                return Ok(());
            }
            self.read += read as u64;
            match whole.and_then(Entry::decode) {
                Some(entry) => self.jobs.apply(entry),
                None => self.damaged += 1,
            }
        }
    }

    /// Writes lines, all or none, and takes them in when they are durable: with one sync, however many they are.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let lines: String = entries.iter().map(Entry::encode).collect();
        // A line that a killed process did not finish goes first.
        let record = &mut self.record;
        let written = record
            .set_len(self.read)
            .and_then(|()| record.write_all(lines.as_bytes()))
            .and_then(|()| sync_appended(record));
        if let Err(error) = written {
            // What may be there of them must not count later: it was not acknowledged.
            let _ = record.set_len(self.read);
            return Err(Error::io(&self.path, "write the record")(error));
        }
        self.read += lines.len() as u64;
        entries.into_iter().for_each(|entry| self.jobs.apply(entry));
        // What was to be written is written, whatever comes of this.
        if self.read >= self.long_at && self.jobs.is_long(self.most) && self.shorten().is_err() {
            self.long_at = self.read.saturating_add(AGAIN);
        }
        Ok(())
    }

    /// Writes the record anew without what is forgotten. The new one takes the place of the old one in one step, when it is durable: a
    /// kill before that leaves the old one, and both say the same of all that is remembered.
    fn shorten(&mut self) -> io::Result<()> {
        let surplus = self.jobs.surplus(self.most);
        let path = self.path.with_file_name(NEW);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let record = opened().create_new(true).open(&path)?;
        let mut out = BufWriter::new(&record);
        self.record.seek(SeekFrom::Start(0))?;
        let mut lines = BufReader::new(&self.record).take(self.read);
        // Those whose last beginning was met: what was before that counts no more.
        let mut begun: BTreeSet<Key> = BTreeSet::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            // One that is damaged stays: nobody knows what it says.
            let counts = line.strip_suffix(b"\n").and_then(Entry::decode).is_none_or(|entry| {
                let key = (entry.hash, entry.target);
                let begins = matches!(entry.event, Event::Queued(_) | Event::Full(_));
                if begins && self.jobs.get(key.0, &key.1).is_some_and(|job| job.queued == entry.time) {
                    begun.insert(key.clone());
                }
                begun.contains(&key) && !surplus.contains(&key)
            });
            if counts {
                out.write_all(&line)?;
            }
        }
        out.flush()?;
        drop(out);
        sync(&record)?;
        fs::rename(&path, &self.path)?;
        // Until all of it is read, what is known by the old one counts.
        let (path, most) = (self.path.clone(), self.most);
        let mut new = Self { path, record, jobs: Jobs::default(), read: 0, damaged: 0, most, long_at: 0 };
        new.read_on()?;
        *self = new;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder).and_then(|folder| sync(&folder)))
    }
}

fn opened() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use streamdb_testkit::TestFolder;
    use streamdb_types::Timestamp;

    use super::*;
    use crate::hash::ContentHash;
    use crate::job::{Job, State};
    use crate::record::Taken;
    use crate::settings::TargetName;

    fn open(folder: &TestFolder, most: usize) -> Known {
        let mut known = Known { most, ..Known::open(folder.path().join("record")).unwrap() };
        known.refresh().unwrap();
        known
    }

    /// Since when a job is over, and whether it was never taken in.
    fn over(job: &Job) -> Option<(bool, Timestamp)> {
        match job.state {
            State::Sent { at, .. } | State::Failed { at, kept: false, .. } => Some((job.was_not_taken(), at)),
            _ => None,
        }
    }

    /// What may happen next to a job.
    fn next(job: Option<&Job>, random: &mut dyn FnMut(u64) -> u64) -> Event {
        let text = String::new;
        let oid = "1-2-3-4".parse().unwrap();
        let taken = Taken { oid, joined: false, size: 5, complete: true, extension: text(), rule: text() };
        match job.map(|job| &job.state) {
            Some(State::Waits { .. }) => match random(8) {
                0 | 1 => Event::Trying,
                2 => Event::Tried { due: Timestamp(7), why: text(), doubt: true },
                3 => Event::Failed { why: text(), kept: random(4) == 0 },
                _ => Event::Sent { said: "200 OK".to_owned(), link: text(), task: text() },
            },
            Some(State::Failed { kept: true, .. }) if random(2) == 0 => Event::Dropped,
            _ if random(3) == 0 => Event::Full(taken),
            _ => Event::Queued(taken),
        }
    }

    #[test]
    fn the_oldest_that_are_over_are_forgotten_and_all_else_stays_as_it_was() {
        const MOST: usize = 20;
        let folder = TestFolder::new("known-long");
        let targets = ["a", "b"].map(|name| TargetName::parse(name).unwrap());
        let mut random = 1_u64;
        let mut random = move |most: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % most
        };
        // Two processes, and all that ever was.
        let mut processes = [open(&folder, MOST), open(&folder, MOST)];
        let mut all = Jobs::default();
        let (mut anew, mut written) = (0, 0);
        for time in 0..6000 {
            let (hash, target) = (ContentHash([random(90) as u8; 32]), targets[random(2) as usize].clone());
            let writer = random(2) as usize;
            let known = &mut processes[writer];
            known.refresh().unwrap();
            // Who does not know it any more takes it in again.
            if known.jobs.get(hash, &target).is_none() && all.get(hash, &target).is_some() {
                let (time, target) = (Timestamp(time), target.clone());
                all.apply(Entry { time, hash, target, event: Event::Dropped });
            }
            let event = next(known.jobs.get(hash, &target), &mut random);
            let entry = Entry { time: Timestamp(time), hash, target, event };
            all.apply(entry.clone());
            let before = known.read;
            written += entry.encode().len();
            known.append(vec![entry]).unwrap();
            anew += usize::from(known.read < before);
            processes[1 - writer].refresh().unwrap();
            let [one, other] = &processes;
            assert!(one.jobs.iter().eq(other.jobs.iter()) && one.read == other.read);
            assert!(one.jobs.iter().all(|job| all.get(job.hash, &job.target) == Some(job)));
            let mut classes: BTreeMap<(&TargetName, bool), Vec<(Timestamp, bool)>> = BTreeMap::new();
            for job in all.iter() {
                let is_known = one.jobs.get(job.hash, &job.target).is_some();
                match over(job) {
                    None => assert!(is_known, "{job:?}"),
                    Some((class, since)) => classes.entry((&job.target, class)).or_default().push((since, is_known)),
                }
            }
            for mut jobs in classes.into_values() {
                jobs.sort_unstable();
                let known = jobs.iter().filter(|(_, is_known)| *is_known).count();
                assert!(jobs.iter().skip(jobs.len() - known).all(|(_, is_known)| *is_known), "the latest are known");
                assert!(known >= jobs.len().min(MOST) && known <= MOST + MOST / 4, "{known} of {}", jobs.len());
            }
        }
        let there = fs::metadata(folder.path().join("record")).unwrap().len();
        assert!(anew > 20 && there * 10 < written as u64, "{anew} times, {there} bytes of {written}");
        // Whoever comes then knows the same.
        assert!(open(&folder, MOST).jobs.iter().eq(processes[0].jobs.iter()));
    }

    /// So many contents that were sent, one after the other.
    fn send(known: &mut Known, contents: std::ops::Range<u8>) {
        for n in contents {
            let (hash, target) = (ContentHash([n; 32]), TargetName::folder());
            let (oid, text) = ("1-2-3-4".parse().unwrap(), String::new);
            let taken = Taken { oid, joined: false, size: 5, complete: true, extension: text(), rule: text() };
            let sent = Event::Sent { said: text(), link: text(), task: text() };
            for event in [Event::Queued(taken), sent] {
                known.append(vec![Entry { time: Timestamp(n.into()), hash, target: target.clone(), event }]).unwrap();
            }
        }
    }

    #[test]
    fn what_a_kill_left_of_a_new_record_is_nothing_and_damaged_lines_stay() {
        let folder = TestFolder::new("known-killed");
        let (path, new) = (folder.path().join("record"), folder.path().join(NEW));
        let mut known = open(&folder, 8);
        send(&mut known, 0..4);
        let mut lines = fs::read(&path).unwrap();
        lines.splice(0..0, *b"damaged\n");
        fs::write(&path, &lines).unwrap();
        fs::write(&new, &lines[..lines.len() / 2]).unwrap();
        let mut known = open(&folder, 8);
        assert_eq!((known.jobs.iter().count(), known.damaged), (4, 1));
        send(&mut known, 4..11);
        assert_eq!((known.jobs.iter().count(), known.damaged, new.exists()), (8, 1, false));
        assert!(fs::read(&path).unwrap().starts_with(b"damaged\n"));
        // Where it cannot be written anew, what was to be written is, and nothing is forgotten.
        fs::create_dir(&new).unwrap();
        send(&mut known, 11..20);
        assert_eq!(known.jobs.iter().count(), 17);
        assert!(open(&folder, 8).jobs.iter().eq(known.jobs.iter()));
        fs::remove_dir(&new).unwrap();
        known.long_at = 0;
        send(&mut known, 20..21);
        assert_eq!(known.jobs.iter().map(|job| job.hash.0[0]).collect::<Vec<_>>(), (13..21).collect::<Vec<_>>());
    }
}
