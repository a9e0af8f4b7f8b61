//! Segments in, ordered bytes, gaps and ends out.
//!
//! No I/O and no clock: frames, ticks and flushes come in by calls, and what follows from them goes to a [`Sink`].

mod ages;
mod config;
mod connection;
mod doubts;
mod held;
mod holes;
mod key;
mod place;
mod repeats;
mod sink;
mod stream;
mod table;

pub use config::{Config, OverlapPolicy};
pub use key::{Place, Seed};
pub use sink::{Comparison, FrameTag, Keep, Opened, Sink, Slot, StreamState};
pub use table::FlowTable;
