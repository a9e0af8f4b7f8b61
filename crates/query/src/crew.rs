//! Candidates decided by several threads, and handed out in their order by one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, Scope};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use streamdb_derive::Error;

use crate::content::{BytesExpression, ContentSearch};
use crate::contents::{Candidate, Outcome, Producer, Searched, Taker};

/// Most candidates, for each thread, that are not handed out yet. While one takes long, others go on with those behind it.
const AHEAD: usize = 16;
/// Most objects of all those together, but for those of one candidate.
const ROWS_AHEAD: usize = 4096;

/// Looks into the objects of a candidate.
pub(crate) type Look<'l> = dyn Fn(&mut ContentSearch<'_>, Candidate, &mut dyn FnMut() -> bool) -> Outcome + Sync + 'l;

/// Looks into what `produce` makes, on so many threads, as [`search`](crate::contents::search) says.
///
/// # Errors
/// Those of `produce`.
pub(crate) fn search_on(
    threads: usize,
    look: &Look<'_>,
    expression: &BytesExpression,
    go_on: &(dyn Fn() -> bool + Sync),
    produce: &mut Producer<'_>,
    take: &mut Taker<'_>,
    trouble: &mut dyn FnMut(&Error),
) -> Result<Searched, Error> {
    let mut outlet = Outlet { take, trouble, searched: Searched::default(), over: false };
    if threads < 2 {
        let mut search = expression.search();
        produce(&|| go_on(), &mut |candidate| {
            outlet.hand_out(look(&mut search, candidate, &mut || go_on()));
            if !outlet.over && go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        return Ok(outlet.searched);
    }
    let end = AtomicBool::new(false);
    let worker = Worker { look, expression, go_on, end: &end };
    thread::scope(|scope| {
        // However this ends, those who work are told: by the flag within a content, by the closed queue between them.
        let _end = SetAtTheEnd(&end);
        let crew = RefCell::new(Crew { scope, worker, threads, queue: None, under_way: VecDeque::new(), outlet });
        let asked = &|| crew.borrow_mut().hand_out(Wait::Not) && go_on();
        produce(asked, &mut |candidate| {
            if crew.borrow_mut().give(candidate) && go_on() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        let mut crew = crew.into_inner();
        crew.hand_out(Wait::ForAll);
        crew.outlet.searched.undecided += crew.under_way.len() as u64;
        Ok(crew.outlet.searched)
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
struct Crew<'scope, 'env, 'o, 't> {
    scope: &'scope Scope<'scope, 'env>,
    worker: Worker<'scope>,
    /// So many may work.
    threads: usize,
    queue: Option<Queue>,
    /// What was given, in order: where it comes back, and how many objects it is.
    under_way: VecDeque<(Receiver<Outcome>, usize)>,
    outlet: Outlet<'o, 't>,
}

/// Where work is taken from.
struct Queue {
    jobs: Sender<Job>,
    taken: Receiver<Job>,
    workers: usize,
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

impl Crew<'_, '_, '_, '_> {
    /// Gives out a candidate, and waits until there is room for the next one; whether to go on.
    fn give(&mut self, candidate: Candidate) -> bool {
        let rows = candidate.rows.len();
        let (outcome, comes_back) = bounded(1);
        let job = Job(candidate, outcome);
        let queue = self.queue.get_or_insert_with(|| {
            let (jobs, taken) = unbounded();
            Queue { jobs, taken, workers: 0 }
        });
        // One for each of the first candidates, as there may be only one of these.
        if queue.workers < self.threads {
            let (worker, taken) = (self.worker, queue.taken.clone());
            let work = move || worker.work(&taken);
            match Builder::new().name("content search".to_owned()).spawn_scoped(self.scope, work) {
                Ok(_) => queue.workers += 1,
                // Those that are there do it all.
                Err(_) => self.threads = queue.workers,
            }
        }
        match queue.workers {
            0 => self.worker.do_one(&mut self.worker.expression.search(), job),
            // It is taken, as this holds the other end, too.
            _ => drop(queue.jobs.send(job)),
        }
        self.under_way.push_back((comes_back, rows));
        self.hand_out(Wait::ForRoom)
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
struct Worker<'w> {
    look: &'w Look<'w>,
    expression: &'w BytesExpression,
    go_on: &'w (dyn Fn() -> bool + Sync),
    end: &'w AtomicBool,
}

impl Worker<'_> {
    /// Works until there is nothing more to do.
    fn work(self, jobs: &Receiver<Job>) {
        let mut search = self.expression.search();
        for job in jobs {
            self.do_one(&mut search, job);
        }
    }

    fn do_one(self, search: &mut ContentSearch<'_>, Job(candidate, outcome): Job) {
        let go_on = &mut || !self.end.load(Ordering::Relaxed) && (self.go_on)();
        // Nobody waits for it any more when all is over.
        let _ = outcome.send((self.look)(search, candidate, go_on));
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
            let expression = BytesExpression::new("").unwrap();
            let look = |_: &mut ContentSearch<'_>, candidate: Candidate, go_on: &mut dyn FnMut() -> bool| {
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
            search_on(self.threads, &look, &expression, self.go_on, produce, take, &mut |error| panic!("{error}"))
                .unwrap()
        }
    }

    fn candidate(n: u64, rows: Vec<ObjectRow>) -> Candidate {
        Candidate { stream: streamdb_storage::StreamInfo { length: StreamOffset(n), ..stream() }, rows }
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
        let expression = BytesExpression::new("").unwrap();
        let look = |_: &mut ContentSearch<'_>, found: Candidate, _: &mut dyn FnMut() -> bool| {
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
        search_on(4, &look, &expression, &|| true, produce, take, &mut |error| panic!("{error}")).unwrap();
        assert_eq!((under_way.into_inner(), most.into_inner()), (0, 1));
    }

    #[test]
    fn what_is_decided_waits_for_no_other_candidate() {
        let taken = AtomicUsize::new(0);
        let expression = BytesExpression::new("").unwrap();
        let look = |_: &mut ContentSearch<'_>, found: Candidate, _: &mut dyn FnMut() -> bool| Outcome {
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
        search_on(2, &look, &expression, &|| true, produce, take, &mut |error| panic!("{error}")).unwrap();
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
