//! Live capture by one or several workers, each with a thread, a source, and a bucket of its own; and who tells them what is new.

pub(crate) mod feeding;
mod given;
mod member;
pub(crate) mod spool_folder;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use streamdb_capture::{Feed, FeedSettings, LinkState, Live, LiveError, LiveSettings, link_state};
use streamdb_storage::{FOLDER, WriteFolder, Writer, WriterSummary};
use streamdb_types::{Counters, Interface};

use self::feeding::Feeding;
use self::member::{Member, Order, Orders};
use self::spool_folder::{Away, Folders, SpoolFolders};
use crate::commands::Error;
use crate::cutoff::{Cutoffs, Rule};
use crate::output::{complain, printable};
use crate::reporting::{Seen, Told};
use crate::settings::Settings;
use crate::sharing::{self, Part};
use crate::supervising::{is_anew, is_supervised};
use crate::worker::{Worker, WorkerConfig};

/// The most workers of one capture: the store has room for three more, which take captures that are files.
pub(crate) const MAX_WORKERS: usize = 59;
/// How often the signals are looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// A worker says each second how it goes; one that has not for so long stands still.
pub(crate) const STANDS_STILL: Duration = Duration::from_secs(20);
/// How often it is tried to capture again from an interface that failed while others go on.
const AGAIN: Duration = Duration::from_secs(5);
/// How long those that store are waited for when they are to go on by other rules.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a capture goes on at least before it ends for a folder that answers: one that does so now and then costs no more than that.
const SETTLED: Duration = Duration::from_secs(15);
/// How often it is looked whether an interface is down.
const LOOK: Duration = Duration::from_millis(500);

/// An interface, and those that take its frames.
struct Source {
    settings: LiveSettings,
    description: Interface,
    workers: Vec<usize>,
    /// Whether they can take frames from it.
    taking: bool,
    /// Whether it is down: it keeps its sockets, and they have frames again when it is up.
    down: bool,
    /// When it is tried again, and what was said of why it could not be, since it failed.
    failed: Option<(Instant, String)>,
    /// Whether frames come from it, for those who are told.
    up: Arc<AtomicBool>,
}

impl Source {
    /// Whether frames come from it.
    const fn goes_on(&self) -> bool {
        self.taking && !self.down
    }

    /// Says whether frames come from it.
    fn tell(&self) {
        self.up.store(self.goes_on(), Ordering::Relaxed);
    }
}

/// What one worker did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) counters: Counters,
    pub(crate) written: WriterSummary,
}

/// What those that store are to go on by.
#[derive(Clone)]
struct Change {
    /// Another filter, if one is given.
    filter: Option<Option<String>>,
    cutoffs: Vec<Rule>,
    /// Says whether it holds, and is let go.
    taken: Sender<bool>,
}

/// By whom a change holds, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// By all that store.
    ByAll,
    /// Not by all yet, as one of them is busy; it takes it over later.
    Later,
    /// Not by all, as one of them could not take it over, which it has said.
    NotByAll,
}

/// What is said by a worker's thread.
enum Event {
    /// Its interface failed.
    Failed { worker: usize, error: LiveError },
    /// The thread is about to end, or has died.
    Over,
}

/// Folders in which captures appear.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpoolSettings {
    pub(crate) folders: Vec<PathBuf>,
    /// Whether a file is removed when it is in the store.
    pub(crate) removes: bool,
}

/// Interfaces that were opened: from here on the kernel keeps their frames. And where it is listened for what others send, and
/// where captures appear.
pub(crate) struct Opened {
    sources: Vec<Source>,
    lives: Vec<Vec<Live>>,
    feed: Option<Feed>,
    spool: Folders,
    removes: bool,
    away: Vec<Away>,
}

