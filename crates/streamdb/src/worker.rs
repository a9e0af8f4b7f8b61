//! One worker: the path of a frame from a source to the store. Plain calls on one thread; no clock, no lock, no file.

use std::collections::HashMap;
use std::num::NonZeroU32;

use streamdb_capture::{Frame, Step, Ticker};
use streamdb_decode::{Content, Decoder, Piece};
use streamdb_reassembly::{Comparison, FlowTable, FrameTag, Keep, Opened, Sink, Slot, StreamState};
use streamdb_storage::{Error, FrameIn, Loss, Result, StreamFacts, Trouble, Writer, WriterSummary};
use streamdb_types::{Counters, Direction, Interface, LinkType, Reason, StreamOffset, Timestamp};

use crate::cutoff::{Cutoffs, Rule};

/// What becomes of frames.
#[derive(Clone, Debug, Default)]
pub struct WorkerConfig {
    /// How frames are decoded.
    pub decode: streamdb_decode::Config,
    /// How streams are put together.
    pub reassembly: streamdb_reassembly::Config,
    /// How much is kept of which connections; without rules everything of all.
    pub cutoffs: Vec<Rule>,
    /// Whether what came is published [`PARTS`] times a second, for readers who watch. Otherwise blocks are filled first, which
    /// takes less room where frames are few.
    pub publish_at_ticks: bool,
}

/// How many times a second of packet time what came is published for readers who watch: so that it can be read within a second,
/// however busy the machine is. It costs room where frames are few: small real captures take 4 % more than with once a second, and
/// with four times 10 %.
pub const PARTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// So many bytes of streams are published in between, for readers who watch: with many open streams a flush of more takes so long
/// that frames which come meanwhile are late, or find the kernel's ring full. `benches/live.sh` shows it.
const AT_A_TIME: usize = 32 << 20;

/// Decoding, reassembly and the writer, in one.
pub struct Worker {
    decoder: Decoder,
    flows: FlowTable,
    ticker: Ticker,
    publish_at_ticks: bool,
    sink: Store,
    /// `None` without rules.
    cutoffs: Option<Box<Cutoffs>>,
    /// The source's interfaces: the writer's number for each, and its link type.
    interfaces: Vec<(u32, LinkType)>,
    counted: Counters,
    /// Attachments of a capture before its first frame for which there was no room.
    left_out: u64,
}

impl Worker {
    /// A worker that writes to this writer.
    pub fn new(writer: Writer, config: WorkerConfig) -> Self {
        let cutoffs = Cutoffs::new(config.cutoffs);
        Self {
            decoder: Decoder::new(config.decode),
            flows: FlowTable::new(config.reassembly),
            ticker: if config.publish_at_ticks { Ticker::with_parts(PARTS) } else { Ticker::new() },
            publish_at_ticks: config.publish_at_ticks,
            sink: Store { writer, pieces: HashMap::new(), error: None },
            cutoffs: (!cutoffs.is_empty()).then(|| Box::new(cutoffs)),
            interfaces: Vec::new(),
            counted: Counters::default(),
            left_out: 0,
        }
    }

    /// The next interface of the source; frames name it by its place in the order of these calls.
    ///
    /// # Errors
    /// When a rule has a filter that cannot be used on its frames.
    pub fn interface(&mut self, interface: &Interface) -> std::result::Result<(), streamdb_capture::Error> {
        if let Some(cutoffs) = &mut self.cutoffs {
            cutoffs.link_type(interface.link_type)?;
        }
        let number = self.sink.writer.interface(interface);
        self.interfaces.push((number, interface.link_type));
        Ok(())
    }

    /// Of connections that begin from now on, so much is kept as these rules say; of those that a rule before waited for the bytes
    /// of, all.
    ///
    /// # Errors
    /// When a rule has a filter that cannot be used on the frames of an interface: then the rules before go on.
    pub fn set_cutoffs(&mut self, rules: Vec<Rule>) -> std::result::Result<(), streamdb_capture::Error> {
        let mut cutoffs = Cutoffs::new(rules);
        self.interfaces.iter().try_for_each(|(_, link_type)| cutoffs.link_type(*link_type))?;
        self.cutoffs = (!cutoffs.is_empty()).then(|| Box::new(cutoffs));
        Ok(())
    }

