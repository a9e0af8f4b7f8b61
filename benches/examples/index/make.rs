//! Makes the index of a site as the derive loop would, and says what that costs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use streamdb_storage::index::Contents;
use streamdb_storage::{DiskVolume, FORMAT_VERSION, Store, WriteFolder};

use crate::measure::{cpu, index_files, load, memory, sections, written};
use crate::site::{BUCKETS, Site, begins, id};

/// Most streams of one index file that was not merged: as crates/derive/src/indexing.rs has it.
const STREAMS: usize = 1 << 17;

/// What calls cost, all together.
#[derive(Default)]
struct Cost {
    calls: u64,
    cpu: Duration,
    wall: Duration,
    bytes: u64,
}

impl Cost {
    fn of<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let (began, before, bytes) = (Instant::now(), cpu(), written());
        let result = call();
        self.calls += 1;
        self.cpu += cpu() - before;
        self.wall += began.elapsed();
        self.bytes += written() - bytes;
        result
    }
}

/// The first page of a bucket, as storage/FORMAT.md has it: all that a bucket needs for its rows to count.
fn superblock(bucket: u64) -> Vec<u8> {
    let mut page = b"SDBUCKT1".to_vec();
    page.extend(FORMAT_VERSION.to_le_bytes());
    page.extend(0u16.to_le_bytes());
    page.extend(4096u32.to_le_bytes());
    page.extend(id(bucket).0.to_le_bytes());
    page.extend(begins(bucket).0.to_le_bytes());
    page.extend(begins(bucket + 1).0.to_le_bytes());
    page.resize(4092, 0);
    page.extend(crc32fast::hash(&page).to_le_bytes());
    page
}

/// Makes the data folder `data` with an index of so many rows. With `every`, the rows of so many buckets are an index file at
/// first, as while they are captured; else as many as the derive loop puts together where much waits.
pub fn make(data: &Path, streams: u64, seed: u64, every: Option<u64>) {
    let site = Site::new(streams, seed);
    drop(WriteFolder::open(data, Box::new(DiskVolume)).unwrap());
    std::fs::write(data.with_extension("site"), format!("{streams} {seed}")).unwrap();
    println!("\nindex of {streams} streams over {BUCKETS} buckets; load {}\n", load());
    let store = Store::open(data).unwrap();
    let lock = store.derive_lock().unwrap();
    let (most, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut add, mut tidy) = (Cost::default(), Cost::default());
    let (mut generated, mut rows, mut objects, mut files) = (Duration::ZERO, 0, 0, 0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(memory().1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut contents = Contents::default();
        for bucket in 0..BUCKETS {
            let before = cpu();
            let made = site.bucket(bucket);
            // One that no index has would be looked into.
            std::fs::write(data.join("buckets").join(format!("{}.sdb", id(bucket))), superblock(bucket)).unwrap();
            contents.coverage.push(made.coverage);
            contents.streams.extend(made.streams);
            contents.groups.extend(made.groups);
            generated += cpu() - before;
            let enough = match every {
                Some(buckets) => contents.coverage.len() as u64 >= buckets,
                None => contents.streams.len() >= STREAMS,
            };
            if !enough && bucket + 1 < BUCKETS {
                continue;
            }
            rows += contents.streams.len() as u64;
            objects += contents.groups.iter().map(|group| group.rows.len() as u64).sum::<u64>();
            add.of(|| store.add_to_index(&lock, &DiskVolume, &contents).unwrap());
            while tidy.of(|| store.tidy_index(&lock, &DiskVolume, &|| false, &mut |said| println!("{said}")).unwrap()) {
            }
            files = files.max(index_files(data).len());
            contents = Contents::default();
            if add.calls % 50 == 0 {
                let spent = (add.cpu + tidy.cpu).as_secs_f64();
                eprintln!("{rows} rows, {spent:.0} s of CPU, {:.0} s gone by", began.elapsed().as_secs_f64());
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    told(data, rows, objects, &add, &tidy);
    println!("| most files at once, after merging | {files} |");
    println!("| most memory of its own while building | {} MB |", most.load(Ordering::Relaxed) >> 20);
    println!("| CPU of the generator (not in the above) | {:.1} s |", generated.as_secs_f64());
    println!("| load at the end | {} |", load());
}

fn told(data: &Path, rows: u64, objects: u64, add: &Cost, tidy: &Cost) {
    let files = index_files(data);
    let all: u64 = files.iter().map(|(_, len)| len).sum();
    let sizes = sections(&files);
    let of = |range: std::ops::Range<usize>| sizes[range].iter().sum::<u64>();
    let (m, per) = (|bytes: u64| bytes as f64 / 1e6, |bytes: u64, n: u64| bytes as f64 / n as f64);
    println!("| rows | {rows} streams, {objects} objects |\n|---|---|");
    for (what, cost) in [("adding", add), ("merging", tidy)] {
        let (cpu, wall) = (cost.cpu.as_secs_f64(), cost.wall.as_secs_f64());
        let each = cpu * 1e6 / rows as f64;
        println!(
            "| {what} | {} calls, {cpu:.1} s CPU ({each:.2} s per 10^6 streams), {wall:.1} s, {:.1} MB written |",
            cost.calls,
            m(cost.bytes)
        );
    }
    let bytes = add.bytes + tidy.bytes;
    println!(
        "| written in all, to what is left | {:.1} MB / {:.1} MB = {:.2} |",
        m(bytes),
        m(all),
        bytes as f64 / all as f64
    );
    println!(
        "| files | {}: {} |",
        files.len(),
        files.iter().map(|(_, len)| format!("{:.1}", m(*len))).collect::<Vec<_>>().join(", ")
    );
    let streams = of(16..48);
    println!(
        "| a stream row | {:.1} bytes: row {:.1}, community id {:.1}, orders {:.1}; with continuations, paths {:.1} |",
        per(streams, rows),
        per(of(16..18), rows),
        per(of(18..19), rows),
        per(of(20..48), rows),
        per(streams + of(6..10), rows)
    );
    let of_orders = |base: usize| {
        (0..14)
            .map(|n| of(base + 2 * n..base + 2 * n + 2))
            .filter(|bytes| *bytes > 0)
            .map(|bytes| format!("{:.1}", bytes as f64 / if base < 48 { rows } else { objects } as f64))
            .collect::<Vec<_>>()
            .join(" ")
    };
    println!("| its orders: client, server, their ports, protocol, reason, length | {} |", of_orders(20));
    println!(
        "| an object | {:.1} bytes: row {:.1}, community id {:.1}, orders {:.1} |",
        per(of(48..80), objects),
        per(of(48..50), objects),
        per(of(50..51), objects),
        per(of(52..80), objects)
    );
    println!(
        "| its orders: client, server, their ports, method, host, uri, name, class, two of digests, size | {} |",
        of_orders(52)
    );
    println!(
        "| distinct things | addresses {:.1} MB ({}), digests with orders {:.1} MB ({}), texts {:.1} MB ({}, {:.1} bytes each), classes {:.2} MB ({}) |",
        m(of(2..3)),
        sizes[2] / 16,
        m(of(3..6)),
        sizes[3] / 68,
        m(of(10..12)),
        sizes[10] / 8,
        per(of(10..12), sizes[10] / 8),
        m(of(12..14)),
        sizes[12] / 8
    );
    println!(
        "| what is covered, continuations, filters, checksums | {:.1} MB, {:.1} MB, {:.1} MB, {:.1} MB |",
        m(of(1..2)),
        m(of(6..7)),
        m(of(7..8)),
        m(of(0..1))
    );
}
