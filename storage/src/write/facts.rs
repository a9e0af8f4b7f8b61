//! What the writer is set to, what it is told, and what it sums up.

use std::time::Duration;

use streamdb_types::{BucketId, Gap, Marks, StreamOffset, Timestamp};

use super::bucket_file::Compression;
use super::trouble::{Held, Trouble};

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
    /// From which interface: what [`Writer::interface`](super::writer::Writer::interface) answered.
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
    /// Whether it goes on beyond what is kept of its class: then it ends by that, however its connection does.
    pub limited: bool,
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
    /// What went wrong since [`Writer::take_troubles`](super::writer::Writer::take_troubles).
    pub troubles: Vec<Trouble>,
}

impl WriterSummary {
    /// Adds what another worker of the same run wrote.
    pub fn add(&mut self, other: &Self) {
        self.buckets += other.buckets;
        self.bytes += other.bytes;
        self.first_bucket = self.first_bucket.into_iter().chain(other.first_bucket).min();
        self.last_bucket = self.last_bucket.max(other.last_bucket);
        self.lost.add(other.lost);
        self.troubles.extend(other.troubles.iter().cloned());
    }
}

/// How often, and how long, the worker waited for the store thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalls {
    /// Times.
    pub times: u64,
    /// In all.
    pub waited: Duration,
}
