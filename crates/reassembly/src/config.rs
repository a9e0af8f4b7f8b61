//! What can be set: the overlap policy, time limits, memory limits.

const SECOND: i64 = 1_000_000_000;

/// Which copy of a byte goes into the stream when held segments overlap.
///
/// Each policy is an order of the segments that cover the byte; the best one gives it. The rules are those of Novak and
/// Sturges, "Target-Based TCP Stream Reassembly" (2007), where starts and ends are those of the segments as sent.
///
/// A policy decides among segments that are held together, that is out of order and within one flush. Bytes that were
/// given to the sink stay, whatever the policy: what a reader may have seen does not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OverlapPolicy {
    /// The segment that came first.
    #[default]
    First,
    /// The segment that came last.
    Last,
    /// The segment that begins first; of those that begin at the same byte the one that ends last; then the one that came
    /// first.
    Linux,
    /// The segment that begins first, then the one that came first (Windows before Vista; the BSDs too).
    Windows,
}

/// What can be set. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which copy wins where held segments overlap.
    pub overlap: OverlapPolicy,
    /// Whether segments and datagrams with a wrong checksum are refused. They are normal on a sensor (offloading), so they
    /// are not unless this is set.
    pub reject_bad_checksums: bool,
    /// After this long without a frame an open TCP connection ends; a half-closed one after at most 60 s.
    pub tcp_idle: i64,
    /// After this long without a frame a TCP connection whose handshake is not complete ends.
    pub tcp_syn: i64,
    /// After this long without a frame a UDP flow ends.
    pub udp_idle: i64,
    /// How long after its last frame an ended TCP connection is still known, so that trailing frames belong to it.
    pub linger: i64,
    /// The most connections known at once (at least 1). At the limit one is ended: the one longest without a frame of those that
    /// are over, that are half-open, and of which one end alone was seen with few frames, as a flood makes them; if all of
    /// these had one within a second, and where there is none, of UDP flows with two ends and of TCP connections of which one end alone
    /// was seen, with many frames; and only where there is none of those either, of established TCP connections. A sixteenth is
    /// not for established ones, so that new ones can come about: beyond, the next to be established ends the longest silent.
    pub max_connections: usize,
    /// The most bytes held out of order for one stream, bookkeeping included. At the limit they are released early.
    pub max_held_per_stream: usize,
    /// The most bytes held out of order for all streams, bookkeeping included. At the limit the stream that wants to hold
    /// more is released early; one that holds more than 64 KiB at three quarters of it.
    pub max_held: usize,
    /// The most holes in a stream that can still be filled, and the most segments held for it (at least 1). At the limit
    /// the hole with the lowest offset is closed: bytes that come for it later are outside the stream.
    pub max_gaps_per_stream: usize,
    /// The most holes in all streams that can still be filled, beside 8 of each. At the limit the stream that gets one more has its
    /// lowest closed.
    pub max_gaps: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            overlap: OverlapPolicy::First,
            reject_bad_checksums: false,
            tcp_idle: 300 * SECOND,
            tcp_syn: 30 * SECOND,
            udp_idle: 60 * SECOND,
            linger: 10 * SECOND,
            max_connections: 1_000_000,
            max_held_per_stream: 4 << 20,
            max_held: 256 << 20,
            max_gaps_per_stream: 4096,
            max_gaps: 1 << 20,
        }
    }
}
