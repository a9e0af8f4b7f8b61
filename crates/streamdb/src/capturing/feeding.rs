//! A worker for captures that others send over TCP. Its frames come in no order of time, and their times are their senders' word, so
//! its clock is this machine's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use streamdb_capture::{Batch, Feed, Filter, Item};
use streamdb_storage::{WriteFolder, Writer};
use streamdb_types::{Interface, LinkType};

use super::{Done, Event, Over};
use crate::commands::{Error, storing};
use crate::cutoff::Rule;
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

/// Another filter, if one is given, and other rules about cutoffs.
type Change = (Option<Option<String>>, Vec<Rule>);

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
            expression: settings.filter.clone(),
            filters: BTreeMap::new(),
            links: Vec::new(),
            changed,
            ending: Arc::clone(&ending),
            seen: Arc::clone(&seen),
        };
        let thread = spawn(said, move || at_work.run())?;
        Ok(Self { thread, ending, changes, seen })
    }

    /// From now on this filter holds, if one is given, and these rules about cutoffs.
    pub(crate) fn change(&self, filter: Option<Option<String>>, cutoffs: Vec<Rule>) {
        // Who has ended needs none.
        _ = self.changes.send((filter, cutoffs));
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

/// The thread; when it is over, also by a mistake in this program, that is said.
fn spawn(
    said: Sender<Event>,
    work: impl FnOnce() -> Result<Done, Error> + Send + 'static,
) -> Result<JoinHandle<Result<Done, Error>>, Error> {
    let run = move || {
        let _over = Over(said);
        work()
    };
    let thread = thread::Builder::new().name("capture feed".into()).spawn(run);
    thread.map_err(|e| Error::Other(format!("could not set up the worker of the feed: {e}")))
}

struct AtWork {
    feed: Feed,
    worker: Worker,
    expression: Option<String>,
    /// The filter for each kind of link, as the frames have not gone through the kernel; `None` where it cannot be used.
    filters: BTreeMap<LinkType, Option<Filter>>,
    /// The kind of link of each interface.
    links: Vec<LinkType>,
    changed: Receiver<Change>,
    ending: Arc<AtomicBool>,
    seen: Arc<Seen>,
}

impl AtWork {
    fn run(mut self) -> Result<Done, Error> {
        let (mut said, mut ended) = (Instant::now(), None);
        loop {
            while let Ok((filter, cutoffs)) = self.changed.try_recv() {
                if let Some(expression) = filter {
                    self.expression = expression;
                    self.filters.clear();
                }
                if let Err(error) = self.worker.set_cutoffs(cutoffs) {
                    complain(&printable(&error.to_string()));
                }
            }
            let Self { feed, worker, expression, filters, links, .. } = &mut self;
            let mut taken = Ok(());
            let batch = feed.batch(|item| {
                // After an error the rest of the batch has no place to go.
                if taken.is_ok() {
                    taken = take(worker, &item, expression.as_deref(), filters, links);
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
                self.seen.say(Going { counters, open, held });
            }
        }
        let (counters, written) = self.worker.finish()?;
        self.seen.say(Going { counters, ..Going::default() });
        Ok(Done { counters, written })
    }
}

fn take(
    worker: &mut Worker,
    item: &Item<'_>,
    expression: Option<&str>,
    filters: &mut BTreeMap<LinkType, Option<Filter>>,
    links: &mut Vec<LinkType>,
) -> Result<(), Error> {
    match item {
        Item::Frame(frame) => {
            if let (Some(expression), Some(&link)) = (expression, links.get(frame.interface as usize)) {
                let filter = filters.entry(link).or_insert_with(|| compiled(expression, link));
                if filter.as_ref().is_some_and(|filter| !filter.matches(frame.data)) {
                    worker.filtered();
                    return Ok(());
                }
            }
            worker.frame(frame)?;
        }
        Item::Interface(_, interface) => begin(worker, interface, links),
        Item::Drops(drops) => worker.dropped_by_sender(drops.by_kernel.saturating_add(drops.by_interface))?,
        Item::Secrets { kind, data } => worker.attachment(Some(*kind), data)?,
        Item::Names(data) => worker.attachment(None, data)?,
    }
    Ok(())
}

/// The filter for this kind of link; where it cannot be used, which is the sender's doing, all is taken.
fn compiled(expression: &str, link: LinkType) -> Option<Filter> {
    Filter::compile(expression, link).inspect_err(|error| complain(&printable(&error.to_string()))).ok()
}

fn begin(worker: &mut Worker, interface: &Interface, links: &mut Vec<LinkType>) {
    links.push(interface.link_type);
    if let Err(error) = worker.any_interface(interface) {
        complain(&printable(&error.to_string()));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One that dies at once, as by a mistake.
    pub(crate) fn dying(said: Sender<Event>) -> Feeding {
        let thread = spawn(said, || panic!("a mistake, on purpose")).unwrap();
        let (changes, _) = unbounded();
        Feeding { thread, ending: Arc::default(), changes, seen: Arc::default() }
    }
}