    /// Decryption secrets (with their kind) or names (without) that came with the frames.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn attachment(&mut self, kind: Option<u32>, bytes: &[u8]) -> Result<()> {
        self.left_out += u64::from(!self.sink.writer.attachment(kind, bytes)?);
        Ok(())
    }

    /// Attachments that were left out, as more came before a frame than can wait for one.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Frames that were dropped before they came here.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn dropped(&mut self, kernel: u64, interface: u64) -> Result<()> {
        // Before the first frame the time is that frame's; no time is earlier than it.
        let time = self.ticker.clock().unwrap_or(Timestamp(i64::MAX));
        self.counted.dropped_kernel += kernel;
        self.counted.dropped_interface += interface;
        self.sink.writer.loss(&Loss { from: time, to: time, kernel, interface, shed: 0 })
    }

    /// A frame that the capture filter left out.
    pub const fn filtered(&mut self) {
        self.counted.filtered_frames += 1;
    }

    /// It is so late, says the source: a frame of this time comes next, or none has come for a while.
    ///
    /// # Errors
    /// When the store cannot write.
    pub fn clock(&mut self, now: Timestamp) -> Result<()> {
        match self.ticker.advance(now) {
            None => Ok(()),
            Some(Step::Tick(now)) => self.tick(now),
            Some(Step::Part(_)) => self.flush(),
            Some(Step::Back(now)) => {
                self.counted.clock_steps_back += 1;
                self.tick(now)
            }
        }
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// When the store thread is gone. A disk that fails is no error: what is lost is counted, and it is tried again.
    pub fn frame(&mut self, frame: &Frame<'_>) -> Result<()> {
        if self.sink.writer.has_news() {
            self.settle()?;
        }
        self.clock(frame.time)?;
        let (interface, link) = self.interfaces.get(frame.interface as usize).copied().unwrap_or((0, LinkType::NULL));
        self.count(frame);
        let Self { decoder, flows, sink: store, cutoffs, counted, .. } = self;
        let cutoffs = cutoffs.as_deref_mut();
        let mut sink = StoreSink { store, cutoffs, frame: (link, frame.data) };
        let sink = &mut sink;
        let tag = sink.store.writer.next_tag();
        let decoded = decoder.decode(link, frame.data, frame.wire_len, frame.time, tag);
        let mut input = FrameIn {
            time: frame.time,
            interface,
            wire_len: frame.wire_len,
            data: frame.data,
            payload_at: 0,
            payload_len: 0,
            is_tcp: false,
        };
        let whole = decoded.pieces.is_empty();
        let belongs = match &decoded.content {
            Content::Tcp(segment) => {
                counted.tcp_frames += 1;
                if whole {
                    (input.payload_at, input.payload_len) = (decoded.payload_at, segment.payload.len());
                }
                input.is_tcp = true;
                let tag = sink.store.take(&input, decoded.pieces)?;
                let belongs = flows.tcp(FrameTag(tag), frame.time, &decoded.path, segment, sink);
                if belongs.is_none() {
                    sink.kept(FrameTag(tag), segment.payload);
                }
                belongs.map(|belongs| (tag, belongs))
            }
            Content::Udp(datagram) => {
                counted.udp_frames += 1;
                if whole {
                    (input.payload_at, input.payload_len) = (decoded.payload_at, datagram.payload.len());
                }
                let tag = sink.store.take(&input, decoded.pieces)?;
                let belongs = flows.udp(FrameTag(tag), frame.time, &decoded.path, datagram, sink);
                if belongs.is_none() {
                    sink.kept(FrameTag(tag), datagram.payload);
                }
                belongs.map(|belongs| (tag, belongs))
            }
            other => {
                match other {
                    Content::Fragment => {
                        counted.fragment_frames += 1;
                        // Whether it is TCP's is known when its packet is complete; until then it is kept.
                        input.is_tcp = true;
                    }
                    Content::Malformed => counted.malformed_frames += 1,
                    _ => counted.other_frames += 1,
                }
                sink.store.take(&input, &[])?;
                None
            }
        };
        if let Some((tag, (slot, direction))) = belongs {
            if decoded.differs {
                flows.conflict(slot, direction);
            }
            sink.store.writer.belongs(tag, slot.0, direction);
            for piece in decoded.pieces {
                sink.store.writer.belongs(piece.tag, slot.0, direction);
            }
        }
        self.sink.error.take().map_or(Ok(()), Err)?;
        let writer = &self.sink.writer;
        if writer.wants_commit() || self.publish_at_ticks && writer.waiting() >= AT_A_TIME {
            self.flush()?;
            // Captures whose times stand still have no ticks.
            if self.sink.writer.bucket_is_full() {
                let counters = self.given();
                self.sink.writer.end_bucket(&counters)?;
            }
        }
        Ok(())
    }

    /// What went wrong with the disk since the last call, each a sentence for the operator.
    pub fn take_troubles(&mut self) -> Vec<Trouble> {
        self.sink.writer.take_troubles()
    }

    /// The input is over: every stream gets its end, and the store is sealed.
    ///
    /// # Errors
    /// When the store thread is gone. A disk that fails is no error: what is lost is counted, and it is tried again.
    pub fn finish(mut self) -> Result<(Counters, WriterSummary)> {
        if self.sink.writer.has_news() {
            self.settle()?;
        }
        self.flush()?;
        let (flows, mut sink) = self.without_frame();
        flows.finish(&mut sink);
        self.sink.error.take().map_or(Ok(()), Err)?;
        let counters = self.given();
        let full_buckets = self.counters().full_buckets;
        let summary = self.sink.writer.finish(&counters)?;
        Ok((summary.lost.lost_from(&Counters { full_buckets, ..counters }), summary))
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        self.sink.writer.corrected(&self.given())
    }

    /// What was counted of what was given to the writer, whatever became of it there.
    fn given(&self) -> Counters {
        let mut counters = self.counted;
        counters.add(&self.flows.counters());
        counters.reassembled_packets = self.decoder.reassembled_packets();
        counters.expired_fragments = self.decoder.expired_fragments();
        counters.evicted_fragments = self.decoder.evicted_fragments();
        counters
    }

    /// Connections that are known now.
    pub fn open_connections(&self) -> usize {
        self.flows.open_connections()
    }

    /// The table, and the sink for what it says between frames: no connection begins then.
    fn without_frame(&mut self) -> (&mut FlowTable, StoreSink<'_>) {
        let Self { flows, sink: store, cutoffs, .. } = self;
        (flows, StoreSink { store, cutoffs: cutoffs.as_deref_mut(), frame: (LinkType::NULL, &[]) })
    }

    fn count(&mut self, frame: &Frame<'_>) {
        self.counted.frames += 1;
        self.counted.captured_bytes += frame.data.len() as u64;
        self.counted.wire_bytes += u64::from(frame.wire_len).max(frame.data.len() as u64);
    }

    /// A second of packet time is over: what is silent ends, what is at hand may be published, and perhaps the bucket ends.
    fn tick(&mut self, now: Timestamp) -> Result<()> {
        self.sink.writer.tick();
        self.decoder.tick(now);
        let (flows, mut sink) = self.without_frame();
        flows.tick(now, &mut sink);
        let over = self.sink.writer.bucket_is_over(now);
        if over || self.publish_at_ticks {
            self.flush()?;
        }
        if over {
            let counters = self.given();
            self.sink.writer.end_bucket(&counters)?;
        }
        Ok(())
    }

    /// Something failed in the store. What reassembly holds was of the bucket that is over.
    fn settle(&mut self) -> Result<()> {
        let (flows, mut sink) = self.without_frame();
        flows.flush(&mut sink);
        self.sink.pieces.clear();
        self.sink.error.take().map_or(Ok(()), Err)?;
        let counters = self.given();
        self.sink.writer.settle(&counters);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let (flows, mut sink) = self.without_frame();
        flows.flush(&mut sink);
        self.sink.pieces.clear();
        self.sink.error.take().map_or(Ok(()), Err)?;
        self.sink.writer.commit()
    }
}

