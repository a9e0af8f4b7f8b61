//! `streamdb ingest`: capture files into the store, or to the process that writes to it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use streamdb_capture::{Filter, Merged};
use streamdb_storage::{INGEST, LedgerReader, WriteFolder};
use streamdb_types::LinkType;

use super::Error;
use super::storing::{self, Summary};
use crate::cli::{Ingest, Limiting};
use crate::config::Config;
use crate::deriving::Deriving;
use crate::handing::Handing;
use crate::ingesting::{self, Report, Source, Task};
use crate::output::{complain, printable};
use crate::progress::Progress;
use crate::retaining::Looking;
use crate::settings::Settings;
use crate::spool::{Job, Outcome, Spool};
use crate::spooling::Spooling;

/// How often it is asked whether the writer is done.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(args: &Ingest) -> Result<ExitCode, Error> {
    let begun = Instant::now();
    let storing = &args.storing;
    let said = Config::load(storing.config.as_deref())?;
    let limits = storing::limits(&storing.limiting, &said);
    let settings = Settings::new(storing, &said)?;
    if let Some(expression) = &settings.filter {
        // A filter that no frame could be tested with is an error before anything is written.
        Filter::compile(expression, LinkType::ETHERNET)?;
    }
    let sources = sources(args)?;
    let scanners = storing::scanners(storing, &said)?;
    let data = &storing.data.folder;
    if streamdb_storage::writer_alive(data)? {
        return hand_over(args, &sources, &settings);
    }
    // A file that is not there is an error before that, too.
    let merged = Merged::open(&args.files)?;
    let folder = storing::open(data)?;
    check(args, &folder, &sources)?;
    let handing = Handing::start(data, scanners, storing::submissions(storing, &said)?, false)?;
    let deriving = storing::derive(storing)?;
    // Others may hand theirs over meanwhile, or did so to a writer that ended.
    let spooling = Spooling::start(&folder)?;
    let (_, total) = merged.progress();
    let never = AtomicBool::new(false);
    let task = Task { worker: INGEST, sources: &sources, settings: &settings, again: args.again, stop: &never };
    let stored = task.store(&folder, merged, Progress::new(total));
    // Also when that failed: others wait for theirs.
    spooling.finish();
    let stored = stored?;
    // What is stored is told even when its rows could not be kept.
    let mut errors = stored.errors;
    let derived = deriving.map(Deriving::finish).transpose().unwrap_or_else(|error| {
        errors.push(printable(&error.to_string()));
        None
    });
    handing.finish();
    if limits.any() {
        let mut looking = Looking::new(limits);
        looking.look(&folder, &mut |_| {});
        storing::complain_of_dropped(looking.total);
    }
    let summary = Summary::new(&stored.counters, &stored.written, derived, begun.elapsed());
    errors.iter().for_each(|error| complain(error));
    if storing.json {
        storing::print_json(&Report { files: args.files.len(), summary: &summary, errors: &errors })?;
    } else {
        storing::print_line(&summary.line())?;
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The captures that the arguments name.
fn sources(args: &Ingest) -> Result<Vec<Source>, Error> {
    args.files.iter().map(|path| Source::new(path.clone(), path.display().to_string())).collect()
}

/// An error when one of the captures was ingested before, unless that is wanted.
fn check(args: &Ingest, folder: &WriteFolder, sources: &[Source]) -> Result<(), Error> {
    let ledger = folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
    if args.again { Ok(()) } else { ingesting::not_yet_ingested(ledger.facts(), sources) }
}

/// Another process writes to the data folder: it gets copies of the captures, and stores them.
fn hand_over(args: &Ingest, sources: &[Source], settings: &Settings) -> Result<ExitCode, Error> {
    let data = &args.storing.data.folder;
    // What can be found wrong now is not copied first. To open a pipe would take from it.
    let files: Vec<PathBuf> = args.files.iter().filter(|path| !is_pipe(path)).cloned().collect();
    Merged::open(&files)?;
    let ledger = data.join("ledger");
    // A writer that has just begun may not have made it.
    if !args.again && ledger.exists() {
        ingesting::not_yet_ingested(LedgerReader::open(&ledger)?.facts(), sources)?;
    }
    let spool = Spool::of(data);
    let names = sources.iter().map(|source| source.name.clone()).collect();
    let job = Job { names, settings: settings.clone(), again: args.again, waits: !args.no_wait };
    let job = spool.hand_over(sources, &job)?;
    let what = if sources.len() == 1 { "the capture is".to_owned() } else { format!("{} captures are", sources.len()) };
    complain(&format!("another process writes to {}: {what} handed to it", data.display()));
    let Limiting { max_bytes, max_age, min_free } = args.storing.limiting;
    if max_bytes.is_some() || max_age.is_some() || min_free.is_some() {
        complain("the limits that are given here do not count: those of the process that writes do");
    }
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        if let Some(outcome) = spool.outcome(&job)? {
            return report(args, outcome);
        }
        if !streamdb_storage::writer_alive(data)? {
            // It ended before it came to this, and now nobody else does it.
            match storing::open(data) {
                Ok(folder) => {
                    let deriving = storing::derive(&args.storing)?;
                    Spooling::start(&folder)?.finish();
                    deriving.map(Deriving::finish).transpose()?;
                    let outcome = spool.outcome(&job)?.ok_or_else(|| {
                        let stays = "what was handed over stays in the spool, and the next writer stores it";
                        Error::Other(format!("{}: {stays}", data.display()))
                    })?;
                    return report(args, outcome);
                }
                Err(Error::Store(streamdb_storage::Error::Locked { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Whether it is no file, and is read only once.
fn is_pipe(path: &Path) -> bool {
    path == Path::new("-") || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn report(args: &Ingest, outcome: Outcome) -> Result<ExitCode, Error> {
    outcome.errors.iter().for_each(|error| complain(error));
    match (outcome.report, outcome.summary) {
        (Some(report), _) if args.storing.json => storing::print_json(&report)?,
        (_, Some(summary)) => storing::print_line(&summary)?,
        _ => {}
    }
    Ok(if outcome.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
