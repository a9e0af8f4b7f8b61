//! Floods on a real wire, with real transfers beside them: a few seconds of each kind, and with STREAMDB_SOAK=1 a minute. The
//! transfers are carved whole, every frame is counted, and memory is bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Capturing, Data, Wire, inside, installed, noise, until};
use serde_json::Value;
use streamdb_testkit::Flood;

/// How many frames a second are sent, at most.
const RATE: u64 = 20_000;
/// What the table may hold here: less than the flood brings.
const CONNECTIONS: u64 = 20_000;
/// The ring of the kernel, whose pages count as the process's.
const RING: u64 = 256 << 20;
/// What of memory the process may have besides: connections, what is held out of order (32 MiB), fragments (32 MiB), and the
/// writer's blocks. Derivation, which is a process of its own where it matters, comes after.
const MEMORY: u64 = 192 << 20;

/// An nginx that goes with the test.
struct Nginx(Child);

impl Nginx {
    fn start(data: &Data, wire: &Wire) -> Self {
        let folder = data.beside("nginx");
        fs::create_dir_all(folder.join("files")).unwrap();
        for n in 0..4_u64 {
            fs::write(folder.join("files").join(n.to_string()), noise(n as u32, 200_000 + n as usize * 100_000))
                .unwrap();
        }
        let at = folder.to_str().unwrap();
        let config = format!(
            "daemon off; user root; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ }}\nhttp {{ access_log off; server {{ listen 10.9.0.2:8080; root {at}/files; }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.args(["-p", at, "-c", &format!("{at}/nginx.conf")]);
        let child = inside(&wire.far, &nginx).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers go with it when it is asked to end, and only then.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Fetches a file by curl; how many bytes came.
fn fetch(wire: &Wire, n: u64, query: usize) -> usize {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-f", "--max-time", "60", &format!("http://10.9.0.2:8080/{n}?{query}")]);
    inside(&wire.near, &curl).output().unwrap().stdout.len()
}

/// Frames that an interface had, in both directions.
fn frames_of(namespace: &str, interface: &str) -> u64 {
    let mut ip = Command::new("ip");
    ip.args(["-j", "-s", "link", "show", interface]);
    let out = inside(namespace, &ip).output().unwrap().stdout;
    let about: Value = serde_json::from_slice(&out).unwrap();
    let of = |way: &str| about[0]["stats64"][way]["packets"].as_u64().unwrap();
    of("rx") + of("tx")
}

/// The most memory that a process had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn is_survived(flood: Flood) {
    let Some(wire) = Wire::with_addresses() else { return };
    if !["tcpreplay", "nginx", "curl"].into_iter().all(installed) {
        return;
    }
    // On a machine that is busy with other things the kernel may drop frames, and then nobody knows what is to be carved.
    let survived = (0..3).any(|_| all_is_carved(flood, &wire));
    assert!(survived, "the kernel dropped frames each time");
}

/// Sends it beside transfers: each frame is stored or counted, and memory bounded. Whether the transfers were carved, or the kernel
/// dropped frames.
fn all_is_carved(flood: Flood, wire: &Wire) -> bool {
    let soak = std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1");
    let seconds = if soak { 60 } else { 3 };
    let data = Data::new(&format!("flood-{}", flood.word()));
    let count = if soak { 500_000 } else { 60_000_u32 };
    let capture = data.write("flood.pcap", &flood.capture(count));
    let nginx = Nginx::start(&data, wire);
    let most = CONNECTIONS.to_string();
    let flags =
        ["-i", "far0", "--json", "--buffer", "256M", "--max-connections", &most, "--max-held", "32M", "--no-derive"];
    let capturing = Capturing::start(&data, Some(&wire.far), &flags);
    let before = frames_of(&wire.far, "far0");
    until("nginx listens", || (fetch(wire, 0, 0) == 200_000).then_some(()));
    let mut tcpreplay = Command::new("tcpreplay");
    let rate = format!("--pps={RATE}");
    let times = (RATE * seconds).div_ceil(count.into()).to_string();
    tcpreplay.args(["-q", "-i", "near0", &rate, "--loop", &times]).arg(&capture);
    let mut sending = inside(&wire.near, &tcpreplay).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let over = AtomicBool::new(false);
    let fetched = std::thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            let mut fetched = 1_usize;
            while !over.load(Ordering::Relaxed) {
                let n = fetched as u64 % 4;
                assert_eq!(fetch(wire, n, fetched), 200_000 + n as usize * 100_000);
                fetched += 1;
            }
            fetched
        });
        let since = Instant::now();
        while sending.try_wait().unwrap().is_none() && since.elapsed() < Duration::from_secs(seconds * 4 + 30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
        fetching.join().unwrap()
    });
    assert!(sending.wait().unwrap().success());
    drop(nginx);
    // What goes on after the end of a transfer, as its last acknowledgements.
    std::thread::sleep(Duration::from_millis(300));
    let seen = frames_of(&wire.far, "far0") - before;
    let memory = peak(capturing.child.id());
    let summary = capturing.summary();
    let number = |name: &str| summary[name].as_u64().unwrap();
    let counter = |name: &str| summary["counters"][name].as_u64().unwrap_or_default();
    println!(
        "{}: {seen} frames, {} stored, {} dropped by the kernel, {fetched} transfers; {} MiB; evicted {} ({} established), \
         released early {}, fragments given up {}, holes closed {}",
        flood.word(),
        number("frames"),
        number("dropped_by_kernel"),
        memory >> 20,
        counter("evicted_connections"),
        counter("evicted_established"),
        counter("released_early"),
        counter("expired_fragments"),
        counter("closed_gaps"),
    );
    assert!(seen >= RATE * seconds, "the flood was none");
    assert_eq!(number("frames") + number("dropped_by_kernel"), seen, "frames are not accounted for");
    assert_eq!(summary["unaccounted_payload_bytes"], 0);
    assert_eq!(counter("evicted_established"), 0);
    assert!(memory < RING + MEMORY, "{} MiB", memory >> 20);
    data.run("derive", &["--once"]).well();
    data.is_well();
    if number("dropped_by_kernel") > 0 {
        return false;
    }
    let said = data.run("objects", &["--json", "port=8080", "kind=response"]);
    let rows = common::json_lines(&said.well());
    let whole = rows.iter().filter(|row| row["complete"] == true && row["status"] == 200).count();
    assert_eq!(whole, fetched, "{} rows", rows.len());
    for n in 0..4_u64 {
        let wanted = (0..fetched).filter(|at| if *at == 0 { n == 0 } else { *at as u64 % 4 == n }).count();
        let size = 200_000 + n * 100_000;
        assert_eq!(rows.iter().filter(|row| row["size"] == size).count(), wanted, "file {n}");
    }
    true
}

#[test]
fn of_syns() {
    is_survived(Flood::Syn);
}

#[test]
fn of_datagrams() {
    is_survived(Flood::Udp);
}

#[test]
fn of_fragments() {
    is_survived(Flood::Fragments);
}

#[test]
fn of_bytes_out_of_order() {
    is_survived(Flood::OutOfOrder);
}

#[test]
fn of_tiny_segments() {
    is_survived(Flood::Tiny);
}

#[test]
fn of_overlaps() {
    is_survived(Flood::Overlaps);
}
