//! Reads on in a bucket's rows: connection by connection, from where a follower was.
//!
//! Rows may be made again (by a reindex, by a later version, after a power cut), so that a place in the file alone is not to be
//! believed: a follower's mark names the last frame too, with its checksum. Where that frame is not there any more, what counts
//! is how far the rows went then, as the commits say; connections between two commits are then read once more, and none is left
//! out.

use std::ops::ControlFlow;

use streamdb_types::{BlockPlace, ObjectRow};

use super::Covered;
use super::file::{FRAME, HEAD};
use super::read::{Derived, Found};
use crate::format::bytes::{Reader, Short, put_varint};

/// How far somebody has read in the rows of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptMark {
    /// Where the last frame begins, and its checksum; 0 and 0 before the first.
    pub(crate) last: (u64, u32),
    /// Where the next one begins.
    pub(crate) next: u64,
    /// What the last commit said before that.
    pub(crate) covered: Covered,
    /// Whether that was not the first commit that called the bucket covered: with the later ones come connections that fell
    /// silent.
    pub(crate) silent: bool,
}

impl KeptMark {
    /// Whether all that ended in the bucket was read.
    pub const fn is_whole(&self) -> bool {
        self.covered.whole
    }

    /// Appends it to what somebody keeps, with flags of theirs, of which there are six.
    pub(crate) fn put(&self, out: &mut Vec<u8>, theirs: u8) {
        put_varint(out, self.last.0);
        out.extend(self.last.1.to_le_bytes());
        put_varint(out, self.next);
        put_varint(out, self.covered.to.0);
        out.push(u8::from(self.covered.whole) | u8::from(self.silent) << 1 | theirs << 2);
    }

    /// Reads it as it was appended, and those flags.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<(Self, u8), Short> {
        let last = (r.varint()?, r.u32()?);
        let next = r.varint()?;
        let to = BlockPlace(r.varint()?);
        let flags = r.u8()?;
        let mark = Self { last, next, covered: Covered { to, whole: flags & 1 != 0 }, silent: flags & 2 != 0 };
        Ok((mark, flags >> 2))
    }

    /// The same after a commit.
    const fn committed(self, covered: Covered) -> Self {
        Self { covered, silent: self.silent || (self.covered.whole && covered.whole), ..self }
    }

    /// A mark for somebody who is to go on where the first of these two is. Where they differ, only commits are believed, as
    /// the rows may have been made anew between them: then some connections are read once more, and none is left out.
    pub(crate) fn least(&self, other: &Self) -> Self {
        if self == other {
            return *self;
        }
        let covered =
            Covered { to: self.covered.to.min(other.covered.to), whole: self.covered.whole && other.covered.whole };
        Self { covered, silent: self.silent && other.silent, ..Self::NOTHING }
    }

    /// Whether what this one has read is in `other`, as far as commits say.
    fn is_in(&self, other: &Self) -> bool {
        self.covered.to <= other.covered.to
            && (!self.covered.whole || other.covered.whole)
            && (!self.silent || other.silent)
    }
}

impl Derived {
    /// Calls with the rows of each connection behind the mark, and with the mark behind them, until `visit` breaks off; returns
    /// the mark behind the last commit, if it came so far.
    pub(crate) fn since(
        &self,
        mark: KeptMark,
        visit: &mut dyn FnMut(Vec<ObjectRow>, KeptMark) -> ControlFlow<()>,
    ) -> Option<KeptMark> {
        let mut mark = if self.has(&mark) { mark } else { self.found_again(&mark) };
        while mark.next < self.committed().1 {
            let Some((found, next)) = self.frame(mark.next) else { break };
            let behind = KeptMark { last: (mark.next, self.checksum(mark.next)), next, ..mark };
            match found {
                Found::Connection(_, length) => {
                    let rows = self.rows_at(mark.next, length).unwrap_or_default();
                    visit(rows, behind).is_continue().then_some(())?;
                    mark = behind;
                }
                Found::Commit(covered) => mark = behind.committed(covered),
            }
        }
        Some(mark)
    }

