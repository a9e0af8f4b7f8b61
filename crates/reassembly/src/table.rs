//! The flow table: which connection a frame belongs to, when connections end, what is counted.

use ahash::RandomState;
use hashbrown::HashTable;
use streamdb_decode::{TcpFlags, TcpSegment, UdpDatagram};
use streamdb_types::{Counters, Direction, Endpoint, Marks, Path, Protocol, Reason, Timestamp, Tuple};

use crate::ages::{Ages, Class, Worth};
use crate::config::Config;
use crate::connection::{Connection, State, Syn, Taken};
use crate::held::Scratch;
use crate::key::{Key, Place, Seed};
use crate::repeats::Repeats;
use crate::sink::{Comparison, FrameTag, Keep, Opened, Sink, Slot, StreamState};
use crate::stream::{Base, Context, Stream};

/// A half-closed connection is forgotten after this long at most.
const HALF_CLOSED: i64 = 60_000_000_000;

/// When the table is full, what had a frame within this time may still become more than it seems. As ages are exact to the tick,
/// that is more than a second.
const YOUNG: i64 = 2_000_000_000;

/// Small, so that many fit into the processor's cache; with the hash, so that the table grows without a look at the
/// connections.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    slot: u32,
}

/// The hash table wants 64 bits of which the highest and the lowest count: the 32 that are kept, spread.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// All connections, and the state of each of their streams.
///
/// What it tells the sink depends on the frames, ticks and flushes alone, never on the order in a hash table, so the same
/// input gives the same calls.
#[derive(Debug)]
pub struct FlowTable {
    config: Config,
    seed: RandomState,
    index: HashTable<Entry>,
    connections: Vec<Connection>,
    free: Vec<u32>,
    ages: Ages,
    /// The time of the last tick, or of the first frame before any.
    now: Option<Timestamp>,
    /// Connections that had a frame since the last flush, in the order of the first such; `None` for those that closed.
    stirred: Vec<Option<u32>>,
    counters: Counters,
    held: usize,
    gaps: usize,
    repeats: Repeats,
    scratch: Scratch,
    states: [StreamState; 2],
}

impl FlowTable {
    /// An empty table.
    pub fn new(config: Config) -> Self {
        Self::with_seed(config, Seed::default())
    }

    /// An empty table that hashes as others do.
    pub fn with_seed(config: Config, seed: Seed) -> Self {
        Self {
            config,
            seed: seed.0,
            index: HashTable::new(),
            connections: Vec::new(),
            free: Vec::new(),
            ages: Ages::new(),
            now: None,
            stirred: Vec::new(),
            counters: Counters::default(),
            held: 0,
            gaps: 0,
            repeats: Repeats::default(),
            scratch: Scratch::default(),
            states: <[StreamState; 2]>::default(),
        }
    }

    /// Takes a TCP segment; says which connection and direction its frame belongs to.
    ///
    /// `None` when it belongs to none, as its checksum is wrong and such are refused: then nothing was called, and nothing
    /// counted but `bad_checksums`.
    #[inline]
    pub fn tcp<S: Sink>(
        &mut self,
        tag: FrameTag,
        time: Timestamp,
        path: &Path,
        segment: &TcpSegment<'_>,
        sink: &mut S,
    ) -> Option<(Slot, Direction)> {
        let place = self.place(Protocol::TCP, path, segment.src, segment.dst);
        self.tcp_at(place, tag, time, path, segment, sink)
    }

    /// Takes a UDP datagram; as [`tcp`](Self::tcp).
    #[inline]
    pub fn udp<S: Sink>(
        &mut self,
        tag: FrameTag,
        time: Timestamp,
        path: &Path,
        datagram: &UdpDatagram<'_>,
        sink: &mut S,
    ) -> Option<(Slot, Direction)> {
        let place = self.place(Protocol::UDP, path, datagram.src, datagram.dst);
        self.udp_at(place, tag, time, path, datagram, sink)
    }

    /// Where the connection is of a frame from one end to the other, if it is known.
    #[inline]
    pub fn place(&self, protocol: Protocol, path: &Path, src: Endpoint, dst: Endpoint) -> Place {
        let key = Key { protocol, path, src, dst };
        let mut place = Place { hash: key.hash(&self.seed), found: None };
        place.found = self.find(place.short(), &key);
        place
    }

