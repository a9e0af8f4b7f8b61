//! Derivation beside whatever else the process does: a thread that follows what is published.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamdb_derive::{Deriver, Error, IndexKeeper, Joiner, PATIENCE, Progress, StoreError};
use streamdb_storage::Store;

use crate::lag::Lag;
use crate::limiting::come_last;
use crate::output::complain;

/// How long a merge of index files may go on when all else is done.
const SHORT: Duration = Duration::from_secs(2);
/// How long the thread waits for more.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after rows could not be written. It begins with the one above and doubles, as what is not kept is made
/// again each time.
const LONGEST: Duration = Duration::from_secs(10);

/// Whether all is to end at once.
type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// The thread, until it is told to end.
pub(crate) struct Deriving {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Result<Progress, Error>>,
}

impl Deriving {
    /// Begins to follow a data folder. `None` when another process does already.
    pub(crate) fn start(folder: &Path) -> Result<Option<Self>, Error> {
        let store = Store::open(folder)?;
        let deriver = match Deriver::new(&store) {
            Ok(deriver) => deriver,
            Err(Error::Store(StoreError::Deriving(_))) => return Ok(None),
            Err(error) => return Err(error),
        };
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = thread::Builder::new().name("derive".into()).spawn(move || {
            come_last();
            follow(&store, deriver, &told, &AtomicBool::new(false), &mut complain)
        })?;
        Ok(Some(Self { ending, thread }))
    }

    /// All is published: what there is to do is done, and the thread ends.
    pub(crate) fn finish(self) -> Result<Progress, Error> {
        self.ending.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that derives died").into()))
    }
}

/// Follows a store until `ending`, and then to its end; or until `stop`, in the middle of whatever there is to do. When rows cannot be
/// kept, that is said once, and again when it works.
pub(crate) fn follow(
    store: &Store,
    mut deriver: Deriver,
    ending: &AtomicBool,
    stop: &AtomicBool,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Progress, Error> {
    // What cannot be written yet is tried again, and said, when it derives.
    _ = deriver.watch(store);
    let keeper = deriver.keeper();
    let done = AtomicBool::new(false);
    let (lag, tally) = (Lag::new(store), deriver.tally());
    let say = Mutex::new(say);
    let say = &|what: &str| say.lock().unwrap_or_else(PoisonError::into_inner)(what);
    let stop = &|| stop.load(Ordering::Acquire);
    thread::scope(|scope| {
        scope.spawn(|| keep(store, &keeper, &done, stop, say));
        scope.spawn(|| join(store, Joiner::new(&keeper), &done, stop, say));
        scope.spawn(|| lag.tell(store, &tally, &done));
        let progress = derive(store, deriver, ending, stop, &lag, say);
        done.store(true, Ordering::Release);
        progress
    })
}

/// Keeps the index in order until all is derived. Large merges take minutes, and nothing waits for them.
fn keep(store: &Store, keeper: &IndexKeeper, done: &AtomicBool, stopped: Stop<'_>, say: &dyn Fn(&str)) {
    let mut failing = false;
    loop {
        let last = done.load(Ordering::Acquire);
        // At the end what is short is done still.
        let begun = Instant::now();
        let stop = || stopped() || (last || done.load(Ordering::Acquire)) && begun.elapsed() > SHORT;
        match caught(|| keeper.tidy(store, &stop, &mut |what| say(what))) {
            Ok(true) if !stopped() => {
                failing = false;
                continue;
            }
            Ok(true) => {}
            Ok(false) => failing = false,
            Err(error) if !failing => {
                say(&format!("{error}; index files are not merged until that works, and it is tried again"));
                failing = true;
            }
            Err(_) => {}
        }
        if last {
            return;
        }
        let begun = Instant::now();
        let pause = if failing { LONGEST } else { PAUSE };
        while begun.elapsed() < pause && !done.load(Ordering::Acquire) {
            thread::sleep(PAUSE / 10);
        }
    }
}

/// What `work` does, or why it did not: a fault in it does not end the thread in silence.
fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("a fault of StreamDB, as was said".to_owned()),
    }
}

