//! Asks an index, and says how long answers take.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use streamdb_benches::Random;
use streamdb_derive::Rows;
use streamdb_query::{Filter, Looking, Order, Position, Troubles, find_objects, find_streams};
use streamdb_storage::Store;
use streamdb_types::{ConnKey, Direction, StreamOffset};

use crate::measure::{cpu, evict, index_files, load, major_faults, memory, quantile, resident_pages};
use crate::questions::{KINDS, Kind};
use crate::site::{Site, begins, id};

/// Questions of a kind and an order, and how long they may take all together; at least a few are asked.
const QUESTIONS: usize = 200;
const COLD: usize = 30;
const SECONDS: f64 = 20.0;
const FEWEST: usize = 5;
/// Rows that are asked for.
const LIMIT: u64 = 100;

/// What came of questions.
#[derive(Default)]
struct Answers {
    milliseconds: Vec<f64>,
    /// Milliseconds of CPU.
    cpu: Vec<f64>,
    opening: Vec<f64>,
    pages: Vec<f64>,
    faults: Vec<f64>,
    rows: Vec<f64>,
}

impl Answers {
    fn settle(&mut self) {
        for of in [
            &mut self.milliseconds,
            &mut self.cpu,
            &mut self.opening,
            &mut self.pages,
            &mut self.faults,
            &mut self.rows,
        ] {
            of.sort_by(f64::total_cmp);
        }
    }

    fn times(&self) -> String {
        let asked =
            if self.milliseconds.len() < QUESTIONS { format!(" ({})", self.milliseconds.len()) } else { String::new() };
        let of = |of: &[f64]| format!("{:.2} / {:.2}", quantile(of, 0.5), quantile(of, 0.99));
        format!("{} | {}{asked}", of(&self.milliseconds), of(&self.cpu))
    }
}

/// How many rows an answer has.
fn ask(store: &Store, kind: &Kind, filter: &Filter) -> u64 {
    let mut troubles = Troubles::default();
    let looking = Looking { made: Rows::new(), go_on: &|| true, troubles: &mut troubles };
    let mut rows = 0;
    let next = |rows: &mut u64| {
        *rows += 1;
        ControlFlow::Continue(())
    };
    if kind.objects {
        find_objects(store, filter, looking, &mut |_| next(&mut rows)).unwrap();
    } else {
        find_streams(store, filter, looking, &mut |_, _| next(&mut rows)).unwrap();
    }
    assert!(troubles.is_empty(), "{:?}", troubles.sentences().collect::<Vec<_>>());
    rows
}

fn question(site: &Site, kind: &Kind, random: &mut Random, order: Order, middle: bool) -> Filter {
    let words = (kind.words)(site, random);
    let mut filter = Filter::parse_words(&words).unwrap();
    filter.limit = Some(LIMIT);
    filter.order = order;
    if middle {
        let bucket = site.buckets / 5 + random.below(site.buckets * 3 / 5);
        let key = ConnKey { bucket: id(bucket), number: 0 };
        filter.after = Some(Position {
            time: begins(bucket),
            key,
            direction: Direction::ToServer,
            begins: StreamOffset(0),
            index: 0,
        });
    }
    filter
}

fn warm(store: &Store, site: &Site, kind: &Kind, order: Order, middle: bool) -> Answers {
    let mut random = Random(order as u64 + 10 * u64::from(middle));
    let mut answers = Answers::default();
    let began = Instant::now();
    while answers.rows.len() < QUESTIONS && (answers.rows.len() < FEWEST || began.elapsed().as_secs_f64() < SECONDS) {
        let filter = question(site, kind, &mut random, order, middle);
        let (began, before) = (Instant::now(), cpu());
        let rows = ask(store, kind, &filter);
        answers.cpu.push((cpu() - before).as_secs_f64() * 1e3);
        answers.milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        // A cursor may stand behind all of them.
        assert!(middle || kind.there != Some(true) || rows > 0, "{}: {filter:?} has no rows", kind.name);
        assert!(kind.there != Some(false) || rows == 0, "{}: {filter:?} has rows", kind.name);
        answers.rows.push(rows as f64);
    }
    answers.settle();
    answers
}