    /// Takes a TCP segment, whose connection was looked up; as [`tcp`](Self::tcp).
    #[inline]
    pub fn tcp_at<S: Sink>(
        &mut self,
        place: Place,
        tag: FrameTag,
        time: Timestamp,
        path: &Path,
        segment: &TcpSegment<'_>,
        sink: &mut S,
    ) -> Option<(Slot, Direction)> {
        self.checked(segment.checksum_ok)?;
        let is_syn = segment.flags.contains(TcpFlags::SYN) && !segment.flags.contains(TcpFlags::RST);
        let mut syn = Syn::Belongs;
        let mut found = place.found;
        if is_syn && let Some((slot, direction)) = found {
            let idle = self.ages.idle(slot);
            if let Some(connection) = self.connections.get_mut(slot as usize) {
                syn = connection.takes_syn(direction, segment, idle, self.config.linger);
                if syn == Syn::Belongs && connection.is_turned_by(direction, segment) {
                    if sink.turned(Slot(slot)) {
                        connection.turn();
                        found = Some((slot, direction.flip()));
                    } else {
                        syn = Syn::Begins;
                    }
                }
            }
            if syn == Syn::Begins {
                self.close(slot, Reason::TimeCutoff, sink);
                (found, syn) = (None, Syn::Belongs);
            }
        }
        let (slot, direction) = match found {
            Some(found) => found,
            None => {
                let key = Key { protocol: Protocol::TCP, path, src: segment.src, dst: segment.dst };
                let from_client = if is_syn {
                    // A SYN comes from the client, a SYN+ACK goes to it.
                    !segment.flags.contains(TcpFlags::ACK)
                } else {
                    key.looks_like_client()
                };
                let state = if is_syn { State::Opening } else { State::Open };
                self.open(place.short(), &key, from_client, time, state, sink)
            }
        };
        if self.segment((slot, direction), tag, time, segment, syn, sink)? == Taken::Elsewhere {
            self.close(slot, Reason::TimeCutoff, sink);
            let key = Key { protocol: Protocol::TCP, path, src: segment.src, dst: segment.dst };
            let from_client = direction == Direction::ToServer;
            let new = self.open(place.short(), &key, from_client, time, State::Open, sink);
            // Of a new one every segment is.
            let _ = self.segment(new, tag, time, segment, Syn::Belongs, sink)?;
            return Some((Slot(new.0), new.1));
        }
        Some((Slot(slot), direction))
    }

    /// Gives a segment to its connection. When it is not of that one after all, nothing is counted.
    #[inline]
    fn segment<S: Sink>(
        &mut self,
        (slot, direction): (u32, Direction),
        tag: FrameTag,
        time: Timestamp,
        segment: &TcpSegment<'_>,
        syn: Syn,
        sink: &mut S,
    ) -> Option<Taken> {
        self.stir(slot);
        let connection = self.connections.get_mut(slot as usize)?;
        let mut cx = Context {
            sink,
            config: &self.config,
            counters: &mut self.counters,
            held: &mut self.held,
            gaps: &mut self.gaps,
            scratch: &mut self.scratch,
            slot: Slot(slot),
        };
        if connection.segment(&mut cx, direction, tag, segment, syn) == Taken::Elsewhere {
            return Some(Taken::Elsewhere);
        }
        let stream = direction.of_mut(&mut connection.streams);
        self.counters.streams += u64::from(stream.packets == 0);
        stream.frame(time);
        if segment.checksum_ok == Some(false) {
            stream.marks.insert(Marks::BAD_CHECKSUM);
        }
        let captured = segment.payload.len() as u64;
        self.counters.payload_captured += captured;
        self.counters.payload_cut += u64::from(segment.wire_len).saturating_sub(captured);
        self.touch(slot, sink);
        Some(Taken::Here)
    }

