//! Crashes, swept: a run of all that writes to a data folder is cut off before each of its operations, and what may be left
//! then is started on; so is what is left when that start is cut off, too. And the sweep is held to account: with any one
//! sync taken out of the code it must find a loss.
//!
//! `run.rs` has the run and its promises, `check.rs` what is looked at, and the testkit's `disk.rs` what may be left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod check;
#[path = "../common/mod.rs"]
mod common;
mod run;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use check::{Due, Expected};
use common::soak;
use run::{Failing, Run};
use streamdb_testkit::{Fault, FaultVolume, Operation, PowerCut, QuickVolume, Survivors, TestFolder};

const IO_ERROR: i32 = 5;
/// So many operations after a sync that was taken out what was not synced survives by chance.
const SOON: usize = 8;

/// One crash: before which operation, and what it leaves.
type Crash = (usize, Survivors);

/// What is told of a crash that did harm.
#[derive(Clone, Debug)]
struct Harm {
    crashes: Vec<Crash>,
    what: String,
}

/// A run, and the disk under it.
struct Sweep<'r> {
    run: &'r Run,
    cut: PowerCut,
    expected: &'r Expected,
    /// A sync that is taken out.
    without: Option<&'r str>,
    cases: &'r AtomicUsize,
}

impl Sweep<'_> {
    /// Kills the process, or cuts the power, and starts again; then does so in that start, at each `step`th of its operations:
    /// losing all that was not synced, then any part of it as often as `seeds` says. Never with a step of 0.
    fn crash(&self, first: Crash, step: usize, seeds: usize) -> Result<(), Harm> {
        let harm = |crashes: &[Crash], what| Harm { crashes: crashes.to_vec(), what };
        let (before, survivors) = first;
        let killed = survivors == Survivors::All;
        let left = TestFolder::in_memory("crash-left");
        self.cut.leave(before, survivors, left.path()).unwrap();
        let data = left.path().join("data");
        scramble_watermarks(&data, before);
        let mut volume = FaultVolume::new(QuickVolume);
        if step > 0 {
            volume = FaultVolume::recording(QuickVolume, left.path());
            if self.without.is_some() {
                volume = volume.noting_sites();
            }
        }
        let due = Due::of(self.run, before, killed);
        self.cases.fetch_add(1, Ordering::Relaxed);
        let as_left = check::buckets(&data);
        let promised = self.expected.start(&data, &volume, &due).map_err(|what| harm(&[first], what))?;
        let as_recovered = check::buckets(&data);
        let cut = if killed {
            PowerCut::after_kill(&volume, &self.cut, before)
        } else {
            let cut = PowerCut::of(&volume);
            self.without.map_or(cut.clone(), |site| cut.without(site))
        };
        // In a start without a sync, what it looks at itself shows the harm.
        let goes_on = step == 0 || self.without.is_none();
        if goes_on {
            self.expected.go_on(&data, &due).map_err(|what| harm(&[first], what))?;
        }
        // A sync that is taken out harms nothing before it; and what survives by chance shows it soon after it.
        let (from, soon) = match self.without.map(|site| cut.awaited(site).first().copied()) {
            None => (0, usize::MAX),
            Some(Some(at)) => (at, at + SOON),
            Some(None) => return Ok(()),
        };
        if step == 0 {
            return Ok(());
        }
        for again in (from..=volume.operations()).filter(|n| n % step == before % step) {
            let some = (0..if again < soon { seeds } else { 0 }).map(|n| some(before << 8 | again, n));
            let killed_again = (killed && seeds > 2).then_some(Survivors::All);
            for second in [Survivors::Synced].into_iter().chain(some).chain(killed_again) {
                let left = TestFolder::in_memory("crash-again");
                cut.leave(again, second, left.path()).unwrap();
                let data = left.path().join("data");
                scramble_watermarks(&data, again);
                // What was only published may go, as it may without the kill.
                let mut due = Due::of(self.run, before, killed && second == Survivors::All);
                let is_dropped = |id| promised.iter().any(|p| p.what.bucket() == Some(id) && !p.is_open(again));
                due.promises.retain(|what| !what.bucket().is_some_and(is_dropped));
                due.promises.extend(promised.iter().filter(|p| p.is_due(again)).map(|p| &p.what));
                self.cases.fetch_add(1, Ordering::Relaxed);
                let verdict = check::stays_cut(&as_left, &as_recovered, &check::buckets(&data));
                let verdict = verdict.and_then(|()| self.expected.start(&data, &FaultVolume::new(QuickVolume), &due));
                let verdict = verdict.and_then(|_| if goes_on { self.expected.go_on(&data, &due) } else { Ok(()) });
                verdict.map_err(|what| harm(&[first, (again, second)], what))?;
            }
        }
        Ok(())
    }
}