fn cold(data: &Path, site: &Site, kind: &Kind) -> Answers {
    let files = index_files(data);
    let mut random = Random(99);
    let mut answers = Answers::default();
    let began = Instant::now();
    while answers.rows.len() < COLD && (answers.rows.len() < FEWEST || began.elapsed().as_secs_f64() < SECONDS) {
        let filter = question(site, kind, &mut random, Order::NewestFirst, false);
        evict(&files);
        let before = major_faults();
        let began = Instant::now();
        let store = Store::open(data).unwrap();
        drop(store.snapshot().unwrap());
        answers.opening.push(began.elapsed().as_secs_f64() * 1e3);
        let opened = resident_pages(&files);
        let began = Instant::now();
        let rows = ask(&store, kind, &filter);
        answers.milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        answers.faults.push((major_faults() - before) as f64);
        answers.pages.push((resident_pages(&files) - opened) as f64);
        answers.rows.push(rows as f64);
    }
    answers.settle();
    answers
}

/// Opens the index of a site, and asks it questions of all kinds, or of those whose name has one of these words.
pub fn all(data: &Path, is_cold: bool, words: &[&str]) {
    let made = std::fs::read_to_string(data.with_extension("site")).unwrap();
    let (streams, seed) = made.split_once(' ').unwrap();
    let mut site = Site::new(streams.parse().unwrap(), seed.parse().unwrap());
    site.buckets = {
        let store = Store::open(data).unwrap();
        (store.bucket_ids().unwrap().len() - store.unsettled().unwrap().len()) as u64
    };
    let site = site;
    let before = memory();
    let began = Instant::now();
    let store = Store::open(data).unwrap();
    let snapshot = store.snapshot().unwrap();
    let first = began.elapsed();
    let after = memory();
    let (files, bytes, held) = snapshot.size();
    drop(snapshot);
    let began = Instant::now();
    (0..100).for_each(|_| drop(store.snapshot().unwrap()));
    let again = began.elapsed() / 100;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "\n{} streams over {} buckets, {files} files of {:.1} MB; opened in {first:.1?}, a snapshot more {again:.1?};",
        site.rows(),
        site.buckets,
        mb(bytes)
    );
    println!(
        "memory: {:.1} MB, {:.1} MB of it not of files ({:.1} MB and {:.1} MB before); of that the files' own {:.2} MB, {:.3} MB per 10^6 streams",
        mb(after.0),
        mb(after.1),
        mb(before.0),
        mb(before.1),
        mb(held),
        mb(held) / (site.rows() as f64 / 1e6)
    );
    println!("\nlimit {LIMIT}; milliseconds p50 / p99 (questions, where fewer than {QUESTIONS}); load {}\n", load());
    let chosen = KINDS.iter().filter(|kind| words.is_empty() || words.iter().any(|word| kind.name.contains(word)));
    if is_cold {
        drop(store);
        println!(
            "| nothing in memory | rows p50 | open p50 / p99 | look-up p50 / p99 | both p99 at most | pages p50 / p99 | major faults p50 |\n|---|---|---|---|---|---|---|"
        );
        for kind in chosen {
            let a = cold(data, &site, kind);
            let q = |of: &[f64]| format!("{:.1} / {:.1}", quantile(of, 0.5), quantile(of, 0.99));
            let both = quantile(&a.opening, 0.99) + quantile(&a.milliseconds, 0.99);
            println!(
                "| {} | {} | {} | {} | {both:.1} | {} | {} |",
                kind.name,
                quantile(&a.rows, 0.5),
                q(&a.opening),
                q(&a.milliseconds),
                q(&a.pages),
                quantile(&a.faults, 0.5)
            );
        }
        return;
    }
    println!(
        "| in memory | rows p50 | newest first | its CPU | oldest first | its CPU | after a cursor | its CPU |\n|---|---|---|---|---|---|---|---|"
    );
    for kind in chosen {
        let newest = warm(&store, &site, kind, Order::NewestFirst, false);
        let oldest = warm(&store, &site, kind, Order::OldestFirst, false);
        let middle = warm(&store, &site, kind, Order::NewestFirst, true);
        println!(
            "| {} | {} | {} | {} | {} |",
            kind.name,
            quantile(&newest.rows, 0.5),
            newest.times(),
            oldest.times(),
            middle.times()
        );
    }
    println!("\nload at the end {}", load());
}