    /// Takes a UDP datagram, whose connection was looked up; as [`tcp`](Self::tcp).
    #[inline]
    pub fn udp_at<S: Sink>(
        &mut self,
        place: Place,
        tag: FrameTag,
        time: Timestamp,
        path: &Path,
        datagram: &UdpDatagram<'_>,
        sink: &mut S,
    ) -> Option<(Slot, Direction)> {
        self.checked(datagram.checksum_ok)?;
        let (slot, direction) = match place.found {
            Some(found) => found,
            None => {
                let key = Key { protocol: Protocol::UDP, path, src: datagram.src, dst: datagram.dst };
                self.open(place.short(), &key, key.looks_like_client(), time, State::Open, sink)
            }
        };
        self.stir(slot);
        let connection = self.connections.get_mut(slot as usize)?;
        if connection.undecided && !datagram.payload.is_empty() {
            let offset = direction.of(&connection.streams).next;
            let keep = sink.look(Slot(slot), direction, offset, datagram.payload);
            connection.decide(keep);
        }
        let stream = direction.of_mut(&mut connection.streams);
        self.counters.streams += u64::from(stream.packets == 0);
        stream.frame(time);
        if datagram.checksum_ok == Some(false) {
            stream.marks.insert(Marks::BAD_CHECKSUM);
        }
        let payload = datagram.payload;
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let wire_len = datagram.wire_len.max(len);
        self.counters.payload_captured += payload.len() as u64;
        self.counters.payload_cut += u64::from(wire_len - len);
        let known = self.repeats.find(Slot(slot), direction, datagram, time);
        if let Some(offset) = known.filter(|offset| offset.add(len.into()).0 <= stream.next)
            && sink.compare(Slot(slot), direction, offset, payload) == Comparison::Same
        {
            stream.marks.insert(Marks::RETRANSMITTED);
            self.counters.payload_duplicate += u64::from(len);
            sink.placed(tag, Slot(slot), direction, offset, len);
            self.touch(slot, sink);
            return Some((Slot(slot), direction));
        }
        let (offset, kept) = stream.datagram(len, wire_len);
        stream.limit_holes(&self.config, &mut self.gaps, &mut self.counters);
        if kept == len {
            self.repeats.note(Slot(slot), direction, datagram, time, offset);
        }
        self.counters.payload_stored += u64::from(kept);
        self.counters.payload_not_kept += payload.len() as u64 - u64::from(kept);
        let payload = payload.get(..kept as usize).unwrap_or(payload);
        if kept < len {
            sink.cut(tag, payload);
        }
        sink.datagram(Slot(slot), direction, offset, payload, wire_len, time);
        if kept > 0 {
            sink.placed(tag, Slot(slot), direction, offset, kept);
        }
        self.touch(slot, sink);
        Some((Slot(slot), direction))
    }

    /// Fragments of a packet of this stream had different bytes for the same place: the frames have those that lost.
    pub fn conflict(&mut self, slot: Slot, direction: Direction) {
        if let Some(connection) = self.connections.get_mut(slot.0 as usize) {
            direction.of_mut(&mut connection.streams).marks.insert(Marks::CONFLICT);
        }
    }

    /// Gives everything held to the sink and says a checkpoint for each connection that had a frame since the last flush,
    /// in the order of their first frames since then. Call it at each tick, and whenever every frame must be placed or
    /// kept.
    pub fn flush<S: Sink>(&mut self, sink: &mut S) {
        let mut stirred = std::mem::take(&mut self.stirred);
        for slot in stirred.drain(..).flatten() {
            self.settle(slot, sink);
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            connection.stirred = None;
            connection.settle_end();
            let ended = match connection.state {
                State::Ended(reason) => Some(reason),
                _ => None,
            };
            self.ages.reclass(slot, connection.class());
            connection.touched = None;
            self.checkpoint(slot, ended, sink);
        }
        self.stirred = stirred;
    }

