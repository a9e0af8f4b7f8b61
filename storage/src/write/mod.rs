//! From what reassembly says to blocks in bucket files.
//!
//! The worker's thread runs the [`Writer`](writer::Writer): it collects bytes and frames and cuts blocks, by bytes, ticks
//! and bucket ends alone. The store thread ([`pipeline`]) compresses, checksums and writes them, and publishes. Records
//! refer to each other by block number until the store thread knows where each block came to lie.
//!
//! - `facts` is what the writer is told; `track`, `buffer` and `held_notes` what it keeps of connections, bytes and notes
//! - `window` is the open bucket; `emit` makes records, `shared_block` and `cut` make blocks of them
//! - `pipeline`, with `bucket_file`, `syncer` and the buffers of `pool`, is the store thread
//! - `settle` and `trouble` are what becomes of a bucket that could not be written

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
