//! The holes of a stream: ranges below its furthest byte that were never given.

use std::collections::VecDeque;

use streamdb_types::{Gap, GapKind, StreamOffset};

/// What lies at an offset below the furthest byte, and how far that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// Bytes that were given.
    Given(u64),
    /// Bytes that may still come.
    Hole(u64),
    /// At least one hole here was closed; what was given is not known any more.
    Closed(u64),
}

/// Holes in ascending order; they touch only where their kinds differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holes {
    list: VecDeque<Gap>,
    /// The end of the last hole that was closed.
    floor: u64,
    closed_missing: u64,
    closed_cut: u64,
}

impl Holes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.list.iter()
    }

    /// Bytes in holes that were closed: never captured, and cut by the snap length.
    pub(crate) const fn closed(&self) -> (u64, u64) {
        (self.closed_missing, self.closed_cut)
    }

    pub(crate) fn any_missing(&self) -> bool {
        self.closed_missing > 0 || self.list.iter().any(|gap| gap.kind == GapKind::Missing)
    }

    /// What lies at `offset`; the length reaches at most to the next change.
    pub(crate) fn region(&self, offset: u64) -> Region {
        if offset < self.floor {
            return Region::Closed(self.floor - offset);
        }
        match self.list.get(self.after(offset)) {
            None => Region::Given(u64::MAX),
            Some(gap) if gap.offset.0 <= offset => Region::Hole(gap.end().0 - offset),
            Some(gap) => Region::Given(gap.offset.0 - offset),
        }
    }

    /// Adds a hole behind all others.
    pub(crate) fn push(&mut self, start: u64, end: u64, kind: GapKind) {
        let at = self.list.len();
        self.insert(at, start, end, kind);
    }

    /// Bytes of one hole have come: `start..end` lies within it.
    pub(crate) fn fill(&mut self, start: u64, end: u64) {
        self.cut_out(start, end);
    }

    /// The frame with these bytes was captured but cut: holes here are no longer of bytes never captured.
    pub(crate) fn turn_to_cut(&mut self, start: u64, end: u64) {
        let mut at = start;
        while at < end {
            let i = self.after(at);
            let Some(&gap) = self.list.get(i) else { return };
            let (from, to) = (gap.offset.0.max(at), gap.end().0.min(end));
            if from >= to {
                return;
            }
            if gap.kind == GapKind::Missing {
                let i = self.cut_out(from, to);
                self.insert(i, from, to, GapKind::SnapLength);
            }
            at = to;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Closes the lowest holes until there are at most `max`; says how many.
    pub(crate) fn limit(&mut self, max: usize) -> u64 {
        let mut closed = 0;
        while self.list.len() > max {
            let Some(gap) = self.list.pop_front() else { return closed };
            closed += 1;
            self.floor = gap.end().0;
            match gap.kind {
                GapKind::Missing => self.closed_missing += gap.length,
                _ => self.closed_cut += gap.length,
            }
        }
        closed
    }

    /// The place of the first hole that ends after `offset`.
    fn after(&self, offset: u64) -> usize {
        self.list.partition_point(|gap| gap.end().0 <= offset)
    }

    /// Takes `start..end` out of the hole that it lies in; says where in the list a hole of that range would be.
    fn cut_out(&mut self, start: u64, end: u64) -> usize {
        let i = self.after(start);
        let Some(gap) = self.list.get_mut(i) else { return i };
        let (old_start, old_end, kind) = (gap.offset.0, gap.end().0, gap.kind);
        let (left, right) = (start.saturating_sub(old_start), old_end.saturating_sub(end));
        match (left > 0, right > 0) {
            (true, _) => gap.length = left,
            (false, true) => *gap = Gap { offset: StreamOffset(end), length: right, kind },
            (false, false) => {
                self.list.remove(i);
            }
        }
        if left > 0 && right > 0 {
            self.list.insert(i + 1, Gap { offset: StreamOffset(end), length: right, kind });
        }
        if left > 0 { i + 1 } else { i }
    }

    /// Inserts a hole, as one with those of its kind that it touches.
    fn insert(&mut self, i: usize, start: u64, end: u64, kind: GapKind) {
        let (mut start, mut end, mut i) = (start, end, i);
        if self.list.get(i).is_some_and(|next| next.offset.0 == end && next.kind == kind)
            && let Some(next) = self.list.remove(i)
        {
            end = next.end().0;
        }
        let before = i.checked_sub(1).and_then(|before| self.list.get(before));
        if before.is_some_and(|before| before.end().0 == start && before.kind == kind)
            && let Some(before) = self.list.remove(i - 1)
        {
            start = before.offset.0;
            i -= 1;
        }
        if end > start {
            self.list.insert(i, Gap { offset: StreamOffset(start), length: end - start, kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(holes: &Holes) -> Vec<(u64, u64, GapKind)> {
        holes.iter().map(|gap| (gap.offset.0, gap.end().0, gap.kind)).collect()
    }

    #[test]
    fn holes_are_filled_from_any_side() {
        use GapKind::Missing;
        let mut holes = Holes::default();
        holes.push(10, 20, Missing);
        holes.push(30, 40, Missing);
        assert_eq!(holes.region(0), Region::Given(10));
        assert_eq!(holes.region(12), Region::Hole(8));
        assert_eq!(holes.region(20), Region::Given(10));
        assert_eq!(holes.region(40), Region::Given(u64::MAX));
        holes.fill(10, 12);
        holes.fill(18, 20);
        holes.fill(14, 15);
        assert_eq!(list(&holes), [(12, 14, Missing), (15, 18, Missing), (30, 40, Missing)]);
        holes.fill(30, 40);
        holes.fill(12, 14);
        assert_eq!(list(&holes), [(15, 18, Missing)]);
    }

    #[test]
    fn kinds_stay_apart_and_equal_ones_join() {
        use GapKind::{Missing, SnapLength};
        let mut holes = Holes::default();
        holes.push(10, 40, Missing);
        holes.turn_to_cut(20, 30);
        assert_eq!(list(&holes), [(10, 20, Missing), (20, 30, SnapLength), (30, 40, Missing)]);
        holes.turn_to_cut(0, 25);
        assert_eq!(list(&holes), [(10, 30, SnapLength), (30, 40, Missing)]);
        holes.turn_to_cut(5, 100);
        assert_eq!(list(&holes), [(10, 40, SnapLength)]);
        holes.push(40, 50, SnapLength);
        assert_eq!(list(&holes), [(10, 50, SnapLength)]);
    }

    #[test]
    fn beyond_the_limit_the_lowest_is_closed() {
        let mut holes = Holes::default();
        for i in 1..=5 {
            holes.push(i * 10, i * 10 + 2, GapKind::Missing);
        }
        holes.limit(3);
        assert_eq!(holes.closed(), (4, 0));
        assert_eq!(holes.region(5), Region::Closed(17));
        assert_eq!(holes.region(22), Region::Given(8));
        assert!(holes.any_missing());
    }
}