impl Opened {
    /// Opens each interface for so many workers, and listens, and hears from the folders, none of which is this data folder.
    ///
    /// # Errors
    /// When one of them cannot be opened, or there are too many.
    pub(crate) fn new(
        all: Vec<LiveSettings>,
        workers: usize,
        feed: &FeedSettings,
        spool: &SpoolSettings,
        data: &Path,
    ) -> Result<Self, Error> {
        let feeds = !feed.listen.is_empty();
        if all.len().saturating_mul(workers) + usize::from(feeds) > MAX_WORKERS {
            return Err(Error::Other(format!(
                "{} interfaces with {workers} workers each are too many: a store has room for {MAX_WORKERS} workers",
                all.len()
            )));
        }
        let names: BTreeSet<&str> = all.iter().map(|settings| settings.interface.as_str()).collect();
        if names.len() < all.len() || names.len() > 1 && names.contains("any") {
            return Err(Error::Other("an interface is given twice, so that its frames would be stored twice".into()));
        }
        let feed = if feeds { Some(Feed::open(feed)?) } else { None };
        let takes_from_others = feeds || !spool.folders.is_empty();
        let is_one_of_several = all.len() > 1 || takes_from_others;
        let (mut sources, mut all_lives) = (Vec::new(), Vec::new());
        let mut refused = None;
        for (number, settings) in all.into_iter().enumerate() {
            let workers = (number * workers..(number + 1) * workers).collect::<Vec<_>>();
            let (lives, description, failed) = match Live::open_shared(&settings, workers.len()) {
                Ok(lives) => {
                    let Some(description) = lives.first().map(|live| live.interface().clone()) else { continue };
                    (lives, description, None)
                }
                // One that is unplugged, or not yet up, stops no other.
                Err(error) if is_one_of_several && error.may_pass() => {
                    let text = error.to_string();
                    complain(&without(&error));
                    refused.get_or_insert(error);
                    (Vec::new(), Live::description(&settings), Some((Instant::now() + AGAIN, text)))
                }
                Err(error) => return Err(error.into()),
            };
            let taking = failed.is_none();
            let up = Arc::new(AtomicBool::new(taking));
            sources.push(Source { settings, description, workers, taking, down: false, failed, up });
            all_lives.push(lives);
        }
        if let Some(error) = refused
            && !takes_from_others
            && !sources.iter().any(|source| source.taking)
        {
            return Err(error.into());
        }
        // The last, as a folder may be slow: meanwhile the kernel keeps frames.
        let folders = Folders::open(&spool.folders, data, is_anew())?;
        Ok(Self { sources, lives: all_lives, feed, spool: folders, removes: spool.removes, away: Vec::new() })
    }

    /// The folders in which captures appear, but for those from which none can be taken.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.spool.answering()
    }

    /// Whether all that is needed later is still possible once the process has given up its other rights; from here on the folders that
    /// are away are waited for.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check(&mut self, data: &Path) -> Result<(), Error> {
        self.spool.check(self.removes, is_anew())?;
        let others: Vec<&Path> = self.spool.answering().collect();
        let watch = |folder: &PathBuf| Away::watch(folder, &others, data, self.removes);
        let away: std::io::Result<_> = self.spool.away().iter().map(watch).collect();
        self.away = away.map_err(|e| Error::Other(format!("could not wait for the folders that are away: {e}")))?;
        Ok(())
    }
}

/// Those who capture.
pub(crate) struct Crew {
    sources: Vec<Source>,
    orders: Vec<Orders>,
    seen: Vec<Arc<Seen>>,
    threads: Vec<JoinHandle<Result<Done, Error>>>,
    events: Receiver<Event>,
    ending: Arc<AtomicBool>,
    /// Who takes what others send.
    feeding: Option<Feeding>,
    /// Who takes what appears in folders.
    spool: Option<SpoolFolders>,
    /// The folders from which nothing could be taken at the start, until that can be.
    away: Vec<Away>,
    begun: Instant,
    /// The filter and the rules that hold.
    filter: Option<String>,
    cutoffs: Vec<Rule>,
    /// Whether they do with all that store, as far as is known.
    holds: bool,
    /// Why the last interface failed.
    broken: Option<LiveError>,
    /// Whether this process may open an interface again.
    may_open: bool,
    /// When it was last looked whether interfaces are down.
    looked: Instant,
    /// Whether it ended so that another process opens an interface that is back.
    begins_again: bool,
    /// Whether it goes on when there is no interface left: somebody else looks after it, and it waits for one.
    waits: bool,
}

