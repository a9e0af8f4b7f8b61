//! One content on its way to one target: what the lines of the record add up to.
//!
//! ```text
//!            queued           trying           sent
//!  (nothing) ------> waits ----------> tried now ----> sent ---.
//!               ^     |  ^                | |                  | queued again,
//!               |     |  '------ tried ---' '----> failed -----+ when that is asked for
//!               |     '----- sent, failed ---------^  | dropped|
//!               '-------------------------------------+--------'
//! ```
//!
//! A job that is *tried now* in the record of a process that is gone is in doubt: nobody knows what came of that try. It
//! waits as the others do, and is asked about first.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use streamdb_types::{Oid, Timestamp};

use crate::hash::ContentHash;
use crate::record::{Entry, Event, Taken};
use crate::settings::TargetName;

/// One content on its way to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The content.
    pub hash: ContentHash,
    /// Where to.
    pub target: TargetName,
    /// The object that it was submitted as; of a joined content the first part.
    pub oid: Oid,
    /// Whether it is joined of that object and others, which have other contents each.
    pub joined: bool,
    /// Its length in bytes.
    pub size: u64,
    /// Whether the object was whole.
    pub complete: bool,
    /// What files of its kind usually end in, without the dot; may be empty.
    pub extension: String,
    /// The rule that chose it; empty where a person did.
    pub rule: String,
    /// When it was taken into the queue.
    pub queued: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// Since when a try is under way, or was when its process was killed.
    pub trying: Option<Timestamp>,
    /// Whether the target may have it from an earlier try, whose end is not known.
    pub doubt: bool,
    /// What became of it.
    pub state: State,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is tried when it is due.
    Waits {
        /// Not before.
        due: Timestamp,
        /// Why the last try came to nothing; empty before the first.
        why: String,
    },
    /// The target has it.
    Sent {
        /// When.
        at: Timestamp,
        /// What the target said.
        said: String,
        /// Where the result is or will be, as `http://...` or `https://...`; empty where that is not known.
        link: String,
        /// What the target calls it, ids with commas between them; may be empty.
        task: String,
    },
    /// It was given up.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
        /// Whether its copy is kept: not of what the target refused for good, nor where there was no room.
        kept: bool,
    },
}

impl Job {
    /// What the file is called at the target: by its content, never by what the capture called it.
    pub fn file_name(&self) -> String {
        let incomplete = if self.complete { "" } else { ".incomplete" };
        let dot = if self.extension.is_empty() { "" } else { "." };
        format!("{}{incomplete}{dot}{}", self.hash, self.extension)
    }

    /// What all tries of this submission have in common, and no other submission has.
    pub fn key(&self) -> String {
        format!("{}-{}-{}", self.hash, self.target, self.queued.0)
    }

    /// By what it can be submitted again.
    pub fn name(&self) -> String {
        if self.joined { self.hash.to_string() } else { self.oid.to_string() }
    }

    /// The same in 41 characters, for who has no room for more.
    pub(crate) fn short_key(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(self.key()).into();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("streamdb-{hex}")
    }

    /// Whether the queue keeps its copy.
    pub(crate) const fn holds(&self) -> bool {
        matches!(self.state, State::Waits { .. } | State::Failed { kept: true, .. })
    }

    /// Whether it was not taken in, as there was no room: it is as if nobody had submitted it.
    pub const fn was_not_taken(&self) -> bool {
        self.tries == 0 && matches!(self.state, State::Failed { kept: false, .. })
    }

    /// Of one that is over, and has no copy: whether it was not taken in (1), and since when it is over.
    fn over(&self) -> Option<(usize, Timestamp)> {
        match self.state {
            State::Sent { at, .. } => Some((0, at)),
            State::Failed { at, kept: false, .. } => Some((usize::from(self.was_not_taken()), at)),
            State::Waits { .. } | State::Failed { kept: true, .. } => None,
        }
    }

    /// Whether an earlier try may have come to its end at the target.
    pub(crate) const fn in_doubt(&self) -> bool {
        self.doubt || self.trying.is_some()
    }
}

