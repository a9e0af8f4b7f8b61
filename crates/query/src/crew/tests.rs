//! Order, bounds, ends and panics of those who work, with work that takes as long as is said.

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
        search_on(self.threads, &|| Box::new(look), self.go_on, produce, take, &mut |error| panic!("{error}")).unwrap()
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
        facts: String::new(),
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
        let searched = searched.run();
        assert_eq!(searched.until.map(|until| until.key.number), Some(199));
        assert_eq!(searched, Searched { streams: 200, until: searched.until, ..Searched::default() });
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
        let result = search_on(threads, &|| Box::new(look), &|| true, produce, take, &mut |error| panic!("{error}"));
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
