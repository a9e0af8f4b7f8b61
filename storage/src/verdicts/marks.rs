//! How far the parties came in the rows of each bucket.

use std::collections::BTreeMap;

use streamdb_types::BucketId;

use super::Parties;
use super::file::PartyMark;
use crate::derived::KeptMark;

/// Of each bucket the marks, each party in one of them at most.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<BucketId, Vec<PartyMark>>);

impl Marks {
    /// Takes a later mark; whether it took the place of another one.
    pub(super) fn take(&mut self, bucket: BucketId, new: PartyMark) -> bool {
        let marks = self.0.entry(bucket).or_default();
        let before = marks.len();
        for mark in &mut *marks {
            mark.parties &= !new.parties;
        }
        marks.retain(|mark| mark.parties != 0);
        let replaced = marks.len() < before;
        marks.push(new);
        replaced
    }

    /// Where the last of these parties is; `None` when nothing more comes for any.
    pub(super) fn of(&self, bucket: BucketId, parties: Parties) -> Option<KeptMark> {
        let marks = self.0.get(&bucket).map(Vec::as_slice).unwrap_or_default();
        let mut there = 0;
        let mut last: Option<KeptMark> = None;
        for PartyMark { parties: of, mark, settled } in marks {
            if parties.0 & of == 0 {
                continue;
            }
            there |= of;
            if !settled {
                last = Some(last.map_or(*mark, |last| last.least(mark)));
            }
        }
        if parties.without(there) == 0 { last } else { Some(KeptMark::NOTHING) }
    }

    /// Forgets those of other buckets than these, which are sorted.
    pub(super) fn keep(&mut self, buckets: &[BucketId]) {
        self.0.retain(|id, _| buckets.binary_search(id).is_ok());
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (BucketId, PartyMark)> {
        self.0.iter().flat_map(|(id, marks)| marks.iter().map(|mark| (*id, *mark)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::Covered;
    use streamdb_types::BlockPlace;

    fn mark(parties: u8, to: u64, settled: bool) -> PartyMark {
        let covered = Covered { to: BlockPlace(to), whole: false };
        PartyMark { parties, mark: KeptMark { last: (to, 7), next: to + 50, covered, silent: false }, settled }
    }

    #[test]
    fn each_party_has_its_own_and_who_has_several_goes_by_the_last() {
        let mut marks = Marks::default();
        let of = |marks: &Marks, parties| marks.of(BucketId(1), Parties(parties));
        assert_eq!(of(&marks, 3), Some(KeptMark::NOTHING));
        assert!(!marks.take(BucketId(1), mark(3, 10, false)));
        assert!(marks.take(BucketId(1), mark(3, 20, false)));
        assert_eq!([3, 1, 2].map(|parties| of(&marks, parties)), [Some(mark(0, 20, false).mark); 3]);
        assert_eq!(of(&marks, 7), Some(KeptMark::NOTHING), "the third has gone through nothing");
        assert!(!marks.take(BucketId(1), mark(1, 30, false)));
        assert_eq!(of(&marks, 1), Some(mark(0, 30, false).mark));
        assert_eq!(of(&marks, 2), Some(mark(0, 20, false).mark));
        // Where they differ the commits count, as places in the file may be of another one.
        let covered = Covered { to: BlockPlace(20), whole: false };
        assert_eq!(of(&marks, 3), Some(KeptMark { covered, ..KeptMark::NOTHING }));
        marks.take(BucketId(1), mark(1, 40, true));
        assert_eq!((of(&marks, 1), of(&marks, 3)), (None, Some(mark(0, 20, false).mark)));
        assert_eq!(marks.all().count(), 2);
        marks.take(BucketId(1), mark(3, 50, true));
        assert_eq!((of(&marks, 3), marks.all().count()), (None, 1));
        marks.keep(&[BucketId(2)]);
        assert_eq!(of(&marks, 3), Some(KeptMark::NOTHING));
    }
}
