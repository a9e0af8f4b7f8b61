//! The truth about ourselves: one append-only text file, one line an event, each with its checksum.
//!
//! An event counts once [`Ledger::append`] has returned: it is on disk then. What a crash can leave is one line at the end
//! that was not written whole, of which nobody was told; it is cut off at the next opening for writing, and readers do not
//! see it. A line that is damaged anywhere else is reported with its number, and the others are read all the same.
//!
//! In memory there is not the file but what follows from it ([`Facts`]): some 50 bytes a bucket and some 200 a capture file
//! ingested. The file itself has about 250 bytes a bucket: a year of buckets of five minutes is 26 MB a worker.

mod facts;
mod line;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use streamdb_types::{BucketId, Timestamp};

pub use self::facts::{DamagedLine, Facts, Hold, SealedBucket};
use self::line::MAX_LINE;
pub use self::line::{Entry, Event};
use crate::volume::{Volume, VolumeFile, read_full};
use crate::{Error, Result};

/// The ledger, open for writing. There must be one in all processes: that of whoever holds the
/// lock of the data folder.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: Box<dyn VolumeFile>,
    /// Bytes of whole lines.
    len: u64,
    /// Bytes of an unfinished line that were cut off when it was opened.
    cut: u64,
    /// There may be something behind `len`, from an append that failed.
    unsure: bool,
    facts: Facts,
}

impl Ledger {
    /// Opens the ledger, or makes an empty one, and reads it. An unfinished last line is cut off. Every name in its folder is
    /// durable then.
    pub fn open(volume: &dyn Volume, path: &Path) -> Result<Self> {
        let file = match volume.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                volume.create(path).map_err(Error::io(path, "make the ledger"))?
            }
            result => result.map_err(Error::io(path, "open the ledger"))?,
        };
        // Always: who made it may have been killed before this.
        let folder = path.parent().unwrap_or(Path::new("/"));
        volume.sync_dir(folder).map_err(Error::io(folder, "make the ledger's name durable"))?;
        let mut facts = Facts::default();
        let read = |buf: &mut [u8], at| file.read_at(buf, at);
        let len = lines(read, 0, |at, line| facts.line(at, line)).map_err(Error::io(path, "read the ledger"))?;
        let there = file.len().map_err(Error::io(path, "ask for the length of the ledger"))?;
        // Synced in any case: who wrote the last line may have been killed before it was durable.
        let mut this = Self { path: path.to_owned(), file, len, cut: there.saturating_sub(len), unsure: true, facts };
        this.settle()?;
        Ok(this)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an event at the end and waits until it is on disk. After an error it did not happen, in memory or on disk.
    pub fn append(&mut self, time: Timestamp, event: &Event) -> Result<()> {
        self.settle()?;
        let entry = Entry { time, event: event.clone() };
        let unwritable = || Error::io(&self.path, "write an event to the ledger")(io::ErrorKind::InvalidInput.into());
        let line = entry.encode().ok_or_else(unwritable)?;
        self.unsure = true;
        let written = self.file.write_at(line.as_bytes(), self.len).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Now, if it can be done: a reader should not see what did not happen. Else before the next append.
            let _ = self.settle();
            return Err(Error::io(&self.path, "write to the ledger")(error));
        }
        self.unsure = false;
        self.len = self.len.saturating_add(line.len() as u64);
        self.facts.entry(&entry);
        Ok(())
    }

    /// Gives a bucket id that was never given before, and writes that down.
    pub fn give_bucket(&mut self, time: Timestamp, worker: u16) -> Result<BucketId> {
        let used_up = || Error::damaged(&self.path, self.len, "all four billion bucket ids of this sensor are given");
        let id = self.facts.next_bucket().ok_or_else(used_up)?;
        self.append(time, &Event::Bucket { id, worker })?;
        Ok(id)
    }

    /// A bucket with this id is in the store, whatever the ledger says: the id is not given again.
    pub fn note_existing(&mut self, id: BucketId) {
        self.facts.given(id);
    }

    /// What follows from the events until now.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Bytes of an unfinished last line that were cut off when it was opened.
    pub const fn cut(&self) -> u64 {
        self.cut
    }

    /// All entries that can be read of the ledger as it is now, without changing it.
    pub fn read(path: &Path) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        read_file(path, 0, |_, line| entries.extend(Entry::decode(line).ok()))?;
        Ok(entries)
    }

    /// Whether every line of the ledger can be read; [`Error::Damaged`] names the first that cannot.
    pub fn verify(path: &Path) -> Result<()> {
        let mut facts = Facts::default();
        read_file(path, 0, |at, line| facts.line(at, line))?;
        match facts.damaged().first() {
            Some(line) => Err(line.error(path)),
            None => Ok(()),
        }
    }

    /// Cuts off what may be behind the last whole line, and makes the lines durable.
    fn settle(&mut self) -> Result<()> {
        if self.unsure {
            let cut = self.file.truncate(self.len).and_then(|()| self.file.sync_data());
            cut.map_err(Error::io(&self.path, "cut an unfinished line off the ledger"))?;
            self.unsure = false;
        }
        Ok(())
    }
}

