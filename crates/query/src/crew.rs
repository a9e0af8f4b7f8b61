//! Candidates decided by several threads, and handed out in their order by one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder, Scope};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use streamdb_derive::Error;
use streamdb_types::ConnKey;

use crate::contents::{Candidate, Outcome, Producer, Searched, Taker};
use crate::position::Position;

/// Most candidates, for each thread, that are not handed out yet. While one takes long, others go on with those behind it.
const AHEAD: usize = 16;
/// Most objects of all those together, but for those of one candidate.
const ROWS_AHEAD: usize = 4096;

/// Looks into the objects of one candidate after the other.
pub(crate) type Looker<'l> = Box<dyn FnMut(Candidate, &mut dyn FnMut() -> bool) -> Outcome + 'l>;

/// Makes one for a thread.
pub(crate) type Make<'m> = dyn Fn() -> Looker<'m> + Sync + 'm;

/// Looks into what `produce` makes, on so many threads, as [`search`](crate::contents::search) says.
///
/// # Errors
/// Those of `produce`.
pub(crate) fn search_on(
    threads: usize,
    make: &Make<'_>,
    go_on: &(dyn Fn() -> bool + Sync),
    produce: &mut Producer<'_>,
    take: &mut Taker<'_>,
    trouble: &mut dyn FnMut(&Error),
) -> Result<Searched, Error> {
    let mut outlet = Outlet { take, trouble, searched: Searched::default(), over: false };
    if threads < 2 {
        let mut look = make();
        produce(&|| go_on(), &mut |candidate| {
            outlet.hand_out(look(candidate, &mut || go_on()));
            if !outlet.over && go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        return Ok(outlet.searched);
    }
    let end = AtomicBool::new(false);
    let worker = Worker { make, go_on, end: &end };
    thread::scope(|scope| {
        // However this ends, those who work are told: by the flag within a content, by the closed queue between them.
        let _end = SetAtTheEnd(&end);
        let crew =
            RefCell::new(Crew { scope, worker, threads, queue: None, last: None, under_way: VecDeque::new(), outlet });
        let asked = &|| crew.borrow_mut().hand_out(Wait::Not) && go_on();
        let produced = produce(asked, &mut |candidate| {
            if crew.borrow_mut().give(candidate) && go_on() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let mut crew = crew.into_inner();
        crew.hand_out(Wait::ForAll);
        crew.outlet.searched.undecided += crew.under_way.len() as u64;
        produced.map(|()| crew.outlet.searched)
    })
}

/// Where what is decided goes, in order.
struct Outlet<'o, 't> {
    take: &'o mut Taker<'t>,
    trouble: &'o mut dyn FnMut(&Error),
    searched: Searched,
    /// Whether nothing more is wanted, or can be had in order.
    over: bool,
}

impl Outlet<'_, '_> {
    fn hand_out(&mut self, outcome: Outcome) {
        let Outcome { found, searched, trouble, stopped } = outcome;
        self.searched.streams += searched.streams;
        self.searched.objects += searched.objects;
        self.searched.bytes += searched.bytes;
        self.searched.unread += searched.unread;
        self.searched.undecided += searched.undecided;
        if let Some(error) = trouble {
            (self.trouble)(&error);
        }
        if !stopped {
            self.searched.until = Some(Position::of_stream(&found.stream));
        }
        self.over = stopped;
        if !found.rows.is_empty() && (self.take)(found).is_break() {
            self.over = true;
        }
    }
}

/// Those who look into contents, and what they were given.
struct Crew<'scope, 'env, 'l, 'o, 't> {
    scope: &'scope Scope<'scope, 'env>,
    worker: Worker<'scope, 'l>,
    /// So many may work.
    threads: usize,
    queue: Option<Queue>,
    /// The connection of the candidate that was given last.
    last: Option<(ConnKey, Jobs)>,
    /// What was given, in order: where it comes back, and how many objects it is.
    under_way: VecDeque<(Receiver<Outcome>, usize)>,
    outlet: Outlet<'o, 't>,
}

/// Where work is taken from.
struct Queue {
    jobs: Sender<Jobs>,
    taken: Receiver<Jobs>,
    workers: usize,
}

/// Candidates of one connection that follow each other: one worker has them all, as much of what is read for one is what is
/// read for the other. `None` when whoever had them has gone on.
#[derive(Clone)]
struct Jobs(Arc<Mutex<Option<VecDeque<Job>>>>);

impl Jobs {
    fn of(job: Job) -> Self {
        Self(Arc::new(Mutex::new(Some(VecDeque::from([job])))))
    }

    /// One more, which comes back when it is too late.
    fn add(&self, job: Job) -> Option<Job> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(jobs) => {
                jobs.push_back(job);
                None
            }
            None => Some(job),
        }
    }

    /// The next one; no more can be added when there is none.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = jobs.as_mut().and_then(VecDeque::pop_front);
        if next.is_none() {
            *jobs = None;
        }
        next
    }
}

