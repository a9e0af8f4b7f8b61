//! What a process says of itself while it runs, for other processes to show: a small file of text, written over in place each
//! second.
//!
//! It is no truth about anything, is never synced, and no crash can hurt: a reader believes it when its checksum is right, and
//! not for longer than [`FRESH`]. In place, so that a full disk does not keep a process from saying that it is one.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use streamdb_types::Timestamp;

use crate::error::{Error, Result};
use crate::folder::{DERIVED, now};
use crate::volume::{Volume, VolumeFile, read_full};

/// How long what was said is believed, in nanoseconds.
pub const FRESH: i64 = 10_000_000_000;

/// The most bytes of such a file.
const MOST: usize = 1 << 20;
/// `SDBSTAT1 <crc32> <bytes>` and a line feed; both numbers as eight hex digits.
const HEAD: usize = 27;
const MAGIC: &str = "SDBSTAT1";
/// A reader that met a change tries again so often.
const TRIES: u32 = 20;

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The process that captures.
    Capture,
    /// The one that derives.
    Derive,
    /// The one that looks after the others.
    Supervisor,
    /// The one that derives: what it is at.
    Working,
    /// The one that derives: what it gave up.
    GivenUp,
    /// The one that serves: what it takes apart.
    Serving,
    /// The one that serves: what it gave up.
    NotServed,
}

impl Teller {
    /// Its file in a data folder.
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        match self {
            Self::Capture => folder.join("status.capture"),
            Self::Derive => folder.join(DERIVED).join("status"),
            Self::Supervisor => folder.join("status.run"),
            Self::Working => folder.join(DERIVED).join("working"),
            Self::GivenUp => folder.join(DERIVED).join("given-up"),
            Self::Serving => folder.join(DERIVED).join("serving"),
            Self::NotServed => folder.join(DERIVED).join("not-served"),
        }
    }
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// When.
    pub time: Timestamp,
    /// Since when the process runs.
    pub since: Timestamp,
    /// Its number.
    pub pid: u32,
    /// All else, by name. Names have no blank, and values no line end.
    pub values: BTreeMap<String, String>,
}

impl Status {
    /// Adds a value.
    pub fn set(&mut self, name: &str, value: impl Display) {
        let shown = |c: char| if c.is_control() { '?' } else { c };
        self.values.insert(name.to_owned(), value.to_string().chars().map(shown).collect());
    }

    /// A number by its name; 0 when there is none.
    pub fn number(&self, name: &str) -> u64 {
        self.values.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A text by its name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether it is of a process that still runs, as far as can be told.
    pub const fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.time) <= FRESH
    }

    /// What a process says; `None` when it never said anything, or nothing that can be read.
    ///
    /// # Errors
    /// When the file is there and cannot be opened or read.
    pub fn read(folder: &Path, teller: Teller) -> Result<Option<Self>> {
        let path = teller.path(folder);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io(&path, "open it"))?,
        };
        let mut before = Vec::new();
        for _ in 0..TRIES {
            let length = file.metadata().map_err(Error::io(&path, "ask for its length"))?.len();
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(MOST).min(MOST)];
            let read = read_full(&file, &mut bytes, 0).map_err(Error::io(&path, "read it"))?;
            if let Some(status) = bytes.get(..read).and_then(Self::decode) {
                return Ok(Some(status));
            }
            // Nothing was written yet; or it is being written, unless it stays as it is.
            if bytes == before {
                return Ok(None);
            }
            before = bytes;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(None)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = String::new();
        let own = [("time", self.time.0), ("since", self.since.0), ("pid", self.pid.into())];
        own.iter().for_each(|(name, value)| _ = writeln!(body, "{name} {value}"));
        for (name, value) in &self.values {
            if body.len() + name.len() + value.len() + HEAD + 2 > MOST {
                break;
            }
            _ = writeln!(body, "{name} {value}");
        }
        let mut out = format!("{MAGIC} {:08x} {:08x}\n", crc32fast::hash(body.as_bytes()), body.len()).into_bytes();
        out.extend(body.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let mut words = std::str::from_utf8(head).ok()?.strip_suffix('\n')?.split(' ');
        let magic = words.next()?;
        let mut number = || words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
        let (crc, length) = (number()?, number()?);
        let body = rest.get(..length as usize)?;
        if magic != MAGIC || crc32fast::hash(body) != crc {
            return None;
        }
        let lines = std::str::from_utf8(body).ok()?.lines().filter_map(|line| line.split_once(' '));
        let mut values: BTreeMap<String, String> = lines.map(|(name, value)| (name.into(), value.into())).collect();
        let time = Timestamp(values.remove("time")?.parse().ok()?);
        let since = Timestamp(values.remove("since")?.parse().ok()?);
        let pid = values.remove("pid")?.parse().ok()?;
        Some(Self { time, since, pid, values })
    }
}

