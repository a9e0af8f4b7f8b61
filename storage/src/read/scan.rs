//! What is in a bucket that has no directory: found by walking its blocks from the front.
//!
//! Readers of a bucket that is being written follow it this way up to what is published; recovery finds this way what a
//! dead writer left. The walk stops at the first block that is not whole: what lies beyond was never vouched for. It also
//! stops where the disk does not give the bytes, and says so: what lies there is not known.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use streamdb_types::{BlockPlace, ConnKey, Direction};

use super::bucket::Bucket;
use crate::error::{Error, Result};
use crate::format::block::{BlockHeader, BlockKind, HEADER_LEN};
use crate::format::directory::{BlockEntry, Directory, EndEntry};
use crate::format::record::{Record, RecordKind, Standing, StreamHead, records};
use crate::format::superblock::SUPERBLOCK_LEN;

/// Where the walk is, and what it found.
pub(crate) struct Scan {
    /// The first byte that was not looked at.
    pub(crate) position: u64,
    /// The headers of whole blocks, for recovery.
    pub(crate) headers: Vec<(BlockHeader, u64)>,
    prev_len: u32,
    found: Directory,
    /// Where in `found.ends` each stream is.
    streams: HashMap<(ConnKey, Direction), usize>,
    /// Streams without END: recovery gives them one.
    open: HashMap<(ConnKey, Direction), bool>,
    contents: Option<Arc<Directory>>,
    /// The first and the last byte at which the walk stopped, as they could not be read.
    pub(crate) unreadable: Option<(u64, u64)>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            position: SUPERBLOCK_LEN as u64,
            headers: Vec::new(),
            prev_len: 0,
            found: Directory::default(),
            streams: HashMap::new(),
            open: HashMap::new(),
            contents: None,
            unreadable: None,
        }
    }
}

impl Scan {
    /// Walks on: to `published`, where damage is an error, or as far as blocks are whole.
    pub(crate) fn follow(&mut self, bucket: &Bucket, published: Option<u64>) -> Result<()> {
        while published.is_none_or(|end| self.position < end) {
            match self.step(bucket) {
                Ok(()) => {}
                Err(Error::Damaged { .. }) if published.is_none() => break,
                Err(Error::Unreadable { first, last, .. }) if published.is_none() => {
                    self.unreadable = Some((first, last));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// An error when the walk stopped at bytes that could not be read.
    pub(crate) fn is_readable(&self, path: &Path) -> Result<()> {
        let Some((first, last)) = self.unreadable else { return Ok(()) };
        Err(Error::Unreadable { path: path.to_owned(), first, last })
    }

    fn step(&mut self, bucket: &Bucket) -> Result<()> {
        let position = self.position;
        let header = bucket.header(position)?;
        if header.prev_len != self.prev_len || header.number as usize != self.headers.len() + 1 {
            return Err(bucket.damaged(position, "the block does not follow the one before it"));
        }
        let block = bucket.block(position)?;
        // A block counts as a whole or not at all.
        let mut found = Vec::new();
        match header.kind {
            BlockKind::Shared | BlockKind::Long => {
                for record in records(block.bytes()) {
                    let record =
                        record.map_err(|_| bucket.damaged(position, "a record of the block is not readable"))?;
                    found.extend(Found::of(bucket, position, &record)?);
                }
            }
            BlockKind::Journal => {}
            BlockKind::Directory => return Err(bucket.damaged(position, "a directory without a trailer")),
        }
        bucket.still_whole(position)?;
        if header.kind == BlockKind::Journal {
            self.found.frames = header.first_frame.0.saturating_add(header.records.into());
        }
        found.into_iter().for_each(|found| self.take(found));
        self.found.blocks.push(BlockEntry::of(&header, position));
        self.headers.push((header, position));
        self.prev_len = header.span() as u32;
        self.position = position.saturating_add(header.span().max(HEADER_LEN as u64));
        self.contents = None;
        Ok(())
    }

    fn take(&mut self, found: Found) {
        match found {
            Found::Stream(entry, is_open) => {
                let id = (entry.key, entry.direction);
                self.found.connections = self.found.connections.max(entry.conn.saturating_add(1));
                self.open.insert(id, is_open);
                match self.streams.get(&id).and_then(|at| self.found.ends.get_mut(*at)) {
                    Some(known) => *known = entry,
                    None => {
                        self.streams.insert(id, self.found.ends.len());
                        self.found.ends.push(entry);
                    }
                }
            }
            Found::Note(place) => self.found.notes.push(place),
        }
    }

    /// What was found, as a directory would say it. The counters are not known.
    pub(crate) fn contents(&mut self) -> Arc<Directory> {
        let found = &self.found;
        Arc::clone(self.contents.get_or_insert_with(|| {
            let mut contents = found.clone();
            contents.ends.sort_unstable_by_key(|e| (e.key, e.direction));
            Arc::new(contents)
        }))
    }

    /// Whether a stream's newest record is an OPEN.
    pub(crate) fn is_open(&self, key: ConnKey, direction: Direction) -> bool {
        self.open.get(&(key, direction)).copied().unwrap_or(false)
    }
}

/// What one record says to the walk.
enum Found {
    /// Of a stream, the newest so far, and whether it is an OPEN.
    Stream(EndEntry, bool),
    /// Of no stream.
    Note(BlockPlace),
}

impl Found {
    fn of(bucket: &Bucket, position: u64, record: &Record<'_>) -> Result<Option<Self>> {
        let place = BlockPlace::new(position, record.place);
        Ok(match record.kind {
            RecordKind::Open | RecordKind::End => {
                let (head, _) = record.stream(bucket.id()).map_err(|_| bucket.no_record(place))?;
                let StreamHead { key, direction, length, standing, .. } = head;
                let entry = EndEntry { key, conn: record.conn, direction, place, length: length.0 };
                Some(Self::Stream(entry, standing == Standing::Open))
            }
            RecordKind::List => None,
            RecordKind::Interface | RecordKind::Secrets | RecordKind::Names | RecordKind::Loss => {
                Some(Self::Note(place))
            }
        })
    }
}
