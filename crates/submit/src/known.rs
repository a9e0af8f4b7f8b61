//! The file of the record: read as far as others wrote it, and written to, all lines or none.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::error::Error;
use crate::job::Jobs;
use crate::record::{Entry, MAX_LINE};

/// The record as far as it was read.
pub(crate) struct Known {
    path: PathBuf,
    record: File,
    /// What its lines add up to.
    pub(crate) jobs: Jobs,
    /// Bytes of whole lines.
    read: u64,
    /// Lines that could not be read.
    pub(crate) damaged: u64,
}

impl Known {
    /// Opens the record, and makes it if it is not there. Nothing of it is read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let record = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let record = record.map_err(Error::io(&path, "open the record"))?;
        Ok(Self { path, record, jobs: Jobs::default(), read: 0, damaged: 0 })
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.record.metadata().is_ok_and(|facts| facts.len() == 0)
    }

    /// Reads what others wrote.
    pub(crate) fn refresh(&mut self) -> Result<(), Error> {
        self.read_on().map_err(Error::io(&self.path, "read the record"))
    }

    fn read_on(&mut self) -> io::Result<()> {
        if self.record.metadata()?.len() < self.read {
            // Somebody put an older record in its place.
            (self.jobs, self.read, self.damaged) = (Jobs::default(), 0, 0);
        }
        self.record.seek(SeekFrom::Start(self.read))?;
        let mut lines = BufReader::new(&self.record);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
            let whole = line.strip_suffix(b"\n");
            if whole.is_none() && read < MAX_LINE {
                return Ok(());
            }
            self.read += read as u64;
            match whole.and_then(Entry::decode) {
                Some(entry) => self.jobs.apply(entry),
                None => self.damaged += 1,
            }
        }
    }

    /// Writes lines, all or none, and takes them in when they are durable: with one sync, however many they are.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let lines: String = entries.iter().map(Entry::encode).collect();
        // A line that a killed process did not finish goes first.
        let record = &mut self.record;
        let written = record
            .set_len(self.read)
            .and_then(|()| record.write_all(lines.as_bytes()))
            .and_then(|()| record.sync_data());
        if let Err(error) = written {
            // What may be there of them must not count later: it was not acknowledged.
            let _ = record.set_len(self.read);
            return Err(Error::io(&self.path, "write the record")(error));
        }
        self.read += lines.len() as u64;
        entries.into_iter().for_each(|entry| self.jobs.apply(entry));
        Ok(())
    }
}
