//! The writer: the worker's side of the store.
//!
//! It is told what reassembly found, in the order in which reassembly says it, and of every frame. Nothing but frames,
//! bytes and ticks decides where a block or a bucket ends, so the same input gives the same bytes.
//!
//! A disk that fails is no error here: the bucket ends, what is lost is counted, another bucket is begun, at each tick until
//! it works ([`Writer::settle`], [`Writer::tick`]).

use std::sync::{Arc, PoisonError};

use streamdb_types::{
    BucketId, ConnKey, Counters, Direction, FrameNumber, Gap, Interface, Marks, Path, Reason, StreamOffset, Timestamp,
    Tuple,
};

use super::bucket_file::{BlockRef, Compression, CutBlock, CutEnd, Seal};
use super::buffer::{FRONT, HISTORY, StreamBuffer, body_max};
use super::held_notes::HeldNotes;
use super::pipeline::Pipeline;
use super::shared_block::SharedBlock;
use super::track::{ConnTrack, StreamTrack};
use super::trouble::{Held, Losses, Trouble};
use crate::error::{Error, Result};
use crate::folder::WriteFolder;
use crate::format::block::{BlockKind, HEADER_LEN};
use crate::format::record::{self, Datagram, Loss, RECORD_HEADER, Standing};
use crate::format::superblock::Superblock;
use crate::journal;

/// Rows are written at the latest when there are this many, or this many bytes of them.
const MAX_ROWS: usize = 1 << 16;
const MAX_ROW_BYTES: usize = 16 << 20;
/// A journal block ends at about this many bytes.
const JOURNAL_TARGET: usize = 256 << 10;
/// Datagrams of one stream that are collected before they become a record.
const MAX_DATAGRAMS: usize = 1000;
/// Bytes of UDP that are collected before they become a block.
const MAX_DATAGRAM_BYTES: usize = 256 << 10;
/// Attachments (secrets, names) are kept in pieces of this many bytes; interfaces have no more bytes of options.
const ATTACHMENT_PIECE: usize = 128 << 10;
/// No frame came yet: the first and last time.
pub(super) const NO_SPAN: (Timestamp, Timestamp) = (Timestamp(i64::MAX), Timestamp(i64::MIN));
/// The most blocks of a bucket, but for what a commit adds.
const MAX_BLOCKS: u32 = 1 << 18;
/// The most records of no stream in a bucket.
const MAX_NOTES: usize = 1 << 16;
/// The most connections of a bucket that can be set: their streams fit into the largest directory that readers take.
const MAX_CONNECTIONS: u32 = 2_000_000;
/// Frames with no row.
const NO_ROW: u64 = u64::MAX;

/// Which frames come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Packets {
    /// Every frame.
    #[default]
    Full,
    /// Those of TCP connections.
    Tcp,
    /// None: streams alone are stored.
    Off,
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    /// How hard blocks are compressed.
    pub compression: Compression,
    /// Which frames come back.
    pub packets: Packets,
    /// The time window of a bucket, in nanoseconds.
    pub bucket_window: i64,
    /// The most uncompressed bytes of a bucket.
    pub bucket_bytes: u64,
    /// The most connections of a bucket, at most 2,000,000: the table of their streams is kept in memory until the bucket
    /// is sealed, about 150 bytes a stream. A bucket that has as many ends before its time, which is counted
    /// (`full_buckets`).
    pub bucket_connections: u32,
    /// Memory for bytes of streams, written or not; beyond it, what is written is let go of, and copies that come later
    /// are kept without a comparison.
    pub stream_memory: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            packets: Packets::default(),
            bucket_window: 300_000_000_000,
            bucket_bytes: 4 << 30,
            bucket_connections: 500_000,
            stream_memory: 512 << 20,
        }
    }
}

/// A frame as it came.
#[derive(Clone, Copy, Debug)]
pub struct FrameIn<'a> {
    /// When.
    pub time: Timestamp,
    /// From which interface: what [`Writer::interface`] answered.
    pub interface: u32,
    /// Its length on the wire.
    pub wire_len: u32,
    /// Its bytes as captured.
    pub data: &'a [u8],
    /// Where its payload begins; the payload is said by `placed` or `kept` later. With `payload_len` 0 the frame is
    /// kept as it is.
    pub payload_at: usize,
    /// Bytes of payload.
    pub payload_len: usize,
    /// Whether it carries TCP, by itself or as a fragment.
    pub is_tcp: bool,
}