/// Who says it.
#[derive(Debug)]
pub struct StatusWriter {
    file: Box<dyn VolumeFile>,
    path: PathBuf,
    since: Timestamp,
}

impl StatusWriter {
    /// Begins to say something.
    ///
    /// # Errors
    /// When the file cannot be made or opened.
    pub fn open(volume: &dyn Volume, folder: &Path, teller: Teller) -> Result<Self> {
        let path = teller.path(folder);
        let file = match volume.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => volume.create(&path),
            file => file,
        };
        let file = file.map_err(Error::io(&path, "make it"))?;
        Ok(Self { file, path, since: now() })
    }

    /// Says it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, values: BTreeMap<String, String>) -> Result<()> {
        let status = Status { time: now(), since: self.since, pid: std::process::id(), values };
        self.file.write_at(&status.encode(), 0).map_err(Error::io(&self.path, "write it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::DiskVolume;
    use streamdb_testkit::TestFolder;

    #[test]
    fn what_is_said_is_read() {
        let folder = TestFolder::new("status");
        assert_eq!(Status::read(folder.path(), Teller::Capture).unwrap(), None);
        let writer = StatusWriter::open(&DiskVolume, folder.path(), Teller::Capture).unwrap();
        let mut said = Status::default();
        said.set("worker.0.interface", "eth0\nworker.0.frames 99");
        said.set("worker.0.frames", 12);
        said.set("long", "x".repeat(1000));
        writer.write(said.values.clone()).unwrap();
        let read = Status::read(folder.path(), Teller::Capture).unwrap().unwrap();
        assert_eq!((read.pid, read.number("worker.0.frames"), read.number("none")), (std::process::id(), 12, 0));
        assert_eq!(read.text("worker.0.interface"), Some("eth0?worker.0.frames 99"));
        assert!(read.is_fresh(now()) && !read.is_fresh(now().plus(2 * FRESH)));
        // What is shorter leaves a rest behind it, which is not read.
        said.values.remove("long");
        let writer = StatusWriter::open(&DiskVolume, folder.path(), Teller::Capture).unwrap();
        writer.write(said.values.clone()).unwrap();
        let read = Status::read(folder.path(), Teller::Capture).unwrap().unwrap();
        assert_eq!(read.values, said.values);
        assert_eq!(Status::read(folder.path(), Teller::Supervisor).unwrap(), None);
    }

    #[test]
    fn nothing_else_is_believed() {
        let mut status = Status { pid: 7, ..Status::default() };
        status.set("a", "b");
        let bytes = status.encode();
        assert_eq!(Status::decode(&bytes), Some(status.clone()));
        for at in 0..bytes.len() {
            assert_eq!(Status::decode(&bytes[..at]), None, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x20;
            // Hex digits in upper case are the same number.
            assert!(Status::decode(&flipped).is_none_or(|read| read == status), "flipped at {at}");
        }
        status.set("huge", "x".repeat(MOST));
        assert!(status.encode().len() <= MOST);
        assert!(Status::decode(&status.encode()).is_some_and(|read| read.text("a") == Some("b")));
    }
}