/// The watermarks may be on disk as they were at any time, or as they never were.
fn scramble_watermarks(data: &Path, n: usize) {
    let live = data.join("live");
    match n % 4 {
        _ if !live.exists() => {}
        0 => std::fs::remove_file(live).unwrap(),
        1 => std::fs::write(live, vec![0xff; 4096]).unwrap(),
        2 => {
            let slots = [u64::from_le_bytes(*b"SDBLIVE1"), 1, 1, 1].into_iter().chain([0; 12]);
            let page = slots.chain([2, 1 + n as u64 % 4, 1 << 40, 1 << 40, 1000, 0]).flat_map(u64::to_le_bytes);
            std::fs::write(live, page.chain([0; 4096]).take(4096).collect::<Vec<u8>>()).unwrap();
        }
        _ => {}
    }
}

/// Does it for all of these, on two threads, until one did harm.
fn each<T: Sync>(all: &[T], act: impl Fn(&T) -> Result<(), Harm> + Sync) -> Result<(), Harm> {
    let (next, harm) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(found) = act(one) {
                        harm.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
                        next.store(all.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    harm.into_inner().unwrap().map_or(Ok(()), Err)
}

/// A seed for this operation, another one for each `n`.
fn some(operation: usize, n: usize) -> Survivors {
    Survivors::Some((operation as u64) << 16 | n as u64)
}

#[test]
fn every_crash_of_a_run_is_harmless() {
    let begun = Instant::now();
    let run = Run::new(Failing::Nothing, true);
    assert_eq!(run.dropped(), [1, 2, 3], "what retention was to drop in it");
    let (expected, cases) = (Expected::new(), AtomicUsize::new(0));
    let operations = run.volume.operations();
    let sweep = Sweep { run: &run, cut: PowerCut::of(&run.volume), expected: &expected, without: None, cases: &cases };
    let seeds = if soak() { 6 } else { 2 };
    let mut crashes: Vec<Crash> = Vec::new();
    for before in 0..=operations {
        crashes.extend([(before, Survivors::All), (before, Survivors::Synced)]);
        crashes.extend((0..seeds).map(|n| (before, some(before, n))));
    }
    // Each start is cut off too, at some of its operations: after the next crash at the next ones, so that a few crashes of one kind in
    // a row see all of them.
    let step = if soak() { 17 } else { 211 };
    let verdict = each(&crashes, |crash| sweep.crash(*crash, step, if soak() { 3 } else { 1 }));
    println!(
        "swept: {operations} operations of a run, {} crashes and those within the starts after them: {} cases in {:.0} s",
        crashes.len(),
        cases.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64()
    );
    verdict.unwrap_or_else(|harm| panic!("{harm:?}"));
}

/// How the operations of each name fail: a write is torn, a sync of a file loses pages.
fn fault(name: &str, seed: u64) -> Fault {
    let fault = Fault { errno: IO_ERROR, ..Fault::default() };
    match name {
        "write_at" => Fault { torn: seed as usize * 131 % 2000, ..fault },
        "sync_data" => Fault { pages: Some(seed), ..fault },
        _ => fault,
    }
}

#[test]
fn a_crash_after_any_failure_is_harmless() {
    let begun = Instant::now();
    let (expected, cases) = (Expected::new(), AtomicUsize::new(0));
    let run = Run::new(Failing::Nothing, false);
    let log = run.volume.log();
    let step = if soak() { 1 } else { 23 };
    let seeds = if soak() { 2 } else { 1 };
    let changes = |n: &usize| !matches!(log[*n].name, "list" | "read_at" | "len" | "open");
    // Some of them, and all of holds and tombstones: a line, its sync, and the end of the files.
    let is_tombstone = |n: usize| run.volume.written(n).is_some_and(|bytes| run::contains(&bytes, b" dropped id="));
    let drops = |n: usize| log[n].name == "unlink" || is_tombstone(n) || n > 0 && is_tombstone(n - 1);
    let always = |n: usize| drops(n) || log[n].path.ends_with("holds") || n > 0 && log[n - 1].name == "unlink";
    let all = (0..log.len()).filter(changes).enumerate();
    let chosen = all.filter(|(at, n)| at % step == 0 || always(*n)).map(|(_, n)| n);
    let failures: Vec<(usize, u64)> = chosen.flat_map(|n| (0..seeds).map(move |seed| (n, seed))).collect();
    let verdict = each(&failures, |(n, seed)| {
        let run = Run::new(Failing::Operation(*n, fault(log[*n].name, *seed)), false);
        let sweep =
            Sweep { run: &run, cut: PowerCut::of(&run.volume), expected: &expected, without: None, cases: &cases };
        let operations = run.volume.operations();
        // Soon after it, now and then later, and at the end.
        let few = (0..4).map(|more| n + 1 + more).chain((*n..operations).step_by(if soak() { 7 } else { 29 }));
        for before in few.chain([operations]).filter(|before| *before <= operations) {
            for survivors in [Survivors::All, Survivors::Synced, some(before, 1), some(before, 2)] {
                let told = |harm: Harm| {
                    let what = format!("operation {n} fails (seed {seed}): {}", harm.what);
                    let told = run.volume.log();
                    let around = told.iter().enumerate().skip(n.saturating_sub(12)).take(20);
                    around.for_each(|(at, op)| println!("{at}: {op:?}"));
                    Harm { what, ..harm }
                };
                sweep.crash((before, survivors), 0, 0).map_err(told)?;
            }
        }
        Ok(())
    });
    println!(
        "failed: {} operations of a run with {}, and crashes after that: {} cases in {:.0} s",
        failures.len(),
        log.len(),
        cases.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64()
    );
    verdict.unwrap_or_else(|harm| panic!("{harm:?}"));
}

/// The last sync of a seal fails: its trailer may be there or not, and so may the cut that takes it back.
#[test]
fn a_crash_after_a_seal_that_was_not_synced_is_harmless() {
    let (expected, cases) = (Expected::new(), AtomicUsize::new(0));
    let seals = |log: &[Operation]| -> Vec<usize> {
        let pairs = log.windows(2).enumerate();
        let seals = pairs.filter(|(_, pair)| pair[0].name == "truncate" && pair[1].name == "sync_data");
        seals.map(|(at, _)| at + 1).collect()
    };
    let planned = seals(&Run::new(Failing::Nothing, false).volume.log());
    assert!(planned.len() > 2);
    let swept = AtomicUsize::new(0);
    let verdict = each(&planned, |planned| {
        let run = Run::new(Failing::Operation(*planned, Fault { errno: IO_ERROR, ..Fault::default() }), false);
        let log = run.volume.log();
        // The threads may have come in another order.
        if !seals(&log).contains(planned) {
            return Ok(());
        }
        swept.fetch_add(1, Ordering::Relaxed);
        let sweep =
            Sweep { run: &run, cut: PowerCut::of(&run.volume), expected: &expected, without: None, cases: &cases };
        for before in (planned + 1..planned + 6).filter(|before| *before <= log.len()) {
            for seed in 0..if soak() { 100 } else { 20 } {
                let told = |harm: Harm| {
                    let around: Vec<_> = log.iter().enumerate().skip(planned.saturating_sub(8)).take(16).collect();
                    Harm { what: format!("sync {planned} fails: {}\n{around:#?}", harm.what), ..harm }
                };
                sweep.crash((before, some(before, seed)), 0, 0).map_err(told)?;
            }
        }
        Ok(())
    });
    verdict.unwrap_or_else(|harm| panic!("{:?} {}", harm.crashes, harm.what));
    assert!(swept.into_inner() > 0, "none of {planned:?} was the sync of a seal");
}

/// A test of the tests above: each sync of the store is needed, and they know it.
///
/// Which operation of its threads a failure meets is another one in each run, and with it what a run shows: what one set of runs
/// does not show is looked for in others. Most are missed at once; the few for which thousands of crashes are looked at are
/// left to the long runs.
#[test]
fn without_any_one_sync_there_is_harm() {
    let (syncs, mut blind) = without_one(None);
    if !soak() {
        println!("left to the long runs: {} of {syncs}: {blind:?}", blind.len());
        assert!(syncs >= 20 && blind.len() <= syncs / 2, "{blind:?} can be taken out, and nothing shows it soon");
        return;
    }
    for _ in 0..2 {
        if !blind.is_empty() {
            println!("once more: {blind:?}");
            blind = without_one(Some(&blind)).1;
        }
    }
    assert!(blind.is_empty(), "{blind:?} can be taken out, and nothing shows it");
}

/// How many syncs there are, all or of these, and which of them can be taken out of some runs without harm.
fn without_one(only: Option<&[String]>) -> (usize, Vec<String>) {
    let lost = |seed| Fault { errno: IO_ERROR, pages: Some(seed), ..Fault::default() };
    let torn = Fault { errno: IO_ERROR, torn: 700, ..Fault::default() };
    let runs = [
        ("nothing fails", Failing::Nothing),
        ("a write fails", Failing::Next(6, "write_at", "tmp", torn)),
        ("a sync fails", Failing::Next(3, "sync_data", "tmp", lost(1))),
        ("a sync fails", Failing::Next(3, "sync_data", "tmp", lost(2))),
        ("a sync fails before a seal", Failing::Next(4, "sync_data", "tmp", lost(3))),
        ("a sync of the ledger fails", Failing::Next(4, "sync_data", "", lost(1))),
        ("a sync of the ledger fails", Failing::Next(4, "sync_data", "", lost(2))),
        ("a sync of the ledger fails", Failing::Next(4, "sync_data", "", lost(3))),
    ];
    let runs = std::thread::scope(|scope| {
        let runs = runs.map(|(name, failing)| (name, scope.spawn(move || Run::new(failing, true))));
        runs.map(|(name, run)| (name, run.join().unwrap()))
    });
    for (name, run) in runs.iter().skip(1) {
        assert!(run.volume.log().iter().any(|o| o.failed), "{name}, and nothing did");
    }
    let expected = Expected::new();
    let sites = Mutex::new(BTreeMap::<String, usize>::new());
    let count = |cut: &PowerCut| {
        let mut sites = sites.lock().unwrap();
        cut.sites().into_iter().for_each(|(site, at)| *sites.entry(site).or_default() += at.len());
    };
    runs.iter().for_each(|(_, run)| count(&PowerCut::of(&run.volume)));
    // Those of the starts after a crash.
    let run = &runs[0].1;
    let cut = PowerCut::of(&run.volume);
    let starts = (0..=run.volume.operations()).step_by(if soak() { 1 } else { 7 });
    let starts = each(&starts.collect::<Vec<usize>>(), |before| {
        let left = TestFolder::in_memory("crash-sites");
        cut.leave(*before, Survivors::All, left.path()).unwrap();
        let volume = FaultVolume::recording(QuickVolume, left.path()).noting_sites();
        let promised = expected.start(&left.path().join("data"), &volume, &Due::of(run, *before, true));
        promised.map_err(|what| Harm { crashes: vec![(*before, Survivors::All)], what })?;
        count(&PowerCut::of(&volume));
        Ok(())
    });
    starts.unwrap_or_else(|harm| panic!("{harm:?}"));
    let mut sites = sites.into_inner().unwrap();
    let mut blind = Vec::new();
    // An index file that is not durable is found out by its checksums and made again: that costs time, and no more.
    sites.retain(|site, _| !site.starts_with("storage/src/index/write.rs"));
    if let Some(only) = only {
        sites.retain(|site, _| only.contains(site));
    }
    for (site, syncs) in &sites {
        let cases = AtomicUsize::new(0);
        let in_runs = |n: Range<usize>| {
            runs.iter().find_map(|(name, run)| Some((name, harm_without(run, site, n.clone(), &expected, &cases)?)))
        };
        let (healthy, run) = &runs[0];
        let all = run.volume.operations() + 1;
        let in_starts = |n, crashes| Some((healthy, harm_in_starts_without(run, site, n, crashes, &expected, &cases)?));
        // What is quick to look at comes first.
        let mut harm = in_runs(0..1).or_else(|| in_starts(0..1, if soak() { 40 } else { 8 }));
        if soak() {
            harm = harm.or_else(|| in_starts(0..1, all)).or_else(|| in_runs(1..8)).or_else(|| in_starts(1..40, all));
        }
        let cases = cases.load(Ordering::Relaxed);
        match &harm {
            Some((name, harm)) => {
                println!("| {site} | {syncs} | {} | {name}; {:?} | {cases} |", harm.what, harm.crashes)
            }
            None => println!("| {site} | {syncs} | NOTHING FOUND | | {cases} |"),
        }
        blind.extend(harm.is_none().then(|| site.clone()));
    }
    (sites.len(), blind)
}

fn harm_without(run: &Run, site: &str, n: Range<usize>, expected: &Expected, cases: &AtomicUsize) -> Option<Harm> {
    let cut = PowerCut::of(&run.volume);
    if !cut.sites().contains_key(site) {
        return None;
    }
    let sweep = Sweep { run, cut: cut.without(site), expected, without: Some(site), cases };
    let crashes = n.flat_map(|n| {
        let survivors = move |before| if n == 0 { Survivors::Synced } else { some(before, n) };
        (0..=run.volume.operations()).map(move |before| (before, survivors(before)))
    });
    each(&crashes.collect::<Vec<Crash>>(), |crash| sweep.crash(*crash, 0, 0)).err()
}

/// As [`harm_without`], in the starts after a crash: the first so many of all crashes.
fn harm_in_starts_without(
    run: &Run,
    site: &str,
    n: Range<usize>,
    crashes: usize,
    expected: &Expected,
    cases: &AtomicUsize,
) -> Option<Harm> {
    let sweep = Sweep { run, cut: PowerCut::of(&run.volume).without(site), expected, without: Some(site), cases };
    let crashes = n.flat_map(|n| {
        let survivors = move |before| if n == 0 { Survivors::All } else { some(before, n) };
        // All of them, in leaps: what a start has to mend is of one kind for a while.
        let end = run.volume.operations() + 1;
        (0..end).map(move |k| k * 101 % end).take(crashes).map(move |before| (before, survivors(before)))
    });
    each(&crashes.collect::<Vec<Crash>>(), |crash| {
        sweep.crash(*crash, 1, if crash.1 == Survivors::All { 0 } else { 3 })
    })
    .err()
}
