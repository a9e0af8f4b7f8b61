//! Runs the program as a user does, and reads what it says.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod captures;
mod capturing;
pub mod flows;
mod http;
mod made;
mod sensor;
mod served;
mod wire;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use streamdb::worker::{Worker, WorkerConfig};
use streamdb_storage::Writer;
use streamdb_testkit::TestFolder;
use streamdb_types::{Interface, LinkType, Resolution};

pub use captures::{About, Capture, Frame, corpus, frames_of_tcp, read_capture, testdata, unpacked};
pub use capturing::{Capturing, Pair, head, stream_to};
pub use http::{Answer, Server};
pub use made::{Made, Talk};
pub use sensor::{RUN, Sensor, free_port, kill};
pub use served::Served;
pub use wire::{Wire, inside, installed, ip, may_capture, within};

/// How long anything that is waited for may take, on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of the program said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).expect("standard error is text");
        Self { code: output.status.code(), out: output.stdout, err }
    }

    /// What it printed, when all went well and it had nothing to complain of.
    pub fn well(self) -> Vec<u8> {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", String::from_utf8_lossy(&self.out));
        self.out
    }

    /// The one sentence that it failed with, without the name of the program.
    pub fn sentence(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        let line = self.err.strip_suffix('\n').unwrap_or_else(|| panic!("an unfinished line: {self:?}"));
        assert!(!line.contains('\n'), "more than one sentence: {}", self.err);
        line.strip_prefix("streamdb: ").unwrap_or_else(|| panic!("who speaks? {line}"))
    }
}

/// The program, with its arguments.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamdb"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn streamdb<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Said {
    Said::of(command(arguments).output().unwrap())
}

/// Waits for a child, and kills it when it takes too long.
pub fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A data folder of a test, gone with it.
pub struct Data {
    folder: TestFolder,
}

impl Data {
    /// A place where there is no data folder yet.
    pub fn new(name: &str) -> Self {
        Self { folder: TestFolder::new(name) }
    }

    /// One with these files in it.
    pub fn with(name: &str, files: &[&Path]) -> Self {
        let data = Self::new(name);
        data.ingest(&[], files).well();
        data
    }

    /// The data folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file beside it, for whatever the test needs.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Such a file with content.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.beside(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A command on this data folder.
    pub fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = command([name, "--data"]);
        command.arg(self.path()).args(arguments);
        command
    }

    /// Runs a command on this data folder.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Said {
        Said::of(self.command(name, arguments).output().unwrap())
    }

    /// Runs `ingest`.
    pub fn ingest(&self, flags: &[&str], files: &[&Path]) -> Said {
        Said::of(self.command("ingest", flags).args(files).output().unwrap())
    }

    /// The objects of a command that prints one a line.
    pub fn json(&self, name: &str, arguments: &[&str]) -> Vec<Value> {
        let said = self.run(name, &[&["--json"], arguments].concat()).well();
        json_lines(&said)
    }

    /// The rows of streams.
    pub fn streams(&self, filters: &[&str]) -> Vec<Value> {
        self.json("streams", filters)
    }

    /// The bytes of one object, or with a flag, of its stream or its connection's frames.
    pub fn get(&self, oid: &str, flags: &[&str]) -> Vec<u8> {
        self.run("get", &[&[oid], flags].concat()).well()
    }

    /// Every frame, as an export has it.
    pub fn export(&self) -> Capture {
        let path = self.beside("export");
        let said = self.run("export", &["--pcap", path.to_str().unwrap()]);
        let capture = read_capture(&path);
        let none = format!("streamdb: 0 frames match: {} is a capture without frames\n", path.display());
        let wanted = if capture.frames.is_empty() { none.as_str() } else { "" };
        assert_eq!((said.code, said.err.as_str()), (Some(0), wanted));
        assert!(capture.whole, "the export ends within a record");
        fs::remove_file(path).unwrap();
        capture
    }

    /// Names and contents of the buckets.
    pub fn buckets(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.path().join("buckets")).unwrap().map(Result::unwrap);
        let mut buckets: Vec<_> =
            entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
        buckets.sort();
        buckets
    }

    /// That nothing is wrong with the store, as far as it can tell itself.
    pub fn is_well(&self) {
        let report = json_lines(&self.run("verify", &["--deep", "--json"]).well());
        assert_eq!((&report[0]["findings"], &report[0]["unsealed"]), (&Value::Array(vec![]), &Value::from(0)));
        let stats = self.json("stats", &[]);
        assert_eq!(stats[0]["unaccounted_payload_bytes"], 0, "{}", stats[0]);
    }
}

/// Decoding, reassembly and this writer, as a live capture has them, with one interface.
pub fn worker(writer: Writer) -> Worker {
    let mut worker = Worker::new(writer, WorkerConfig { publish_at_ticks: true, ..WorkerConfig::default() });
    let interface = Interface {
        link_type: LinkType::ETHERNET,
        snap_length: 262_144,
        resolution: Resolution::NANOS,
        time_offset: 0,
        fcs_length: None,
        options: Vec::new(),
    };
    worker.interface(&interface).unwrap();
    worker
}

/// Bytes that do not repeat, others for each seed.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// One value a line.
pub fn json_lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("JSON is text");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A text of a row.
pub fn text<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {row}"))
}

/// Whether the long form of tests was asked for.
pub fn soak() -> bool {
    std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1")
}
