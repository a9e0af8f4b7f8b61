//! Scanning beside whatever else the process does: a thread that follows the rows that are kept, and looks into each new content.
//!
//! - `round` goes through the rows that came, and `joins` through what was joined of them
//! - `contents` reads contents, and has them scanned
//!
//! Nothing waits for it. One process scans at a time; another one that is told to takes over when that ends.

pub(crate) mod contents;
mod joins;
mod round;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use streamdb_query::join_row;
use streamdb_scan::Scanners;
use streamdb_storage::{DiskVolume, JoinMet, KeptMark, Parties, Scanned, Store, VerdictKeeper};
use streamdb_submit::Fresh;
use streamdb_types::BucketId;

use self::round::{Halt, Round};
use crate::commands::Error;
use crate::output::complain;

/// How long the thread waits for more.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after something went wrong. It begins with the one above and doubles.
const LONGEST: Duration = Duration::from_secs(10);

/// How long the thread may take to end when it is told to at once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// How long it may take for one content, beside what its scanners may.
const STEP: Duration = Duration::from_secs(300);

/// By how much the thread is behind all others for a processor.
const NICE: i32 = 10;

/// Takes objects from the scan, in the order in which their rows were kept, and joined contents in the order in which they were found.
pub(crate) trait Handed: Send {
    /// Called with the new objects of a connection, or with a joined content.
    ///
    /// The scan goes on behind them only when this returned `Ok`. Otherwise, and when the process is killed in between, it is
    /// called again with the same objects and the same words on them: what it does must bear that.
    ///
    /// # Errors
    /// What went wrong, as a sentence; it is said to the operator, and tried again.
    fn handed(&mut self, store: &Store, objects: &[Fresh<'_>]) -> Result<(), String>;

    /// Whether anybody takes them.
    fn is_somebody(&self) -> bool {
        true
    }
}

/// Nobody wants to know.
pub(crate) struct Nobody;

impl Handed for Nobody {
    fn handed(&mut self, _: &Store, _: &[Fresh<'_>]) -> Result<(), String> {
        Ok(())
    }

    fn is_somebody(&self) -> bool {
        false
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Contents that were looked at.
    pub(crate) contents: u64,
    /// Those of them in which something was found.
    pub(crate) found: u64,
    /// Those at which a scanner looked in part only: they were too large, or it gave up.
    pub(crate) in_part: u64,
    /// Objects that were handed on.
    pub(crate) objects: u64,
}

/// The thread, until it is told to end.
pub(crate) struct Scanning {
    ending: Arc<AtomicBool>,
    at_once: Arc<AtomicBool>,
    /// Counts on with each step.
    steps: Arc<AtomicU64>,
    /// How long a step may take.
    step: Duration,
    done: Receiver<Tally>,
}

impl Scanning {
    /// Begins to follow a data folder; nothing when there is nothing to scan by. `handed` gets each object when its verdicts are
    /// known.
    ///
    /// # Errors
    /// When the store cannot be read, or what is found cannot be kept there.
    pub(crate) fn start(
        folder: &Path,
        scanners: Option<Scanners>,
        handed: Box<dyn Handed>,
    ) -> Result<Option<Self>, Error> {
        let Some(scanners) = scanners else { return Ok(None) };
        let (past, parties) = (scanners.past(), Parties::new(scanners.kinds(), handed.is_somebody()));
        let step = STEP.saturating_add(scanners.timeout().saturating_mul(2));
        let store = Store::open(folder)?;
        // Now, so that what is kept from now on is new.
        let mut keeper = None;
        take_right(&store, past, parties, &mut keeper)?;
        let (ending, at_once) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let steps = Arc::new(AtomicU64::new(0));
        let told = (Arc::clone(&ending), Arc::clone(&at_once), Arc::clone(&steps));
        let (tell, done) = channel();
        let started = thread::Builder::new().name("scan".into()).spawn(move || {
            // Of this thread, and of those that it starts: whoever captures or derives comes first.
            let _ = rustix::process::nice(NICE);
            let (ending, at_once, steps) = (&*told.0, &*told.1, &*told.2);
            let follow = Follow { store: &store, past, parties, ending, at_once, steps, say: &mut complain };
            // Nobody may wait for it any more.
            let _ = tell.send(follow.run(scanners, handed, keeper));
        });
        started.map_err(|e| Error::Other(format!("could not start the thread that scans: {e}")))?;
        Ok(Some(Self { ending, at_once, steps, step, done }))
    }

    /// All rows are kept: what there is to scan is scanned, unless a scanner is not there, and the thread ends. What was done.
    pub(crate) fn finish(self) -> Tally {
        self.ending.store(true, Ordering::Release);
        loop {
            let before = self.steps.load(Ordering::Relaxed);
            match self.done.recv_timeout(self.step) {
                Ok(tally) => return tally,
                Err(RecvTimeoutError::Timeout) if self.steps.load(Ordering::Relaxed) != before => {}
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = self.step.as_secs();
                    complain(&format!(
                        "the scan did not go on for {seconds} s, and is not waited for; what is not scanned yet is when somebody \
                         scans here again"
                    ));
                    return Tally::default();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    complain("the thread that scans died");
                    return Tally::default();
                }
            }
        }
    }

    /// The thread ends behind the content that it looks at; the next start goes on there.
    pub(crate) fn stop(self) {
        self.at_once.store(true, Ordering::Release);
        self.ending.store(true, Ordering::Release);
        match self.done.recv_timeout(AT_ONCE) {
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                complain("a content is still looked at, and is not waited for; the next start looks at it again");
            }
            Err(RecvTimeoutError::Disconnected) => complain("the thread that scans died"),
        }
    }
}

/// What the thread goes by.
struct Follow<'f> {
    store: &'f Store,
    past: bool,
    parties: Parties,
    ending: &'f AtomicBool,
    at_once: &'f AtomicBool,
    steps: &'f AtomicU64,
    say: &'f mut (dyn FnMut(&str) + Send),
}

impl Follow<'_> {
    /// Follows the store until `ending`, and then to its end. When something cannot be done, that is said once, and again when it
    /// works.
    fn run(self, mut scanners: Scanners, mut handed: Box<dyn Handed>, mut keeper: Option<VerdictKeeper>) -> Tally {
        let Self { store, past, parties, ending, at_once, steps, say } = self;
        let mut tally = Tally::default();
        // The last joined content that was gone through.
        let mut joined = 0;
        // How long to wait after the last round, when that failed.
        let mut failing: Option<Duration> = None;
        loop {
            // Asked before: what was kept until then is still done.
            let last = ending.load(Ordering::Acquire);
            // Asked at each step.
            let stop = &|| {
                steps.fetch_add(1, Ordering::Relaxed);
                at_once.load(Ordering::Acquire)
            };
            let done = match take_right(store, past, parties, &mut keeper) {
                Err(error) => Err(Halt::Trouble(error.to_string())),
                Ok(None) => Ok(()),
                Ok(Some(keeper)) => {
                    let mut round = Round {
                        store,
                        keeper,
                        scanners: &mut scanners,
                        handed: &mut *handed,
                        tally: &mut tally,
                        joined: &mut joined,
                        stop,
                        say,
                    };
                    round.run()
                }
            };
            match done {
                Ok(()) if failing.take().is_some() => say("contents are scanned again"),
                Ok(()) | Err(Halt::Told) => {}
                Err(Halt::Trouble(why)) => {
                    if last {
                        say(&format!("{why}; what is not scanned yet is when somebody scans here again"));
                    } else if failing.is_none() {
                        say(&format!("{why}; contents wait until that works, and it is tried again"));
                    }
                    failing = Some(failing.map_or(PAUSE, |pause| (pause * 2).min(LONGEST)));
                }
            }
            if last {
                if keeper.is_none() {
                    say("another process scans what is here");
                }
                return tally;
            }
            let begun = Instant::now();
            let pause = failing.unwrap_or(PAUSE);
            while begun.elapsed() < pause && !ending.load(Ordering::Acquire) {
                thread::sleep(PAUSE.min(pause.saturating_sub(begun.elapsed())));
            }
        }
    }
}

