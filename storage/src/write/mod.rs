//! From what reassembly says to blocks in bucket files.
//!
//! The worker's thread runs the [`Writer`](writer::Writer): it collects bytes and frames and cuts blocks, by bytes, ticks
//! and bucket ends alone. The store thread ([`pipeline`]) compresses, checksums and writes them, and publishes. Records
//! refer to each other by block number until the store thread knows where each block came to lie.

pub(crate) mod bucket_file;
mod buffer;
mod cut;
mod emit;
pub(crate) mod facts;
mod held_notes;
mod pipeline;
mod pool;
mod settle;
pub(crate) mod shared_block;
mod syncer;
mod track;
pub(crate) mod trouble;
mod window;
pub(crate) mod writer;
