//! `streamdb stats`: how much is stored, and what became of every byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_storage::{BucketInfo, BucketState, Status, Store, Teller, VerdictsTally, now};
use streamdb_types::{Counters, Timestamp};

use super::finding::count;
use super::{Error, held, json_line};
use crate::cli::Listing;
use crate::output::{Output, complain, printable};
use crate::units;

#[derive(Serialize)]
struct Report {
    buckets: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_frame: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_frame: Option<String>,
    /// Those that are held, whatever the limits say.
    held_buckets: u64,
    held_bytes: u64,
    /// Those that retention dropped; what is counted below is of those that are there.
    dropped_buckets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_dropped: Option<String>,
    /// Contents in which scanners found something, and those that were forgotten, as only so many are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdicts: Option<Verdicts>,
    /// Of these buckets the counters, and the bytes unaccounted for, know nothing: what was counted while they were written is
    /// kept with the seal of their writer, which is still to come or never did.
    not_counted: NotCounted,
    unaccounted_payload_bytes: i64,
    counters: BTreeMap<&'static str, u64>,
    /// The same of each worker.
    workers: Vec<OfWorker>,
    /// What a capture says of itself that runs now: all since it began, also of buckets that are not sealed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<Capturing>,
}

/// What one worker counted.
#[derive(Serialize)]
struct OfWorker {
    worker: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    counters: BTreeMap<&'static str, u64>,
}

/// A capture that runs.
#[derive(Serialize)]
struct Capturing {
    since: String,
    pid: u32,
    workers: Vec<OfWorker>,
}

impl Capturing {
    fn of(store: &Store) -> Result<Option<Self>, Error> {
        let status = Status::read(store.path(), Teller::Capture)?.filter(|status| status.is_fresh(now()));
        Ok(status.map(|status| {
            let workers = status.values.iter().filter_map(|(name, interface)| {
                let worker = name.strip_prefix("worker.")?.strip_suffix(".interface")?;
                let counter = |name: &'static str| (name, status.number(&format!("worker.{worker}.{name}")));
                let counters = Counters::NAMES.iter().copied().map(counter).collect();
                Some(OfWorker { worker: worker.parse().ok()?, interface: Some(interface.clone()), counters })
            });
            let mut workers: Vec<OfWorker> = workers.collect();
            workers.sort_by_key(|worker| worker.worker);
            Self { since: status.since.to_string(), pid: status.pid, workers }
        }))
    }
}

/// Of the counters of a worker what is wanted at a glance: what came, and what was lost of it.
const AT_A_GLANCE: [&str; 15] = [
    "frames",
    "wire_bytes",
    "dropped_kernel",
    "dropped_interface",
    "dropped_sender",
    "lost_frames",
    "shed_frames",
    "payload_shed",
    "payload_lost",
    "malformed_frames",
    "evicted_connections",
    "evicted_established",
    "released_early",
    "evicted_fragments",
    "disk_stalls",
];

impl OfWorker {
    /// For people: its frames, and whatever else is not nothing.
    fn sentence(&self) -> String {
        let of = self.interface.as_ref().map(|interface| format!(" ({interface})")).unwrap_or_default();
        let counts = AT_A_GLANCE.iter().filter_map(|name| {
            let value = *self.counters.get(name)?;
            (value > 0 || *name == "frames").then(|| format!("{value} {name}"))
        });
        format!("worker {}{of}: {}", self.worker, counts.collect::<Vec<_>>().join(", "))
    }
}

/// What is known of contents, where anything is or was.
#[derive(Serialize)]
struct Verdicts {
    contents: u64,
    forgotten: u64,
    /// Those that had none, and are scanned again when they come again.
    forgotten_without: u64,
}

impl Verdicts {
    fn of(store: &Store) -> Option<Self> {
        let VerdictsTally { contents, forgotten } = store.verdicts().tally();
        let all = Self { contents, forgotten: forgotten.found, forgotten_without: forgotten.clean };
        (all.contents + all.forgotten + all.forgotten_without > 0).then_some(all)
    }

    /// For people.
    fn sentence(&self) -> String {
        let Self { contents, forgotten, forgotten_without } = self;
        let mut said = format!("{} with a verdict", count(*contents, "content"));
        if forgotten + forgotten_without > 0 {
            said += &format!(
                "; forgotten are {forgotten} with one and {forgotten_without} without, which are scanned again when they come again"
            );
        }
        said
    }
}

/// Buckets that are not in the counters.
#[derive(Default, Serialize)]
struct NotCounted {
    /// Being written now.
    open: u64,
    /// Their writer died, and no other one has made them whole yet.
    unsealed: u64,
    /// Made whole by another writer.
    recovered: u64,
}