/// Takes the right to scan, if nobody has it; and begins there for those of the parties that were never there.
fn take_right<'k>(
    store: &Store,
    past: bool,
    parties: Parties,
    keeper: &'k mut Option<VerdictKeeper>,
) -> Result<Option<&'k mut VerdictKeeper>, streamdb_storage::Error> {
    if keeper.is_none() {
        let Some(mut new) = VerdictKeeper::open(store.path(), Arc::new(DiskVolume), parties)? else { return Ok(None) };
        if new.is_new() {
            if !past {
                met_joined_before(store, &mut new)?;
            }
            let mut marks = Vec::new();
            let unsettled: BTreeSet<BucketId> = store.unsettled()?.into_iter().map(|(id, _)| id).collect();
            for bucket in if past { Vec::new() } else { store.bucket_ids()? } {
                let mark = if unsettled.contains(&bucket) { met_before(store, bucket, &mut new)? } else { None };
                marks.push((bucket, mark.map_or_else(|| store.kept_until_now(bucket), Ok)?));
            }
            new.begin(&marks)?;
        }
        *keeper = Some(new);
    }
    Ok(keeper.as_mut())
}

/// Keeps that the contents of a bucket were met, and not looked at, up to the mark that it gives: the index does not have all
/// of them, by which those of other buckets are known to be met before.
fn met_before(
    store: &Store,
    bucket: BucketId,
    keeper: &mut VerdictKeeper,
) -> Result<Option<KeptMark>, streamdb_storage::Error> {
    let mut met = BTreeMap::new();
    let end = store.kept_since(bucket, KeptMark::NOTHING, &mut |rows, _| {
        met.extend(rows.iter().filter_map(|row| Some((row.digests?.sha256, row.oid))));
        ControlFlow::Continue(())
    })?;
    for (sha256, oid) in met {
        if keeper.known(&sha256, oid).is_some() {
            continue;
        }
        let (verdicts, by, looked) = (Vec::new(), 0, 0);
        keeper.scanned(Scanned { sha256, oid, first_seen: false, whole: true, by, looked, verdicts })?;
    }
    Ok(end)
}

/// Keeps that the contents that are joined now were there before those of the parties that begin, and are not to be looked at for
/// them: no index has them. Parties that were here go on where they were.
fn met_joined_before(store: &Store, keeper: &mut VerdictKeeper) -> Result<(), streamdb_storage::Error> {
    for (_, join) in store.joins()?.made_since(0) {
        let Some((row, digests)) = join_row(join).and_then(|row| row.digests.map(|digests| (row, digests))) else {
            continue;
        };
        let (id, sha256, oid, complete, verdicts) = (join.id, digests.sha256, row.oid, row.complete, Vec::new());
        let met = keeper.joined(id, &sha256);
        if keeper.known(&sha256, oid).is_none() {
            keeper.scanned(Scanned { sha256, oid, first_seen: false, whole: true, by: 0, looked: 0, verdicts })?;
        }
        // What others did as long as it was less certain they have before them again.
        let as_now = met.filter(|met| met.complete || !complete);
        let first_seen = met.is_some_and(|met| met.first_seen);
        keeper.join_past(as_now.unwrap_or_else(|| JoinMet { complete, first_seen, ..JoinMet::new(id, &sha256) }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