/// The writer, and what is known of its frames.
struct Store {
    writer: Writer,
    /// The frames of packets that came in fragments, by the tag of the last of them, until their payload has a place.
    pieces: HashMap<u64, Vec<Piece>>,
    /// The first error; the worker hands it out after the call that met it.
    error: Option<Error>,
}

impl Store {
    fn take(&mut self, input: &FrameIn<'_>, pieces: &[Piece]) -> Result<u64> {
        let tag = self.writer.frame(input)?;
        if !pieces.is_empty() {
            self.pieces.insert(tag, pieces.to_vec());
        }
        Ok(tag)
    }

    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

/// What reassembly says, said to the writer.
struct StoreSink<'a> {
    store: &'a mut Store,
    cutoffs: Option<&'a mut Cutoffs>,
    /// The frame that is being taken, and its link type.
    frame: (LinkType, &'a [u8]),
}

impl Sink for StoreSink<'_> {
    fn opened(&mut self, slot: Slot, opened: &Opened) {
        self.store.writer.opened(slot.0, &opened.tuple, &opened.path, opened.time);
    }

    fn keep(&mut self, slot: Slot, opened: &Opened) -> Keep {
        let (link_type, frame) = self.frame;
        self.cutoffs.as_mut().map_or(Keep::All, |cutoffs| cutoffs.opened(slot, &opened.tuple, link_type, frame))
    }

