//! `streamdb ingest`: capture files into the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use serde::Serialize;
use streamdb_capture::{Filter, Item, Merged, fingerprint};
use streamdb_storage::{
    Compression, DiskVolume, Event, Held, Packets, WriteFolder, Writer, WriterConfig, WriterSummary, now,
};
use streamdb_types::{Counters, LinkType};

use super::{Error, json_line};
use crate::cli::{CompressionFlag, Ingest, PacketsFlag};
use crate::output::{Output, complain, printable};
use crate::progress::Progress;
use crate::units;
use crate::worker::{Worker, WorkerConfig};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    files: usize,
    /// Frames and bytes of the captures, connections and streams: the first things one looks for; they are counters too.
    frames: u64,
    bytes: u64,
    connections: u64,
    streams: u64,
    buckets: u64,
    stored_bytes: u64,
    seconds: f64,
    unaccounted_payload_bytes: i64,
    counters: BTreeMap<&'static str, u64>,
    errors: Vec<String>,
}

pub(super) fn run(args: &Ingest) -> Result<ExitCode, Error> {
    let begun = Instant::now();
    if let Some(expression) = &args.filter {
        // A filter that no frame could be tested with is an error before anything is written.
        Filter::compile(expression, LinkType::ETHERNET)?;
    }
    // A file that is not there is an error before that too.
    let mut merged = Merged::open(&args.files)?;
    if let Some(parent) = args.data.folder.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|e| Error::Other(format!("{}: could not make the folder: {e}", parent.display())))?;
    }
    let folder = Arc::new(WriteFolder::open(&args.data.folder, Box::new(DiskVolume))?);
    for recovered in folder.recovered() {
        complain(&format!(
            "bucket {}: its writer died before it was sealed; {} frames in it are whole, {} streams that were open end \
             there, and {} bytes that were not whole are cut",
            recovered.id, recovered.frames, recovered.streams, recovered.cut_bytes
        ));
    }
    for error in folder.not_recovered() {
        complain(&error.to_string());
    }
    let mut prints = fingerprints(&folder, args)?;
    let config = WriterConfig {
        compression: match args.compression {
            CompressionFlag::Fast => Compression::Fast,
            CompressionFlag::Full => Compression::Full,
        },
        packets: match args.packets {
            PacketsFlag::Full => Packets::Full,
            PacketsFlag::Tcp => Packets::Tcp,
            PacketsFlag::Off => Packets::Off,
        },
        bucket_window: args.bucket,
        bucket_bytes: args.bucket_size,
        ..WriterConfig::default()
    };
    let mut worker = Worker::new(Writer::new(Arc::clone(&folder), 0, config)?, worker_config(args));
    let errors = feed(&mut merged, &mut worker, args.filter.as_deref())?;
    let left_out = worker.left_out();
    let (counters, written) = worker.finish()?;
    for trouble in &written.troubles {
        complain(&trouble.to_string());
    }
    prints.retain(|(path, _)| !errors.iter().any(|error| nothing_in(error, path)));
    let mut errors: Vec<String> = errors.iter().map(|e| printable(&e.to_string())).collect();
    if left_out > 0 {
        errors.push(format!(
            "{left_out} blocks of names or secrets are not stored: more than 16 MiB of them came before the first frame"
        ));
    }
    if written.lost == Held::default() {
        remember(&folder, &prints, &counters, &written)?;
    } else {
        errors.push(format!(
            "{} frames and {} bytes of payload could not be written and are not in the store; make room, or see what ails \
             the disk, and ingest the captures again into another folder",
            written.lost.frames, written.lost.payload
        ));
    }
    report(args, &counters, &written, begun.elapsed().as_secs_f64(), errors)
}

fn worker_config(args: &Ingest) -> WorkerConfig {
    let mut config = WorkerConfig::default();
    config.reassembly.overlap = args.overlap.into();
    config.reassembly.reject_bad_checksums = args.reject_bad_checksums;
    config.decode.verify_checksums = args.reject_bad_checksums;
    // A pipe may be a capture that goes on; a file is all there, and nobody waits for its first seconds.
    config.publish_at_ticks = !args.files.iter().all(|path| path.is_file());
    config
}

/// The files' fingerprints; an error when one of them was ingested before.
fn fingerprints(folder: &WriteFolder, args: &Ingest) -> Result<Vec<(PathBuf, String)>, Error> {
    let ledger = folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
    let mut prints = Vec::new();
    for path in args.files.iter().filter(|path| path.is_file()) {
        let print =
            fingerprint(path).map_err(|e| Error::Other(format!("{}: could not read it: {e}", path.display())))?;
        if let Some(entry) = ledger.facts().ingested(&print).filter(|_| !args.again) {
            let name = path.display().to_string();
            return Err(streamdb_storage::Error::Ingested { name, time: entry.time }.into());
        }
        prints.push((path.clone(), print));
    }
    Ok(prints)
}

