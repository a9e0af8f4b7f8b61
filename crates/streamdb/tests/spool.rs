//! Captures that are ingested while another process writes, and ingests that were interrupted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use common::{Data, Made, Talk, json_lines, noise, text, until, wait};
use serde_json::Value;

/// A writer that goes on: an `ingest` from a pipe that stays open.
struct Writing {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Writing {
    fn start(data: &Data) -> Self {
        let mut command = data.command("ingest", &["-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&conversation(50_000, 0, b"of the pipe")).unwrap();
        pipe.flush().unwrap();
        let folder = data.path();
        until("it writes", || streamdb_storage::writer_alive(&folder).unwrap().then_some(()));
        until("it has begun", || (data.run("streams", &["--json"]).code == Some(0)).then_some(()));
        Self { child, pipe: Some(pipe) }
    }

    fn end(mut self) -> String {
        drop(self.pipe.take());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(wait(&mut self.child).code(), Some(0), "{said}");
        said
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        wait(&mut self.child);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A capture of one conversation, in which the server says this.
fn conversation(port: u16, at: u64, says: &[u8]) -> Vec<u8> {
    let mut made = Made::default();
    let mut talk = Talk::new(port);
    talk.open(&mut made, at).ask(&mut made, at + 10, b"hello\r\n").answer(&mut made, at + 20, says);
    talk.close(&mut made, at + 30);
    made.file()
}

/// A capture of many, large enough to be interrupted.
fn long(data: &Data, name: &str) -> PathBuf {
    let mut made = Made::default();
    for n in 0..60 {
        let mut talk = Talk::new(10_000 + n);
        talk.open(&mut made, u64::from(n) * 5_000).ask(&mut made, u64::from(n) * 5_000 + 10, b"hello\r\n");
        talk.answer(&mut made, u64::from(n) * 5_000 + 20, &noise(n.into(), 400_000));
        talk.close(&mut made, u64::from(n) * 5_000 + 900);
    }
    data.write(name, &made.file())
}

/// The ports of the conversations that are there, each as often as it is; but for that of the pipe, of which nobody knows
/// more before it says more.
fn ports(data: &Data) -> Vec<u64> {
    let rows = data.streams(&["direction=c", "port=!50000"]);
    let mut ports: Vec<u64> = rows.iter().map(|row| row["src_port"].as_u64().unwrap()).collect();
    ports.sort_unstable();
    ports
}

/// What lies in the spool.
fn spooled(data: &Data) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(data.path().join("spool")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

#[test]
fn a_running_writer_stores_what_others_ingest() {
    let data = Data::new("spool");
    let writing = Writing::start(&data);
    let files = [
        data.write("a.pcap", &conversation(40_001, 1_000, b"of a")),
        data.write("b.pcap", &conversation(40_002, 2_000, b"of b")),
    ];
    let said = data.ingest(&["--json", "--filter", "tcp"], &paths(&files));
    let folder = data.path();
    let handed = format!("streamdb: another process writes to {}: 2 captures are handed to it\n", folder.display());
    assert_eq!((said.code, said.err.as_str()), (Some(0), handed.as_str()));
    let report = &json_lines(&said.out)[0];
    assert_eq!((report["files"].as_u64(), report["connections"].as_u64()), (Some(2), Some(2)), "{report}");
    assert_eq!(report["unaccounted_payload_bytes"], 0);
    // It is there while the other one goes on.
    assert_eq!(ports(&data), [40_001, 40_002]);
    assert!(spooled(&data).is_empty());
    // For people it is the line that it would have been.
    let said = data.ingest(&["--again"], &[&files[0]]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(String::from_utf8(said.out).unwrap().contains(" in 1 connection; 1 bucket, "));
    // The writer says what it stored.
    let said = writing.end();
    let line = format!("streamdb: stored {}, {} from the spool: ", files[0].display(), files[1].display());
    assert!(said.contains(&line), "{said}");
    data.is_well();
    assert_eq!(ports(&data), [40_001, 40_001, 40_002]);
    assert_eq!(data.streams(&["port=50000"]).len(), 2);
}

#[test]
fn a_file_twice_is_recognised_wherever_it_was_stored() {
    let data = Data::new("spool-twice");
    let file = data.write("a.pcap", &conversation(40_001, 1_000, b"of a"));
    data.ingest(&[], &[&file]).well();
    let writing = Writing::start(&data);
    let copy = data.write("copy.pcap", &fs::read(&file).unwrap());
    let said = data.ingest(&[], &[&copy]);
    assert!(said.sentence().starts_with(&format!("{}: already ingested at 20", copy.display())), "{said:?}");
    let other = data.write("b.pcap", &conversation(40_002, 2_000, b"of b"));
    assert_eq!(data.ingest(&[], &[&other]).code, Some(0));
    writing.end();
    let said = data.ingest(&[], &[&other]);
    assert!(said.sentence().contains(": already ingested at 20"), "{said:?}");
    assert_eq!(ports(&data), [40_001, 40_002]);
}

#[test]
fn what_is_wrong_with_a_capture_is_told_to_who_handed_it_over() {
    let data = Data::new("spool-wrong");
    let writing = Writing::start(&data);
    let whole = conversation(40_001, 1_000, b"of a");
    let cut = data.write("cut.pcap", &whole[..whole.len() - 5]);
    let said = data.ingest(&[], &[&cut]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let line = said.err.lines().last().unwrap();
    assert!(line.starts_with(&format!("streamdb: {}: ", cut.display())), "{line}");
    assert!(!said.err.contains("/spool/"), "{}", said.err);
    // What is not there is not handed over.
    let said = data.ingest(&[], &[&data.beside("none.pcap")]);
    assert!(said.sentence().contains("none.pcap: "), "{said:?}");
    let said = data.ingest(&["--filter", "tcp prot"], &[&cut]);
    assert!(said.sentence().starts_with("the filter "), "{said:?}");
    assert!(spooled(&data).is_empty());
    writing.end();
    data.is_well();
}

#[test]
fn a_pipe_is_handed_over_when_it_ends() {
    let data = Data::new("spool-pipe");
    let writing = Writing::start(&data);
    let mut command = data.command("ingest", &["-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&conversation(40_003, 3_000, b"of a pipe")).unwrap();
    drop(pipe);
    assert_eq!(wait(&mut child).code(), Some(0));
    assert_eq!(ports(&data), [40_003]);
    writing.end();
}

#[test]
fn what_a_dead_writer_left_in_its_spool_is_stored_once() {
    let data = Data::new("spool-dead");
    let long = long(&data, "long.pcap");
    let writing = Writing::start(&data);
    let said = data.ingest(&["--no-wait", "--bucket", "10s"], &[&long]);
    assert_eq!((said.code, said.out.len()), (Some(0), 0), "{said:?}");
    // In the middle of it.
    until("it is at it", || (ports(&data).len() > 10).then_some(()));
    writing.kill();
    let here = ports(&data).len();
    assert!(here < 60, "it was done before it was killed");
    assert_eq!(spooled(&data).len(), 1);
    // The next writer does it all, and what was there of it is not there twice.
    let other = data.write("a.pcap", &conversation(40_001, 1_000_000, b"of a"));
    let said = data.ingest(&[], &[&other]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("streamdb: an ingest of this was interrupted; what it left in bucket"), "{said:?}");
    let expected: Vec<u64> = (10_000..10_060).chain([40_001]).collect();
    assert_eq!(ports(&data), expected);
    assert!(spooled(&data).is_empty());
    data.is_well();
}

#[test]
fn who_waits_for_a_writer_that_dies_stores_it_itself() {
    let data = Data::new("spool-waits");
    let long = long(&data, "long.pcap");
    let writing = Writing::start(&data);
    let mut command = data.command("ingest", &["--json", "--bucket", "10s"]);
    let child = command.arg(&long).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("it is at it", || (ports(&data).len() > 10).then_some(()));
    writing.kill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json_lines(&output.stdout)[0]["connections"], 60);
    let expected: Vec<u64> = (10_000..10_060).collect();
    assert_eq!(ports(&data), expected);
    data.is_well();
}

/// The states of the buckets, with why they were dropped.
fn states(data: &Data) -> Vec<String> {
    let row = |row: &Value| format!("{} {}", text(row, "state"), row["reason"].as_str().unwrap_or("-"));
    data.json("buckets", &["--dropped"]).iter().map(row).collect()
}

#[test]
fn an_ingest_that_was_killed_is_done_anew() {
    let data = Data::new("killed-ingest");
    let long = long(&data, "long.pcap");
    let interrupt = |data: &Data| {
        let mut command = data.command("ingest", &["--bucket", "10s"]);
        let mut child = command.arg(&long).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // From outside, as the folder may not be there yet.
        let some = |entries: fs::ReadDir| entries.count() > 6;
        until("some is stored", || fs::read_dir(data.path().join("buckets")).is_ok_and(some).then_some(()));
        child.kill().unwrap();
        wait(&mut child);
    };
    interrupt(&data);
    let before = ports(&data);
    assert!(!before.is_empty() && before.len() < 60, "{before:?}");
    // Somebody needs what is in one of its buckets.
    let held = data.streams(&["direction=c", "limit=1"]);
    data.run("hold", &[text(&held[0], "oid")]).well();
    let said = data.ingest(&["--bucket", "10s"], &[&long]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("is dropped, and all is stored anew\n"), "{said:?}");
    let all: Vec<u64> = (10_000..10_060).collect();
    let mut now = ports(&data);
    now.dedup();
    assert_eq!(now, all);
    // What was held stays.
    data.get(text(&held[0], "oid"), &["--raw"]);
    let states = states(&data);
    assert!(states.contains(&"dropped unfinished".to_owned()), "{states:?}");
    data.is_well();
    // And now it is known.
    assert!(data.ingest(&[], &[&long]).sentence().contains(": already ingested at "));
}

#[test]
fn one_that_was_killed_with_others_leaves_what_they_have() {
    let data = Data::new("killed-others");
    let (long, other) = (long(&data, "long.pcap"), data.write("o.pcap", &conversation(40_001, 1_000, b"of o")));
    let mut command = data.command("ingest", &["--bucket", "10s"]);
    let mut child = command.arg(&long).arg(&other).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let some = |entries: fs::ReadDir| entries.count() > 6;
    until("some is stored", || fs::read_dir(data.path().join("buckets")).is_ok_and(some).then_some(()));
    child.kill().unwrap();
    wait(&mut child);
    // The other one would be gone if all was dropped that was stored with it.
    let said = data.ingest(&["--bucket", "10s"], &[&long]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.err.contains("stored anew"), "{said:?}");
    assert!(ports(&data).contains(&40_001));
    let said = data.ingest(&["--again", "--bucket", "10s"], &[&long, &other]);
    assert!(said.err.contains("stored anew"), "{said:?}");
    data.is_well();
}