/// The ledger as a reader follows it, while another process may write to it.
#[derive(Debug)]
pub struct LedgerReader {
    path: PathBuf,
    /// Bytes that were read: whole lines.
    len: u64,
    facts: Facts,
}

impl LedgerReader {
    /// Reads the ledger.
    pub fn open(path: &Path) -> Result<Self> {
        let mut this = Self { path: path.to_owned(), len: 0, facts: Facts::default() };
        this.read_from(0)?;
        Ok(this)
    }

    /// Reads what was added since.
    pub fn refresh(&mut self) -> Result<()> {
        let (damaged, len) = (self.facts.damage(), self.len);
        let there = std::fs::metadata(&self.path).map_err(Error::io(&self.path, "read the ledger"))?.len();
        if there >= len {
            self.read_from(len)?;
            if self.facts.damage() == damaged {
                return Ok(());
            }
        }
        // The writer took back a line that it could not make durable, and we had seen it.
        self.facts = Facts::default();
        self.read_from(0)
    }

    /// What follows from the events until the last refresh.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read_from(&mut self, from: u64) -> Result<()> {
        self.len = read_file(&self.path, from, |at, line| self.facts.line(at, line))?;
        Ok(())
    }
}

/// Reads the lines of a file from `from` on, where one begins. The end of the last whole one.
fn read_file(path: &Path, from: u64, line: impl FnMut(u64, &[u8])) -> Result<u64> {
    let file = File::open(path).map_err(Error::io(path, "open the ledger"))?;
    lines(|buf, at| read_full(&file, buf, at), from, line).map_err(Error::io(path, "read the ledger"))
}

/// Calls `line` with the position and the bytes (without line feed) of every whole line, and returns where the last of them
/// ends. What comes after is a line that a crash left unfinished: one without line feed, or a last one with zeros in it,
/// which is how sectors look that were never written.
fn lines(
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    from: u64,
    mut line: impl FnMut(u64, &[u8]),
) -> io::Result<u64> {
    let mut buf = vec![0; MAX_LINE];
    // Where `current` begins, and where the next bytes are.
    let (mut begin, mut position) = (from, from);
    // The line that is being put together; no more of it than makes it too long to be one.
    let mut current = Vec::new();
    // The last line with zeros in it, until another line shows that it was not the last.
    let mut held: Option<(u64, Vec<u8>)> = None;
    loop {
        let count = read(&mut buf, position)?;
        let Some(mut rest) = buf.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        position = position.saturating_add(count as u64);
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            let (head, tail) = rest.split_at(at);
            rest = tail.get(1..).unwrap_or_default();
            take(&mut current, head);
            if let Some((at, bytes)) = held.take() {
                line(at, &bytes);
            }
            if current.contains(&0) {
                held = Some((begin, std::mem::take(&mut current)));
            } else {
                line(begin, &current);
                current.clear();
            }
            begin = position.saturating_sub(rest.len() as u64);
        }
        take(&mut current, rest);
    }
    Ok(match held {
        Some((at, _)) if begin == position => at,
        // An unfinished line after it: only one line can be unfinished, so the zeros are damage.
        Some((at, bytes)) => {
            line(at, &bytes);
            begin
        }
        None => begin,
    })
}

fn take(line: &mut Vec<u8>, more: &[u8]) {
    let room = (MAX_LINE + 1).saturating_sub(line.len());
    line.extend(more.iter().take(room));
}