    /// Time moves on to `now`: connections that are over their time limits end, the longest silent first. Call
    /// [`flush`](Self::flush) afterwards.
    ///
    /// When `now` lies before the last tick the capture's clock was set back, or another capture begins: then only the
    /// clock is set, and time limits go on from there. Time limits are exact to the tick.
    pub fn tick<S: Sink>(&mut self, now: Timestamp, sink: &mut S) {
        self.ages.advance(self.now.map_or(0, |before| now.since(before)));
        self.now = Some(now);
        let config = &self.config;
        let (ended, opening, udp, open) = (config.linger, config.tcp_syn, config.udp_idle, config.tcp_idle);
        let due = move |class: Class, idle: i64| {
            idle > match class {
                Class::Ended => ended,
                Class::Opening => opening,
                Class::Udp | Class::LoneUdp => udp,
                Class::Closing | Class::LoneClosing | Class::BusyClosing => open.min(HALF_CLOSED),
                Class::Open | Class::LoneOpen | Class::BusyOpen => open,
            }
        };
        while let Some(slot) = self.ages.oldest(due) {
            self.close(slot, Reason::TimeCutoff, sink);
        }
    }

    /// The input is over: every connection that has not ended ends with [`Reason::Exiting`], and all are closed, by slot.
    pub fn finish<S: Sink>(&mut self, sink: &mut S) {
        for slot in 0..u32::try_from(self.connections.len()).unwrap_or(u32::MAX) {
            self.close(slot, Reason::Exiting, sink);
        }
        self.stirred.clear();
    }

    /// What was counted since the table was made: connections, streams, what became of payload, gaps of connections that
    /// were closed. After each flush nothing is unaccounted for; in between that is what is held.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Connections known now, lingering ones included.
    pub fn open_connections(&self) -> usize {
        self.index.len()
    }

    /// Bytes held out of order now, with their bookkeeping.
    pub const fn held_bytes(&self) -> usize {
        self.held
    }

    /// Counts a wrong checksum; `None` when the frame is refused for it.
    #[inline]
    const fn checked(&mut self, checksum_ok: Option<bool>) -> Option<()> {
        if let Some(false) = checksum_ok {
            self.counters.bad_checksums += 1;
            if self.config.reject_bad_checksums {
                return None;
            }
        }
        Some(())
    }

    #[inline]
    fn find(&self, hash: u32, key: &Key<'_>) -> Option<(u32, Direction)> {
        let mut direction = Direction::ToServer;
        let entry = self.index.find(spread(hash), |entry| {
            entry.hash == hash
                && self
                    .connections
                    .get(entry.slot as usize)
                    .and_then(|connection| key.direction_in(connection))
                    .is_some_and(|found| {
                        direction = found;
                        true
                    })
        })?;
        Some((entry.slot, direction))
    }

    /// A new connection; the frame that begins it is from the client or not.
    fn open<S: Sink>(
        &mut self,
        hash: u32,
        key: &Key<'_>,
        from_client: bool,
        time: Timestamp,
        state: State,
        sink: &mut S,
    ) -> (u32, Direction) {
        let most = self.most_connections();
        while self.index.len() >= most
            && let Some((slot, worth)) = self.ages.to_give_up(YOUNG)
        {
            self.counters.evicted_connections += 1;
            self.counters.evicted_established += u64::from(worth == Worth::Much);
            self.close(slot, Reason::TimeCutoff, sink);
        }
        self.now.get_or_insert(time);
        let (client, server) = if from_client { (key.src, key.dst) } else { (key.dst, key.src) };
        let tuple = Tuple { protocol: key.protocol, client, server };
        let connection = Connection {
            tuple,
            path: *key.path,
            state,
            streams: [Stream::new(), Stream::new()],
            undecided: false,
            hash,
            stirred: None,
            touched: None,
            end_is_said: false,
            goes_on: false,
            live: true,
        };
        // At most `most` slots are in use at once, so there are no more, and the number fits.
        let slot = self.free.pop().unwrap_or(self.connections.len() as u32);
        match self.connections.get_mut(slot as usize) {
            Some(free) => *free = connection,
            None => self.connections.push(connection),
        }
        self.index.insert_unique(spread(hash), Entry { hash, slot }, |entry| spread(entry.hash));
        self.counters.connections += 1;
        let opened = Opened { tuple, path: *key.path, time };
        sink.opened(Slot(slot), &opened);
        let keep = sink.keep(Slot(slot), &opened);
        if keep != Keep::All
            && let Some(connection) = self.connections.get_mut(slot as usize)
        {
            connection.decide(keep);
        }
        let direction = if key.src == client { Direction::ToServer } else { Direction::ToClient };
        (slot, direction)
    }