pub(crate) type Key = (ContentHash, TargetName);

/// How it stands with a target, of what is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many wait.
    pub waiting: u64,
    /// How many it has.
    pub sent: u64,
    /// How many were given up.
    pub failed: u64,
    /// How many were not taken in, as there was no room.
    pub not_taken: u64,
    /// Why one of those that wait was not sent yet; empty when none was tried.
    pub why: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    all: BTreeMap<Key, Job>,
    /// Of each target, what waits and what is kept for it.
    lanes: BTreeMap<TargetName, Lane>,
}

/// What there is of one target.
#[derive(Debug, Default)]
struct Lane {
    /// Bytes of the copies that are kept for it.
    held: u128,
    /// How many copies that are.
    copies: usize,
    /// What waits, by when it is due and when it was taken in.
    waiting: BTreeSet<(Timestamp, Timestamp, ContentHash)>,
    /// How many are over, those that were not taken in apart.
    over: [usize; 2],
}

/// Most copies that are kept for a target: each costs a block of the disk and two of its files, however small it is.
pub(crate) const MOST: usize = 100_000;
/// So many of those that are over are remembered of a target, the latest; and so many of those that were not taken in.
pub(crate) const REMEMBERED: usize = 100_000;
/// Why what was not taken in was not.
const NO_ROOM: &str = "there was no room for it in the queue";

impl Jobs {
    /// Takes a line of the record in. One about a job that is not there says nothing.
    pub(crate) fn apply(&mut self, entry: Entry) {
        let Entry { time, hash, target, event } = entry;
        let key = (hash, target);
        self.leave(&key);
        let no_room = matches!(event, Event::Full(_));
        match event {
            Event::Queued(taken) | Event::Full(taken) => {
                let Taken { oid, joined, size, complete, extension, rule } = taken;
                let state = if no_room {
                    State::Failed { at: time, why: NO_ROOM.to_owned(), kept: false }
                } else {
                    State::Waits { due: time, why: String::new() }
                };
                let (target, queued) = (key.1.clone(), time);
                let (tries, trying, doubt) = (0, None, false);
                let job = Job {
                    hash,
                    target,
                    oid,
                    joined,
                    size,
                    complete,
                    extension,
                    rule,
                    queued,
                    tries,
                    trying,
                    doubt,
                    state,
                };
                self.all.insert(key.clone(), job);
            }
            Event::Dropped => {
                self.all.remove(&key);
            }
            Event::Trying => {
                if let Some(job) = self.all.get_mut(&key) {
                    job.doubt |= job.trying.is_some();
                    job.tries = job.tries.saturating_add(1);
                    job.trying = Some(time);
                }
            }
            Event::Tried { due, why, doubt } => self.change(&key, State::Waits { due, why }, doubt),
            Event::Sent { said, link, task } => self.change(&key, State::Sent { at: time, said, link, task }, false),
            Event::Failed { why, kept } => self.change(&key, State::Failed { at: time, why, kept }, false),
        }
        self.enter(&key);
    }

    fn change(&mut self, key: &Key, state: State, doubt: bool) {
        let Some(job) = self.all.get_mut(key) else { return };
        // Of a try that was announced the beginning was counted.
        if job.trying.take().is_none() {
            job.tries = job.tries.saturating_add(1);
        }
        job.doubt = doubt;
        job.state = state;
    }

    /// Takes a job out of what is known of its target, before it changes.
    fn leave(&mut self, key: &Key) {
        let Some(job) = self.all.get(key) else { return };
        let Some(lane) = self.lanes.get_mut(&key.1) else { return };
        if job.holds() {
            lane.held = lane.held.saturating_sub(job.size.into());
            lane.copies = lane.copies.saturating_sub(1);
        }
        if let Some(over) = job.over().and_then(|(class, _)| lane.over.get_mut(class)) {
            *over = over.saturating_sub(1);
        }
        if let State::Waits { due, .. } = job.state {
            lane.waiting.remove(&(due, job.queued, job.hash));
        }
    }

