//! `streamdb ingest`: capture files into the store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use serde::Serialize;
use streamdb_capture::{Filter, Item, Merged, fingerprint};
use streamdb_storage::{Event, Held, WriteFolder, Writer, WriterSummary, now};
use streamdb_types::{Counters, LinkType};

use super::Error;
use super::storing::{self, Summary};
use crate::cli::Ingest;
use crate::config::Config;
use crate::deriving::Deriving;
use crate::output::{complain, printable};
use crate::progress::Progress;
use crate::retaining::Looking;
use crate::worker::Worker;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    files: usize,
    #[serde(flatten)]
    summary: &'a Summary,
    errors: Vec<String>,
}

pub(super) fn run(args: &Ingest) -> Result<ExitCode, Error> {
    let begun = Instant::now();
    let storing = &args.storing;
    if let Some(expression) = &storing.filter {
        // A filter that no frame could be tested with is an error before anything is written.
        Filter::compile(expression, LinkType::ETHERNET)?;
    }
    let said = Config::load(storing.config.as_deref())?;
    let limits = storing::limits(&storing.limiting, &said);
    let mut config = storing::worker_config(storing, &said)?;
    // A file that is not there is an error before that too.
    let mut merged = Merged::open(&args.files)?;
    let folder = storing::open(&storing.data.folder)?;
    let mut prints = fingerprints(&folder, args)?;
    // A pipe may be a capture that goes on; a file is all there, and nobody waits for its first seconds.
    config.publish_at_ticks = !args.files.iter().all(|path| path.is_file());
    let deriving = storing::derive(storing)?;
    let writer = Writer::new(Arc::clone(&folder), 0, storing::writer_config(storing))?;
    let mut worker = Worker::new(writer, config);
    let errors = feed(&mut merged, &mut worker, storing.filter.as_deref())?;
    let left_out = worker.left_out();
    let (counters, written) = worker.finish()?;
    storing::complain_of(&written.troubles);
    prints.retain(|(path, _)| !errors.iter().any(|error| nothing_in(error, path)));
    let mut errors: Vec<String> = errors.iter().map(|e| printable(&e.to_string())).collect();
    // What is stored is told even when its rows could not be kept.
    let derived = deriving.map(Deriving::finish).transpose().unwrap_or_else(|error| {
        errors.push(printable(&error.to_string()));
        None
    });
    if left_out > 0 {
        errors.push(format!(
            "{left_out} blocks of names or secrets are not stored: more than 16 MiB of them came before the first frame"
        ));
    }
    if written.lost == Held::default() {
        remember(&folder, &prints, &counters, &written)?;
    } else {
        errors.push(format!("{}; ingest the captures again into another folder", storing::lost(&written)));
    }
    if limits.any() {
        let mut looking = Looking::new(limits);
        looking.look(&folder, &mut |_| {});
        storing::complain_of_dropped(looking.total);
    }
    report(args, &Summary::new(&counters, &written, derived, begun.elapsed()), errors)
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
                    storing::complain_of(&worker.take_troubles());
                } else {
                    worker.filtered();
                }
            }
            Ok(Some(Item::Interface(_, interface))) => {
                worker.interface(interface)?;
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

fn report(args: &Ingest, summary: &Summary, errors: Vec<String>) -> Result<ExitCode, Error> {
    let code = if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    for error in &errors {
        complain(error);
    }
    if args.storing.json {
        storing::print_json(&Report { files: args.files.len(), summary, errors })?;
    } else {
        summary.print()?;
    }
    Ok(code)
}