    /// The mark behind all that is kept.
    pub(crate) fn end_mark(&self) -> KeptMark {
        let all = Covered { to: BlockPlace(u64::MAX), whole: true };
        self.found_again(&KeptMark { covered: all, silent: true, ..KeptMark::NOTHING })
    }

    /// Whether the frame before this mark is there.
    pub(crate) fn has(&self, mark: &KeptMark) -> bool {
        let (at, crc) = mark.last;
        mark.next <= self.committed().1
            && at >= HEAD as u64
            && self.checksum(at) == crc
            && self.frame(at).is_some_and(|(_, next)| next == mark.next)
    }

    /// The mark behind the last commit that goes no further than this one.
    fn found_again(&self, wanted: &KeptMark) -> KeptMark {
        let start = KeptMark { next: HEAD as u64, ..KeptMark::default() };
        let (mut found, mut mark) = (start, start);
        while mark.next < self.committed().1 {
            let Some((frame, next)) = self.frame(mark.next) else { break };
            mark = KeptMark { last: (mark.next, self.checksum(mark.next)), next, ..mark };
            if let Found::Commit(covered) = frame {
                mark = mark.committed(covered);
                if !mark.is_in(wanted) {
                    break;
                }
                found = mark;
            }
        }
        found
    }

    /// The checksum in a frame's head.
    fn checksum(&self, at: u64) -> u32 {
        let read = self.map().read(at, FRAME, |frame| frame.last_chunk::<4>().map(|crc| u32::from_le_bytes(*crc)));
        read.ok().flatten().unwrap_or_default()
    }
}

impl KeptMark {
    /// The mark of somebody who has read nothing.
    pub const NOTHING: Self =
        Self { last: (0, 0), next: 0, covered: Covered { to: BlockPlace::NONE, whole: false }, silent: false };
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{row, tuple};
    use super::*;
    use crate::derived::DerivedWriter;
    use crate::volume::DiskVolume;
    use proptest::prelude::*;
    use std::path::Path;
    use streamdb_testkit::TestFolder;
    use streamdb_types::{BucketId, ConnKey};

    const BUCKET: BucketId = BucketId(7);

    /// Writes connections with these numbers, a commit behind each group; a connection's last record lies at its number.
    fn write(path: &Path, groups: &[Vec<u32>], whole_after: usize) {
        let _ = std::fs::remove_file(path);
        let mut writer = DerivedWriter::open(&DiskVolume, path.to_owned(), BUCKET).unwrap();
        for (at, group) in groups.iter().enumerate() {
            let to = if at > whole_after { writer.covered().to.0 } else { writer.covered().to.0.max(last(group)) };
            for number in group {
                let key = ConnKey { bucket: BUCKET, number: *number };
                writer.connection(key, &tuple(), &[row(key, &format!("/{number}"))]).unwrap();
            }
            writer.commit(Covered { to: BlockPlace(to), whole: at >= whole_after }).unwrap();
        }
    }

    fn last(group: &[u32]) -> u64 {
        group.last().copied().unwrap_or_default().into()
    }