    /// Puts it back.
    fn enter(&mut self, key: &Key) {
        let Some(job) = self.all.get(key) else { return };
        let lane = self.lanes.entry(key.1.clone()).or_default();
        if let Some((class, _)) = job.over() {
            if let Some(over) = lane.over.get_mut(class) {
                *over += 1;
            }
            return;
        }
        lane.held = lane.held.saturating_add(job.size.into());
        lane.copies = lane.copies.saturating_add(1);
        if let State::Waits { due, .. } = job.state {
            lane.waiting.insert((due, job.queued, job.hash));
        }
    }

    /// The job that is due first at a target, but for that of one content. One whose try was broken off is not before `settle`
    /// after that.
    pub(crate) fn due(
        &self,
        target: &TargetName,
        now: Timestamp,
        settle: i64,
        but: Option<ContentHash>,
    ) -> Option<&Job> {
        let lane = self.lanes.get(target)?;
        let mut first: Option<((Timestamp, Timestamp), &Job)> = None;
        for (due, queued, hash) in lane.waiting.iter().take_while(|(due, ..)| *due <= now) {
            if but == Some(*hash) {
                continue;
            }
            let Some(job) = self.get(*hash, target) else { continue };
            let later = job.trying.map_or(*due, |since| (*due).max(since.plus(settle)));
            let order = (later, *queued);
            if later <= now && first.is_none_or(|(before, _)| order < before) {
                first = Some((order, job));
            }
            // Those behind it are due later.
            if job.trying.is_none() {
                break;
            }
        }
        first.map(|(_, job)| job)
    }

    pub(crate) fn get(&self, hash: ContentHash, target: &TargetName) -> Option<&Job> {
        self.all.get(&(hash, target.clone()))
    }

    /// How it stands, by target.
    pub(crate) fn tally(&self) -> BTreeMap<TargetName, Tally> {
        let mut all = BTreeMap::<TargetName, Tally>::new();
        for job in self.all.values() {
            let of = all.entry(job.target.clone()).or_default();
            match &job.state {
                State::Waits { why, .. } => {
                    of.waiting += 1;
                    if !why.is_empty() {
                        of.why.clone_from(why);
                    }
                }
                State::Sent { .. } => of.sent += 1,
                State::Failed { .. } if job.was_not_taken() => of.not_taken += 1,
                State::Failed { .. } => of.failed += 1,
            }
        }
        all
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.all.values()
    }

    /// Whether of any target a quarter more than so many are over.
    pub(crate) fn is_long(&self, most: usize) -> bool {
        self.lanes.values().any(|lane| lane.over.iter().any(|over| *over > most + most / 4))
    }

    /// Which are to be forgotten, so that of each target no more than so many are over: those that are it for longest.
    pub(crate) fn surplus(&self, most: usize) -> BTreeSet<Key> {
        let mut over: BTreeMap<(&TargetName, usize), Vec<(Timestamp, &Key)>> = BTreeMap::new();
        for (key, job) in &self.all {
            if let Some((class, since)) = job.over() {
                over.entry((&key.1, class)).or_default().push((since, key));
            }
        }
        let mut surplus = BTreeSet::new();
        for mut all in over.into_values() {
            all.sort_unstable();
            let beyond = all.len().saturating_sub(most);
            surplus.extend(all.into_iter().take(beyond).map(|(_, key)| key.clone()));
        }
        surplus
    }

    /// Those of one content.
    pub(crate) fn of(&self, hash: ContentHash) -> impl Iterator<Item = &Job> {
        let first = self.all.range((hash, TargetName::first())..);
        first.map(|(_, job)| job).take_while(move |job| job.hash == hash)
    }

    /// Whether any target still needs the copy of a content.
    pub(crate) fn needs(&self, hash: ContentHash) -> bool {
        self.of(hash).any(Job::holds)
    }

    /// Bytes of the copies that are kept for a target.
    pub(crate) fn held(&self, target: &TargetName) -> u64 {
        self.lanes.get(target).map_or(0, |lane| u64::try_from(lane.held).unwrap_or(u64::MAX))
    }

