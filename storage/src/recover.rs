//! What a writer that died left behind is made whole: a bucket without a trailer is cut after its last whole block, its
//! open streams get their END, and it is sealed. Doing so twice gives the same bytes, so dying in it is harmless.
//!
//! Only what was read is judged: where the disk does not give the bytes, nobody knows what they are, and the bucket stays
//! as it is.

use std::path::Path;
use std::sync::Arc;

use streamdb_types::{BlockPlace, BucketId, Counters, Reason, Timestamp};

use crate::error::{Error, Result};
use crate::format::directory::EndEntry;
use crate::format::record::{self, CHUNK_ENTRY, Standing};
use crate::read::bucket::Bucket;
use crate::read::cache::BlockCache;
use crate::read::chunks::Part;
use crate::read::scan::Scan;
use crate::volume::{Volume, VolumeFile};
use crate::write::bucket_file::{BlockRef, BucketFile, Compression, CutEnd, Seal};
use crate::write::shared_block::SharedBlock;

/// Chunks that an END or a LIST holds.
const CHUNKS_A_RECORD: usize = 3000;

/// What recovery did to one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The bucket.
    pub id: BucketId,
    /// Blocks that were whole.
    pub blocks: usize,
    /// Bytes after them that were written and are not whole, or stand behind something that is not.
    pub cut_bytes: u64,
    /// Streams that were open and got their END.
    pub streams: usize,
    /// Frames that come back.
    pub frames: u64,
}

/// A bucket without a trailer, read to its end: nothing is changed yet.
pub(crate) struct Unsealed {
    bucket: Bucket,
    scan: Scan,
    file: Arc<dyn VolumeFile>,
    cut_bytes: u64,
}

impl Unsealed {
    /// Reads all of it. An error says that it must be left as it is.
    pub(crate) fn read(volume: &dyn Volume, path: &Path, id: BucketId) -> Result<Self> {
        let mut scan = Scan::default();
        let bucket = Bucket::open(path, id, Arc::new(BlockCache::new(64 << 20)))?;
        bucket.is_readable()?;
        let file: Arc<dyn VolumeFile> =
            volume.open(path).map_err(Error::io(path, "open the bucket to recover it"))?.into();
        scan.follow(&bucket, None)?;
        scan.is_readable(path)?;
        let beyond = written_beyond(&*file, scan.position);
        let cut_bytes = beyond.map_err(Error::io(path, "read the bucket to recover it"))?;
        Ok(Self { bucket, scan, file, cut_bytes })
    }
}

/// Seals a bucket that has no trailer.
pub(crate) fn recover(unsealed: Unsealed) -> Result<Recovered> {
    let Unsealed { bucket, mut scan, file, cut_bytes } = unsealed;
    let (path, id) = (bucket.path.as_path(), bucket.id());
    let contents = scan.contents();
    let headers = std::mem::take(&mut scan.headers);
    let blocks = headers.len();
    // What was cut must not be taken for a block of ours later: the file ends here, and grows again by what is written.
    file.truncate(scan.position).map_err(Error::io(path, "cut the bucket"))?;
    if cut_bytes > 0 {
        // Nor may it be there again behind what is written now, should the power go before that is synced.
        file.sync_data().map_err(Error::io(path, "sync the bucket that was cut"))?;
    }
    let target = BucketFile::resume(path.to_owned(), file, id, headers, Compression::Full)?;
    let times = contents.blocks.last().map_or((Timestamp(0), Timestamp(0)), |b| (b.first_time, b.last_time));
    let mut out = Ends { target, shared: SharedBlock::default(), times, record: Vec::new() };
    let mut ends = Vec::with_capacity(contents.ends.len());
    let mut streams = 0;
    for end in &contents.ends {
        let mut entry = *end;
        if scan.is_open(end.key, end.direction) {
            let peer = contents.find(end.key, end.direction.flip()).map_or(BlockPlace::NONE, |peer| peer.place);
            entry.place = out.end(&bucket, end, peer, contents.frames)?;
            streams += 1;
        }
        ends.push(CutEnd { entry, at: BlockRef::NONE });
    }
    out.cut()?;
    out.target.seal(Seal {
        ends,
        notes: Vec::new(),
        known_notes: contents.notes.clone(),
        connections: contents.connections,
        frames: contents.frames,
        counters: Counters { frames: contents.frames, ..Counters::default() },
        recovered: true,
    })?;
    Ok(Recovered { id, blocks, cut_bytes, streams, frames: contents.frames })
}

/// The ENDs that recovery writes, on their way into blocks. Each block is written before the next one is begun, so its
/// place is known from the start.
struct Ends {
    target: BucketFile,
    shared: SharedBlock,
    times: (Timestamp, Timestamp),
    record: Vec<u8>,
}

impl Ends {
    /// Writes the END of a stream that was left open.
    fn end(&mut self, bucket: &Bucket, end: &EndEntry, peer: BlockPlace, frames: u64) -> Result<BlockPlace> {
        let Part { mut head, gaps, chunks, .. } = Part::read(bucket, end.place)?;
        let id = bucket.id();
        head.prev = end.place;
        head.peer = peer;
        head.list = BlockPlace::NONE;
        head.standing = Standing::Ended(Reason::Exiting);
        head.chunked = true;
        head.table_len = 0;
        // Its newest OPEN may be older than its last frame, or tell of frames that were cut.
        let first = head.frames.0.0;
        head.frames.1 = frames.saturating_sub(first);
        head.stored = chunks.iter().map(|c| u64::from(c.len)).sum();
        let mut lists = chunks.chunks(CHUNKS_A_RECORD).peekable();
        let mut own: &[_] = &[];
        while let Some(piece) = lists.next() {
            if lists.peek().is_none() {
                own = piece;
                break;
            }
            self.record.clear();
            record::put_list(&mut self.record, end.conn, head.list, piece);
            head.list = self.push()?;
        }
        self.record.clear();
        head.encode(&mut self.record, id, end.conn, &gaps, (own.len() * CHUNK_ENTRY) as u32);
        for chunk in own {
            chunk.put(&mut self.record);
        }
        self.push()
    }

    fn push(&mut self) -> Result<BlockPlace> {
        if !self.shared.has_room(self.record.len()) {
            self.cut()?;
        }
        let at = self.shared.push(&self.record, &[], &mut 0);
        Ok(BlockPlace::new(self.target.position, at.place() as u32))
    }

    fn cut(&mut self) -> Result<()> {
        if self.shared.is_empty() {
            return Ok(());
        }
        self.target.write(&mut self.shared.cut(self.times.0, self.times.1))
    }
}

/// How many bytes from `position` on were written: up to the last that is not zero.
fn written_beyond(file: &dyn VolumeFile, position: u64) -> std::io::Result<u64> {
    let mut at = position;
    let mut end = position;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read_at(&mut buffer, at)?;
        if n == 0 {
            return Ok(end - position);
        }
        if let Some(last) = buffer.iter().take(n).rposition(|b| *b != 0) {
            end = at + last as u64 + 1;
        }
        at += n as u64;
    }
}
