//! One worker: the path of a frame from a source to the store. Plain calls on one thread; no clock, no lock, no file.

mod shared;
mod store;

use std::num::NonZeroU32;

use streamdb_capture::{Frame, Step, Ticker};
use streamdb_decode::{Content, Decoder, Look};
use streamdb_reassembly::{FlowTable, FrameTag, Sink};
use streamdb_storage::{FrameIn, Loss, Result, Trouble, Writer, WriterSummary};
use streamdb_types::{Counters, Interface, LinkType, Protocol, Timestamp};

use self::shared::Whose;
use self::store::{Store, StoreSink};
use crate::cutoff::{Cutoffs, Rule};
use crate::sharing::{Met, Part};

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
    /// Whether frames come as they go over an interface: then waits for the disk are counted, which a capture file always has,
    /// and what is said to be dropped was so in the last second.
    pub live: bool,
    /// Whether it is as late as [`Worker::clock`] says, and not as late as the last frame is: where frames come from several
    /// senders, each with a clock of its own.
    pub by_clock: bool,
}

/// How many times a second of packet time what came is published for readers who watch: so that it can be read within a second,
/// however busy the machine is. It costs room where frames are few: small real captures take 4 % more than with once a second, and
/// with four times 10 %.
pub const PARTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// So many bytes of streams are published in between, for readers who watch: with many open streams a flush of more takes so long
/// that frames which come meanwhile are late, or find the kernel's ring full. `benches/live.sh` shows it.
const AT_A_TIME: usize = 32 << 20;

/// How long what an interface dropped took to be said, in nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// Decoding, reassembly and the writer, in one.
pub struct Worker {
    decoder: Decoder,
    flows: FlowTable,
    ticker: Ticker,
    publish_at_ticks: bool,
    live: bool,
    by_clock: bool,
    sink: Store,
    /// `None` without rules.
    cutoffs: Option<Box<Cutoffs>>,
    /// `None` of a worker that shares nothing with others.
    part: Option<Box<Part>>,
    /// The source's interfaces: the writer's number for each, and its link type.
    interfaces: Vec<(u32, LinkType)>,
    counted: Counters,
    /// How many frames were let go when that was asked before.
    shed_before: u64,
    /// Since when it was not said what was dropped.
    told: Option<Timestamp>,
    /// Attachments of a capture before its first frame for which there was no room.
    left_out: u64,
}

impl Worker {
    /// A worker that writes to this writer.
    pub fn new(writer: Writer, config: WorkerConfig) -> Self {
        Self::with_part(writer, config, None)
    }

    /// One of several, between which each connection is one's.
    pub fn sharing(writer: Writer, config: WorkerConfig, part: Part) -> Self {
        Self::with_part(writer, config, Some(Box::new(part)))
    }

    fn with_part(writer: Writer, config: WorkerConfig, part: Option<Box<Part>>) -> Self {
        let cutoffs = Cutoffs::new(config.cutoffs);
        let seed = part.as_ref().map(|part| part.seed()).unwrap_or_default();
        Self {
            decoder: Decoder::new(config.decode),
            flows: FlowTable::with_seed(config.reassembly, seed),
            ticker: if config.publish_at_ticks { Ticker::with_parts(PARTS) } else { Ticker::new() },
            publish_at_ticks: config.publish_at_ticks,
            by_clock: config.by_clock,
            sink: Store::new(writer),
            live: config.live,
            cutoffs: (!cutoffs.is_empty()).then(|| Box::new(cutoffs)),
            part,
            interfaces: Vec::new(),
            counted: Counters::default(),
            shed_before: 0,
            told: None,
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
        self.begin(interface);
        Ok(())
    }

    /// The same of an interface that is taken all the same when a rule has a filter that cannot be used on its frames.
    ///
    /// # Errors
    /// The first such rule.
    pub fn any_interface(&mut self, interface: &Interface) -> std::result::Result<(), streamdb_capture::Error> {
        self.begin(interface);
        self.cutoffs.as_mut().map_or(Ok(()), |cutoffs| cutoffs.link_type(interface.link_type))
    }

    fn begin(&mut self, interface: &Interface) {
        let number = self.sink.writer.interface(interface);
        self.interfaces.push((number, interface.link_type));
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

    /// Frames that were dropped before they came here, in that time.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn dropped(&mut self, kernel: u64, interface: u64, between: Option<(Timestamp, Timestamp)>) -> Result<()> {
        self.counted.dropped_kernel = self.counted.dropped_kernel.saturating_add(kernel);
        self.counted.dropped_interface = self.counted.dropped_interface.saturating_add(interface);
        self.loss(kernel, interface, between)
    }

    /// Frames that a sender says it dropped. It can say anything, so that the counters of this machine know nothing of it.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn dropped_by_sender(&mut self, frames: u64, between: Option<(Timestamp, Timestamp)>) -> Result<()> {
        self.counted.dropped_sender = self.counted.dropped_sender.saturating_add(frames);
        self.loss(0, frames, between)
    }

