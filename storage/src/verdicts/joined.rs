//! Which joined contents were met and handed on. They have no place in the rows of a bucket, as their parts are in several, and come
//! in any order: so each is kept by its name and its content, and stays known when all joins are found anew.

use std::collections::HashMap;

use super::Parties;
use super::known::half;
use crate::format::bytes::{Reader, Short};
use crate::joins::JoinId;

/// Most joined contents that are known. Beyond, half of them are forgotten, the oldest first, and would be handed on again; there are
/// never so many at a time. 34 bytes of each are in memory.
pub(super) const MOST: usize = 1 << 17;

const COMPLETE: u8 = 1;
const FIRST: u8 = 1 << 1;

/// A joined content that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinMet {
    /// Its name.
    pub id: JoinId,
    /// The first half of the SHA-256 of what its parts were together.
    pub content: [u8; 16],
    /// Whether it was complete.
    pub complete: bool,
    /// Whether nobody had seen this content before.
    pub first_seen: bool,
    /// For whom it was looked into and handed on, and not only met.
    pub done: Parties,
}

impl JoinMet {
    /// One that was not met yet, with this SHA-256.
    pub fn new(id: JoinId, sha256: &[u8; 32]) -> Self {
        Self { id, content: half(sha256), complete: false, first_seen: false, done: Parties(0) }
    }

    pub(super) const fn is_done_for_somebody(&self) -> bool {
        self.done.0 != 0
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.id.0);
        out.extend(self.content);
        out.extend([self.flags(), self.done.0]);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Short> {
        Ok(Self::kept(JoinId(r.array()?), Kept { content: r.array()?, flags: r.u8()?, done: r.u8()? }))
    }

    const fn flags(&self) -> u8 {
        (if self.complete { COMPLETE } else { 0 }) | (if self.first_seen { FIRST } else { 0 })
    }

    const fn kept(id: JoinId, kept: Kept) -> Self {
        let Kept { content, flags, done } = kept;
        let (complete, first_seen) = (flags & COMPLETE != 0, flags & FIRST != 0);
        Self { id, content, complete, first_seen, done: Parties(done) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    content: [u8; 16],
    flags: u8,
    done: u8,
}

impl Kept {
    const fn of(met: &JoinMet) -> Self {
        Self { content: met.content, flags: met.flags(), done: met.done.0 }
    }
}

/// Those that are known, each as it was met last.
#[derive(Debug, Default)]
pub(super) struct JoinsMet(HashMap<JoinId, Kept>);

impl JoinsMet {
    /// Takes one in; whether it takes the place of an earlier one.
    pub(super) fn take(&mut self, met: &JoinMet) -> bool {
        self.0.insert(met.id, Kept::of(met)).is_some()
    }

    /// What is known of this join, if this is still its content.
    pub(super) fn of(&self, id: JoinId, sha256: &[u8; 32]) -> Option<JoinMet> {
        let kept = self.0.get(&id).filter(|kept| kept.content == half(sha256))?;
        Some(JoinMet::kept(id, *kept))
    }

    /// Whether an earlier frame still counts.
    pub(super) fn counts(&self, met: &JoinMet) -> bool {
        self.0.get(&met.id) == Some(&Kept::of(met))
    }

    /// How many are to be forgotten.
    pub(super) fn surplus(&self) -> usize {
        if self.0.len() > MOST { self.0.len() - MOST / 2 } else { 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
