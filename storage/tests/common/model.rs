//! What a store has to give back.

use streamdb_types::{Direction, Gap, GapKind, Interface, Marks, Path as Hops, Reason, StreamOffset, Timestamp, Tuple};

/// What one direction must be.
#[derive(Clone, Debug)]
pub struct StreamModel {
    /// Ranges that were given: start and end; ascending, not touching.
    pub ranges: Vec<(u64, u64)>,
    pub packets: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub length: u64,
    pub marks: Marks,
    pub kind: GapKind,
    /// Those that it had a frame in.
    pub buckets: Vec<u64>,
    /// UDP: offset, wire, captured, time.
    pub datagrams: Vec<(u64, u32, u32, Timestamp)>,
}

impl StreamModel {
    pub(super) fn new(kind: GapKind) -> Self {
        let (first, last) = (Timestamp(0), Timestamp(0));
        let (ranges, datagrams, buckets) = (Vec::new(), Vec::new(), Vec::new());
        Self { ranges, packets: 0, first, last, length: 0, marks: Marks::default(), kind, buckets, datagrams }
    }

    pub(super) fn give(&mut self, start: u64, end: u64) {
        if start == end {
            return;
        }
        let at = self.ranges.partition_point(|r| r.1 < start);
        let mut new = (start, end);
        while self.ranges.get(at).is_some_and(|r| r.0 <= new.1) {
            let old = self.ranges.remove(at);
            new = (new.0.min(old.0), new.1.max(old.1));
        }
        self.ranges.insert(at, new);
        self.length = self.length.max(end);
    }

    pub fn has(&self, start: u64, end: u64) -> bool {
        self.ranges.iter().any(|r| r.0 <= start && end <= r.1)
    }

    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for (start, end) in self.ranges.iter().copied().chain([(self.length, self.length)]) {
            if at < start {
                gaps.push(Gap { offset: StreamOffset(at), length: start - at, kind: self.kind });
            }
            at = at.max(end);
        }
        gaps
    }

    pub(super) fn frame(&mut self, time: Timestamp, bucket: u64) {
        if self.buckets.last() != Some(&bucket) {
            self.buckets.push(bucket);
        }
        if self.packets == 0 {
            (self.first, self.last) = (time, time);
        }
        self.packets += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }
}

/// What one connection must be.
#[derive(Clone, Debug)]
pub struct ConnModel {
    pub tuple: Tuple,
    pub path: Hops,
    pub streams: [StreamModel; 2],
    /// Bytes of it held out of order: the frame's tag, its place in `frames`, direction, range.
    pub held: Vec<(u64, Direction, u64, u64)>,
    pub changed: bool,
    pub ended: Option<Reason>,
    pub close: bool,
    /// Its end was said, and nothing came since.
    pub written: bool,
    /// How its newest record says that it ended.
    pub said: Option<Reason>,
    /// The bucket it was last seen in.
    pub bucket: u64,
}

/// A frame that must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameModel {
    pub time: Timestamp,
    pub interface: u32,
    pub wire_len: u32,
    pub data: Vec<u8>,
    pub conn: Option<usize>,
    /// Buckets are counted from 1.
    pub bucket: u64,
}

/// Everything that must come back.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub conns: Vec<ConnModel>,
    pub frames: Vec<FrameModel>,
    pub interfaces: Vec<Interface>,
}
