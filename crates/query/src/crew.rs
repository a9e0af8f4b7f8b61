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
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

    use streamdb_types::{ObjectKind, ObjectRow, StreamOffset};

    use super::*;
    use crate::row::tests::stream;

    /// A search over this many candidates, each with one object; told by the length of its stream, which is its number.
    struct Run<'r> {
        threads: usize,
        candidates: u64,
        /// What is done with one; whether it is found.
        look: &'r (dyn Fn(u64, &mut dyn FnMut() -> bool) -> bool + Sync),
        go_on: &'r (dyn Fn() -> bool + Sync),
        take: &'r mut dyn FnMut(u64) -> ControlFlow<()>,
        /// Told of each candidate before it is given out.
        given: &'r mut dyn FnMut(u64),
    }

    impl Run<'_> {
        fn run(self) -> Searched {
            let look = |candidate: Candidate, go_on: &mut dyn FnMut() -> bool| {
                let searched = Searched { streams: 1, ..Searched::default() };
                if !go_on() {
                    let searched = Searched { undecided: 1, ..Searched::default() };
                    let found = Candidate { rows: Vec::new(), ..candidate };
                    return Outcome { found, searched, trouble: None, stopped: true };
                }
                let found = (self.look)(candidate.stream.length.0, go_on);
                let stopped = !go_on();
                let rows = if found { candidate.rows } else { Vec::new() };
                Outcome { found: Candidate { stream: candidate.stream, rows }, searched, trouble: None, stopped }
            };
            let produce = &mut |go_on: &dyn Fn() -> bool, take: &mut Taker<'_>| {
                for n in 0..self.candidates {
                    if !go_on() {
                        break;
                    }
                    (self.given)(n);
                    if take(candidate(n, vec![row()])).is_break() {
                        break;
                    }
                }
                Ok(())
            };
            let take = &mut |candidate: Candidate| (self.take)(candidate.stream.length.0);
            search_on(self.threads, &|| Box::new(look), self.go_on, produce, take, &mut |error| panic!("{error}"))
                .unwrap()
        }
    }

    fn candidate(n: u64, rows: Vec<ObjectRow>) -> Candidate {
        let key = ConnKey { number: n as u32, ..stream().key };
        Candidate { stream: streamdb_storage::StreamInfo { length: StreamOffset(n), key, ..stream() }, rows }
    }

    fn row() -> ObjectRow {
        let stream = stream();
        ObjectRow {
            oid: stream.oid,
            key: stream.key,
            direction: stream.direction,
            begins: StreamOffset(0),
            tuple: stream.tuple,
            start: stream.first,
            kind: ObjectKind::Stream,
            protocol: String::new(),
            method: None,
            host: None,
            uri: None,
            status: None,
            declared_type: None,
            mime: String::new(),
            description: String::new(),
            legacy: String::new(),
            xor_key: None,
            filename: None,
            size: 0,
            encoded_size: 0,
            complete: true,
            missing_bytes: 0,
            reason: None,
            conflict: false,
            digests: None,
            digests_encoded: None,
        }
    }

    fn until(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not come");
            thread::yield_now();
        }
    }

    #[test]
    fn what_is_found_comes_in_order_and_on_the_thread_that_asked() {
        let caller = thread::current().id();
        for threads in [1, 2, 7] {
            let mut taken = Vec::new();
            // The earlier ones of each few take longer.
            let look = |n: u64, _: &mut dyn FnMut() -> bool| {
                thread::sleep(Duration::from_micros((7 - n % 7) * 100));
                n % 3 != 1
            };
            let searched = Run {
                threads,
                candidates: 200,
                look: &look,
                go_on: &|| true,
                take: &mut |n| {
                    assert_eq!(thread::current().id(), caller);
                    taken.push(n);
                    ControlFlow::Continue(())
                },
                given: &mut |_| {},
            };
            assert_eq!(searched.run(), Searched { streams: 200, ..Searched::default() });
            assert_eq!(taken, (0..200).filter(|n| n % 3 != 1).collect::<Vec<u64>>(), "{threads}");
        }
    }

    #[test]
    fn all_cores_work_and_no_more_is_under_way_than_there_may_be() {
        // The first one waits until all that may be under way besides it are done, so that others must do them meanwhile.
        let (done, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let look = |n: u64, _: &mut dyn FnMut() -> bool| {
            if n == 0 {
                until(|| done.load(Ordering::Relaxed) >= 3 * AHEAD - 1);
                thread::sleep(Duration::from_millis(50));
                most.store(done.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            done.fetch_add(1, Ordering::Relaxed);
            true
        };
        let mut taken = 0;
        let take = &mut |n| {
            assert_eq!(n, taken);
            taken += 1;
            ControlFlow::Continue(())
        };
        let go_on = &|| true;
        Run { threads: 3, candidates: 500, look: &look, go_on, take, given: &mut |_| {} }.run();
        assert_eq!((taken, most.into_inner()), (500, 3 * AHEAD - 1));
    }

    #[test]
    fn many_objects_are_under_way_one_after_the_other() {
        let under_way = AtomicUsize::new(0);
        let look = |found: Candidate, _: &mut dyn FnMut() -> bool| {
            thread::sleep(Duration::from_millis(1));
            Outcome { found, searched: Searched::default(), trouble: None, stopped: false }
        };
        let most = AtomicUsize::new(0);
        let produce = &mut |_: &dyn Fn() -> bool, take: &mut Taker<'_>| {
            for n in 0..20 {
                most.fetch_max(under_way.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                assert!(take(candidate(n, vec![row(); ROWS_AHEAD / 2])).is_continue());
            }
            Ok(())
        };
        let take = &mut |_: Candidate| {
            under_way.fetch_sub(1, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        search_on(4, &|| Box::new(look), &|| true, produce, take, &mut |error| panic!("{error}")).unwrap();
        assert_eq!((under_way.into_inner(), most.into_inner()), (0, 1));
    }

    #[test]
    fn what_is_decided_waits_for_no_other_candidate() {
        let taken = AtomicUsize::new(0);
        let look = |found: Candidate, _: &mut dyn FnMut() -> bool| Outcome {
            found,
            searched: Searched::default(),
            trouble: None,
            stopped: false,
        };
        let produce = &mut |go_on: &dyn Fn() -> bool, take: &mut Taker<'_>| {
            assert!(take(candidate(0, vec![row()])).is_continue());
            // The next one is far.
            until(|| go_on() && taken.load(Ordering::Relaxed) == 1);
            Ok(())
        };
        let take = &mut |_: Candidate| {
            taken.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        search_on(2, &|| Box::new(look), &|| true, produce, take, &mut |error| panic!("{error}")).unwrap();
        assert_eq!(taken.into_inner(), 1);
    }

    #[test]
    fn whoever_has_enough_waits_for_none_of_the_others() {
        // From the third on they end only when they are told to.
        let look = |n: u64, go_on: &mut dyn FnMut() -> bool| {
            while n > 2 && go_on() {
                thread::yield_now();
            }
            true
        };
        let mut taken = Vec::new();
        let take = &mut |n| {
            taken.push(n);
            if n == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let (go_on, given) = (&|| true, &mut |_| {});
        let searched = Run { threads: 2, candidates: 1 << 40, look: &look, go_on, take, given }.run();
        assert_eq!((taken, searched.streams), (vec![0, 1, 2], 3));
        assert!(searched.undecided <= 2 * AHEAD as u64);
    }

    #[test]
    fn what_was_found_before_the_end_is_handed_out_and_nothing_behind_it() {
        for threads in [1, 2, 4] {
            let stop = AtomicBool::new(false);
            let go_on = || !stop.load(Ordering::Relaxed);
            let look = |n: u64, go_on: &mut dyn FnMut() -> bool| {
                // Those behind it are done long before this one.
                while n == 40 && go_on() {
                    thread::yield_now();
                }
                true
            };
            let mut taken = Vec::new();
            let mut given = 0;
            let searched = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(100));
                    stop.store(true, Ordering::Relaxed);
                });
                let take = &mut |n| {
                    taken.push(n);
                    ControlFlow::Continue(())
                };
                let given = &mut |n| given = n + 1;
                Run { threads, candidates: 1 << 40, look: &look, go_on: &go_on, take, given }.run()
            });
            assert_eq!(taken, (0..=40).collect::<Vec<u64>>(), "{threads}");
            assert_eq!(searched.streams, 41, "{threads}");
            assert_eq!(searched.undecided, given - 41, "{threads}");
        }
    }

    #[test]
    fn the_streams_of_a_connection_are_looked_into_by_one() {
        let places = Mutex::new(Vec::new());
        let look = |found: Candidate, _: &mut dyn FnMut() -> bool| {
            places.lock().unwrap().push((found.stream.key, thread::current().id()));
            // The other one comes meanwhile.
            thread::sleep(Duration::from_millis(20));
            Outcome { found, searched: Searched::default(), trouble: None, stopped: false }
        };
        let produce = &mut |_: &dyn Fn() -> bool, take: &mut Taker<'_>| {
            let mut candidates = (0..20).flat_map(|n| [candidate(n, vec![row()]), candidate(n, vec![row()])]);
            assert!(candidates.try_for_each(take).is_continue());
            Ok(())
        };
        let mut taken = Vec::new();
        let take = &mut |candidate: Candidate| {
            taken.push(candidate.stream.length.0);
            ControlFlow::Continue(())
        };
        search_on(4, &|| Box::new(look), &|| true, produce, take, &mut |error| panic!("{error}")).unwrap();
        assert_eq!(taken, (0..20).flat_map(|n| [n, n]).collect::<Vec<u64>>());
        let places = places.into_inner().unwrap();
        for place in &places {
            assert_eq!(places.iter().filter(|other| *other == place).count(), 2, "{place:?}");
        }
        let threads: std::collections::HashSet<_> = places.iter().map(|(_, thread)| thread).collect();
        assert!(threads.len() > 1, "all by one");
    }

    #[test]
    fn what_was_found_before_a_failure_is_handed_out() {
        for threads in [1, 3] {
            let look = |found: Candidate, _: &mut dyn FnMut() -> bool| {
                thread::sleep(Duration::from_millis(5));
                Outcome { found, searched: Searched::default(), trouble: None, stopped: false }
            };
            let produce = &mut |_: &dyn Fn() -> bool, take: &mut Taker<'_>| {
                assert!((0..10).map(|n| candidate(n, vec![row()])).try_for_each(take).is_continue());
                Err(Error::NoSuchMessage { oid: row().oid, messages: 0 })
            };
            let mut taken = 0;
            let take = &mut |_: Candidate| {
                taken += 1;
                ControlFlow::Continue(())
            };
            let result =
                search_on(threads, &|| Box::new(look), &|| true, produce, take, &mut |error| panic!("{error}"));
            assert!(result.is_err() && taken == 10, "{threads}: {taken}");
        }
    }

    #[test]
    fn a_panic_goes_on_in_the_thread_that_asked() {
        let result = std::panic::catch_unwind(|| {
            let look = |n: u64, _: &mut dyn FnMut() -> bool| {
                assert!(n != 20, "this one cannot be looked into");
                true
            };
            let (go_on, given) = (&|| true, &mut |_| {});
            let take = &mut |n| {
                assert!(n < 20);
                ControlFlow::Continue(())
            };
            Run { threads: 3, candidates: 1 << 40, look: &look, go_on, take, given }.run()
        });
        assert!(result.is_err());
    }
}