/// Whether the error says that no frame of this file could be read: nothing of it is in the store.
fn nothing_in(error: &streamdb_capture::Error, file: &Path) -> bool {
    use streamdb_capture::Error as E;
    match error {
        E::Open { path, .. } | E::Empty { path, .. } | E::NotCapture { path, .. } => path == file,
        E::Read { path, frames, .. }
        | E::Truncated { path, frames, .. }
        | E::Damaged { path, frames, .. }
        | E::Decompress { path, frames, .. } => path == file && *frames == 0,
        E::Filter { .. } => false,
    }
}

/// Gives everything in the captures to the worker. Damage in one of them is kept for the end; the others go on.
fn feed(merged: &mut Merged, worker: &mut Worker, filter: Option<&str>) -> Result<Vec<streamdb_capture::Error>, Error> {
    let (_, total) = merged.progress();
    let mut progress = Progress::new(total);
    let mut filters: Vec<Option<Filter>> = Vec::new();
    let mut errors = Vec::new();
    let mut count = 0u32;
    loop {
        count = count.wrapping_add(1);
        if count.is_multiple_of(4096) {
            progress.set(merged.progress().0);
        }
        match merged.next() {
            Ok(None) => break,
            Err(error) => errors.push(error),
            Ok(Some(Item::Frame(frame))) => {
                let filter = filters.get(frame.interface as usize).and_then(Option::as_ref);
                if filter.is_none_or(|filter| filter.matches(frame.data)) {
                    worker.frame(&frame)?;
                    for trouble in worker.take_troubles() {
                        complain(&trouble.to_string());
                    }
                } else {
                    worker.filtered();
                }
            }
            Ok(Some(Item::Interface(_, interface))) => {
                worker.interface(interface);
                filters.push(filter.map(|expression| Filter::compile(expression, interface.link_type)).transpose()?);
            }
            Ok(Some(Item::Secrets { kind, data })) => worker.attachment(Some(kind), data)?,
            Ok(Some(Item::Names(data))) => worker.attachment(None, data)?,
            Ok(Some(Item::Drops(drops))) => worker.dropped(drops.by_kernel, drops.by_interface)?,
        }
    }
    progress.finish();
    Ok(errors)
}

/// Enters into the ledger what was ingested, so that it is recognised.
fn remember(
    folder: &WriteFolder,
    prints: &[(PathBuf, String)],
    counters: &Counters,
    written: &WriterSummary,
) -> Result<(), Error> {
    let mut ledger = folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
    for (path, fingerprint) in prints {
        let name = path.file_name().unwrap_or(Path::new("").as_os_str()).to_string_lossy().into_owned();
        let event = Event::Ingested {
            fingerprint: fingerprint.clone(),
            name,
            frames: counters.frames,
            first: written.first_bucket,
            last: written.last_bucket,
        };
        ledger.append(now(), &event)?;
    }
    Ok(())
}

fn report(
    args: &Ingest,
    counters: &Counters,
    written: &WriterSummary,
    seconds: f64,
    errors: Vec<String>,
) -> Result<ExitCode, Error> {
    let code = if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    for error in &errors {
        complain(error);
    }
    let mut out = Output::open(None)?;
    if args.json {
        let summary = Summary {
            files: args.files.len(),
            frames: counters.frames,
            bytes: counters.captured_bytes,
            connections: counters.connections,
            streams: counters.streams,
            buckets: written.buckets,
            stored_bytes: written.bytes,
            seconds,
            unaccounted_payload_bytes: counters.unaccounted(),
            counters: Counters::NAMES.iter().copied().zip(counters.values()).collect(),
            errors,
        };
        json_line(&mut out, &summary)?;
    } else {
        let rate = units::bytes((counters.captured_bytes as f64 / seconds.max(0.001)) as u64);
        let line = format!(
            "{} frames, {} in {} connections; {} buckets, {} on disk; {seconds:.2} s, {rate}/s\n",
            counters.frames,
            units::bytes(counters.captured_bytes),
            counters.connections,
            written.buckets,
            units::bytes(written.bytes),
        );
        let error = out.error();
        std::io::Write::write_all(&mut out, line.as_bytes()).map_err(error)?;
    }
    let error = out.error();
    std::io::Write::flush(&mut out).map_err(error)?;
    Ok(code)
}