    /// How many copies are kept for a target.
    pub(crate) fn copies(&self, target: &TargetName) -> usize {
        self.lanes.get(target).map_or(0, |lane| lane.copies)
    }

    /// How many bytes a target has already, if it has no room for a content; `more` is what it will have before it, as bytes
    /// and as copies.
    pub(crate) fn over(
        &self,
        hash: ContentHash,
        target: &TargetName,
        size: u64,
        room: u64,
        more: (u64, usize),
    ) -> Option<u64> {
        let has = self.get(hash, target).is_some_and(Job::holds);
        let held = self.held(target).saturating_add(more.0);
        let many = self.copies(target).saturating_add(more.1) >= MOST;
        (!has && (many || held.saturating_add(size) > room)).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is due and what is held, as going through all jobs has it, after each of many events in any order.
    #[test]
    fn what_is_due_and_held_is_what_all_jobs_say() {
        let targets = ["a", "b"].map(|name| TargetName::parse(name).unwrap());
        let mut state = 1_u64;
        let mut random = move |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let mut jobs = Jobs::default();
        let (mut found, mut held) = (0, 0);
        for time in 0..20_000 {
            let text = String::new;
            let (oid, size) = ("1-2-3-4".parse().unwrap(), 1 + random(9));
            let taken = Taken { oid, joined: false, size, complete: true, extension: text(), rule: text() };
            let event = match random(10) {
                0..=2 => Event::Queued(taken),
                3 => Event::Full(taken),
                4 => Event::Trying,
                5 | 6 => Event::Tried { due: Timestamp(time + random(50) as i64), why: text(), doubt: false },
                7 => Event::Sent { said: text(), link: text(), task: text() },
                8 => Event::Failed { why: text(), kept: random(2) == 0 },
                _ => Event::Dropped,
            };
            let hash = ContentHash([random(12) as u8; 32]);
            let target = targets[random(2) as usize].clone();
            jobs.apply(Entry { time: Timestamp(time), hash, target, event });
            let (now, settle) = (Timestamp(time + random(20) as i64 - 10), 15);
            for target in &targets {
                let all = || jobs.iter().filter(|job| job.target == *target);
                let due = |job: &Job| match job.state {
                    State::Waits { due, .. } => {
                        let due = job.trying.map_or(due, |since| due.max(since.plus(settle)));
                        (due <= now).then_some((due, job.queued))
                    }
                    _ => None,
                };
                assert_eq!(jobs.due(target, now, settle, None).and_then(due), all().filter_map(due).min());
                let others = all().filter(|job| job.hash != hash);
                assert_eq!(jobs.due(target, now, settle, Some(hash)).and_then(due), others.filter_map(due).min());
                let bytes: u64 = all().filter(|job| job.holds()).map(|job| job.size).sum();
                assert_eq!((jobs.held(target), jobs.copies(target)), (bytes, all().filter(|job| job.holds()).count()));
                found += u64::from(jobs.due(target, now, settle, None).is_some());
                held += u64::from(bytes > 0);
            }
        }
        assert!(found > 1000 && held > 1000, "{found} {held}");
    }

    #[test]
    fn small_contents_fill_the_room_by_their_number() {
        let target = TargetName::sandbox();
        let mut jobs = Jobs::default();
        let hash = |n: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            ContentHash(hash)
        };
        for n in 0..MOST {
            assert_eq!(jobs.over(hash(n), &target, 1, 1 << 40, (0, 0)), None);
            let (extension, rule) = (String::new(), String::new());
            let oid = "1-2-3-4".parse().unwrap();
            let event = Event::Queued(Taken { oid, joined: false, size: 1, complete: true, extension, rule });
            jobs.apply(Entry { time: Timestamp(0), hash: hash(n), target: target.clone(), event });
        }
        assert_eq!(jobs.over(hash(MOST), &target, 1, 1 << 40, (0, 0)), Some(MOST as u64));
        assert_eq!(jobs.over(hash(7), &target, 1, 1 << 40, (0, 0)), None, "it is there already");
    }
}