/// What is known of a stream at a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct StreamFacts<'a> {
    /// Frames so far; 0 when the direction had none.
    pub packets: u64,
    /// The time of the first.
    pub first: Timestamp,
    /// The time of the last.
    pub last: Timestamp,
    /// Its length, gaps included.
    pub length: StreamOffset,
    /// Its gaps, ascending.
    pub gaps: &'a [Gap],
    /// What was seen of it.
    pub marks: Marks,
}

/// What a whole run wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterSummary {
    /// Buckets sealed.
    pub buckets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The first of them.
    pub first_bucket: Option<BucketId>,
    /// The last of them.
    pub last_bucket: Option<BucketId>,
    /// What was lost to failed writes, of all that was given.
    pub lost: Held,
    /// What went wrong since [`Writer::take_troubles`].
    pub troubles: Vec<Trouble>,
}

/// The bucket that is open.
#[derive(Debug)]
pub(super) struct OpenBucket {
    pub(super) id: BucketId,
    window_end: Timestamp,
    window_start: Timestamp,
    /// The time of the last frame that was committed; before that, of the first thing in the bucket.
    last_time: Timestamp,
    /// The id that the next block gets.
    pub(super) next_id: u32,
    /// Uncompressed bytes so far.
    bytes: u64,
    /// Bytes of streams that were given.
    pub(super) payload: u64,
    pub(super) connections: u32,
    /// Frames before the rows at hand.
    pub(super) frames: u64,
    /// Connections that had a frame, in the order of their ordinals.
    members: Vec<u32>,
    pub(super) ends: Vec<CutEnd>,
    /// Records of no stream.
    notes: Vec<BlockRef>,
    /// Which interfaces are described in it.
    described: Vec<bool>,
}

/// The worker's side of the store.
pub struct Writer {
    pub(super) config: WriterConfig,
    folder: Arc<WriteFolder>,
    worker: u16,
    pub(super) pipeline: Pipeline,
    pub(super) bucket: Option<OpenBucket>,
    /// By slot. Boxed, so that making room for more slots moves little.
    pub(super) conns: Vec<Option<Box<ConnTrack>>>,
    pub(super) shared: SharedBlock,
    interfaces: Vec<Interface>,
    pub(super) rows: journal::Rows,
    encoder: journal::Encoder,
    /// The tag of the first row at hand.
    pub(super) first_row: u64,
    /// Times of the frames since the last commit.
    pub(super) span: (Timestamp, Timestamp),
    pub(super) unflushed: usize,
    pub(super) sealed_counters: Counters,
    pub(super) losses: Losses,
    pub(super) full_buckets: u64,
    held_notes: HeldNotes,
    pub(super) scratch: Vec<u8>,
}

impl Writer {
    /// A writer into this folder.
    ///
    /// # Errors
    /// When the threads or the watermarks cannot be set up.
    pub fn new(folder: Arc<WriteFolder>, worker: u16, config: WriterConfig) -> Result<Self> {
        let pipeline = Pipeline::start(Arc::clone(&folder), worker, config.compression)?;
        Ok(Self {
            config,
            folder,
            worker,
            pipeline,
            bucket: None,
            conns: Vec::new(),
            shared: SharedBlock::default(),
            interfaces: Vec::new(),
            rows: journal::Rows::default(),
            encoder: journal::Encoder::default(),
            first_row: 0,
            span: NO_SPAN,
            unflushed: 0,
            sealed_counters: Counters::default(),
            losses: Losses::default(),
            full_buckets: 0,
            held_notes: HeldNotes::default(),
            scratch: Vec::new(),
        })
    }

    /// Announces an interface; its number is what frames name it by. The same description gets the same number. Options
    /// beyond 128 KiB would not fit into a block and are left out.
    pub fn interface(&mut self, interface: &Interface) -> u32 {
        let mut interface = interface.clone();
        if interface.options.len() > ATTACHMENT_PIECE {
            interface.options.clear();
        }
        let known = self.interfaces.iter().position(|i| *i == interface);
        known.unwrap_or_else(|| {
            self.interfaces.push(interface.clone());
            let number = self.interfaces.len() - 1;
            self.rows.set_link(number as u32, interface.link_type);
            number
        }) as u32
    }

