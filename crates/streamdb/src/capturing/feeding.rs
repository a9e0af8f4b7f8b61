//! A worker for captures that others send over TCP. Its frames come in no order of time, and their times are their senders' word, so
//! its clock is this machine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use streamdb_capture::{Batch, Feed};
use streamdb_storage::{WriteFolder, Writer};

use super::given::Given;
use super::{Change, Done, Event, spawn};
use crate::commands::{Error, storing};
use crate::output::{complain, printable};
use crate::reporting::{Going, Seen};
use crate::settings::Settings;
use crate::worker::{Worker, WorkerConfig};

/// What it is called among the interfaces.
pub(crate) const NAME: &str = "pcap over TCP";
/// How often it is told how things stand.
const SECOND: Duration = Duration::from_secs(1);
/// How long it takes, at the end, what has come.
const PATIENCE: Duration = Duration::from_secs(3);

/// The worker's thread.
pub(crate) struct Feeding {
    thread: JoinHandle<Result<Done, Error>>,
    ending: Arc<AtomicBool>,
    changes: Sender<Change>,
    seen: Arc<Seen>,
}

impl Feeding {
    /// Begins to store what is sent, as the worker of this number; however it ends, that is `said`.
    ///
    /// # Errors
    /// When the store has no room for a worker, or the system has no more threads.
    pub(super) fn start(
        mut feed: Feed,
        folder: &Arc<WriteFolder>,
        number: u16,
        settings: &Settings,
        said: Sender<Event>,
    ) -> Result<Self, Error> {
        feed.listen()?;
        let writer = Writer::new(Arc::clone(folder), number, settings.writer())?;
        let config = WorkerConfig { publish_at_ticks: true, live: true, by_clock: true, ..settings.worker() };
        let (changes, changed) = unbounded();
        let (ending, seen) = (Arc::new(AtomicBool::new(false)), Arc::<Seen>::default());
        let at_work = AtWork {
            feed,
            worker: Worker::new(writer, config),
            given: Given::new(settings.filter.clone()),
            changed,
            ending: Arc::clone(&ending),
            seen: Arc::clone(&seen),
        };
        let thread = spawn("capture feed", said, move || at_work.run())?;
        Ok(Self { thread, ending, changes, seen })
    }

    /// It is to go on by this.
    pub(super) fn change(&self, change: Change) {
        // Who has ended needs none.
        _ = self.changes.send(change);
    }

    pub(crate) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// From now on it takes no more than what has come.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Stores what has come, and seals it.
    ///
    /// # Errors
    /// When the worker could not go on.
    pub(crate) fn finish(self) -> Result<Done, Error> {
        self.end();
        self.thread.join().unwrap_or_else(|_| Err(Error::Other("the thread that takes what is sent died".into())))
    }
}

struct AtWork {
    feed: Feed,
    worker: Worker,
    given: Given,
    changed: Receiver<Change>,
    ending: Arc<AtomicBool>,
    seen: Arc<Seen>,
}

impl AtWork {
    fn run(mut self) -> Result<Done, Error> {
        let (mut said, mut ended) = (Instant::now(), None);
        loop {
            while let Ok(Change { filter, cutoffs, taken }) = self.changed.try_recv() {
                if let Some(expression) = filter {
                    self.given.set_filter(expression);
                }
                let held = self.worker.set_cutoffs(cutoffs);
                // Who does not wait any more needs no answer.
                _ = taken.send(held.is_ok());
                if let Err(error) = held {
                    complain(&printable(&error.to_string()));
                }
            }
            let Self { feed, worker, given, .. } = &mut self;
            let mut taken = Ok(());
            let batch = feed.batch(|item| {
                // After an error the rest of the batch has no place to go.
                if taken.is_ok() {
                    taken = given.take(worker, &item);
                }
            });
            taken?;
            self.worker.clock(Feed::now())?;
            storing::complain_of(&self.worker.take_troubles());
            self.feed.take_troubles().iter().for_each(|sentence| complain(&printable(sentence)));
            if batch == Batch::End {
                break;
            }
            if self.ending.load(Ordering::Relaxed) {
                self.feed.stop();
                if ended.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                    complain("what was sent came to no end, and is cut short");
                    break;
                }
            }
            if said.elapsed() >= SECOND {
                said = Instant::now();
                let Self { worker, .. } = &self;
                let (counters, open, held) = (worker.counters(), worker.open_connections(), worker.held_bytes());
                self.seen.say(Going { counters, open, held, ..Going::default() });
            }
        }
        let (counters, written) = self.worker.finish()?;
        self.seen.say(Going { counters, ..Going::default() });
        Ok(Done { counters, written })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One that dies at once, as by a mistake.
    pub(crate) fn dying(said: Sender<Event>) -> Feeding {
        let thread = spawn("capture feed", said, || panic!("a mistake, on purpose")).unwrap();
        let (changes, _) = unbounded();
        Feeding { thread, ending: Arc::default(), changes, seen: Arc::default() }
    }
}