impl Crew {
    /// Sets a worker to work on each of what was opened.
    ///
    /// # Errors
    /// When a rule about cutoffs cannot be used on an interface, or the system has no more threads.
    pub(crate) fn start(
        opened: Opened,
        folder: &Arc<WriteFolder>,
        settings: &Settings,
        may_open: bool,
    ) -> Result<Self, Error> {
        let Opened { sources, lives, feed, spool, removes, away } = opened;
        let config = WorkerConfig { publish_at_ticks: true, live: true, ..settings.worker() };
        let count = sources.iter().map(|source| source.workers.len()).sum();
        let no_means = |e: std::io::Error| Error::Other(format!("could not set up the workers: {e}"));
        let mut parts = if count > 1 {
            sharing::parts(count, config.reassembly.max_connections).map_err(no_means)?
        } else {
            Vec::new()
        };
        parts.reverse();
        // All that can be refused is, before the first one begins.
        let mut members = Vec::new();
        let (said, events) = unbounded();
        let ending = Arc::new(AtomicBool::new(false));
        let of_source = |((source, lives), n): ((&Source, Vec<Live>), u32)| {
            let lives = lives.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
            lives.take(source.workers.len()).map(move |live| (n, live))
        };
        for (interface, live) in sources.iter().zip(lives).zip(0..).flat_map(of_source) {
            let writer = Writer::new(Arc::clone(folder), number(members.len()), settings.writer())?;
            let mut worker = worker(writer, config.clone(), parts.pop());
            for source in &sources {
                worker.interface(&source.description)?;
            }
            let member = Member::new(members.len(), interface, live, worker, said.clone(), Arc::clone(&ending));
            members.push(member.map_err(no_means)?);
        }
        let feeding = feed.map(|feed| Feeding::start(feed, folder, number(members.len()), settings, said.clone()));
        let feeding = feeding.transpose()?;
        let spool = (!spool.is_empty()).then(|| SpoolFolders::start(spool, removes, folder, settings, said.clone()));
        let spool = spool.transpose()?;
        let mut crew = Self {
            sources,
            orders: members.iter().map(|(_, orders)| orders.clone()).collect(),
            seen: members.iter().map(|(member, _)| member.seen()).collect(),
            threads: Vec::new(),
            events,
            ending,
            feeding,
            spool,
            away,
            begun: Instant::now(),
            filter: settings.filter.clone(),
            cutoffs: settings.worker().cutoffs,
            holds: true,
            broken: None,
            may_open,
            looked: Instant::now(),
            begins_again: false,
            waits: is_supervised(),
        };
        for (member, _) in members {
            let name = format!("capture {}", crew.threads.len());
            crew.threads.push(spawn(&name, said.clone(), move || member.run())?);
        }
        Ok(crew)
    }

