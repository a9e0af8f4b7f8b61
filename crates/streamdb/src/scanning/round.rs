//! Goes through the rows that came since the last time: of each bucket, from its mark on.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use streamdb_query::seen_before;
use streamdb_scan::Scanners;
use streamdb_storage::{KeptMark, KnownContent, Scanned, Store, VerdictKeeper};
use streamdb_submit::Fresh;
use streamdb_types::{BucketId, Digests, ObjectRow, Scanner, Verdict};

use super::contents::{Look, each_content};
use super::{Handed, Tally};

/// Connections whose rows are taken at once,
const BATCH: usize = 64;
/// unless there are so many rows before.
const ROWS: usize = 1024;

/// Why a round ended before it was done.
#[derive(Debug)]
pub(super) enum Halt {
    /// It was told to.
    Told,
    /// Something is not as it should be, and may be later.
    Trouble(String),
}

impl<E: std::error::Error> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Trouble(error.to_string())
    }
}

/// Rows that are taken at once, a connection after the other, with the mark behind each.
#[derive(Default)]
pub(super) struct Batch {
    connections: Vec<(Vec<ObjectRow>, KeptMark)>,
    rows: usize,
}

impl Batch {
    /// Takes in a connection; breaks off where another one would be too much.
    pub(super) fn take(&mut self, rows: Vec<ObjectRow>, behind: KeptMark) -> ControlFlow<()> {
        self.rows += rows.len();
        self.connections.push((rows, behind));
        let more = self.connections.len() < BATCH && self.rows < ROWS;
        if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// What a round goes by.
pub(super) struct Round<'r> {
    pub(super) store: &'r Store,
    pub(super) keeper: &'r mut VerdictKeeper,
    pub(super) scanners: &'r mut Scanners,
    pub(super) handed: &'r mut dyn Handed,
    pub(super) tally: &'r mut Tally,
    /// The last joined content that was gone through.
    pub(super) joined: &'r mut u64,
    pub(super) stop: &'r dyn Fn() -> bool,
    pub(super) say: &'r mut (dyn FnMut(&str) + Send),
}

impl Round<'_> {
    /// Scans and hands on what came.
    pub(super) fn run(&mut self) -> Result<(), Halt> {
        // Asked before: what is settled then has all its rows.
        let unsettled: BTreeSet<BucketId> = self.store.unsettled()?.into_iter().map(|(id, _)| id).collect();
        let buckets = self.store.bucket_ids()?;
        self.keeper.keep_marks_of(&buckets);
        for bucket in buckets {
            let Some(mark) = self.keeper.mark_of(bucket) else { continue };
            let settled = !unsettled.contains(&bucket) && self.store.covered(bucket)?.whole;
            self.bucket(bucket, mark, settled)?;
        }
        self.joins()
    }

    fn bucket(&mut self, bucket: BucketId, mut mark: KeptMark, settled: bool) -> Result<(), Halt> {
        loop {
            let mut batch = Batch::default();
            let end = self.store.kept_since(bucket, mark, &mut |rows, behind| batch.take(rows, behind))?;
            self.scanners.look_again(self.say);
            for (rows, behind) in batch.connections {
                if (self.stop)() {
                    return Err(Halt::Told);
                }
                self.connection(&rows)?;
                self.keeper.mark(bucket, behind, false)?;
                mark = behind;
            }
            let Some(end) = end else { continue };
            let settled = settled && end.is_whole();
            if end != mark || settled {
                self.keeper.mark(bucket, end, settled)?;
            }
            return Ok(());
        }
    }

    /// The objects of a connection: what is new of their contents is scanned first, then all are handed on.
    fn connection(&mut self, rows: &[ObjectRow]) -> Result<(), Halt> {
        let mut new: Vec<&ObjectRow> = Vec::new();
        let mut met = BTreeSet::new();
        // Lists are asked each time, which costs nothing.
        let needed = self.scanners.kinds() & !Scanner::HashList.bit();
        for row in rows {
            let Some(digests) = row.digests.filter(|digests| met.insert(digests.sha256)) else { continue };
            match self.keeper.known(&digests.sha256, row.oid) {
                // Nobody met it; or one who asked fewer scanners, or none.
                None => new.push(row),
                Some(known) if known.looked & needed != needed => new.push(row),
                Some(known) => self.lists(row, &digests, known)?,
            }
        }
        if !new.is_empty() {
            self.scan(&new)?;
        }
        let known = |row: &ObjectRow| {
            let known = row.digests.and_then(|digests| self.keeper.known(&digests.sha256, row.oid));
            known.map_or_else(Default::default, |known| (known.first_seen, known.verdicts))
        };
        let known: Vec<(bool, Vec<Verdict>)> = rows.iter().map(known).collect();
        let objects: Vec<Fresh<'_>> = rows
            .iter()
            .zip(&known)
            .map(|(row, (first_seen, verdicts))| Fresh { row, join: None, first_seen: *first_seen, verdicts })
            .collect();
        self.handed.handed(self.store, &objects).map_err(Halt::Trouble)?;
        self.tally.objects += rows.len() as u64;
        Ok(())
    }