    /// The connection is the youngest of its class. What the lists know is looked up only when it may have changed: they
    /// lie elsewhere in memory.
    #[inline]
    fn touch<S: Sink>(&mut self, slot: u32, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let class = connection.class();
        let touched = Some((self.ages.now(), class));
        if connection.touched != touched {
            connection.touched = touched;
            self.ages.touch(slot, class);
            if class.worth() == Worth::Much {
                self.keep_room(sink);
            }
        }
    }

    /// Established connections leave a sixteenth of the table to those that may come to be, which a full table would give up before they
    /// are. Who makes the one too many is an established one itself: no flood can, as it takes two ends.
    fn keep_room<S: Sink>(&mut self, sink: &mut S) {
        let most = self.most_connections();
        if self.ages.count(Worth::Much) > most - most / 16
            && let Some(slot) = self.ages.oldest(|class, _| class.worth() == Worth::Much)
        {
            self.counters.evicted_connections += 1;
            self.counters.evicted_established += 1;
            self.close(slot, Reason::TimeCutoff, sink);
        }
    }

    fn most_connections(&self) -> usize {
        self.config.max_connections.clamp(1, u32::MAX as usize - 1)
    }

    /// The connection has a frame.
    #[inline]
    fn stir(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize)
            && connection.stirred.is_none()
        {
            connection.stirred = Some(self.stirred.len() as u32);
            self.stirred.push(Some(slot));
            if self.stirred.len() > 2 * self.connections.len() + 1024 {
                self.close_ranks();
            }
        }
    }

    /// Takes out the places of connections that closed since the last flush, so that the list is bounded by the table.
    #[cold]
    fn close_ranks(&mut self) {
        self.stirred.retain(Option::is_some);
        for (place, slot) in self.stirred.iter().enumerate() {
            if let Some(connection) = slot.and_then(|slot| self.connections.get_mut(slot as usize)) {
                connection.stirred = Some(place as u32);
            }
        }
    }

    /// Gives everything that is held for a connection.
    fn settle<S: Sink>(&mut self, slot: u32, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let mut cx = Context {
            sink,
            config: &self.config,
            counters: &mut self.counters,
            held: &mut self.held,
            gaps: &mut self.gaps,
            scratch: &mut self.scratch,
            slot: Slot(slot),
        };
        for direction in Direction::BOTH {
            let stream = direction.of_mut(&mut connection.streams);
            if stream.base == Base::Tentative || stream.disorder.is_some() {
                stream.flush(&mut cx, direction);
            }
        }
    }

    fn checkpoint<S: Sink>(&mut self, slot: u32, ended: Option<Reason>, sink: &mut S) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        for (stream, state) in connection.streams.iter().zip(&mut self.states) {
            stream.state(state, ended.is_some());
        }
        connection.end_is_said = ended.is_some();
        sink.checkpoint(Slot(slot), &self.states, ended);
    }

    /// Ends a connection, for this reason unless it had ended before, and forgets it.
    fn close<S: Sink>(&mut self, slot: u32, reason: Reason, sink: &mut S) {
        if !self.connections.get(slot as usize).is_some_and(|connection| connection.live) {
            return;
        }
        self.settle(slot, sink);
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let reason = connection.end(reason);
        let stirred = connection.stirred.take();
        if let Some(place) = stirred
            && let Some(place) = self.stirred.get_mut(place as usize)
        {
            *place = None;
        }
        if stirred.is_some() || !connection.end_is_said {
            self.checkpoint(slot, Some(reason), sink);
        }
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        for stream in &mut connection.streams {
            stream.count_gaps(&mut self.counters);
            stream.let_go(&mut self.gaps);
        }
        connection.live = false;
        if let Ok(entry) = self.index.find_entry(spread(connection.hash), |entry| entry.slot == slot) {
            entry.remove();
        }
        self.ages.remove(slot);
        self.free.push(slot);
        sink.closed(Slot(slot));
    }
}
