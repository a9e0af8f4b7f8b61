//! What both sides keep over the rows of one block: the slots, who was seen lately, headers to begin from.

use super::columns::RECENT;
use super::predict::Shared;
use super::slot::Slot;

/// The most headers that a new slot can begin from.
pub(super) const TEMPLATES: usize = 32;
/// "None of them" in column `from`.
pub(super) const NO_TEMPLATE: u8 = 255;

/// The state of a block, the same in the encoder and the decoder after each row.
pub(super) struct State {
    slots: Vec<[Slot; 2]>,
    used: usize,
    /// The direction of the last frame of each connection.
    turns: Vec<u8>,
    pub(super) recent: Recent,
    pub(super) shared: Shared,
    /// The first headers of connections' first directions.
    pub(super) openers: Templates,
    /// Headers of frames without a connection.
    pub(super) loose: Templates,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            used: 0,
            turns: Vec::new(),
            recent: Recent { list: [0; RECENT], len: 0 },
            shared: Shared::new(),
            openers: Templates { list: Vec::new(), next: 0 },
            loose: Templates { list: Vec::new(), next: 0 },
        }
    }

    /// As new, but for the memory.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.turns.clear();
        self.recent.len = 0;
        self.shared = Shared::new();
        self.openers.clear();
        self.loose.clear();
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> usize {
        self.used
    }

    /// Takes in the next connection of the list.
    pub(super) fn add_connection(&mut self, turn: u8) {
        match self.slots.get_mut(self.used) {
            Some([a, b]) => (a.past.seen, b.past.seen) = (false, false),
            None => self.slots.push([Slot::new(), Slot::new()]),
        }
        self.turns.push(turn);
        self.recent.push(self.used as u32);
        self.used += 1;
    }

    /// The direction of a connection's last frame.
    pub(super) fn turn(&mut self, connection: u32) -> Option<&mut u8> {
        self.turns.get_mut(connection as usize)
    }

    /// A connection's slots with the state that does not belong to one.
    pub(super) fn parts(&mut self, connection: u32) -> Option<(&mut [Slot; 2], &mut Templates, &mut Shared)> {
        let slots = self.slots.get_mut(..self.used)?.get_mut(connection as usize)?;
        Some((slots, &mut self.openers, &mut self.shared))
    }
}

/// The connections seen lately, the last one first.
pub(super) struct Recent {
    list: [u32; RECENT],
    len: usize,
}

impl Recent {
    /// How many others were seen since.
    #[inline]
    pub(super) fn rank(&self, connection: u32) -> Option<usize> {
        self.list.iter().take(self.len).position(|c| *c == connection)
    }

    /// Who has this rank; now it is the last one.
    #[inline]
    pub(super) fn touch(&mut self, rank: usize) -> Option<u32> {
        let upto = self.list.get_mut(..self.len)?.get_mut(..=rank)?;
        if rank > 0 {
            upto.rotate_right(1);
        }
        upto.first().copied()
    }

    /// Takes in one that is not in the list; the oldest goes.
    pub(super) fn push(&mut self, connection: u32) {
        self.len = (self.len + 1).min(RECENT);
        let rank = self.len - 1;
        if let Some(last) = self.list.get_mut(rank) {
            *last = connection;
        }
        self.touch(rank);
    }
}

/// The last [`TEMPLATES`] headers of a sort.
pub(super) struct Templates {
    list: Vec<Slot>,
    /// Where the next one goes.
    next: usize,
}

impl Templates {
    fn clear(&mut self) {
        self.list.clear();
        self.next = 0;
    }

    /// Takes in one; the oldest goes.
    pub(super) fn push(&mut self, slot: &Slot) {
        match self.list.get_mut(self.next) {
            Some(old) => *old = *slot,
            None => self.list.push(*slot),
        }
        self.next = (self.next + 1) % TEMPLATES;
    }

    /// The one that was taken in `back` ones before the last.
    pub(super) fn get(&self, back: u8) -> Option<&Slot> {
        let back = usize::from(back);
        if back >= self.list.len() {
            return None;
        }
        self.list.get((self.next + self.list.len().max(1) - 1 - back) % self.list.len().max(1))
    }

    /// All, the last one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        (0..self.list.len() as u8).filter_map(|back| self.get(back))
    }
}
