//! How long searches take in a store that is being filled: what `benches/beside.sh` runs beside an ingest, and after it.
//!
//! `beside DATA SECONDS END`: as long as that, or until there is a file END, asks for what is there then, kind by kind in turn, the
//! newest first, 100 rows; and says how long answers took.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a bench that fails can only stop")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use streamdb_benches::Random;
use streamdb_derive::{Rows, Store};
use streamdb_query::{Filter, Looking, Troubles, find_objects, find_streams};
use streamdb_storage::StreamInfo;
use streamdb_types::ObjectRow;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many rows are drawn from for questions, and so often they are taken anew.
const DRAWN: usize = 1000;
const ANEW: Duration = Duration::from_secs(2);

/// What is there to be asked for.
#[derive(Default)]
struct There {
    streams: Vec<StreamInfo>,
    objects: Vec<ObjectRow>,
}

struct Kind {
    name: &'static str,
    objects: bool,
    words: fn(&There, usize) -> Option<Vec<String>>,
    milliseconds: Vec<f64>,
    rows: u64,
}

fn kinds() -> Vec<Kind> {
    type Words = fn(&There, usize) -> Option<Vec<String>>;
    let all: [(&str, bool, Words); 8] = [
        ("streams, all", false, |_, _| Some(Vec::new())),
        ("streams of an address and a port", false, |there, n| {
            let tuple = there.streams.get(n % there.streams.len().max(1))?.tuple;
            Some(vec![format!("srcip={}", tuple.client.addr), format!("srcport={}", tuple.client.port)])
        }),
        ("streams of a /24", false, |there, n| {
            Some(vec![format!("ip={}/24", there.streams.get(n % there.streams.len().max(1))?.tuple.server.addr)])
        }),
        ("objects of an address and a port", true, |there, n| {
            let tuple = there.objects.get(n % there.objects.len().max(1))?.tuple;
            Some(vec![format!("srcip={}", tuple.client.addr), format!("srcport={}", tuple.client.port)])
        }),
        ("objects of a host", true, |there, n| {
            let host = there.objects.get(n % there.objects.len().max(1))?.host.clone()?;
            Some(vec![format!("host={host}")])
        }),
        ("objects by a part of a URI", true, |there, n| {
            let uri = there.objects.get(n % there.objects.len().max(1))?.uri.clone()?;
            let last = uri.rsplit('/').next()?.replace(['*', ','], "");
            (last.len() > 3).then(|| vec![format!("uri=*{last}*")])
        }),
        ("objects by SHA-256", true, |there, n| {
            let sha256 = there.objects.get(n % there.objects.len().max(1))?.digests?.sha256;
            Some(vec![format!("sha256={}", sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>())])
        }),
        ("objects by a sentence", true, |_, _| Some(vec!["filetype=executable".to_owned()])),
    ];
    let kind = |(name, objects, words)| Kind { name, objects, words, milliseconds: Vec::new(), rows: 0 };
    all.into_iter().map(kind).collect()
}

/// Asks, and hands out what is found.
fn ask(store: &Store, filter: &Filter, objects: bool, there: &mut There) {
    let mut troubles = Troubles::default();
    let looking = Looking { made: Rows::in_a_hurry(), go_on: &|| true, troubles: &mut troubles };
    if objects {
        find_objects(store, filter, looking, &mut |row| {
            there.objects.push(row.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
    } else {
        find_streams(store, filter, looking, &mut |stream, _| {
            there.streams.push(stream.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    assert!(troubles.is_empty(), "{:?}", troubles.sentences().collect::<Vec<_>>());
}

fn filter(words: &[String], limit: usize) -> Filter {
    let mut filter = Filter::parse_words(words).unwrap();
    (filter.limit, filter.order) = (Some(limit as u64), streamdb_query::Order::NewestFirst);
    filter
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [data, seconds, end] = &words[..] else { panic!("beside DATA SECONDS END") };
    let most = Duration::from_secs(seconds.parse().unwrap());
    let begun = Instant::now();
    let store = loop {
        match Store::open(Path::new(data)) {
            Ok(store) => break store,
            Err(error) if begun.elapsed() > most => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let (mut kinds, mut there, mut random) = (kinds(), There::default(), Random(1));
    let mut drawn: Option<Instant> = None;
    while begun.elapsed() < most && !Path::new(end).exists() {
        if drawn.is_none_or(|drawn| drawn.elapsed() > ANEW) {
            there = There::default();
            ask(&store, &filter(&[], DRAWN), false, &mut there);
            ask(&store, &filter(&["size=0-".to_owned()], DRAWN), true, &mut there);
            drawn = Some(Instant::now());
        }
        for kind in &mut kinds {
            let Some(words) = (kind.words)(&there, random.below(DRAWN as u64) as usize) else { continue };
            let (filter, mut found) = (filter(&words, 100), There::default());
            let asked = Instant::now();
            ask(&store, &filter, kind.objects, &mut found);
            kind.milliseconds.push(asked.elapsed().as_secs_f64() * 1e3);
            kind.rows += (found.streams.len() + found.objects.len()) as u64;
        }
    }
    println!("| question | asked | rows, on the average | p50 ms | p99 ms | most |\n|---|---|---|---|---|---|");
    for Kind { name, milliseconds, rows, .. } in &mut kinds {
        milliseconds.sort_by(f64::total_cmp);
        let asked = milliseconds.len();
        let quantile = |q: f64| milliseconds.get(((asked as f64 - 1.0) * q).round() as usize).copied().unwrap_or(0.0);
        println!(
            "| {name} | {asked} | {:.1} | {:.2} | {:.2} | {:.1} |",
            *rows as f64 / asked.max(1) as f64,
            quantile(0.5),
            quantile(0.99),
            quantile(1.0)
        );
    }
    let (files, bytes, _) = store.snapshot().unwrap().size();
    println!("{files} index files of {:.1} MB at the end", bytes as f64 / 1e6);
}
