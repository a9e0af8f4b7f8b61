//! Real file systems that are full, or stop taking anything: a small ext4 in a file. Who may not mount is told so, and the
//! tests pass; what the disk does otherwise is swept in `failing_disk.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{
    Data, Frame, Made, Server, Talk, Wire, inside, installed, json_lines, may_capture, noise, until, wait, within,
};

/// Of a second of what is stored here.
const SECOND: usize = 1 << 20;

/// A file system of this size on a data folder's place, gone with the test.
struct Disk {
    at: PathBuf,
    image: PathBuf,
}

impl Disk {
    /// `None` where none can be made, and why is said.
    fn new(data: &Data, megabytes: u64) -> Option<Self> {
        if !may_capture() || !installed("mkfs.ext4") || !installed("mount") {
            return None;
        }
        let at = data.beside("");
        let image = at.with_extension("image");
        File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        let made = run("mkfs.ext4", &["-q", "-m", "0", image.to_str().unwrap()]);
        let disk = Self { at, image };
        if !made || !disk.mount() {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(disk)
    }

    fn mount(&self) -> bool {
        run("mount", &["-o", "loop", self.image.to_str().unwrap(), self.at.to_str().unwrap()])
    }

    fn unmount(&self) -> bool {
        run("umount", &[self.at.to_str().unwrap()])
    }

    fn remount(&self, how: &str) {
        assert!(run("mount", &["-o", &format!("remount,{how}"), self.at.to_str().unwrap()]), "remount,{how}");
    }

    /// Takes all room that is left, so that the next byte finds none.
    fn fill(&self) -> PathBuf {
        let path = self.at.join("filler");
        let mut filler = File::create(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            while filler.write_all(&vec![0x55; size]).is_ok() {}
        }
        let _ = filler.sync_all();
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", self.at.to_str().unwrap()]);
        let _ = fs::remove_file(&self.image);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// A download in each of these seconds.
fn seconds(range: std::ops::Range<u32>) -> Made {
    let mut made = Made::default();
    for second in range {
        let millis = u64::from(second) * 1000;
        let mut talk = Talk::new(30_000 + second as u16);
        talk.open(&mut made, millis).ask(&mut made, millis + 10, b"GET /part HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SECOND}\r\n\r\n");
        talk.answer(&mut made, millis + 20, head.as_bytes()).answer(&mut made, millis + 30, &noise(second, SECOND));
        talk.close(&mut made, millis + 900);
    }
    made
}

/// A process that stores, and what it says.
struct Storing {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Storing {
    fn start(mut command: Command) -> (Self, ChildStdin) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (pipe, err) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        let (told, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| told.send(line))
        });
        (Self { child, lines, said: Vec::new() }, pipe)
    }

    fn has_said(&mut self, what: &str) -> bool {
        self.said.extend(self.lines.try_iter());
        self.said.iter().any(|line| line.contains(what))
    }

    /// Its exit code, its summary, and all that it said.
    fn end(mut self) -> (Option<i32>, serde_json::Value, Vec<String>) {
        let mut out = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        let code = wait(&mut self.child).code();
        self.said.extend(self.lines.iter());
        assert!(!out.is_empty(), "no summary; it ended with {code:?}, saying {:#?}", self.said);
        (code, json_lines(&out).remove(0), std::mem::take(&mut self.said))
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ingest(data: &Data) -> (Storing, ChildStdin) {
    let (storing, mut pipe) = Storing::start(data.command("ingest", &["--bucket", "1s", "--json", "-"]));
    pipe.write_all(&Made::header()).unwrap();
    (storing, pipe)
}

/// One that was given four seconds, of which the first three can be read.
fn ingest_of_four_seconds(data: &Data) -> (Storing, ChildStdin) {
    let (storing, mut pipe) = ingest(data);
    give(&mut pipe, &seconds(0..4));
    until("the first seconds are there", || {
        let said = data.run("streams", &["--json", "srcport=30002", "direction=c"]);
        (said.code == Some(0) && !said.out.is_empty()).then_some(())
    });
    (storing, pipe)
}

fn give(pipe: &mut ChildStdin, made: &Made) {
    made.frames.iter().for_each(|frame| pipe.write_all(&Made::record(frame)).unwrap());
}

/// How many sentences say this.
fn count(said: &[String], what: &str) -> usize {
    said.iter().filter(|line| line.contains(what)).count()
}

/// What came out is a subsequence of what went in; how much of it.
fn kept(exported: &[Frame], made: &Made) -> usize {
    let mut fed = made.frames.iter();
    for frame in exported {
        assert!(fed.any(|(_, bytes)| *bytes == frame.data), "a frame that nobody sent, or twice, or out of order");
    }
    exported.len()
}

#[test]
fn a_full_disk_costs_what_comes_while_it_is_full_and_no_more() {
    let data = Data::new("full-disk");
    let Some(disk) = Disk::new(&data, 48) else { return };
    let (mut storing, mut pipe) = ingest_of_four_seconds(&data);
    let filler = disk.fill();
    give(&mut pipe, &seconds(4..10));
    until("it is said that there is no room", || storing.has_said("No space left on device").then_some(()));
    fs::remove_file(filler).unwrap();
    give(&mut pipe, &seconds(10..15));
    drop(pipe);
    let (code, summary, said) = storing.end();
    println!("{said:#?}");
    assert_eq!(code, Some(1), "{said:?}");
    assert_eq!(count(&said, "nothing more goes into that bucket"), 1, "said once: {said:?}");
    assert_eq!(count(&said, "what comes is stored again"), 1, "{said:?}");
    assert_eq!(summary["unaccounted_payload_bytes"], 0, "{summary}");

    // Of the bucket that failed there may be what was published before; who writes next seals it.
    assert_eq!(data.run("retain", &["--max-bytes", "1T"]).code, Some(0));
    data.is_well();
    let exported = data.export();
    let all = seconds(0..15);
    let kept = kept(&exported.frames, &all);
    let lost = summary["counters"]["lost_frames"].as_u64().unwrap() as usize;
    assert_eq!(kept + lost, all.frames.len(), "{summary}");
    println!("{kept} frames kept, {lost} lost and counted");
    // What came before, and what came when there was room again, is whole.
    for second in [0, 1, 2, 12, 13, 14] {
        let rows = data.json("objects", &[&format!("srcport={}", 30_000 + second), "direction=c"]);
        assert_eq!((&rows[0]["complete"], &rows[0]["size"]), (&true.into(), &SECOND.into()), "{second}: {rows:?}");
    }
}

#[test]
fn a_file_system_that_stops_taking_anything_ends_no_process() {
    let data = Data::new("aborted-disk");
    let Some(disk) = Disk::new(&data, 48) else { return };
    let (mut storing, mut pipe) = ingest_of_four_seconds(&data);
    assert!(run("sync", &[]));
    // As the kernel does it after an error of the disk: from now on nothing can be written.
    disk.remount("abort");
    give(&mut pipe, &seconds(4..8));
    until("it is said", || storing.has_said("Read-only file system").then_some(()));
    let server = Server::start(&data);
    assert_eq!(server.get("/streamdb/?srcip=203.0.113.9&srcport=80").status, 200, "readers go on");
    drop(server);
    drop(pipe);
    let (code, summary, said) = storing.end();
    assert_eq!(code, Some(1), "{said:?}");
    assert_eq!(count(&said, "nothing more goes into that bucket"), 1, "said once: {said:?}");
    assert!(summary["counters"]["lost_frames"].as_u64().unwrap() > 0, "{summary}");

    // Repaired and mounted again, it goes on by itself.
    assert!(disk.unmount());
    let _ = run("fsck.ext4", &["-p", "-f", disk.image.to_str().unwrap()]);
    assert!(disk.mount());
    let (storing, mut pipe) = ingest(&data);
    give(&mut pipe, &seconds(20..22));
    drop(pipe);
    let (code, _, said) = storing.end();
    assert_eq!(code, Some(0), "{said:?}");
    data.is_well();
    for second in [0, 1, 2, 20, 21] {
        let rows = data.json("objects", &[&format!("srcport={}", 30_000 + second), "direction=c"]);
        assert_eq!((&rows[0]["complete"], &rows[0]["size"]), (&true.into(), &SECOND.into()), "{second}: {rows:?}");
    }

    // Mounted to be read, as an archive is: everything reads, and who wants to write is told in a sentence.
    disk.remount("ro");
    data.is_well();
    let server = Server::start(&data);
    assert_eq!(server.get("/streamdb/?srcip=203.0.113.9&srcport=80").status, 200);
    let said = data.ingest(&[], &[Path::new("/dev/null")]);
    assert!(said.sentence().contains("Read-only file system"), "{said:?}");
}

#[test]
fn objects_are_derived_when_there_is_room_again() {
    let data = Data::new("full-disk-derive");
    let Some(disk) = Disk::new(&data, 48) else { return };
    let (storing, mut pipe) = Storing::start(data.command("ingest", &["--no-derive", "--json", "-"]));
    pipe.write_all(&Made::header()).unwrap();
    give(&mut pipe, &seconds(0..4));
    drop(pipe);
    assert_eq!(storing.end().0, Some(0));
    let filler = disk.fill();
    let (mut deriving, _pipe) = Storing::start(data.command("derive", &["--json"]));
    until("it is said that there is no room", || deriving.has_said("No space left on device").then_some(()));
    fs::remove_file(filler).unwrap();
    until("it works again", || deriving.has_said("the rows of objects are kept again").then_some(()));
    assert!(run("kill", &["-TERM", &deriving.child.id().to_string()]));
    let (code, summary, said) = deriving.end();
    assert_eq!((code, said.len()), (Some(0), 2), "each is said once: {said:?}");
    assert_eq!((&summary["objects"], &summary["damaged"]), (&8.into(), &0.into()), "{summary}");
    data.is_well();
}

#[test]
fn a_capture_goes_on_while_the_disk_is_full() {
    let Some(wire) = Wire::with_addresses() else { return };
    let data = Data::new("full-disk-live");
    let Some(disk) = Disk::new(&data, 48) else { return };
    let mut command = data.command("capture", &["-i", "near0", "--bucket", "1s", "--json"]);
    command = inside(&wire.near, &command);
    let (mut storing, _pipe) = Storing::start(command);
    until("it captures", || storing.has_said("capturing from").then_some(()));
    let (from, to) = (within(&wire.far, || UdpSocket::bind("10.9.0.2:9000").unwrap()), "10.9.0.1:9000");
    let _sink = within(&wire.near, || UdpSocket::bind(to).unwrap());
    let mut sent = 0u32;
    // A megabyte a second, each datagram with its number.
    let mut send = |lasts: Duration| {
        let begun = Instant::now();
        let first = sent;
        while begun.elapsed() < lasts {
            let datagram = [&sent.to_be_bytes()[..], &noise(sent, 1000)].concat();
            from.send_to(&datagram, to).unwrap();
            sent += 1;
            sleep(Duration::from_millis(1));
        }
        first..sent
    };
    let before = send(Duration::from_secs(3));
    sleep(Duration::from_secs(2));
    let filler = disk.fill();
    let during = send(Duration::from_secs(4));
    until("it is said that there is no room", || storing.has_said("No space left on device").then_some(()));
    fs::remove_file(filler).unwrap();
    send(Duration::from_secs(3));
    let after = send(Duration::from_secs(2));
    assert!(run("kill", &["-TERM", &storing.child.id().to_string()]));
    let (code, summary, said) = storing.end();
    println!("{said:#?}");
    assert_eq!(code, Some(1), "what it was asked to store is not all there: {said:?}");
    assert_eq!(count(&said, "nothing more goes into that bucket"), 1, "said once: {said:?}");
    assert_eq!(count(&said, "what comes is stored again"), 1, "{said:?}");
    assert_eq!(summary["unaccounted_payload_bytes"], 0, "{summary}");
    data.is_well();
    let number = |frame: &Frame| {
        let payload = frame.data.get(42..46)?;
        (frame.data[23] == 17 && frame.data[36..38] == 9000u16.to_be_bytes())
            .then(|| u32::from_be_bytes(payload.try_into().unwrap()))
    };
    let stored: Vec<u32> = data.export().frames.iter().filter_map(number).collect();
    assert!(stored.is_sorted());
    let has = |n: &u32| stored.binary_search(n).is_ok();
    assert!(before.clone().all(|n| has(&n)), "all that came before is there");
    assert!(after.clone().all(|n| has(&n)), "all that came when there was room again is there");
    let kept = during.clone().filter(has).count();
    println!(
        "of {} datagrams while the disk was full {kept} were kept; {}",
        during.len(),
        summary["counters"]["lost_frames"]
    );
    assert!(kept < during.len());
}
