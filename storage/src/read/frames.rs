//! The frames again: out of the journal, with their payloads out of the streams.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use streamdb_types::{BucketId, Direction, FrameNumber, Interface, Path, StreamOffset, Timestamp, Tuple};

use super::bucket::Bucket;
use super::chunks::{Part, read_chunk};
use super::merging::merged;
use super::store::Store;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::format::block::BlockKind;
use crate::format::directory::{Directory, EndEntry};
use crate::format::record::{Chunk, RecordKind};
use crate::ingests::{FOLDER, INGEST, SPOOL};
use crate::journal::{JournalBlock, JournalError, JournalFrame};

/// A frame as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct StoredFrame<'a> {
    /// When.
    pub time: Timestamp,
    /// Its interface.
    pub interface: &'a Arc<Interface>,
    /// Its length on the wire.
    pub wire_len: u32,
    /// Its bytes as captured.
    pub data: &'a [u8],
    /// Whether it belongs to a connection.
    pub connected: bool,
    /// Where its payload lies in its stream, if the stream has these very bytes there.
    pub placed: Option<StreamOffset>,
}

/// Which frames are wanted.
#[derive(Default)]
pub struct FrameFilter<'f> {
    /// From this time on.
    pub start: Option<Timestamp>,
    /// Up to and with this time.
    pub end: Option<Timestamp>,
    /// Of these connections, and those of none; all when there is no such test.
    pub connections: Option<ConnectionTest<'f>>,
}

/// Says whether a connection is wanted.
pub type ConnectionTest<'f> = &'f dyn Fn(&Tuple, &Path) -> bool;

impl FrameFilter<'_> {
    pub(super) fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        self.start.is_none_or(|start| last >= start) && self.end.is_none_or(|end| first <= end)
    }
}

