//! What the writer does when the disk fails: it counts what is lost, and tries again at each tick.

use std::collections::VecDeque;
use std::fmt;

use streamdb_types::{BucketId, Counters};

/// Frames in a journal, and payload bytes in streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Frames.
    pub frames: u64,
    /// Bytes of payload in streams.
    pub payload: u64,
}

impl Held {
    pub(super) const fn less(self, other: Self) -> Self {
        Self { frames: self.frames.saturating_sub(other.frames), payload: self.payload.saturating_sub(other.payload) }
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.frames = self.frames.saturating_add(other.frames);
        self.payload = self.payload.saturating_add(other.payload);
    }

    /// Counters with this as if nothing but it had been: for a bucket that has it, and no counters.
    pub(super) const fn beside(self, counters: &Counters) -> Counters {
        let mut counters = *counters;
        counters.frames = counters.frames.saturating_add(self.frames);
        counters.payload_captured = counters.payload_captured.saturating_add(self.payload);
        counters.payload_stored = counters.payload_stored.saturating_add(self.payload);
        counters
    }

    /// Counters of what was given, corrected by what was lost of it.
    pub const fn lost_from(self, counters: &Counters) -> Counters {
        let mut counters = *counters;
        counters.payload_stored = counters.payload_stored.saturating_sub(self.payload);
        counters.payload_lost = counters.payload_lost.saturating_add(self.payload);
        counters.gap_lost = counters.gap_lost.saturating_add(self.payload);
        counters.lost_frames = counters.lost_frames.saturating_add(self.frames);
        counters
    }
}

/// Something that an operator should know; one sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A bucket could not be written any further, or not be begun. Said once, until storing has resumed.
    Failed {
        /// What failed, with the file.
        error: String,
    },
    /// Storing has resumed.
    Resumed {
        /// What was lost since the failure.
        lost: Held,
    },
    /// The ledger could not be told that a bucket is sealed.
    Unnoted {
        /// What failed.
        error: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { error } => write!(
                f,
                "{error}; nothing more goes into that bucket, and what comes before another one can be written is counted \
                 as lost (tried again at each second of the capture)"
            ),
            Self::Resumed { lost } => write!(
                f,
                "what comes is stored again; {} frames and {} bytes of payload were lost meanwhile",
                lost.frames, lost.payload
            ),
            Self::Unnoted { error } => write!(f, "{error}; the next start enters the sealed bucket into the ledger"),
        }
    }
}

/// Buckets that were sent to be sealed, of which a failure may still be told. The channel holds fewer.
const REMEMBERED: usize = 64;

/// The worker's account of losses.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) total: Held,
    /// How much of that is told.
    told: Held,
    /// Losses before the failure that was told last, while nothing was published since.
    before: Option<Held>,
    /// No bucket may be begun before the next tick.
    pub(super) waiting: bool,
    /// What was given to the last buckets.
    ended: VecDeque<(BucketId, Given)>,
    pub(super) troubles: Vec<Trouble>,
}

/// What a bucket was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub(super) held: Held,
    /// What it was to say of its time.
    pub(super) counters: Box<Counters>,
}

impl Losses {
    /// What was lost since this was asked before.
    pub(super) fn since_asked(&mut self) -> Held {
        self.total.less(std::mem::replace(&mut self.told, self.total))
    }

    pub(super) fn bucket_ended(&mut self, id: BucketId, given: Given) {
        if self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((id, given));
    }

    /// What was given to a bucket that had ended.
    pub(super) fn given_to(&self, id: BucketId) -> Given {
        self.ended.iter().find(|(ended, _)| *ended == id).map(|(_, given)| given.clone()).unwrap_or_default()
    }

    pub(super) fn failed(&mut self, error: &crate::Error) {
        if self.before.is_none() {
            self.before = Some(self.total);
            self.troubles.push(Trouble::Failed { error: error.to_string() });
        }
    }

    /// Whether a failure was told, and not yet that it is over.
    pub(super) const fn is_failing(&self) -> bool {
        self.before.is_some()
    }

    pub(super) fn resumed(&mut self) {
        if let Some(before) = self.before.take() {
            self.troubles.push(Trouble::Resumed { lost: self.total.less(before) });
        }
    }
}