/// Finds what is part of one content in what is derived, to its end: large contents take their time to read, and nothing waits for it.
fn join(store: &Store, mut joiner: Joiner, done: &AtomicBool, stop: Stop<'_>, say: &dyn Fn(&str)) {
    let mut failing = false;
    loop {
        // Asked before: what was derived until then is still looked at.
        let last = done.load(Ordering::Acquire);
        match caught(|| joiner.catch_up(store, stop, &mut |error| say(&error.to_string()))) {
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    say(&format!(
                        "{error}; parts of one content are not joined until that works, and it is tried again"
                    ));
                }
                failing = true;
            }
        }
        if last {
            return;
        }
        let begun = Instant::now();
        let pause = if failing { LONGEST } else { PAUSE };
        while begun.elapsed() < pause && !done.load(Ordering::Acquire) {
            thread::sleep(PAUSE / 10);
        }
    }
}

fn derive(
    store: &Store,
    mut deriver: Deriver,
    ending: &AtomicBool,
    stop: Stop<'_>,
    lag: &Lag,
    say: &dyn Fn(&str),
) -> Result<Progress, Error> {
    let mut all = Progress::default();
    // How long to wait after the last round, when that failed.
    let mut failing: Option<Duration> = None;
    loop {
        // Asked before: what was published until then is still done.
        let last = ending.load(Ordering::Acquire) || stop();
        let looked = Lag::begin(store);
        let told = &mut |error: &Error| say(&error.to_string());
        let made = if last { deriver.catch_up(store, stop, told) } else { deriver.keep_up(store, stop, told) };
        match made {
            Err(error) if last || stop() => return Err(error),
            Err(error) => {
                if failing.is_none() {
                    say(&format!("{error}; the rows of objects are not kept until that works, and are tried again"));
                }
                failing = Some(failing.map_or(PAUSE, |pause| (pause * 2).min(LONGEST)));
            }
            Ok(round) => {
                all.add(&round);
                if stop() {
                    return Ok(all);
                }
                lag.end(if round.waits { looked.before(PATIENCE) } else { looked });
                if failing.take().is_some() {
                    say("the rows of objects are kept again");
                }
                if last {
                    return Ok(all);
                }
            }
        }
        let begun = Instant::now();
        let pause = failing.unwrap_or(PAUSE);
        while begun.elapsed() < pause && !ending.load(Ordering::Acquire) && !stop() {
            thread::sleep(PAUSE.min(pause.saturating_sub(begun.elapsed())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use streamdb_storage::DiskVolume;
    use streamdb_testkit::{Fault, FaultVolume, TestFolder};

    const NO_SPACE: i32 = 28;

    #[test]
    fn it_goes_on_when_rows_can_be_kept_again() {
        let folder = TestFolder::new("deriving-goes-on");
        let data = folder.path().join("data");
        let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/imagedump/capture.pcap");
        let arguments = ["streamdb", "ingest", "--no-derive", "--data", data.to_str().unwrap(), capture];
        crate::commands::run(crate::cli::Cli::parse_from(arguments)).unwrap();

        let store = Store::open(&data).unwrap();
        let volume = FaultVolume::new(DiskVolume);
        volume.fail_next(Fault { errno: NO_SPACE, forever: true, ..Fault::default() });
        let deriver = Deriver::on(&store, Arc::new(volume.clone())).unwrap();
        let ending = AtomicBool::new(false);
        let (told, said) = std::sync::mpsc::channel();
        let next = || said.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| String::from("nothing"));
        let progress = thread::scope(|scope| {
            let follower = scope.spawn(|| {
                follow(&store, deriver, &ending, &AtomicBool::new(false), &mut |what| {
                    told.send(what.to_owned()).unwrap()
                })
            });
            let first: String = next();
            assert!(first.contains("No space left on device") && first.contains("tried again"), "{first}");
            let asked = volume.operations();
            let begun = Instant::now();
            while volume.operations() == asked && begun.elapsed() < Duration::from_secs(60) {
                thread::sleep(PAUSE);
            }
            volume.heal();
            assert_eq!(next(), "the rows of objects are kept again", "said once, however often it failed");
            ending.store(true, Ordering::Release);
            follower.join().unwrap().unwrap()
        });
        assert!(progress.objects > 50, "{progress:?}");
        assert!(said.try_recv().is_err());
        let kept: usize =
            store.bucket_ids().unwrap().iter().map(|id| store.derived_connections(*id).unwrap().len()).sum();
        assert_eq!(kept as u64, progress.connections);
    }
}
