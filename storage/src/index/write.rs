//! Writes an index file: one section after the other, under another name until it is whole and durable.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::layout::{Header, Section, footer};
use super::pack::SLACK;
use super::set;
use super::view::PAGE;
use crate::derived::DERIVATION;
use crate::error::{Error, Result};
use crate::format::bytes::align8;
use crate::volume::{Volume, VolumeFile};

/// Bytes that are held before they are written; whole pages.
const HELD: usize = 256 * PAGE;

/// An index file that is being written.
pub(super) struct FileWriter<'v> {
    volume: &'v dyn Volume,
    path: PathBuf,
    /// Its name when it is whole.
    named: PathBuf,
    file: Box<dyn VolumeFile>,
    /// Bytes written, whole pages.
    written: u64,
    held: Vec<u8>,
    sums: Vec<u32>,
    section: Option<(Section, u64)>,
    whole: bool,
    pub(super) header: Header,
}

impl<'v> FileWriter<'v> {
    /// Begins a file in this folder, with a name for now and the next number, which is nobody else's.
    pub(super) fn new(volume: &'v dyn Volume, folder: &Path) -> Result<Self> {
        match volume.create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::io(folder, "make the folder of index files")(error));
            }
            _ => {}
        }
        let names = volume.list(folder).map_err(Error::io(folder, "list the index files"))?;
        let mut number = names.iter().filter_map(|name| set::number(name)).max().unwrap_or(0) + 1;
        let (path, file) = loop {
            let path = set::temporary(folder, number);
            match volume.create(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io(&path, "make an index file")(error)),
            }
        };
        let header = Header { derivation: DERIVATION, ..Header::default() };
        Ok(Self {
            volume,
            named: set::path(folder, number),
            path,
            file,
            written: 0,
            held: vec![0; PAGE],
            sums: Vec::new(),
            section: None,
            whole: false,
            header,
        })
    }

    /// The name for now.
    pub(super) fn temporary(&self) -> &Path {
        &self.path
    }

    /// Where the next byte will lie.
    pub(super) fn position(&self) -> u64 {
        self.written + self.held.len() as u64
    }

    /// Begins a section; the one before ends here.
    pub(super) fn begin(&mut self, section: Section) -> Result<()> {
        self.end()?;
        self.held.resize(align8(self.held.len()), 0);
        self.section = Some((section, self.position()));
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((section, at)) = self.section.take() {
            self.header.sections.push((section.0, at, self.position() - at));
            // So that its last numbers are read by one load.
            self.held.extend([0; SLACK]);
        }
        self.flush(false)
    }

    /// Appends to the section.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= HELD { self.flush(false) } else { Ok(()) }
    }

    fn flush(&mut self, all: bool) -> Result<()> {
        if all {
            self.held.resize(self.held.len().next_multiple_of(PAGE), 0);
        } else if self.held.len() < HELD {
            return Ok(());
        }
        let whole = self.held.len() / PAGE * PAGE;
        let pages = self.held.get(..whole).unwrap_or_default();
        self.sums.extend(pages.chunks(PAGE).map(crc32fast::hash));
        self.file.write_at(pages, self.written).map_err(Error::io(&self.path, "write an index file"))?;
        self.file.flush_behind(self.written, whole as u64);
        self.written += whole as u64;
        self.held.drain(..whole);
        Ok(())
    }

    /// Ends the file and gives it its name, durably.
    pub(super) fn finish(mut self) -> Result<PathBuf> {
        self.end()?;
        self.flush(true)?;
        let first = self.header.encode();
        if let Some(sum) = self.sums.first_mut() {
            *sum = crc32fast::hash(&first);
        }
        let failed = |path: &Path| Error::io(path, "write an index file");
        let mut rest: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        rest.extend(footer(self.written));
        self.file.write_at(&rest, self.written).map_err(failed(&self.path))?;
        self.file.write_at(&first, 0).map_err(failed(&self.path))?;
        self.file.sync_data().map_err(Error::io(&self.path, "make an index file durable"))?;
        self.volume.rename(&self.path, &self.named).map_err(Error::io(&self.named, "name an index file"))?;
        self.whole = true;
        let folder = self.named.parent().unwrap_or(Path::new("."));
        self.volume.sync_dir(folder).map_err(Error::io(folder, "make the name of an index file durable"))?;
        Ok(self.named.clone())
    }
}

/// What did not become whole is removed; if that fails, by who derives next.
impl Drop for FileWriter<'_> {
    fn drop(&mut self) {
        if !self.whole {
            let _ = self.volume.unlink(&self.path);
        }
    }
}