    fn look(&mut self, slot: Slot, direction: Direction, offset: u64, payload: &[u8]) -> Keep {
        self.cutoffs.as_mut().map_or(Keep::All, |cutoffs| cutoffs.look(slot, direction, offset, payload))
    }

    fn data(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) {
        let result = self.store.writer.data(slot.0, direction, offset, bytes);
        self.store.note(result);
    }

    fn datagram(
        &mut self,
        slot: Slot,
        direction: Direction,
        offset: StreamOffset,
        bytes: &[u8],
        wire_len: u32,
        time: Timestamp,
    ) {
        let result = self.store.writer.datagram(slot.0, direction, offset, bytes, wire_len, time);
        self.store.note(result);
    }

    fn compare(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) -> Comparison {
        match self.store.writer.compare(slot.0, direction, offset, bytes) {
            Some(true) => Comparison::Same,
            Some(false) => Comparison::Differs,
            None => Comparison::Unknown,
        }
    }

    fn cut(&mut self, tag: FrameTag, bytes: &[u8]) {
        let Store { writer, pieces, .. } = &mut *self.store;
        let Some(fragments) = pieces.get_mut(&tag.0) else { return writer.cut(tag.0, bytes) };
        // Those that are written already stay whole.
        fragments.retain_mut(|piece| {
            let left = (bytes.len() as u64).saturating_sub(piece.payload_at.into()).min(piece.len.into()) as u32;
            let whole = left == piece.len;
            if !whole {
                writer.cut_later(piece.tag, piece.frame_at as usize + left as usize);
                piece.len = left;
            }
            whole || left > 0
        });
        if bytes.is_empty() {
            pieces.remove(&tag.0);
        }
    }

    fn placed(&mut self, tag: FrameTag, slot: Slot, direction: Direction, offset: StreamOffset, _len: u32) {
        if self.store.pieces.is_empty() {
            return self.store.writer.placed(tag.0, offset);
        }
        match self.store.pieces.remove(&tag.0) {
            None => self.store.writer.placed(tag.0, offset),
            Some(pieces) => {
                for Piece { tag, frame_at, payload_at, len } in pieces {
                    let offset = offset.add(payload_at.into());
                    self.store.writer.placed_later(tag, frame_at as usize, len as usize, slot.0, direction, offset);
                }
            }
        }
    }

    fn kept(&mut self, tag: FrameTag, bytes: &[u8]) {
        // The frames of a packet that came in fragments were taken whole, and stay so.
        if self.store.pieces.remove(&tag.0).is_none() {
            self.store.writer.kept(tag.0, bytes);
        }
    }

    fn checkpoint(&mut self, slot: Slot, streams: &[StreamState; 2], ended: Option<Reason>) {
        let facts = streams.each_ref().map(|stream| StreamFacts {
            packets: stream.packets,
            first: stream.first,
            last: stream.last,
            length: stream.length,
            gaps: &stream.gaps,
            marks: stream.marks,
            limited: stream.limited,
        });
        let result = self.store.writer.checkpoint(slot.0, facts, ended);
        self.store.note(result);
    }

    fn closed(&mut self, slot: Slot) {
        if let Some(cutoffs) = &mut self.cutoffs {
            cutoffs.closed(slot);
        }
        self.store.writer.closed(slot.0);
    }
}
