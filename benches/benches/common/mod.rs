//! What several benches do: a fresh store in memory, a writer into it, frames through a worker.
#![allow(dead_code, clippy::unwrap_used, reason = "each bench uses its part; a bench that fails can only stop")]

use std::path::Path;
use std::sync::Arc;

use streamdb::worker::{Worker, WorkerConfig};
use streamdb_benches::Traffic;
use streamdb_capture::Frame;
use streamdb_storage::{Compression, DiskVolume, Packets, WriteFolder, Writer, WriterConfig, WriterSummary};
use streamdb_types::{Interface, LinkType, Resolution, Timestamp};

/// The interface that all frames come from.
pub fn interface() -> Interface {
    Interface {
        link_type: LinkType::ETHERNET,
        snap_length: 262_144,
        resolution: Resolution::NANOS,
        time_offset: 0,
        fcs_length: None,
        options: Vec::new(),
    }
}

/// A writer into a new data folder below `path`.
pub fn writer(path: &Path, compression: Compression, packets: Packets) -> Writer {
    let folder = Arc::new(WriteFolder::open(&path.join("data"), Box::new(DiskVolume)).unwrap());
    Writer::new(folder, 0, WriterConfig { compression, packets, ..WriterConfig::default() }).unwrap()
}

/// Stores all frames, from the first to the seal; the ways of a frame are those of `streamdb ingest`.
pub fn ingest(traffic: &Traffic, writer: Writer) -> WriterSummary {
    let mut worker = Worker::new(writer, WorkerConfig::default());
    worker.interface(&interface()).unwrap();
    for timed in traffic.frames() {
        let time = Timestamp(timed.time);
        let frame = Frame { time, interface: 0, wire_len: timed.data.len() as u32, data: timed.data };
        worker.frame(&frame).unwrap();
    }
    let (counters, summary) = worker.finish().unwrap();
    assert_eq!((counters.frames, counters.unaccounted()), (traffic.frames().len() as u64, 0));
    summary
}