/// A candidate, and where the outcome goes. When that place closes without one, whoever had the job has panicked.
struct Job(Candidate, Sender<Outcome>);

/// For what is waited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Not,
    /// There has to be room for another candidate.
    ForRoom,
    ForAll,
}

impl Crew<'_, '_, '_, '_, '_> {
    /// Gives out a candidate, and waits until there is room for the next one; whether to go on.
    fn give(&mut self, candidate: Candidate) -> bool {
        let (key, rows) = (candidate.stream.key, candidate.rows.len());
        let (outcome, comes_back) = bounded(1);
        let job = Job(candidate, outcome);
        let job = match &self.last {
            Some((last, jobs)) if *last == key => jobs.add(job),
            _ => Some(job),
        };
        if let Some(job) = job {
            let jobs = Jobs::of(job);
            self.last = Some((key, jobs.clone()));
            self.send(jobs);
        }
        self.under_way.push_back((comes_back, rows));
        self.hand_out(Wait::ForRoom)
    }

    fn send(&mut self, jobs: Jobs) {
        let queue = self.queue.get_or_insert_with(|| {
            let (jobs, taken) = unbounded();
            Queue { jobs, taken, workers: 0 }
        });
        // One for each of the first connections, as there may be only one of these.
        if queue.workers < self.threads {
            let (worker, taken) = (self.worker, queue.taken.clone());
            let work = move || worker.work(taken.iter());
            match Builder::new().name("content search".to_owned()).spawn_scoped(self.scope, work) {
                Ok(_) => queue.workers += 1,
                // Those that are there do it all.
                Err(_) => self.threads = queue.workers,
            }
        }
        if queue.workers == 0 {
            self.worker.work([jobs].into_iter());
        } else {
            // Both ends are here, so that it goes.
            let _ = queue.jobs.send(jobs);
        }
    }

    /// Hands out what is decided, up to what is not, and waits for that if it is to; whether to go on.
    fn hand_out(&mut self, wait: Wait) -> bool {
        while !self.outlet.over
            && let Some((comes_back, _)) = self.under_way.front()
        {
            let waits = match wait {
                Wait::Not => false,
                Wait::ForRoom => !self.has_room(),
                Wait::ForAll => true,
            };
            match if waits { comes_back.recv().map_err(TryRecvError::from) } else { comes_back.try_recv() } {
                Ok(outcome) => {
                    self.under_way.pop_front();
                    self.outlet.hand_out(outcome);
                }
                Err(TryRecvError::Empty) => break,
                // The panic goes on when the threads are joined.
                Err(TryRecvError::Disconnected) => self.outlet.over = true,
            }
        }
        !self.outlet.over
    }

    /// Whether another candidate may be given out.
    fn has_room(&self) -> bool {
        let rows: usize = self.under_way.iter().map(|(_, rows)| rows).sum();
        self.under_way.len() < self.threads * AHEAD && rows < ROWS_AHEAD || self.under_way.is_empty()
    }
}

/// One who looks into contents.
#[derive(Clone, Copy)]
struct Worker<'w, 'l> {
    make: &'w Make<'l>,
    go_on: &'w (dyn Fn() -> bool + Sync),
    end: &'w AtomicBool,
}

impl Worker<'_, '_> {
    /// Works until there is nothing more to do.
    fn work(self, all: impl Iterator<Item = Jobs>) {
        let mut look = (self.make)();
        let go_on = &mut || !self.end.load(Ordering::Relaxed) && (self.go_on)();
        for jobs in all {
            while let Some(Job(candidate, outcome)) = jobs.next() {
                // Nobody waits for it any more when all is over.
                let _ = outcome.send(look(candidate, go_on));
            }
        }
    }
}

struct SetAtTheEnd<'f>(&'f AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