    /// Keeps decryption secrets (with their kind) or names (without) of the capture, as they stood. Without an open bucket
    /// they wait for the first frame of the next one, which says whose time they are of: at most 16 MiB of them, and false
    /// for what is beyond.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn attachment(&mut self, kind: Option<u32>, bytes: &[u8]) -> Result<bool> {
        if self.bucket.is_none() {
            return Ok(self.held_notes.attachment(kind, bytes));
        }
        for piece in bytes.chunks(ATTACHMENT_PIECE) {
            self.scratch.clear();
            record::put_attachment(&mut self.scratch, kind, piece);
            self.push_note()?;
        }
        Ok(true)
    }

    /// Keeps what was dropped before it came to us. Without an open bucket it waits for the first frame of the next one.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn loss(&mut self, loss: &Loss) -> Result<()> {
        if self.bucket.is_none() {
            self.held_notes.loss(loss);
            return Ok(());
        }
        self.scratch.clear();
        record::put_loss(&mut self.scratch, loss);
        self.push_note()
    }

    /// What waited for a frame goes into the bucket that was begun for it.
    fn push_held_notes(&mut self, time: Timestamp) -> Result<()> {
        let HeldNotes { attachments, loss, .. } = std::mem::take(&mut self.held_notes);
        for (kind, bytes) in attachments {
            self.attachment(kind, &bytes)?;
        }
        match loss {
            Some(loss) => self.loss(&Loss { from: loss.from.min(time), to: time, ..loss }),
            None => Ok(()),
        }
    }

    /// The tag that the next frame gets, if it is kept.
    pub fn next_tag(&self) -> u64 {
        self.first_row + self.rows.len() as u64
    }

    /// Takes a frame; the answer is its tag in all that is said of it later.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn frame(&mut self, frame: &FrameIn<'_>) -> Result<u64> {
        let stored = self.ensure_bucket(frame.time)?;
        let wanted = match self.config.packets {
            Packets::Full => true,
            Packets::Tcp => frame.is_tcp,
            Packets::Off => false,
        };
        if !stored {
            // The tag is used up, so that no later frame is taken for this one.
            self.losses.total.frames += u64::from(wanted);
            self.first_row += 1;
            return Ok(self.first_row - 1);
        }
        self.span = (self.span.0.min(frame.time), self.span.1.max(frame.time));
        if !wanted {
            return Ok(NO_ROW);
        }
        self.describe(frame.interface)?;
        let tag = self.next_tag();
        let row = self.rows.len();
        if frame.payload_len == 0 && frame.payload_at == 0 {
            self.rows.push(frame.time, frame.interface, frame.wire_len, frame.data, 0, frame.data.len());
            self.rows.set_inline(row, frame.data);
        } else {
            let (at, len) = (frame.payload_at, frame.payload_len);
            self.rows.push(frame.time, frame.interface, frame.wire_len, frame.data, at, len);
        }
        Ok(tag)
    }

    /// Says which connection and direction a frame belongs to.
    pub fn belongs(&mut self, tag: u64, slot: u32, direction: Direction) {
        self.join_bucket(slot);
        let row = self.row(tag);
        let frame = FrameNumber(self.bucket.as_ref().map_or(0, |b| b.frames) + row.unwrap_or(0) as u64);
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        conn.changed = true;
        if self.bucket.is_none() {
            conn.stream(direction).lost = true;
            return;
        }
        conn.stream(direction).in_bucket = true;
        let ordinal = conn.ordinal;
        if let Some(row) = row {
            conn.first_frame = conn.first_frame.min(frame);
            conn.last_frame = conn.last_frame.max(frame);
            self.rows.set_connection(row, ordinal, direction);
        }
    }

    /// A connection begins in this slot.
    pub fn opened(&mut self, slot: u32, tuple: &Tuple, path: &Path, time: Timestamp) {
        // Without a bucket it gets its key from the first one that it has a frame in.
        let (bucket, ordinal) = self.bucket.as_ref().map_or((BucketId(0), 0), |b| (b.id, b.connections));
        let conn = ConnTrack {
            key: ConnKey { bucket, number: ordinal },
            tuple: *tuple,
            path: *path,
            opened: time,
            bucket,
            ordinal,
            first_frame: FrameNumber(u64::MAX),
            last_frame: FrameNumber(0),
            standing: Standing::Open,
            changed: true,
            streams: [StreamTrack::default(), StreamTrack::default()],
        };
        if let Some(bucket) = &mut self.bucket {
            bucket.connections += 1;
            bucket.members.push(slot);
        }
        let at = slot as usize;
        if self.conns.len() <= at {
            self.conns.resize_with(at + 1, || None);
        }
        if let Some(place) = self.conns.get_mut(at) {
            *place = Some(Box::new(conn));
        }
    }

    /// New bytes of a stream.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn data(&mut self, slot: u32, direction: Direction, offset: StreamOffset, mut bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        match &mut self.bucket {
            Some(bucket) => bucket.payload += len,
            None => {
                self.losses.total.payload += len;
                if let Some(stream) = self.stream(slot, direction) {
                    stream.lose(offset.add(len));
                }
                return Ok(());
            }
        }
        self.join_bucket(slot);
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return Ok(()) };
        conn.changed = true;
        let stream = conn.stream(direction);
        stream.in_bucket = true;
        if stream.buffer.end() != offset {
            if !stream.buffer.unflushed().is_empty() {
                self.emit_open(slot, direction)?;
            }
            if let Some(stream) = self.stream(slot, direction) {
                stream.buffer = StreamBuffer::starting_at(offset);
            }
        }
        self.unflushed += bytes.len();
        while !bytes.is_empty() {
            let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return Ok(()) };
            let taken = conn.stream(direction).buffer.append(bytes, self.pipeline.large_buffers());
            bytes = bytes.get(taken..).unwrap_or_default();
            if !bytes.is_empty() {
                self.emit_open(slot, direction)?;
            }
        }
        Ok(())
    }

    /// The next datagram of a UDP stream.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn datagram(
        &mut self,
        slot: u32,
        direction: Direction,
        offset: StreamOffset,
        bytes: &[u8],
        wire: u32,
        time: Timestamp,
    ) -> Result<()> {
        if self.bucket.is_none() {
            return self.data(slot, direction, offset, bytes);
        }
        let full = self.stream(slot, direction).is_some_and(|s| {
            s.datagrams.len() >= MAX_DATAGRAMS || s.buffer.unflushed().len() + bytes.len() > MAX_DATAGRAM_BYTES
        });
        let apart = self.stream(slot, direction).is_some_and(|s| s.buffer.end() != offset && !s.datagrams.is_empty());
        if full || apart {
            self.emit_open(slot, direction)?;
        }
        self.data(slot, direction, offset, bytes)?;
        if let Some(stream) = self.stream(slot, direction) {
            stream.in_bucket = true;
            stream.datagrams.push(Datagram { wire, captured: bytes.len() as u32, time });
        }
        Ok(())
    }

    /// Compares bytes with what the stream holds there: `Some(equal)`, or `None` when that has left memory.
    pub fn compare(&mut self, slot: u32, direction: Direction, offset: StreamOffset, bytes: &[u8]) -> Option<bool> {
        // What is in memory from an earlier bucket is no place for a frame of this one.
        self.join_bucket(slot);
        self.stream(slot, direction)?.buffer.compare(offset, bytes)
    }

    /// The frame's payload is in its stream at this offset.
    pub fn placed(&mut self, tag: u64, offset: StreamOffset) {
        if let Some(row) = self.row(tag) {
            self.rows.set_stream(row, offset);
        }
    }

    /// The frame's payload has to be kept for itself.
    pub fn kept(&mut self, tag: u64, payload: &[u8]) {
        if let Some(row) = self.row(tag) {
            self.rows.set_inline(row, payload);
        }
    }

    /// Part of a frame that was taken whole turned out to be in a stream: a fragment, when its packet is complete. False
    /// when the frame has been written already and stays as it is.
    pub fn placed_later(
        &mut self,
        tag: u64,
        payload_at: usize,
        len: usize,
        slot: u32,
        direction: Direction,
        offset: StreamOffset,
    ) -> bool {
        let ordinal = self.conns.get(slot as usize).and_then(Option::as_ref).map(|c| c.ordinal);
        match (self.row(tag), ordinal) {
            (Some(row), Some(ordinal)) => {
                self.rows.resplit(row, payload_at, len, ordinal, direction, offset);
                true
            }
            _ => false,
        }
    }

    /// How a connection stands; `ended` says that it is over.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn checkpoint(&mut self, slot: u32, facts: [StreamFacts<'_>; 2], ended: Option<Reason>) -> Result<()> {
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return Ok(()) };
        for (stream, facts) in conn.streams.iter_mut().zip(facts) {
            let known = &mut stream.known;
            known.packets = facts.packets;
            known.first = facts.first;
            known.last = facts.last;
            // Bytes may have been written beyond what is said.
            known.length = known.length.max(facts.length);
            known.marks = facts.marks;
            known.gaps.clear();
            known.gaps.extend_from_slice(facts.gaps);
        }
        if self.bucket.as_ref().is_none_or(|b| b.id != conn.bucket) {
            return if ended.is_some() { self.end_elsewhere(slot, ended) } else { Ok(()) };
        }
        match ended {
            // It was said before, and nothing came since.
            Some(_) if !conn.changed && conn.standing != Standing::Open => Ok(()),
            Some(reason) => self.emit_ends(slot, Standing::Ended(reason)),
            None => self.emit_opens(slot),
        }
    }

    /// A connection ends that had no frame in the open bucket: by time, or as the capture ends. Its streams get a part
    /// without bytes there, for the reason alone; unless an earlier bucket says it already.
    fn end_elsewhere(&mut self, slot: u32, ended: Option<Reason>) -> Result<()> {
        let Some(conn) = self.conns.get(slot as usize).and_then(Option::as_ref) else { return Ok(()) };
        let said = !conn.changed && conn.standing != Standing::Open && conn.standing != Standing::Continues;
        let last = conn.streams.iter().filter(|s| s.known.packets > 0).map(|s| s.known.last).max();
        let (Some(reason), Some(last)) = (ended.filter(|_| !said), last) else { return Ok(()) };
        if !self.ensure_bucket(last)? {
            return Ok(());
        }
        self.join_bucket(slot);
        if let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) {
            for stream in &mut conn.streams {
                stream.in_bucket = stream.known.packets > 0;
            }
        }
        self.emit_ends(slot, Standing::Ended(reason))
    }

    /// The slot is free.
    pub fn closed(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::take) else { return };
        for stream in conn.streams {
            self.pipeline.give_back(stream.buffer.into_bytes());
        }
    }

    /// Whether so much has come together that a flush and a [`commit`](Self::commit) are due before the next tick.
    pub fn wants_commit(&self) -> bool {
        self.bucket_is_full()
            || self.rows.len() >= MAX_ROWS
            || self.rows.bytes() >= MAX_ROW_BYTES
            || self.unflushed >= self.config.stream_memory / 4
    }

    /// Cuts everything at hand into blocks and has it published. All that was held back has been given before.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn commit(&mut self) -> Result<()> {
        self.cut_shared()?;
        self.cut_journal()?;
        self.unflushed = 0;
        self.bound_memory();
        let (_, last) = self.times();
        if let Some(bucket) = &mut self.bucket {
            bucket.last_time = last;
            self.pipeline.publish(Held { frames: bucket.frames, payload: bucket.payload }, last)?;
        }
        self.span = NO_SPAN;
        Ok(())
    }

    /// Whether the open bucket has as much as it may have (bytes, connections, blocks, notes): it has to end, whatever the
    /// time is. So what is kept of it in memory, and its directory, are bounded.
    pub fn bucket_is_full(&self) -> bool {
        self.bucket.as_ref().is_some_and(|bucket| {
            bucket.bytes >= self.config.bucket_bytes
                || bucket.connections >= self.config.bucket_connections.clamp(1, MAX_CONNECTIONS)
                || bucket.next_id >= MAX_BLOCKS
                || bucket.notes.len() >= MAX_NOTES
        })
    }

    /// Whether the open bucket has to end before a frame of this time.
    pub fn bucket_is_over(&self, now: Timestamp) -> bool {
        let Some(bucket) = &self.bucket else { return false };
        now >= bucket.window_end || now < bucket.window_start.plus(-self.config.bucket_window) || self.bucket_is_full()
    }

    /// Ends the open bucket: everything at hand is written, what is open goes on in the next one. `counters` are those of
    /// the whole run so far.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn end_bucket(&mut self, counters: &Counters) -> Result<()> {
        self.full_buckets += u64::from(self.bucket_is_full());
        let Some(members) = self.bucket.as_mut().map(|b| std::mem::take(&mut b.members)) else { return Ok(()) };
        for (ordinal, slot) in members.into_iter().enumerate() {
            let Some(conn) = self.conns.get(slot as usize).and_then(Option::as_ref) else { continue };
            if conn.ordinal == ordinal as u32 && conn.changed && self.is_current(conn) {
                let standing = if conn.standing == Standing::Open { Standing::Continues } else { conn.standing };
                self.emit_ends(slot, standing)?;
            }
        }
        self.commit()?;
        let Some(bucket) = self.bucket.take() else { return Ok(()) };
        let counters = self.corrected(counters);
        let since = counters.since(&self.sealed_counters);
        self.sealed_counters = counters;
        let OpenBucket { id, payload, ends, notes, connections, frames, .. } = bucket;
        self.losses.bucket_ended(id, Held { frames, payload });
        self.pipeline.seal(Seal {
            ends,
            notes,
            known_notes: Vec::new(),
            connections,
            frames,
            counters: since,
            recovered: false,
        })
    }

    /// Ends the open bucket and waits until everything is on disk.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn finish(mut self, counters: &Counters) -> Result<WriterSummary> {
        self.end_bucket(counters)?;
        let summary = self.pipeline.finish()?;
        self.settle(counters);
        Ok(WriterSummary { lost: self.losses.total, troubles: self.losses.troubles, ..summary })
    }

    /// The folder that is written to.
    pub fn folder(&self) -> &Arc<WriteFolder> {
        &self.folder
    }

    fn row(&self, tag: u64) -> Option<usize> {
        let row = usize::try_from(tag.checked_sub(self.first_row)?).ok()?;
        (row < self.rows.len()).then_some(row)
    }

    pub(super) fn stream(&mut self, slot: u32, direction: Direction) -> Option<&mut StreamTrack> {
        self.conns.get_mut(slot as usize)?.as_mut().map(|c| c.stream(direction))
    }

    fn is_current(&self, conn: &ConnTrack) -> bool {
        self.bucket.as_ref().is_some_and(|b| b.id == conn.bucket)
    }

    /// Begins a bucket when there is none; false when that has to wait for the next tick.
    fn ensure_bucket(&mut self, time: Timestamp) -> Result<bool> {
        if self.bucket.is_some() {
            return Ok(true);
        }
        if self.losses.waiting {
            return Ok(false);
        }
        let window = self.config.bucket_window.max(1);
        let start = Timestamp(time.0.div_euclid(window).saturating_mul(window));
        let mut ledger = self.folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
        let given = ledger.give_bucket(crate::folder::now(), self.worker);
        drop(ledger);
        let id = match given {
            Ok(id) => id,
            Err(error) => {
                self.losses.failed(&error);
                self.losses.waiting = true;
                return Ok(false);
            }
        };
        let superblock = Superblock { id, worker: self.worker, window_start: start, window_end: start.plus(window) };
        self.pipeline.begin(superblock, self.losses.is_failing())?;
        self.bucket = Some(OpenBucket {
            id,
            window_start: start,
            window_end: superblock.window_end,
            last_time: time,
            next_id: 1,
            bytes: 0,
            payload: 0,
            connections: 0,
            frames: 0,
            members: Vec::new(),
            ends: Vec::new(),
            notes: Vec::new(),
            described: Vec::new(),
        });
        self.push_held_notes(time)?;
        Ok(true)
    }

    /// Describes an interface in this bucket, once.
    fn describe(&mut self, index: u32) -> Result<()> {
        let at = index as usize;
        let Some(bucket) = &mut self.bucket else { return Ok(()) };
        if bucket.described.get(at).copied().unwrap_or(false) {
            return Ok(());
        }
        if bucket.described.len() <= at {
            bucket.described.resize(at + 1, false);
        }
        if let Some(described) = bucket.described.get_mut(at) {
            *described = true;
        }
        self.scratch.clear();
        if let Some(interface) = self.interfaces.get(at) {
            record::put_interface(&mut self.scratch, index, interface);
        }
        self.push_note()
    }

    /// Makes sure that a connection has its ordinal in the open bucket.
    fn join_bucket(&mut self, slot: u32) {
        let Some(bucket) = &mut self.bucket else { return };
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if conn.bucket == bucket.id {
            return;
        }
        if conn.bucket == BucketId(0) {
            conn.key = ConnKey { bucket: bucket.id, number: bucket.connections };
        }
        for stream in &mut conn.streams {
            stream.next_part(conn.bucket);
        }
        conn.bucket = bucket.id;
        conn.ordinal = bucket.connections;
        conn.first_frame = FrameNumber(u64::MAX);
        conn.last_frame = FrameNumber(0);
        conn.standing = Standing::Open;
        bucket.connections += 1;
        bucket.members.push(slot);
    }

    /// Puts the record in `scratch` into the shared block.
    pub(super) fn push_scratch(&mut self, references: &[usize]) -> Result<BlockRef> {
        if !self.shared.has_room(self.scratch.len()) {
            self.cut_shared()?;
        }
        let Some(bucket) = &mut self.bucket else { return Ok(BlockRef::NONE) };
        Ok(self.shared.push(&self.scratch, references, &mut bucket.next_id))
    }

    /// Puts the record in `scratch`, which is of no stream, into the shared block.
    fn push_note(&mut self) -> Result<()> {
        let at = self.push_scratch(&[])?;
        if let Some(bucket) = &mut self.bucket {
            bucket.notes.push(at);
        }
        Ok(())
    }

    /// The id for a block that is cut at once.
    pub(super) fn take_id(&mut self) -> u32 {
        let Some(bucket) = &mut self.bucket else { return 0 };
        bucket.next_id += 1;
        bucket.next_id - 1
    }

    /// Sends the shared block on its way.
    pub(super) fn cut_shared(&mut self) -> Result<()> {
        if self.shared.is_empty() {
            return Ok(());
        }
        let (first, last) = self.times();
        let block = self.shared.cut(first, last);
        self.send(block)
    }

    /// Times of the frames since the last commit; when there was none, that of the last frame before it.
    pub(super) fn times(&self) -> (Timestamp, Timestamp) {
        let (first, last) = self.span;
        if first > last {
            let last = self.bucket.as_ref().map_or(Timestamp(0), |b| b.last_time);
            (last, last)
        } else {
            (first, last)
        }
    }

    pub(super) fn send(&mut self, block: CutBlock) -> Result<()> {
        if let Some(bucket) = &mut self.bucket {
            bucket.bytes += (block.bytes.len() - block.at + HEADER_LEN) as u64;
        }
        self.pipeline.block(block)
    }

    fn cut_journal(&mut self) -> Result<()> {
        let (first_time, last_time) = self.times();
        let mut from = 0;
        while from < self.rows.len() {
            let first_frame = FrameNumber(self.bucket.as_ref().map_or(0, |b| b.frames));
            let mut bytes = Vec::with_capacity(HEADER_LEN + JOURNAL_TARGET + 4096);
            bytes.resize(HEADER_LEN, 0);
            let taken = self.encoder.encode(&self.rows, from, first_frame, JOURNAL_TARGET, &mut self.scratch);
            if taken == 0 {
                let what = "a frame's payload was neither placed nor kept";
                return Err(Error::io(self.folder.path(), "write the journal")(std::io::Error::other(what)));
            }
            bytes.extend_from_slice(&self.scratch);
            from += taken;
            if let Some(bucket) = &mut self.bucket {
                bucket.frames += taken as u64;
            }
            let id = self.take_id();
            self.send(CutBlock {
                id,
                kind: BlockKind::Journal,
                bytes,
                at: HEADER_LEN,
                records: taken as u32,
                first_frame,
                first_time,
                last_time,
                references: Vec::new(),
            })?;
        }
        self.first_row += self.rows.len() as u64;
        self.rows.clear();
        Ok(())
    }

    /// Lets go of written bytes when all streams together hold more than they may.
    fn bound_memory(&mut self) {
        let streams = |conns: &[Option<Box<ConnTrack>>]| -> usize {
            conns.iter().flatten().flat_map(|c| &c.streams).map(|s| s.buffer.footprint()).sum()
        };
        if streams(&self.conns) > self.config.stream_memory {
            for stream in self.conns.iter_mut().flatten().flat_map(|c| &mut c.streams) {
                stream.buffer.forget();
            }
        }
    }
}

const _: () = assert!(RECORD_HEADER < FRONT && MAX_DATAGRAM_BYTES + 2 * HISTORY < body_max(Compression::Fast));