    fn read(path: &Path, mark: &mut KeptMark, most: usize) -> Vec<u32> {
        let mut read = Vec::new();
        let derived = Derived::open(path, BUCKET).unwrap().unwrap();
        let mut reached = *mark;
        let end = derived.since(*mark, &mut |rows, behind| {
            reached = behind;
            read.extend(rows.iter().map(|row| row.key.number));
            if read.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        *mark = end.unwrap_or(reached);
        read
    }

    proptest! {
        /// However often it is interrupted, every connection is read once; and when the rows are made anew in between, with
        /// other commits, none is left out, and none twice that a commit of the new rows has told apart.
        #[test]
        fn nothing_is_left_out(
            sizes in proptest::collection::vec(0..4usize, 1..6),
            again in proptest::collection::vec(1..4usize, 6),
            most in 1..5usize,
            steps in 0..6usize,
        ) {
            let folder = TestFolder::new("derived-since");
            let path = folder.path().join("7.objects");
            let total: usize = sizes.iter().sum();
            let mut numbers = 1..=total as u32;
            let groups: Vec<Vec<u32>> = sizes.iter().map(|size| numbers.by_ref().take(*size).collect()).collect();
            write(&path, &groups, groups.len() - 1);
            let mut mark = KeptMark::NOTHING;
            let mut found = Vec::new();
            for _ in 0..steps {
                found.extend(read(&path, &mut mark, most));
            }
            prop_assert!(found.iter().copied().eq(1..=found.len() as u32), "{found:?}");
            let whole: Vec<u32> = found.iter().copied().chain(read(&path, &mut mark.clone(), usize::MAX)).collect();
            prop_assert!(whole.iter().copied().eq(1..=total as u32), "{whole:?}");

            let mut numbers = (1..=total as u32).peekable();
            let mut groups = Vec::new();
            for size in again.iter().cycle() {
                groups.push(numbers.by_ref().take(*size).collect::<Vec<_>>());
                if numbers.peek().is_none() {
                    break;
                }
            }
            let rest = groups.len() - 1;
            write(&path, &groups, rest);
            let seen = found.len();
            found.extend(read(&path, &mut mark, usize::MAX));
            let mut all = found.clone();
            all.sort_unstable();
            all.dedup();
            prop_assert!(all.iter().copied().eq(1..=total as u32), "{found:?}");
            // What comes twice is the end of what was read before.
            prop_assert!(found.iter().skip(seen).is_sorted());
            prop_assert!(read(&path, &mut mark, usize::MAX).is_empty());
        }
    }

    proptest! {
        /// Two who read by themselves, before and after the rows were made anew, and then together: neither misses any.
        #[test]
        fn who_goes_on_for_two_leaves_nothing_out_for_either(
            sizes in proptest::collection::vec(0..4usize, 1..6),
            again in proptest::collection::vec(1..4usize, 6),
            most in [1..5usize, 1..5usize],
            steps in [0..6usize, 0..6usize],
            anew: bool,
        ) {
            let folder = TestFolder::new("derived-two");
            let path = folder.path().join("7.objects");
            let total: usize = sizes.iter().sum();
            let grouped = |sizes: &[usize]| -> Vec<Vec<u32>> {
                let mut numbers = (1..=total as u32).peekable();
                let mut groups = Vec::new();
                for size in sizes.iter().cycle() {
                    groups.push(numbers.by_ref().take(*size).collect::<Vec<_>>());
                    if numbers.peek().is_none() && groups.len() >= sizes.len() {
                        return groups;
                    }
                }
                groups
            };
            let mut marks = [KeptMark::NOTHING; 2];
            let mut found = [Vec::new(), Vec::new()];
            for which in 0..2 {
                if which == 0 || anew {
                    let groups = grouped(if which == 0 { &sizes } else { &again });
                    write(&path, &groups, groups.len() - 1);
                }
                for _ in 0..steps[which] {
                    found[which].extend(read(&path, &mut marks[which], most[which]));
                }
            }
            let mut together = marks[0].least(&marks[1]);
            let rest = read(&path, &mut together, usize::MAX);
            for mut found in found {
                found.extend(&rest);
                found.sort_unstable();
                found.dedup();
                prop_assert!(found.iter().copied().eq(1..=total as u32), "{found:?}");
            }
            prop_assert!(read(&path, &mut together, usize::MAX).is_empty());
        }
    }

    #[test]
    fn what_fell_silent_comes_behind_what_ended() {
        let folder = TestFolder::new("derived-silent");
        let path = folder.path().join("7.objects");
        write(&path, &[vec![1, 2]], 0);
        let mut mark = KeptMark::NOTHING;
        assert_eq!(read(&path, &mut mark, 9), [1, 2]);
        assert!(mark.is_whole() && !mark.silent);
        write(&path, &[vec![1], vec![2], vec![7]], 1);
        assert_eq!(read(&path, &mut mark, 9), [7], "the rows were made anew, and there is more");
        assert!(mark.silent);
        write(&path, &[vec![1, 2], vec![7]], 0);
        assert!(read(&path, &mut mark, 9).is_empty());
    }
}