    /// Lets them work until the flag is set or all interfaces have failed; now and then it calls `between`.
    pub(crate) fn follow(&mut self, stop: &AtomicBool, between: &mut dyn FnMut(&mut Self)) {
        while !stop.load(Ordering::Relaxed) {
            match self.events.recv_timeout(PAUSE) {
                Ok(Event::Failed { worker, error }) => self.failed(worker, error),
                Ok(Event::Over) => return,
                // Where there is no interface nobody says anything.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(PAUSE),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.look();
            self.sources.iter().for_each(Source::tell);
            if !self.takes_from_others() && !self.waits && !self.sources.iter().any(Source::goes_on) {
                return;
            }
            self.broken = None;
            // While a folder is silent this process might not come to its end, and no other begins before.
            let may_end = !self.spool.as_ref().is_some_and(SpoolFolders::has_silent_ones);
            if self.may_open {
                self.try_again();
            } else if may_end && let Some(name) = self.is_back() {
                complain(&format!("{name} is up again: this capture may not open it, and ends for one that may"));
                self.begins_again = true;
                return;
            }
            if may_end && self.answers() {
                self.begins_again = true;
                return;
            }
            between(self);
        }
    }

    /// Of all that came until now everything is stored, and sealed. Gives what each did, in their order, and why the capture
    /// ended if nobody told it to.
    ///
    /// # Errors
    /// When a worker could not go on.
    pub(crate) fn finish(self) -> Result<(Vec<Done>, Option<LiveError>), Error> {
        self.ending.store(true, Ordering::Relaxed);
        self.feeding.iter().for_each(Feeding::end);
        self.spool.iter().for_each(SpoolFolders::end);
        self.orders.iter().for_each(|(_, bell)| bell.ring());
        let died = |_| Err(Error::Other("a thread that captures died".into()));
        let ended: Vec<_> = self.threads.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect();
        let fed = self.feeding.map(Feeding::finish);
        let spooled = self.spool.map(SpoolFolders::finish);
        Ok((ended.into_iter().chain(fed).chain(spooled).collect::<Result<_, _>>()?, self.broken))
    }

    /// From now on this filter holds, if one is given, and these rules about cutoffs: with all that store, unless one of them is
    /// busy for long.
    ///
    /// # Errors
    /// When they cannot be used on one of the interfaces: then nothing changes.
    pub(crate) fn change(&mut self, filter: Option<Option<&str>>, cutoffs: &[Rule]) -> Result<Holds, Error> {
        // What is as it was is not touched, if it holds.
        let is_other = |filter: &Option<&str>| !self.holds || *filter != self.filter.as_deref();
        let filter = filter.filter(is_other);
        if filter.is_none() && cutoffs == self.cutoffs && self.holds {
            return Ok(Holds::ByAll);
        }
        let mut rules = Cutoffs::new(cutoffs.to_vec());
        for source in &self.sources {
            let link_type = source.description.link_type;
            if let Some(Some(filter)) = filter {
                streamdb_capture::Filter::compile(filter, link_type)?;
            }
            rules.link_type(link_type)?;
        }
        for source in &mut self.sources {
            if let Some(filter) = filter {
                source.settings.filter = filter.map(str::to_owned);
            }
        }
        let filter = filter.map(|filter| filter.map(str::to_owned));
        if let Some(filter) = &filter {
            self.filter.clone_from(filter);
        }
        self.cutoffs = cutoffs.to_vec();
        let (answer, answers) = unbounded();
        let change = Change { filter, cutoffs: cutoffs.to_vec(), taken: answer };
        if let Some(feeding) = &self.feeding {
            feeding.change(change.clone());
        }
        if let Some(spool) = &self.spool {
            spool.change(change.clone());
        }
        for worker in 0..self.orders.len() {
            self.order(worker, Order::Change(change.clone()));
        }
        drop(change);
        let held = held(&answers, Instant::now() + PATIENCE);
        self.holds = held == Holds::ByAll;
        Ok(held)
    }

    /// Whether it ended so that another process opens an interface that is back.
    pub(crate) const fn begins_again(&self) -> bool {
        self.begins_again
    }

    /// What all of them counted until a second ago at most, and how many connections are open.
    pub(crate) fn seen(&self) -> (Counters, usize) {
        let mut all = (Counters::default(), 0);
        for going in self.all_seen().map(|seen| seen.last()) {
            all.0.add(&going.counters);
            all.1 += going.open;
        }
        all
    }

    /// Whether none of them stands still.
    pub(crate) fn goes_on(&self) -> bool {
        self.all_seen().all(|seen| seen.silent() < STANDS_STILL)
    }

    /// The interfaces by name, with the places of their workers; then what others send, and what appears in folders.
    pub(crate) fn sources(&self) -> Vec<(String, Vec<usize>)> {
        let place = self.orders.len();
        let fed = self.feeding.iter().map(|_| (feeding::NAME.to_owned(), vec![place]));
        let place = place + usize::from(self.feeding.is_some());
        let spooled = self.spool.iter().map(|_| (spool_folder::NAME.to_owned(), vec![place]));
        self.sources
            .iter()
            .map(|source| (source.settings.interface.clone(), source.workers.clone()))
            .chain(fed)
            .chain(spooled)
            .collect()
    }

    /// By which each says how it goes.
    pub(crate) fn told(&self) -> Vec<Told> {
        let all: Vec<_> = self.all_seen().collect();
        let of = |(interface, workers): (String, Vec<usize>)| {
            let told = |worker: usize| {
                let seen = Arc::clone(all.get(worker)?);
                let is_last = worker + 1 == all.len();
                let number = if is_last && self.spool.is_some() { FOLDER } else { number(worker) };
                let source = self.sources.iter().find(|source| source.workers.contains(&worker));
                let up = source.map(|source| Arc::clone(&source.up));
                Some(Told { number, interface: interface.clone(), seen, up })
            };
            workers.into_iter().filter_map(told).collect::<Vec<_>>()
        };
        self.sources().into_iter().flat_map(of).collect()
    }

    fn all_seen(&self) -> impl Iterator<Item = Arc<Seen>> {
        let fed = self.feeding.iter().map(Feeding::seen);
        self.seen.iter().cloned().chain(fed).chain(self.spool.iter().map(SpoolFolders::seen))
    }

    /// Whether there is more than interfaces.
    const fn takes_from_others(&self) -> bool {
        self.feeding.is_some() || self.spool.is_some()
    }

    fn order(&self, worker: usize, order: Order) {
        if let Some((orders, bell)) = self.orders.get(worker) {
            // Who has ended needs none.
            _ = orders.send(order);
            bell.ring();
        }
    }

    /// A worker has no interface any more, and so none that takes from it goes on: each of them has but a part of its frames. When
    /// something else goes on, or it is waited for, that is said.
    fn failed(&mut self, worker: usize, error: LiveError) {
        let Some(at) = self.sources.iter().position(|source| source.workers.contains(&worker)) else { return };
        let Some(source) = self.sources.get_mut(at).filter(|source| source.taking) else { return };
        (source.taking, source.down) = (false, false);
        source.failed = Some((Instant::now() + AGAIN, error.to_string()));
        for other in source.workers.clone().into_iter().filter(|other| *other != worker) {
            self.order(other, Order::Leave);
        }
        if self.others_go_on(at) {
            complain(&without(&error));
        }
        self.broken = Some(error);
    }

    /// Whether there is something to do without the interface of this number.
    fn others_go_on(&self, without: usize) -> bool {
        let others = self.sources.iter().enumerate().any(|(at, source)| at != without && source.goes_on());
        others || self.takes_from_others() || self.waits
    }

    /// Sees now and then which interfaces are down, and which are up again.
    fn look(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        for at in 0..self.sources.len() {
            let Some(source) = self.sources.get_mut(at).filter(|source| source.taking) else { continue };
            let interface = source.settings.interface.clone();
            match link_state(&interface) {
                Some(LinkState::Down) if !source.down => {
                    source.down = true;
                    if self.others_go_on(at) {
                        complain(&format!(
                            "{interface}: this interface is down; the capture goes on without it until it is up again"
                        ));
                    }
                    self.broken = Some(LiveError::Down { interface });
                }
                Some(LinkState::Up) if source.down => {
                    source.down = false;
                    complain(&format!("capturing from {interface} again"));
                }
                // What went away its workers find out.
                _ => {}
            }
        }
    }

    /// An interface that failed and is up again.
    fn is_back(&mut self) -> Option<String> {
        let now = Instant::now();
        for source in &mut self.sources {
            let Some((due, _)) = source.failed.as_mut().filter(|(due, _)| *due <= now) else { continue };
            *due = now + AGAIN;
            if link_state(&source.settings.interface) == Some(LinkState::Up) {
                return Some(source.settings.interface.clone());
            }
        }
        None
    }

    /// Whether a folder answers that did not at the start, and another process is begun for it: this one may not read there, as it
    /// could not say which folder it is when it gave up its rights.
    fn answers(&mut self) -> bool {
        let again = is_supervised();
        if again && self.begun.elapsed() < SETTLED {
            return false;
        }
        let Some(at) = self.away.iter_mut().position(Away::answers) else { return false };
        let away = self.away.swap_remove(at);
        let shown = printable(&away.folder().to_string_lossy());
        let what = if again { "this capture ends for one that takes" } else { "a new start of the capture takes" };
        complain(&format!("{shown}: this folder answers: {what} captures from it"));
        again
    }

    /// Opens what failed and is there again.
    fn try_again(&mut self) {
        let now = Instant::now();
        for number in 0..self.sources.len() {
            let Some(source) = self.sources.get_mut(number) else { return };
            let Some((due, said)) = source.failed.as_mut().filter(|(due, _)| *due <= now) else { continue };
            match Live::open_shared(&source.settings, source.workers.len()) {
                Err(error) => {
                    *due = now + AGAIN;
                    let text = error.to_string();
                    if text != *said {
                        complain(&text);
                        *said = text;
                    }
                }
                Ok(lives) if lives.iter().any(|live| live.interface().link_type != source.description.link_type) => {
                    *due = now + AGAIN;
                    let text = format!(
                        "{}: its frames are of another kind than when the capture began; start again to capture from it",
                        source.settings.interface
                    );
                    if text != *said {
                        complain(&text);
                        *said = text;
                    }
                }
                Ok(lives) => {
                    (source.failed, source.taking, source.down) = (None, true, false);
                    complain(&format!("capturing from {} again", source.settings.interface));
                    let workers = source.workers.clone();
                    for (worker, live) in workers.into_iter().zip(lives) {
                        self.order(worker, Order::Take(Box::new(live)));
                    }
                }
            }
        }
    }
}

/// Waits for those who are to take over a change.
fn held(answers: &Receiver<bool>, until: Instant) -> Holds {
    loop {
        match answers.recv_deadline(until) {
            Ok(true) => {}
            Ok(false) => return Holds::NotByAll,
            Err(RecvTimeoutError::Timeout) => return Holds::Later,
            // All have let go.
            Err(RecvTimeoutError::Disconnected) => return Holds::ByAll,
        }
    }
}

/// What there is to say of an interface that fails while others go on.
fn without(error: &LiveError) -> String {
    let why = match error {
        LiveError::Down { interface } => format!("{interface}: this interface is down"),
        LiveError::Gone { interface } => format!("{interface}: this interface went away"),
        other => other.to_string(),
    };
    format!("{why}; the capture goes on without it, and looks for it each {} s", AGAIN.as_secs())
}

fn worker(writer: Writer, config: WorkerConfig, part: Option<Part>) -> Worker {
    match part {
        Some(part) => Worker::sharing(writer, config, part),
        None => Worker::new(writer, config),
    }
}

/// The store's number of a worker: it has 1 and 2 for those who ingest, and its last for who takes what appears in folders.
fn number(worker: usize) -> u16 {
    let number = if worker == 0 { 0 } else { worker + usize::from(streamdb_storage::SPOOL) };
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The thread of a worker; when it is over, also by a mistake in this program, that is said.
fn spawn(
    name: &str,
    said: Sender<Event>,
    work: impl FnOnce() -> Result<Done, Error> + Send + 'static,
) -> Result<JoinHandle<Result<Done, Error>>, Error> {
    let run = move || {
        let _over = Over(said);
        work()
    };
    let thread = thread::Builder::new().name(name.into()).spawn(run);
    thread.map_err(|e| Error::Other(format!("could not set up the worker {name}: {e}")))
}

/// Says that a thread is over, however it ends.
struct Over(Sender<Event>);

impl Drop for Over {
    fn drop(&mut self) {
        _ = self.0.send(Event::Over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crew(events: Receiver<Event>, feeding: Option<Feeding>, spool: Option<SpoolFolders>) -> Crew {
        Crew {
            sources: Vec::new(),
            orders: Vec::new(),
            seen: Vec::new(),
            threads: Vec::new(),
            events,
            ending: Arc::default(),
            feeding,
            spool,
            away: Vec::new(),
            begun: Instant::now(),
            filter: None,
            cutoffs: Vec::new(),
            holds: true,
            broken: None,
            may_open: true,
            looked: Instant::now(),
            begins_again: false,
            waits: true,
        }
    }

    #[test]
    fn a_thread_that_dies_ends_the_capture() {
        let (said, events) = unbounded();
        let mut crew = crew(events, Some(feeding::tests::dying(said.clone())), None);
        let (stop, since) = (AtomicBool::new(false), Instant::now());
        crew.follow(&stop, &mut |_| assert!(since.elapsed() < Duration::from_secs(10), "nobody sees it"));
        assert!(crew.finish().unwrap_err().to_string().contains("the thread that takes what is sent died"));
        drop(said);
    }

    /// All of them have the same time for it.
    #[test]
    fn all_are_told_to_end_before_one_is_waited_for() {
        let (said, events) = unbounded();
        let (spool, ending) = spool_folder::tests::idle(said.clone(), Duration::ZERO);
        let mut crew = crew(events, None, Some(spool));
        let late = move || {
            let since = Instant::now();
            while !ending.load(Ordering::Relaxed) {
                if since.elapsed() > Duration::from_secs(5) {
                    return Err(Error::Other("the other one was not told".into()));
                }
                thread::sleep(Duration::from_millis(1));
            }
            Ok(Done::default())
        };
        crew.threads.push(spawn("late", said, late).unwrap());
        assert_eq!(crew.finish().unwrap().0.len(), 2);
    }

    #[test]
    fn a_worker_that_stands_still_is_seen() {
        let (said, events) = unbounded();
        let mut crew = crew(events, None, None);
        assert!(crew.goes_on());
        crew.seen.push(Arc::new(Seen::silent_for(STANDS_STILL)));
        assert!(!crew.goes_on());
        crew.seen.clear();
        crew.spool = Some(spool_folder::tests::idle(said, STANDS_STILL).0);
        assert!(!crew.goes_on());
    }

    #[test]
    fn a_change_holds_when_all_have_said_so() {
        let soon = || Instant::now() + Duration::from_millis(50);
        let (answer, answers) = unbounded();
        let other = answer.clone();
        answer.send(true).unwrap();
        drop(answer);
        assert_eq!(held(&answers, soon()), Holds::Later, "one of them still has it before it");
        other.send(false).unwrap();
        assert_eq!(held(&answers, soon()), Holds::NotByAll);
        other.send(true).unwrap();
        drop(other);
        assert_eq!(held(&answers, soon()), Holds::ByAll);
    }

    #[test]
    fn workers_have_numbers_beside_those_who_ingest() {
        let numbers: Vec<u16> = (0..MAX_WORKERS).map(number).collect();
        assert_eq!(numbers.get(..3), Some(&[0, 3, 4][..]));
        assert_eq!(numbers.last(), Some(&(FOLDER - 1)));
    }
}
