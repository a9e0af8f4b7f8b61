//! What reassembly says, and to whom: the contract between the flow table and whoever stores.
//!
//! For one connection the calls come in this order: `opened`, `keep`, then any number of `look`, `turned`, `data`, `datagram`,
//! `compare`, `cut`, `placed`, `kept` and `checkpoint`, then `closed`. After `closed` the slot may be given to another connection.

use streamdb_types::{Direction, Gap, Marks, Path, Reason, StreamOffset, Timestamp, Tuple};

/// A live connection's place in the table: small, and used again after the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// The caller's number for a frame; increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameTag(pub u64);

/// What is known of a connection when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// The two ends.
    pub tuple: Tuple,
    /// VLANs and tunnels around it.
    pub path: Path,
    /// The time of its first frame.
    pub time: Timestamp,
}

/// How many bytes of each direction of a connection are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All.
    #[default]
    All,
    /// So many from the first on. What lies beyond is a gap of kind cutoff, whether it was captured or not.
    First(u64),
    /// That depends on the payload: until it is decided all are kept, and [`Sink::look`] is asked.
    Undecided,
}

/// What is known of one stream by now. `packets` is 0 when the direction had no frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Frames of this direction, those without payload too.
    pub packets: u64,
    /// The time of the first of them.
    pub first: Timestamp,
    /// The time of the last of them.
    pub last: Timestamp,
    /// The end of the stream as far as it is known: the furthest of its bytes, its FIN, and what the peer acknowledged.
    pub length: StreamOffset,
    /// Ranges below `length` that `data` never gave, ascending, not touching each other unless their kinds differ.
    pub gaps: Vec<Gap>,
    /// Bytes in further gaps, all before those of `gaps`, that are not listed any more, as there were too many to know.
    pub closed_gaps: u64,
    /// What was seen of it.
    pub marks: Marks,
    /// Whether it goes on beyond what is kept of it: then the last gap is of kind cutoff and reaches to `length`.
    pub limited: bool,
}

/// How bytes compare with those that were given to the sink before at the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// All equal.
    Same,
    /// At least one differs.
    Differs,
    /// The sink has them no more, and none that it still has differs.
    Unknown,
}

/// Who takes what reassembly makes of the frames.
pub trait Sink {
    /// A connection begins.
    fn opened(&mut self, slot: Slot, opened: &Opened);

    /// How much of the connection that was just opened is kept.
    fn keep(&mut self, _slot: Slot, _opened: &Opened) -> Keep {
        Keep::All
    }

    /// The same again, of a connection of which it was [`Keep::Undecided`], with payload that comes next: `offset` is where
    /// it lies in its stream as far as that is known by now. It is given, placed or kept after this, or the connection is closed, as
    /// it is another's; what was given before is kept whatever the answer.
    fn look(&mut self, _slot: Slot, _direction: Direction, _offset: u64, _payload: &[u8]) -> Keep {
        Keep::All
    }

    /// Which side of the connection is the client was a guess, and a SYN says that it is the other one: should this be true, the two
    /// sides change places, and whatever was said of one direction is of the other. False when it is too late for that: then the
    /// connection is closed, and another one begins with the SYN.
    fn turned(&mut self, _slot: Slot) -> bool {
        false
    }

    /// New bytes of a TCP stream. They never overlap what was given before. Mostly at the end of what was given, but after
    /// a gap or out of order at any offset.
    fn data(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]);

    /// The next datagram of a UDP stream, perhaps empty. `wire_len` is at least `bytes.len()`; when it is more, the stream
    /// has a gap of the difference after the bytes, and the next datagram's offset is behind it.
    fn datagram(
        &mut self,
        slot: Slot,
        direction: Direction,
        offset: StreamOffset,
        bytes: &[u8],
        wire_len: u32,
        time: Timestamp,
    );

    /// Compares bytes with those that `data` gave before at `offset`. All of the range was given.
    fn compare(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) -> Comparison;

    /// Of the payload of this frame only these first bytes are kept. Unless there are none, `placed` or `kept` follows with
    /// as many.
    fn cut(&mut self, _tag: FrameTag, _bytes: &[u8]) {}

    /// The payload of this frame is what the stream holds from `offset` on for `len` bytes. Comes for every frame with
    /// captured payload, unless `kept` does or `cut` left nothing; perhaps later than its frame, but before the end of the
    /// next flush.
    fn placed(&mut self, tag: FrameTag, slot: Slot, direction: Direction, offset: StreamOffset, len: u32);

    /// The payload of this frame is not in a stream, or not all of it, or differs: it has to be kept for itself.
    fn kept(&mut self, tag: FrameTag, bytes: &[u8]);

    /// How a connection stands, once per flush for each connection that had a frame since the last one. `ended` is set
    /// when it is over; should frames still come for it, another `checkpoint` with `ended` follows.
    fn checkpoint(&mut self, slot: Slot, streams: &[StreamState; 2], ended: Option<Reason>);

    /// The connection is forgotten; a `checkpoint` with `ended` came before.
    fn closed(&mut self, slot: Slot);
}
