//! A driver that tells a [`Writer`] of invented conversations as reassembly would, and a simple model of what must come
//! back. What every stream holds is a pure function of its connection, direction and offset.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod driver;
mod model;
mod read;

use streamdb_types::Direction;

pub use driver::{Driver, Op, Place};
pub use model::Model;
pub use read::{bare, bucket_bytes, check, frame_of, list, read_all};
pub use streamdb_testkit::{QuickVolume, Random};

/// Whether long runs are wanted.
pub fn soak() -> bool {
    std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1")
}

/// The bytes of a stream: text, and now and then a stretch of noise.
pub fn content(conn: usize, direction: Direction, offset: u64, len: usize) -> Vec<u8> {
    let salt = (conn as u64) << 48 | (direction as u64) << 40;
    let byte = |at: u64| match at >> 10 & 7 {
        0..=6 => b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n"[((at + salt) % 47) as usize],
        _ => Random(at ^ salt).next() as u8,
    };
    (offset..offset + len as u64).map(byte).collect()
}
