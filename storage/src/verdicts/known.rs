//! What is known of contents, in memory, and how much of it there may be.
//!
//! Contents without a verdict are many, and forgetting one costs a scan when it comes again: they have a number. Contents with a
//! verdict are few and worth more: they have room by themselves, and none of them goes before what is older and had none.

use std::collections::HashMap;

use streamdb_types::{Oid, Verdict};

use super::Forgotten;
use super::file::{First, Said};

/// What is known of a content that was scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What was found in it.
    pub verdicts: Vec<Verdict>,
    /// Which scanners looked at it, [`Scanner::bit`](streamdb_types::Scanner::bit) by bit.
    pub looked: u8,
    /// Whether they looked at all of it.
    pub whole: bool,
    /// Whether the object that is asked for is the first one with it.
    pub first_seen: bool,
}

/// How much may be known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most contents in which nothing was found: beyond, half of them are forgotten.
    pub(super) clean: usize,
    /// Most bytes of those in which something was, by [`weight`]: beyond, a quarter of them is forgotten.
    pub(super) found: usize,
}

impl Bounds {
    /// A table of 2^22 places has room for so many without a verdict, and takes 92 MB.
    pub(super) const DEFAULT: Self = Self { clean: 3_670_016, found: 64 << 20 };
}

/// What a content with verdicts takes of memory, beside those.
const ENTRY: usize = 128;
/// What a verdict takes, beside its texts.
const VERDICT: usize = 96;

/// About what these verdicts of a content take of memory.
pub(super) fn weight(verdicts: &[Verdict]) -> usize {
    let texts = |verdict: &Verdict| VERDICT + verdict.name.len() + verdict.details.len();
    ENTRY + verdicts.iter().map(texts).sum::<usize>()
}

/// Who looked at a content, whether at all of it, and which object had it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Met {
    looked: u8,
    pub(super) first: First,
}

impl Met {
    const WHOLE: u8 = 1 << 7;

    pub(super) fn of(said: &Said) -> Self {
        Self { looked: said.looked | if said.whole { Self::WHOLE } else { 0 }, first: said.first }
    }
}

/// Every content that is known.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By the first half of each SHA-256.
    clean: HashMap<[u8; 16], Met>,
    found: HashMap<[u8; 32], (Met, Vec<Verdict>)>,
    /// What `found` takes.
    weight: usize,
    pub(super) forgotten: Forgotten,
}

impl Contents {
    /// Takes a later word on a content in place of an earlier one.
    pub(super) fn take(&mut self, said: Said) {
        let met = Met::of(&said);
        if let Some((_, earlier)) = self.found.remove(&said.sha256) {
            self.weight = self.weight.saturating_sub(weight(&earlier));
        }
        if said.verdicts.is_empty() {
            self.clean.insert(half(&said.sha256), met);
        } else {
            self.clean.remove(&half(&said.sha256));
            self.weight += weight(&said.verdicts);
            self.found.insert(said.sha256, (met, said.verdicts));
        }
    }

    fn get(&self, sha256: &[u8; 32]) -> Option<(Met, &[Verdict])> {
        match self.found.get(sha256) {
            Some((met, verdicts)) => Some((*met, verdicts)),
            None => self.clean.get(&half(sha256)).map(|met| (*met, [].as_slice())),
        }
    }

    /// Who looked at a content; `None` when nobody met it.
    pub(super) fn met(&self, sha256: &[u8; 32]) -> Option<Met> {
        self.get(sha256).map(|(met, _)| met)
    }

    /// What is known of a content that `oid` has.
    pub(super) fn known(&self, sha256: &[u8; 32], oid: Oid) -> Option<Known> {
        let (Met { looked, first }, verdicts) = self.get(sha256)?;
        Some(Known {
            verdicts: verdicts.to_vec(),
            looked: looked & !Met::WHOLE,
            whole: looked & Met::WHOLE != 0,
            first_seen: first == First::of(oid),
        })
    }

    /// Whether it is this that counts of a content, and not something later, of which there is always more: other scanners, or
    /// other verdicts.
    pub(super) fn says(&self, said: &Said) -> bool {
        self.get(&said.sha256).is_some_and(|(met, verdicts)| met == Met::of(said) && verdicts == said.verdicts)
    }

    /// Whether there are more than there may be.
    pub(super) fn is_over(&self, bounds: &Bounds) -> bool {
        self.clean.len() > bounds.clean || self.weight > bounds.found
    }

    /// Which are to be forgotten.
    pub(super) fn surplus(&self, bounds: &Bounds) -> Surplus {
        let beyond = |there: usize, most: usize, left: usize| if there > most { there - left } else { 0 };
        Surplus {
            clean: beyond(self.clean.len(), bounds.clean, bounds.clean / 2),
            found: beyond(self.weight, bounds.found, bounds.found / 4 * 3),
            forgotten: self.forgotten,
        }
    }
}

/// What goes of contents that come in the order of their age.
#[derive(Debug)]
pub(super) struct Surplus {
    clean: usize,
    found: usize,
    pub(super) forgotten: Forgotten,
}

impl Surplus {
    /// Whether the next one goes.
    pub(super) fn takes(&mut self, said: &Said) -> bool {
        if said.verdicts.is_empty() {
            // What is older than one with a verdict that goes, goes as well.
            let goes = self.clean > 0 || self.found > 0;
            self.clean = self.clean.saturating_sub(1);
            self.forgotten.clean += u64::from(goes);
            return goes;
        }
        let goes = self.found > 0;
        self.found = self.found.saturating_sub(weight(&said.verdicts));
        self.forgotten.found += u64::from(goes);
        goes
    }
}

/// As much of a digest as tells contents apart.
pub(super) fn half(sha256: &[u8; 32]) -> [u8; 16] {
    sha256.first_chunk().copied().unwrap_or_default()
}
