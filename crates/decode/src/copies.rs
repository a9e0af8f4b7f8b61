//! Copies of fragments that come when their packet is complete: a doubled mirror shows each twice, and the last of them comes once more
//! after all are there. It would begin a packet that never gets complete, and whose bytes could win over those of the next one.

use std::collections::{HashMap, VecDeque};

use streamdb_types::Timestamp;

use crate::fragments::{Key, Share};

/// How long copies are waited for, in nanoseconds: a sender does not use the number of a packet again so soon.
const PATIENCE: i64 = 100_000_000;

/// The most copies that are waited for.
const MOST: usize = 4096;

/// How often each fragment of a packet came, by where it begins and how long it is.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<(u32, u32, u32)>);

impl Seen {
    pub fn note(&mut self, at: u32, len: u32) {
        let place = self.0.partition_point(|&(a, l, _)| (a, l) < (at, len));
        match self.0.get_mut(place) {
            Some((a, l, times)) if (*a, *l) == (at, len) => *times = times.saturating_add(1),
            _ => self.0.insert(place, (at, len, 1)),
        }
    }

    /// Those of which one more should come, as the others came more often.
    pub fn late(&self) -> impl Iterator<Item = (u32, u32)> {
        let most = self.0.iter().map(|(_, _, times)| *times).max().unwrap_or(0);
        self.0.iter().filter(move |(_, _, times)| *times < most).map(|&(at, len, _)| (at, len))
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub const fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(u32, u32, u32)>()
    }
}

/// A copy that should come: where in its packet, how long, and a digest of its bytes.
type Late = (u32, u32, u64);

/// The copies that should come, of packets that are complete.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    late: HashMap<Key, Vec<Late>>,
    order: VecDeque<(Timestamp, Key)>,
    count: usize,
}

impl Copies {
    /// Whether a fragment is one of them; then it is waited for no more.
    pub fn has(&mut self, share: &Share, now: Timestamp, digest: impl FnOnce(usize) -> u64) -> bool {
        while self.order.front().is_some_and(|(since, _)| now.since(*since) > PATIENCE) {
            self.forget_first();
        }
        let Some(late) = self.late.get_mut(&share.key) else { return false };
        let len = if share.more { share.len & !7 } else { share.len };
        let Some(place) = late.iter().position(|&(at, l, _)| (at as usize, l as usize) == (share.offset as usize, len))
        else {
            return false;
        };
        if late.get(place).is_none_or(|(_, _, known)| *known != digest(len)) {
            return false;
        }
        late.swap_remove(place);
        self.count -= 1;
        true
    }

    /// A packet is complete, and of these fragments one more should come.
    pub fn expect(
        &mut self,
        key: Key,
        now: Timestamp,
        late: impl Iterator<Item = (u32, u32)>,
        digest: impl Fn(u32, u32) -> u64,
    ) {
        let late: Vec<Late> = late.map(|(at, len)| (at, len, digest(at, len))).collect();
        if late.is_empty() {
            return;
        }
        self.count += late.len();
        self.count -= self.late.insert(key, late).map_or(0, |before| before.len());
        self.order.push_back((now, key));
        while self.count > MOST || self.order.len() > MOST {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.count -= self.late.remove(&key).map_or(0, |late| late.len());
        }
    }
}
