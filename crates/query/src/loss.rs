//! What was lost in the time of a stream, as rows show it.

use serde::Serialize;
use streamdb_storage::{LossAround, Store, StreamInfo};
use streamdb_types::Timestamp;
use utoipa::ToSchema;

use crate::row::as_text;

/// Frames that the worker of a stream lost in the time of the stream, and a second before and after it: whether they were the
/// stream's own, nobody knows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LossLine {
    /// From when on: RFC 3339, UTC, nanoseconds.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until when, likewise.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Of a hundred frames that came then, so many were lost.
    pub percent: f64,
    /// Frames that were stored then, as far as the times of blocks tell.
    pub frames: u64,
    /// Frames that the kernel dropped.
    pub dropped_kernel: u64,
    /// Frames that the interface dropped.
    pub dropped_interface: u64,
    /// Frames that were let go under load.
    pub shed: u64,
}

impl LossLine {
    /// What was lost around a stream, if that was anything.
    pub fn around(store: &Store, stream: &StreamInfo) -> Option<Self> {
        // What cannot be read is told of where it is met first.
        store.loss_around(stream).ok().flatten().as_ref().map(Self::of)
    }

    /// The same of what is known already.
    pub fn of(loss: &LossAround) -> Self {
        Self {
            from: loss.from,
            to: loss.to,
            percent: (loss.percent() * 1000.0).round() / 1000.0,
            frames: loss.frames,
            dropped_kernel: loss.kernel,
            dropped_interface: loss.interface,
            shed: loss.shed,
        }
    }
}