    /// Keeps what lists say of a content by now that they did not say before.
    pub(super) fn lists(&mut self, row: &ObjectRow, digests: &Digests, known: KnownContent) -> Result<(), Halt> {
        let KnownContent { mut verdicts, looked, whole, first_seen } = known;
        let mut new = self.scanners.of_digests(digests);
        new.retain(|verdict| !verdicts.iter().any(|old| (old.scanner, &old.name) == (verdict.scanner, &verdict.name)));
        if new.is_empty() {
            return Ok(());
        }
        verdicts.extend(new);
        self.tally.contents += 1;
        self.tally.found += 1;
        let (sha256, oid, by) = (digests.sha256, row.oid, self.scanners.by());
        let looked = looked | Scanner::HashList.bit();
        self.keeper.scanned(Scanned { sha256, oid, first_seen, whole, by, looked, verdicts })?;
        Ok(())
    }

    fn scan(&mut self, new: &[&ObjectRow]) -> Result<(), Halt> {
        let mut halt = None;
        let Self { store, keeper, scanners, tally, say, stop, .. } = self;
        let mut keeping = Keeping { keeper, tally, say, kinds: scanners.kinds() };
        each_content(store, scanners, new, &mut |row, look| {
            let kept = keeping.keep(row, look, &mut |keeper, sha256| is_first(store, keeper, row, sha256));
            halt = kept.err().or_else(|| stop().then_some(Halt::Told));
            if halt.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        halt.map_or(Ok(()), Err)
    }
}

/// Whether no earlier object has this content: with rows behind them that were handed on, they are no longer the first.
pub(super) fn is_first(
    store: &Store,
    keeper: &VerdictKeeper,
    row: &ObjectRow,
    sha256: &[u8; 32],
) -> Result<bool, streamdb_storage::Error> {
    let earlier = |other: &ObjectRow| other.oid != row.oid && keeper.mark_of(other.oid.bucket).is_none();
    seen_before(store, sha256, &earlier).map(|seen| !seen)
}

/// Whether a content that nobody met is the first of its kind.
type IsFirst<'f> = dyn FnMut(&VerdictKeeper, &[u8; 32]) -> Result<bool, streamdb_storage::Error> + 'f;

/// Keeps what came of contents.
pub(super) struct Keeping<'k> {
    pub(super) keeper: &'k mut VerdictKeeper,
    pub(super) tally: &'k mut Tally,
    pub(super) say: &'k mut (dyn FnMut(&str) + Send),
    /// The scanners that looked.
    pub(super) kinds: u8,
}

impl Keeping<'_> {
    /// Keeps what came of a content; of one that nobody met it is asked whether it is the first.
    pub(super) fn keep(&mut self, row: &ObjectRow, look: Look, first: &mut IsFirst<'_>) -> Result<(), Halt> {
        let Self { keeper, tally, say, kinds } = self;
        let Some(Digests { sha256, .. }) = row.digests else { return Ok(()) };
        let (outcome, by) = match look {
            Look::At(outcome, by) => (outcome, by),
            // Another object with the same content may be readable.
            Look::Unreadable(why) => {
                say(&format!("{}: not scanned, as it cannot be read: {why}", row.oid));
                return Ok(());
            }
            Look::Later(why) => return Err(Halt::Trouble(why)),
        };
        let earlier = keeper.known(&sha256, row.oid);
        let first_seen = match &earlier {
            Some(known) => known.first_seen,
            None => first(keeper, &sha256)?,
        };
        tally.contents += 1;
        tally.found += u64::from(!outcome.verdicts.is_empty());
        tally.in_part += u64::from(!outcome.whole);
        let (oid, whole, verdicts) = (row.oid, outcome.whole, outcome.verdicts);
        let scanned = Scanned { sha256, oid, first_seen, whole, by, looked: *kinds, verdicts };
        keeper.scanned(match earlier {
            Some(earlier) => with(scanned, earlier, *kinds),
            None => scanned,
        })?;
        Ok(())
    }
}

/// What scanners said before that are not there now stays said.
fn with(mut scanned: Scanned, earlier: KnownContent, kinds: u8) -> Scanned {
    let others = earlier.looked & !kinds;
    scanned.verdicts.extend(earlier.verdicts.into_iter().filter(|verdict| verdict.scanner.bit() & others != 0));
    scanned.whole &= earlier.whole || others == 0;
    scanned.looked |= others;
    scanned
}
