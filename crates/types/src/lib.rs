//! The words of StreamDB as types: time, sequence numbers, stream offsets, endpoints, ids, counters. Std only.
//!
//! Two things that are both a `u64` on disk (an offset in a stream, an offset in a file) are different types here, so
//! that the compiler keeps them apart.

mod address;
mod capture;
mod counters;
mod id;
mod object;
mod path;
mod resolution;
mod seq;
mod stream;
mod time;
mod verdict;

pub use address::{Direction, Endpoint, Protocol, Tuple};
pub use capture::{Interface, LinkType};
pub use counters::Counters;
pub use id::{BlockPlace, BucketId, ConnKey, FrameNumber, Oid, OidError};
pub use object::{Digests, ObjectKind, ObjectRow};
pub use path::{Hop, HopKind, MAX_HOPS, Path};
pub use resolution::{Resolution, from_ticks, to_ticks};
pub use seq::SeqNum;
pub use stream::{Gap, GapKind, Marks, Reason, StreamOffset};
pub use time::{Timestamp, TimestampError};
pub use verdict::{Scanner, Verdict};
