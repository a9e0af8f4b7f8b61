//! Segments in, ordered bytes, gaps and ends out.

mod sink;

pub use sink::{Comparison, FrameTag, Opened, Sink, Slot, StreamState};