/// What goes wrong between two crates' halves of a frame.
enum Problem {
    Journal(JournalError),
    Store(Error),
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Calls with each frame that is wanted, in the order in which they were captured: of several workers at once, in that of
    /// their times.
    ///
    /// # Errors
    /// At the first block that is damaged, and when `visit` says so.
    pub fn frames(
        &self,
        filter: &FrameFilter<'_>,
        visit: &mut dyn FnMut(&StoredFrame<'_>) -> Result<()>,
    ) -> Result<()> {
        // Those of workers that captured at once are read together; what was ingested is read by itself, as it came.
        let mut together: Vec<(BucketId, u16)> = Vec::new();
        for id in self.ids()? {
            let bucket = match self.bucket(id) {
                // Retention took it since the list was made.
                Err(Error::NoBucket(_)) => continue,
                bucket => bucket?,
            };
            let worker = bucket.superblock.worker;
            if matches!(worker, INGEST | SPOOL | FOLDER) {
                self.frames_together(&std::mem::take(&mut together), filter, visit)?;
                self.frames_of(&bucket, filter, visit)?;
            } else {
                together.push((id, worker));
            }
        }
        self.frames_together(&together, filter, visit)
    }

    fn frames_together(
        &self,
        buckets: &[(BucketId, u16)],
        filter: &FrameFilter<'_>,
        visit: &mut dyn FnMut(&StoredFrame<'_>) -> Result<()>,
    ) -> Result<()> {
        let one = buckets.first().map(|(_, worker)| *worker);
        let ids = buckets.iter().map(|(id, _)| *id);
        if buckets.iter().any(|(_, worker)| Some(*worker) != one) {
            return merged(self, &ids.collect::<Vec<_>>(), filter, visit);
        }
        for id in ids {
            match self.bucket(id) {
                Err(Error::NoBucket(_)) => {}
                bucket => self.frames_of(&*bucket?, filter, visit)?,
            }
        }
        Ok(())
    }

    fn frames_of(
        &self,
        bucket: &Bucket,
        filter: &FrameFilter<'_>,
        visit: &mut dyn FnMut(&StoredFrame<'_>) -> Result<()>,
    ) -> Result<()> {
        let contents = self.contents(bucket)?;
        let journal = |b: &&crate::format::directory::BlockEntry| b.kind == BlockKind::Journal;
        if !contents.blocks.iter().filter(journal).any(|b| filter.overlaps(b.first_time, b.last_time)) {
            return Ok(());
        }
        let mut frames = BucketFrames::new(bucket, &contents)?;
        let only = match filter.connections {
            Some(wanted) => Some(frames.connections(wanted)?),
            None => None,
        };
        for entry in contents.blocks.iter().filter(journal) {
            if filter.overlaps(entry.first_time, entry.last_time) {
                frames.block(entry.position, only.as_deref(), &mut |_, frame| {
                    if filter.overlaps(frame.time, frame.time) { visit(frame) } else { Ok(()) }
                })?;
            }
        }
        Ok(())
    }

    /// The interfaces that the store has frames of, each description once, in the order in which the buckets have them.
    ///
    /// # Errors
    /// When a bucket cannot be read.
    pub fn interfaces(&self) -> Result<Vec<Interface>> {
        let mut buckets = Vec::new();
        for id in self.ids()? {
            match self.bucket(id) {
                Err(Error::NoBucket(_)) => {}
                bucket => buckets.push(bucket?),
            }
        }
        self.interfaces_in(&buckets)
    }

    /// The interfaces described in the buckets that a stream lies in, likewise.
    ///
    /// # Errors
    /// When a bucket cannot be read.
    pub fn interfaces_of(&self, stream: &Stream) -> Result<Vec<Interface>> {
        let buckets = stream.buckets().iter().map(|held| self.bucket_or(held.id(), held));
        self.interfaces_in(&buckets.collect::<Result<Vec<_>>>()?)
    }

    /// A bucket as it is now, or as somebody has it mapped, if retention took it since.
    fn bucket_or(&self, id: BucketId, held: &Arc<Bucket>) -> Result<Arc<Bucket>> {
        match self.bucket(id) {
            Err(Error::NoBucket(_)) => Ok(Arc::clone(held)),
            bucket => bucket,
        }
    }

    fn interfaces_in(&self, buckets: &[Arc<Bucket>]) -> Result<Vec<Interface>> {
        let mut all: Vec<Interface> = Vec::new();
        for bucket in buckets {
            let contents = self.contents(bucket)?;
            let interfaces: BTreeMap<u32, Arc<Interface>> =
                BucketFrames::new(&**bucket, &contents)?.interfaces.into_iter().collect();
            for interface in interfaces.into_values() {
                if !all.contains(&interface) {
                    all.push(Arc::unwrap_or_clone(interface));
                }
            }
        }
        Ok(all)
    }

    /// Calls with each frame of a stream's connection, both directions, in the order in which they were captured: those in
    /// the buckets in which the stream itself had one.
    ///
    /// # Errors
    /// At the first block that is damaged, and when `visit` says so.
    pub fn stream_frames(&self, stream: &Stream, visit: &mut dyn FnMut(&StoredFrame<'_>) -> Result<()>) -> Result<()> {
        for (held, &(id, conn, first, span)) in stream.buckets().iter().zip(stream.frames()) {
            if span == 0 {
                continue;
            }
            let bucket = self.bucket_or(id, held)?;
            let contents = self.contents(&bucket)?;
            let mut frames = BucketFrames::new(&*bucket, &contents)?;
            let last = first.0.saturating_add(span);
            for entry in contents.blocks.iter().filter(|b| b.kind == BlockKind::Journal) {
                let begin = entry.first_frame.0;
                let end = begin.saturating_add(entry.records.into());
                if begin < last && end > first.0 {
                    frames.block(entry.position, Some(&[conn]), &mut |_, frame| {
                        if frame.connected { visit(frame) } else { Ok(()) }
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// The frames of one bucket.
pub(crate) struct BucketFrames<B> {
    bucket: B,
    ends: HashMap<(u32, Direction), EndEntry>,
    chunks: HashMap<(u32, Direction), Vec<Chunk>>,
    interfaces: HashMap<u32, Arc<Interface>>,
}

impl<B: Deref<Target = Bucket>> BucketFrames<B> {
    pub(crate) fn new(bucket: B, contents: &Directory) -> Result<Self> {
        let mut interfaces = HashMap::new();
        for place in &contents.notes {
            bucket.with_record(*place, |record, _| {
                if record.kind == RecordKind::Interface {
                    let (index, interface) = record.interface().map_err(|_| bucket.no_record(*place))?;
                    interfaces.insert(index, Arc::new(interface));
                }
                Ok(())
            })?;
        }
        let ends = contents.ends.iter().map(|end| ((end.conn, end.direction), *end)).collect();
        Ok(Self { bucket, ends, chunks: HashMap::new(), interfaces })
    }

    /// The ordinals of the connections that are wanted, ascending.
    pub(super) fn connections(&self, wanted: &dyn Fn(&Tuple, &Path) -> bool) -> Result<Vec<u32>> {
        let mut places: Vec<(u32, &EndEntry)> = self.ends.iter().map(|((conn, _), end)| (*conn, end)).collect();
        places.sort_unstable_by_key(|(conn, end)| (*conn, end.place));
        places.dedup_by_key(|(conn, _)| *conn);
        places.sort_unstable_by_key(|(_, end)| end.place);
        let mut all = Vec::new();
        for (conn, end) in places {
            let bucket = &*self.bucket;
            let (head, _) = bucket.with_record(end.place, |record, _| {
                record.stream(bucket.id()).map_err(|_| bucket.no_record(end.place))
            })?;
            if wanted(&head.tuple, &head.path) {
                all.push(conn);
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Calls with the frames of one journal block: all, or those of some connections and those of none.
    pub(crate) fn block(
        &mut self,
        position: u64,
        only: Option<&[u32]>,
        visit: &mut dyn FnMut(FrameNumber, &StoredFrame<'_>) -> Result<()>,
    ) -> Result<()> {
        let block = self.bucket.block(position)?;
        let Self { bucket, ends, chunks, interfaces } = self;
        let bucket: &Bucket = bucket;
        let result = JournalBlock::parse(block.bytes()).map_err(Problem::from).and_then(|journal| {
            if journal.first() != block.header.first_frame || journal.len() != block.header.records {
                return Err(bucket.damaged(position, "the journal block and its header differ").into());
            }
            let mut fetch = |conn: u32,
                             direction: Direction,
                             offset: StreamOffset,
                             out: &mut [u8]|
             -> std::result::Result<(), Problem> {
                let chunks = match chunks.entry((conn, direction)) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::hash_map::Entry::Vacant(unknown) => {
                        let end = ends.get(&(conn, direction));
                        let end =
                            end.ok_or_else(|| bucket.damaged(position, "a frame's connection is not in this bucket"))?;
                        unknown.insert(Part::read(bucket, end.place)?.chunks)
                    }
                };
                fetch(bucket, chunks, position, offset, out).map_err(Problem::Store)
            };
            journal.frames(only, &mut fetch, &mut |number, frame: &JournalFrame<'_>| {
                let interface = interfaces.get(&frame.interface);
                let interface =
                    interface.ok_or_else(|| bucket.damaged(position, "a frame's interface is not described"))?;
                let connected = frame.connection.is_some();
                let frame = StoredFrame {
                    time: frame.time,
                    interface,
                    wire_len: frame.wire_len,
                    data: frame.data,
                    connected,
                    placed: frame.placed,
                };
                visit(number, &frame).map_err(Problem::Store)
            })
        });
        result.map_err(|problem| match problem {
            Problem::Journal(error) => bucket.damaged(position, error.to_string()),
            Problem::Store(error) => error,
        })?;
        self.bucket.still_whole(position)
    }
}

/// Copies a frame's payload out of its stream.
fn fetch(bucket: &Bucket, chunks: &[Chunk], position: u64, mut offset: StreamOffset, mut out: &mut [u8]) -> Result<()> {
    let missing = || bucket.damaged(position, "a frame's payload is not in its stream");
    let mut at = chunks.partition_point(|chunk| chunk.offset <= offset).checked_sub(1).ok_or_else(missing)?;
    while !out.is_empty() {
        let chunk = chunks.get(at).filter(|c| c.offset <= offset && offset < c.end()).ok_or_else(missing)?;
        let n = read_chunk(bucket, chunk, offset, out)?;
        if n == 0 {
            return Err(missing());
        }
        offset = offset.add(n as u64);
        out = out.get_mut(n..).unwrap_or_default();
        at += 1;
    }
    Ok(())
}
