//! Writes the file anew, without what counts no more.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::file::{MAGIC, Payload, each, put};
use super::keep::InMemory;
use super::known::Bounds;
use crate::volume::{Volume, VolumeFile};

/// Writes what counts of `old` at `path`, durably, without what is too much. The file, and its length.
pub(super) fn write(
    volume: &dyn Volume,
    path: &Path,
    old: &dyn VolumeFile,
    said: &InMemory,
    bounds: &Bounds,
) -> io::Result<(Box<dyn VolumeFile>, u64)> {
    match volume.unlink(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = volume.create(path)?;
    let mut surplus = said.contents.surplus(bounds);
    let mut out = Out { file: &*file, at: 0, bytes: MAGIC.to_vec() };
    if said.begun != 0 {
        out.put(&Payload::Begun(said.begun))?;
    }
    each(&|buffer, at| old.read_at(buffer, at), 0, &mut |payload| match &payload {
        Payload::Scanned(one) if said.contents.says(one) && !surplus.takes(one) => out.put(&payload),
        _ => Ok(()),
    })?;
    out.put(&Payload::Forgotten(surplus.forgotten))?;
    let mut joins = said.joins.surplus();
    each(&|buffer, at| old.read_at(buffer, at), 0, &mut |payload| match &payload {
        // What nobody is done with is met again with the same word on it.
        Payload::Joined(met) if said.joins.counts(met) => {
            if joins > 0 && met.is_done_for_somebody() {
                joins -= 1;
                return Ok(());
            }
            out.put(&payload)
        }
        _ => Ok(()),
    })?;
    for (bucket, mark) in said.marks.all() {
        out.put(&Payload::Mark(bucket, mark))?;
    }
    out.flush()?;
    let length = out.at;
    file.sync_data()?;
    Ok((file, length))
}

/// A file that is being written.
struct Out<'f> {
    file: &'f dyn VolumeFile,
    at: u64,
    bytes: Vec<u8>,
}

impl Out<'_> {
    fn put(&mut self, said: &Payload) -> io::Result<()> {
        let position = self.at + self.bytes.len() as u64;
        put(&mut self.bytes, position, said);
        if self.bytes.len() < 1 << 20 { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.bytes, self.at)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}