impl NotCounted {
    const fn note(&mut self, info: &BucketInfo) {
        match info.state() {
            BucketState::Sealed => {}
            BucketState::Recovered => self.recovered += 1,
            BucketState::Open => self.open += 1,
            BucketState::Unsealed => self.unsealed += 1,
        }
    }

    /// For people; `None` when all are counted.
    fn sentence(&self) -> Option<String> {
        let kinds = [
            (self.open, "being written"),
            (self.unsealed, "left unsealed by a writer that died"),
            (self.recovered, "recovered after one died"),
        ];
        let kinds: Vec<String> = kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        (!kinds.is_empty()).then(|| format!("not in what is counted below: {}", kinds.join(", ")))
    }
}

pub(super) fn run(args: &Listing) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    let mut counters = Counters::default();
    let (mut buckets, mut bytes) = (0u64, 0u64);
    let mut times: Option<(Timestamp, Timestamp)> = None;
    let mut code = ExitCode::SUCCESS;
    let held = held(&store, &mut code);
    let (mut held_buckets, mut held_bytes) = (0u64, 0u64);
    let mut not_counted = NotCounted::default();
    let mut of_workers: BTreeMap<u16, Counters> = BTreeMap::new();
    for info in store.buckets()? {
        match info {
            Ok(info) => {
                buckets += 1;
                bytes += info.bytes;
                if held.contains(&info.superblock.id) {
                    held_buckets += 1;
                    held_bytes += info.bytes;
                }
                not_counted.note(&info);
                counters.add(&info.counters);
                of_workers.entry(info.superblock.worker).or_default().add(&info.counters);
                times = match (times, info.times) {
                    (Some(all), Some(one)) => Some((all.0.min(one.0), all.1.max(one.1))),
                    (all, one) => all.or(one),
                };
            }
            Err(damage) => {
                complain(&damage.to_string());
                code = ExitCode::FAILURE;
            }
        }
    }
    let workers: Vec<OfWorker> = of_workers
        .into_iter()
        .map(|(worker, counters)| OfWorker { worker, interface: None, counters: by_name(&counters) })
        .collect();
    let capture = Capturing::of(&store)?;
    let dropped = store.dropped();
    let last_dropped = dropped.iter().map(|(_, time)| *time).max();
    let mut out = Output::open(None)?;
    let error = out.error();
    if args.json {
        let report = Report {
            buckets,
            bytes,
            first_frame: times.map(|(first, _)| first.to_string()),
            last_frame: times.map(|(_, last)| last.to_string()),
            held_buckets,
            held_bytes,
            dropped_buckets: dropped.len() as u64,
            last_dropped: last_dropped.map(|time| time.to_string()),
            verdicts: Verdicts::of(&store),
            not_counted,
            unaccounted_payload_bytes: counters.unaccounted(),
            counters: by_name(&counters),
            workers,
            capture,
        };
        json_line(&mut out, &report)?;
    } else {
        writeln!(out, "{}, {}", units::counted(buckets, "bucket"), units::bytes(bytes)).map_err(&error)?;
        if held_buckets > 0 {
            writeln!(out, "{held_buckets} of them held, {}", units::bytes(held_bytes)).map_err(&error)?;
        }
        if let Some(last) = last_dropped {
            writeln!(out, "{} dropped by retention, the last at {last}", dropped.len()).map_err(&error)?;
        }
        if let Some((first, last)) = times {
            writeln!(out, "from {first} to {last}").map_err(&error)?;
        }
        if let Some(verdicts) = Verdicts::of(&store) {
            writeln!(out, "{}", verdicts.sentence()).map_err(&error)?;
        }
        if let Some(sentence) = not_counted.sentence() {
            writeln!(out, "{sentence}").map_err(&error)?;
        }
        for (name, value) in Counters::NAMES.iter().zip(counters.values()).filter(|(_, value)| *value > 0) {
            writeln!(out, "{value:>16} {name}").map_err(&error)?;
        }
        writeln!(out, "{:>16} payload bytes unaccounted for", counters.unaccounted()).map_err(&error)?;
        // With one of them it is all said.
        for worker in workers.iter().filter(|_| workers.len() > 1) {
            writeln!(out, "{}", printable(&worker.sentence())).map_err(&error)?;
        }
        if let Some(capture) = capture {
            writeln!(out, "captured now, since {}:", capture.since).map_err(&error)?;
            for worker in &capture.workers {
                writeln!(out, "{}", printable(&worker.sentence())).map_err(&error)?;
            }
        }
    }
    out.flush().map_err(&error)?;
    Ok(code)
}

fn by_name(counters: &Counters) -> BTreeMap<&'static str, u64> {
    Counters::NAMES.iter().copied().zip(counters.values()).collect()
}
