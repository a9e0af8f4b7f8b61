//! The writer: the worker's side of the store.
//!
//! It is told what reassembly found, in the order in which reassembly says it, and of every frame. Nothing but frames,
//! bytes and ticks decides where a block or a bucket ends, so the same input gives the same bytes.
//!
//! A disk that fails is no error here: the bucket ends, what is lost is counted, another bucket is begun, at each tick until
//! it works ([`Writer::settle`], [`Writer::tick`]).

use std::sync::Arc;

use streamdb_types::{
    BucketId, ConnKey, Counters, Direction, FrameNumber, Interface, Path, Reason, StreamOffset, Timestamp, Tuple,
};

use super::bucket_file::{BlockRef, Compression};
use super::buffer::{FLUSHED_MAX, FRONT, StreamBuffer, body_max};
use super::cut::{NO_SPAN, max_rows};
use super::facts::{FrameIn, Packets, Stalls, StreamFacts, WriterConfig, WriterSummary};
use super::held_notes::HeldNotes;
use super::pipeline::Pipeline;
use super::shared_block::SharedBlock;
use super::track::{ConnTrack, StreamTrack};
use super::trouble::Losses;
use super::window::OpenBucket;
use crate::error::Result;
use crate::folder::WriteFolder;
use crate::format::record::{self, Datagram, Loss, RECORD_HEADER, Standing};
use crate::journal;

/// Room that is reserved for the headers of a frame; TCP usually has 54 to 66 bytes of them.
const HEADERS: usize = 128;
/// Datagrams of one stream that are collected before they become a record.
const MAX_DATAGRAMS: usize = 1000;
/// Bytes of UDP that are collected before they become a block.
const MAX_DATAGRAM_BYTES: usize = 128 << 10;
/// Attachments (secrets, names) are kept in pieces of this many bytes; interfaces have no more bytes of options.
const ATTACHMENT_PIECE: usize = 128 << 10;
/// Among so many frames those of a connection are looked for whose sides change places.
const MAX_TURNED: u64 = 4096;
/// Frames with no row.
const NO_ROW: u64 = u64::MAX;

/// The worker's side of the store.
pub struct Writer {
    pub(super) config: WriterConfig,
    pub(super) folder: Arc<WriteFolder>,
    pub(super) worker: u16,
    pub(super) pipeline: Pipeline,
    pub(super) bucket: Option<OpenBucket>,
    /// By slot. Boxed, so that making room for more slots moves little.
    pub(super) conns: Vec<Option<Box<ConnTrack>>>,
    pub(super) shared: SharedBlock,
    pub(super) interfaces: Vec<Interface>,
    pub(super) rows: journal::Rows,
    pub(super) encoder: journal::Encoder,
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
        let rows = max_rows(config.compression);
        Ok(Self {
            config,
            folder,
            worker,
            pipeline,
            bucket: None,
            conns: Vec::new(),
            shared: SharedBlock::default(),
            interfaces: Vec::new(),
            rows: journal::Rows::with_capacity(rows, rows * HEADERS),
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

    /// Losses wait for no frame any longer: a bucket is begun for them, if there is none, of this time; also when there is something
    /// in the counters alone that is to be known. For a worker that may never have a frame of its own.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn note_losses(&mut self, now: Timestamp, is_counted: bool) -> Result<()> {
        if self.bucket.is_none() && (is_counted || self.held_notes.loss.is_some()) {
            self.ensure_bucket(now)?;
        }
        Ok(())
    }

    /// What waited for a frame goes into the bucket that was begun for it.
    pub(super) fn push_held_notes(&mut self, time: Timestamp) -> Result<()> {
        let HeldNotes { attachments, loss, .. } = std::mem::take(&mut self.held_notes);
        for (kind, bytes) in attachments {
            self.attachment(kind, &bytes)?;
        }
        match loss {
            // Without a time it is of the frame's.
            Some(loss) => {
                let to = if loss.to == Timestamp(i64::MAX) { time } else { loss.to };
                self.loss(&Loss { from: loss.from.min(time).min(to), to, ..loss })
            }
            None => Ok(()),
        }
    }

    /// How often, and how long, the caller waited for the disk so far. It depends on the machine, so it is no part of what the
    /// same input always gives.
    pub const fn stalls(&self) -> Stalls {
        self.pipeline.stalls()
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

    /// The client of a connection turns out to be the server: its two sides change places. False, and nothing changes, when a
    /// record names one of them already, or when too many frames lie between those of the connection to look at all of them.
    pub fn turned(&mut self, slot: u32) -> bool {
        let (bucket, written) = self.bucket.as_ref().map_or((BucketId(0), 0), |b| (b.id, b.frames));
        let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) else { return false };
        if conn.bucket != bucket || conn.streams.iter().any(|s| s.part > 0 || s.newest != BlockRef::NONE) {
            return false;
        }
        // Without a row of its own it has none to change.
        if conn.first_frame <= conn.last_frame {
            let (Some(first), Some(last)) =
                (conn.first_frame.0.checked_sub(written), conn.last_frame.0.checked_sub(written))
            else {
                return false;
            };
            if last - first > MAX_TURNED {
                return false;
            }
            self.rows.turn(first as usize..=last as usize, conn.ordinal);
        }
        std::mem::swap(&mut conn.tuple.client, &mut conn.tuple.server);
        conn.streams.swap(0, 1);
        true
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
        // Of those of which no byte is kept any number can be in one record.
        let bare = bytes.is_empty() && wire > 0;
        let apart =
            self.stream(slot, direction).is_some_and(|s| !bare && s.buffer.end() != offset && !s.datagrams.is_empty());
        if full || apart {
            self.emit_open(slot, direction)?;
        }
        if bytes.len() > MAX_DATAGRAM_BYTES
            && let Some(stream) = self.stream(slot, direction)
        {
            // A jumbogram needs the room that is kept for comparison: a record holds whole datagrams.
            stream.buffer.forget();
        }
        if bare {
            self.join_bucket(slot);
            if let Some(conn) = self.conns.get_mut(slot as usize).and_then(Option::as_mut) {
                conn.changed = true;
            }
        } else {
            self.data(slot, direction, offset, bytes)?;
        }
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

    /// Of the frame's payload only these first bytes are kept, wherever they are; of the frame nothing behind them.
    pub fn cut(&mut self, tag: u64, payload: &[u8]) {
        if let Some(row) = self.row(tag) {
            self.rows.cut(row, payload);
        }
    }

    /// Of a frame that was taken whole, a fragment, only the first `len` bytes are kept. When it has been written already
    /// it stays as it is.
    pub fn cut_later(&mut self, tag: u64, len: usize) {
        if let Some(row) = self.row(tag) {
            self.rows.truncate(row, len);
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
            known.limited = facts.limited;
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

    /// How many interfaces were announced that are described differently.
    pub const fn known_interfaces(&self) -> usize {
        self.interfaces.len()
    }

    /// Ends the open bucket and waits until everything is on disk.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn finish(mut self, counters: &Counters) -> Result<WriterSummary> {
        // What failed by now the last bucket can still say.
        self.pipeline.account()?;
        self.settle();
        self.end_bucket(counters)?;
        let summary = self.pipeline.finish()?;
        self.settle();
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
}

const _: () = assert!(RECORD_HEADER < FRONT);
const _: () = assert!(MAX_DATAGRAM_BYTES + FLUSHED_MAX < body_max(Compression::Fast));
const _: () = assert!(journal::MAX_FRAME < body_max(Compression::Fast));