    fn loss(&mut self, kernel: u64, interface: u64, between: Option<(Timestamp, Timestamp)>) -> Result<()> {
        // Before the first frame the time is that frame's; no time is earlier than it.
        let time = self.ticker.clock().unwrap_or(Timestamp(i64::MAX));
        let told = self.told.replace(time).unwrap_or(time).min(time);
        // What was read of the kernel's counters may be of frames that are taken later, when the ring held so much.
        let (from, to) = between.unwrap_or((if self.live { time.plus(-SECOND) } else { told }, time));
        self.sink.writer.loss(&Loss { from, to, kernel, interface, shed: 0 })
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

    /// Takes a frame, or hands it to the worker whose connection it belongs to.
    ///
    /// # Errors
    /// When the store thread is gone. A disk that fails is no error: what is lost is counted, and it is tried again.
    pub fn frame(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.before(frame)?;
        self.take(frame, if self.part.is_some() { Whose::Anybodys(Met::Nowhere) } else { Whose::Mine })
    }

    /// What is due before a frame.
    fn before(&mut self, frame: &Frame<'_>) -> Result<()> {
        if self.sink.writer.has_news() {
            self.settle()?;
        }
        self.told.get_or_insert(frame.time);
        if self.by_clock { Ok(()) } else { self.clock(frame.time) }
    }

    /// Takes a frame. If it may be another worker's that is asked first, as what is in the journal here stays here.
    fn take(&mut self, frame: &Frame<'_>, whose: Whose) -> Result<()> {
        let (interface, link) = self.interfaces.get(frame.interface as usize).copied().unwrap_or((0, LinkType::NULL));
        let Self { decoder, flows, sink: store, cutoffs, part, counted, .. } = self;
        let decoded = if let Whose::Anybodys(met) = whose {
            match decoder.look(link, frame.data, frame.wire_len) {
                Look::Decoded(decoded) => decoded,
                Look::Fragment(fragment, carried) => return self.fragment(frame, &fragment, &carried, met),
            }
        } else {
            let tag = store.writer.next_tag();
            decoder.decode(link, frame.data, frame.wire_len, frame.time, tag)
        };
        let cutoffs = cutoffs.as_deref_mut();
        let mut sink = StoreSink { store, cutoffs, part: part.as_deref_mut(), frame: (link, frame.data) };
        let sink = &mut sink;
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
                let place = flows.place(Protocol::TCP, &decoded.path, segment.src, segment.dst);
                if !shared::stays(sink.part.as_deref_mut(), counted, &place, frame, whose) {
                    return Ok(());
                }
                count(counted, frame);
                counted.tcp_frames += 1;
                if whole {
                    (input.payload_at, input.payload_len) = (decoded.payload_at, segment.payload.len());
                }
                input.is_tcp = true;
                let tag = sink.store.take(&input, decoded.pieces)?;
                let belongs = flows.tcp_at(place, FrameTag(tag), frame.time, &decoded.path, segment, sink);
                if belongs.is_none() {
                    sink.kept(FrameTag(tag), segment.payload);
                }
                belongs.map(|belongs| (tag, belongs))
            }
            Content::Udp(datagram) => {
                let place = flows.place(Protocol::UDP, &decoded.path, datagram.src, datagram.dst);
                if !shared::stays(sink.part.as_deref_mut(), counted, &place, frame, whose) {
                    return Ok(());
                }
                count(counted, frame);
                counted.udp_frames += 1;
                if whole {
                    (input.payload_at, input.payload_len) = (decoded.payload_at, datagram.payload.len());
                }
                let tag = sink.store.take(&input, decoded.pieces)?;
                let belongs = flows.udp_at(place, FrameTag(tag), frame.time, &decoded.path, datagram, sink);
                if belongs.is_none() {
                    sink.kept(FrameTag(tag), datagram.payload);
                }
                belongs.map(|belongs| (tag, belongs))
            }
            other => {
                count(counted, frame);
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
        if let Some(part) = &mut self.part {
            part.end();
        }
        self.sink.error()?;
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

    /// A capture is over, and another one may follow, with interfaces of its own: the bucket ends, and connections that are open go
    /// on in the next one. When this returns all of it is on disk, but for what is said to be lost. Gives what was counted since the
    /// begin, and what was written since this was called before.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn end_capture(&mut self) -> Result<(Counters, WriterSummary)> {
        if self.sink.writer.has_news() {
            self.settle()?;
        }
        self.flush()?;
        self.interfaces.clear();
        let counters = self.given();
        let written = self.sink.writer.end_capture(&counters)?;
        Ok((self.counters(), written))
    }

    /// How many interfaces were announced that are described differently.
    pub const fn known_interfaces(&self) -> usize {
        self.sink.writer.known_interfaces()
    }

    /// The input is over: every stream gets its end, and the store is sealed.
    ///
    /// # Errors
    /// When the store thread is gone. A disk that fails is no error: what is lost is counted, and it is tried again.
    pub fn finish(mut self) -> Result<(Counters, WriterSummary)> {
        self.take_last_handed()?;
        self.note_losses(self.ticker.clock().unwrap_or_default())?;
        if self.sink.writer.has_news() {
            self.settle()?;
        }
        self.flush()?;
        let (flows, mut sink) = self.without_frame();
        flows.finish(&mut sink);
        self.sink.error()?;
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
        let refused = self.decoder.refused();
        counters.malformed_cut = refused.cut;
        counters.malformed_link = refused.link;
        counters.malformed_ip = refused.ip;
        counters.malformed_tcp = refused.tcp;
        counters.malformed_udp = refused.udp;
        counters.malformed_tunnel = refused.tunnel;
        counters.other_link_type = refused.link_type;
        counters.other_not_ip = refused.not_ip;
        counters.other_protocol = refused.protocol;
        counters.other_depth = refused.depth;
        if self.live {
            let stalls = self.sink.writer.stalls();
            counters.disk_stalls = stalls.times;
            counters.disk_stalled_millis = stalls.waited.as_millis() as u64;
        }
        counters
    }

    /// Connections that are known now.
    pub fn open_connections(&self) -> usize {
        self.flows.open_connections()
    }

    /// Bytes that are held out of order.
    pub const fn held_bytes(&self) -> usize {
        self.flows.held_bytes()
    }

    /// The table, and the sink for what it says between frames: no connection begins then.
    fn without_frame(&mut self) -> (&mut FlowTable, StoreSink<'_>) {
        let Self { flows, sink: store, cutoffs, part, .. } = self;
        let (cutoffs, part) = (cutoffs.as_deref_mut(), part.as_deref_mut());
        (flows, StoreSink { store, cutoffs, part, frame: (LinkType::NULL, &[]) })
    }

    /// A second of packet time is over: what is silent ends, what is at hand may be published, and perhaps the bucket ends.
    fn tick(&mut self, now: Timestamp) -> Result<()> {
        self.tick_of_shared(now)?;
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
        self.sink.flushed()?;
        self.sink.writer.settle();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let (flows, mut sink) = self.without_frame();
        flows.flush(&mut sink);
        self.sink.flushed()?;
        self.sink.writer.commit()
    }
}

const fn count(counted: &mut Counters, frame: &Frame<'_>) {
    let (captured, wire) = (frame.data.len() as u64, frame.wire_len as u64);
    counted.frames += 1;
    counted.captured_bytes += captured;
    counted.wire_bytes += if wire > captured { wire } else { captured };
}
