//! One content on its way to one target: what the lines of the record add up to.
//!
//! ```text
//!            queued                sent
//!  (nothing) ------> waits ----------------> sent ---.
//!               ^     |  ^ |                         | queued again,
//!               |     '--' '---> failed -------------+ when that is asked for
//!               |    tried         | dropped         |
//!               '------------------+-----------------'
//! ```

use std::collections::BTreeMap;
use std::fmt;

use streamdb_types::{Oid, Timestamp};

use crate::hash::ContentHash;
use crate::record::{Entry, Event};

/// A kind of target. There is one of each; where it is says the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The folder.
    Folder,
    /// The server.
    Sandbox,
}

impl Target {
    const ALL: [Self; 2] = [Self::Folder, Self::Sandbox];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Sandbox => "sandbox",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.word() == word)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One content on its way to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The content.
    pub hash: ContentHash,
    /// Where to.
    pub target: Target,
    /// The object that it was submitted as.
    pub oid: Oid,
    /// Its length in bytes.
    pub size: u64,
    /// Whether the object was whole.
    pub complete: bool,
    /// What files of its kind usually end in, without the dot; may be empty.
    pub extension: String,
    /// When it was taken into the queue.
    pub queued: Timestamp,
    /// How often it was tried.
    pub tries: u32,
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

    /// Whether the queue keeps its copy.
    pub(crate) const fn holds(&self) -> bool {
        !matches!(self.state, State::Sent { .. })
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Jobs(BTreeMap<(ContentHash, Target), Job>);

impl Jobs {
    /// Takes a line of the record in. One about a job that is not there says nothing.
    pub(crate) fn apply(&mut self, entry: Entry) {
        let Entry { time, hash, target, event } = entry;
        let key = (hash, target);
        match event {
            Event::Queued { oid, size, complete, extension } => {
                let state = State::Waits { due: time, why: String::new() };
                let job = Job { hash, target, oid, size, complete, extension, queued: time, tries: 0, state };
                self.0.insert(key, job);
            }
            Event::Dropped => {
                self.0.remove(&key);
            }
            Event::Tried { due, why } => self.change(key, State::Waits { due, why }),
            Event::Sent { said } => self.change(key, State::Sent { at: time, said }),
            Event::Failed { why } => self.change(key, State::Failed { at: time, why }),
        }
    }

    fn change(&mut self, key: (ContentHash, Target), state: State) {
        if let Some(job) = self.0.get_mut(&key) {
            job.tries = job.tries.saturating_add(1);
            job.state = state;
        }
    }

    pub(crate) fn get(&self, hash: ContentHash, target: Target) -> Option<&Job> {
        self.0.get(&(hash, target))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.0.values()
    }

    /// Whether any target still needs the copy of a content.
    pub(crate) fn needs(&self, hash: ContentHash) -> bool {
        Target::ALL.iter().any(|target| self.get(hash, *target).is_some_and(Job::holds))
    }

    /// Bytes of the copies that are kept.
    pub(crate) fn held(&self) -> u64 {
        let held: BTreeMap<ContentHash, u64> =
            self.0.values().filter(|job| job.holds()).map(|job| (job.hash, job.size)).collect();
        held.values().fold(0, |all, size| all.saturating_add(*size))
    }
}
