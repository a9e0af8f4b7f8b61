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
use crate::record::{Entry, Event};
use crate::settings::TargetName;

/// One content on its way to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The content.
    pub hash: ContentHash,
    /// Where to.
    pub target: TargetName,
    /// The object that it was submitted as.
    pub oid: Oid,
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
    /// It was given up. Its copy is kept.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
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

    /// The same in 41 characters, for who has no room for more.
    pub(crate) fn short_key(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(self.key()).into();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("streamdb-{hex}")
    }

    /// Whether the queue keeps its copy.
    pub(crate) const fn holds(&self) -> bool {
        !matches!(self.state, State::Sent { .. })
    }

    /// Whether an earlier try may have come to its end at the target.
    pub(crate) const fn in_doubt(&self) -> bool {
        self.doubt || self.trying.is_some()
    }
}

type Key = (ContentHash, TargetName);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    all: BTreeMap<Key, Job>,
    /// Those whose copies are kept.
    held: BTreeSet<Key>,
}

impl Jobs {
    /// Takes a line of the record in. One about a job that is not there says nothing.
    pub(crate) fn apply(&mut self, entry: Entry) {
        let Entry { time, hash, target, event } = entry;
        let key = (hash, target);
        match event {
            Event::Queued { oid, size, complete, extension, rule } => {
                let state = State::Waits { due: time, why: String::new() };
                let target = key.1.clone();
                let (tries, trying, doubt) = (0, None, false);
                let queued = time;
                let job =
                    Job { hash, target, oid, size, complete, extension, rule, queued, tries, trying, doubt, state };
                self.held.insert(key.clone());
                self.all.insert(key, job);
            }
            Event::Dropped => {
                self.held.remove(&key);
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
            Event::Failed { why } => self.change(&key, State::Failed { at: time, why }, false),
        }
    }

    fn change(&mut self, key: &Key, state: State, doubt: bool) {
        let Some(job) = self.all.get_mut(key) else { return };
        // Of a try that was announced the beginning was counted.
        if job.trying.take().is_none() {
            job.tries = job.tries.saturating_add(1);
        }
        job.doubt = doubt;
        job.state = state;
        if job.holds() {
            self.held.insert(key.clone());
        } else {
            self.held.remove(key);
        }
    }

    pub(crate) fn get(&self, hash: ContentHash, target: &TargetName) -> Option<&Job> {
        self.all.get(&(hash, target.clone()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.all.values()
    }

    /// Those of one content.
    pub(crate) fn of(&self, hash: ContentHash) -> impl Iterator<Item = &Job> {
        let first = self.all.range((hash, TargetName::first())..);
        first.map(|(_, job)| job).take_while(move |job| job.hash == hash)
    }

    /// Those whose copies are kept.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Job> {
        self.held.iter().filter_map(|key| self.all.get(key))
    }

    /// Whether any target still needs the copy of a content.
    pub(crate) fn needs(&self, hash: ContentHash) -> bool {
        self.of(hash).any(Job::holds)
    }

    /// Bytes of the copies that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        let held: BTreeMap<ContentHash, u64> = self.held().map(|job| (job.hash, job.size)).collect();
        held.values().fold(0, |all, size| all.saturating_add(*size))
    }
}
