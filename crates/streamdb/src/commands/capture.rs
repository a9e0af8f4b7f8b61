//! `streamdb capture`: what goes over an interface into the store, until somebody says stop.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;
use streamdb_capture::{Batch, Item, Live, LiveError, LiveSettings};
use streamdb_storage::{Held, Writer};
use streamdb_types::Counters;

use super::Error;
use super::storing::{self, Summary};
use crate::cli::Capture;
use crate::config::Config;
use crate::deriving::Deriving;
use crate::handing::Handing;
use crate::output::{complain, inform, printable};
use crate::progress::Pulse;
use crate::retaining::Retaining;
use crate::settings::Settings;
use crate::spooling::Spooling;
use crate::stop::{reload_flag, stop_flag};
use crate::supervising::{alive, ready};
use crate::units;
use crate::worker::{Worker, WorkerConfig};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    interface: &'a str,
    #[serde(flatten)]
    summary: &'a Summary,
    dropped_by_kernel: u64,
    dropped_by_interface: u64,
    /// Why the capture ended before it was told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(args: &Capture) -> Result<ExitCode, Error> {
    let begun = Instant::now();
    let stop = stop_flag()?;
    let reload = reload_flag()?;
    let storing = &args.storing;
    let said = Config::load(storing.config.as_deref())?;
    let limits = storing::limits(&storing.limiting, &said);
    let settings = Settings::new(storing, &said)?;
    let scanners = storing::scanners(storing, &said)?;
    // A mistake in what to capture leaves nothing behind; and while the folder is made whole, the kernel keeps frames.
    let mut live = Live::open(&live_settings(args))?;
    let folder = storing::open(&storing.data.folder)?;
    let retaining = Retaining::start(&folder, limits);
    let retaining = retaining.map_err(|e| Error::Other(format!("could not start the thread of retention: {e}")))?;
    let config = WorkerConfig { publish_at_ticks: true, ..settings.worker() };
    let writer = Writer::new(Arc::clone(&folder), 0, settings.writer())?;
    let mut worker = Worker::new(writer, config);
    let spooling = Spooling::start(&folder)?;
    // It reads what is published, beside this thread: nothing here waits for it.
    let handing = Handing::start(&storing.data.folder, scanners, storing::submissions(storing, &said)?, false)?;
    let deriving = storing::derive(storing)?;
    let how = if std::io::stderr().is_terminal() { "; Ctrl-C ends it" } else { "" };
    inform(&format!("capturing from {} into {}{how}", args.interface, storing.data.folder.display()));
    ready();
    let broken = feed(&mut live, &mut worker, &stop, &mut |live, worker| {
        if reload.swap(false, Ordering::Relaxed) {
            match reread(args, live, worker, &retaining) {
                Ok(()) => inform("the configuration was read again"),
                Err(error) => {
                    complain(&format!("the configuration is as it was, as the new one is not right: {error}"))
                }
            }
            ready();
        }
    })?;
    drop(live);
    spooling.stop();
    let (counters, written) = worker.finish()?;
    storing::complain_of(&written.troubles);
    let lost = written.lost != Held::default();
    if lost {
        complain(&storing::lost(&written));
    }
    // What is stored is told even when its rows could not be kept.
    let derived = deriving.map(Deriving::finish).transpose().unwrap_or_else(|error| {
        complain(&printable(&error.to_string()));
        None
    });
    // What is not scanned yet is by the next that scans here.
    handing.stop();
    storing::complain_of_dropped(retaining.finish());
    let summary = Summary::new(&counters, &written, derived, begun.elapsed());
    let code = report(args, &summary, &counters, broken)?;
    // What was asked for is not all there.
    Ok(if lost { ExitCode::FAILURE } else { code })
}

fn live_settings(args: &Capture) -> LiveSettings {
    LiveSettings {
        filter: args.storing.filter.clone(),
        snap_length: args.snaplen,
        buffer: args.buffer,
        promiscuous: !args.no_promisc,
        ..LiveSettings::new(&args.interface)
    }
}

/// Takes over what can change while it captures: the filter, the cutoffs, and the limits of the store. Flags override the
/// configuration, as they did at the start.
fn reread(args: &Capture, live: &mut Live, worker: &mut Worker, retaining: &Retaining) -> Result<(), Error> {
    let storing = &args.storing;
    let said = Config::load(storing.config.as_deref())?;
    let settings = Settings::new(storing, &said)?;
    if let Some(flags) = &said.capture {
        live.set_filter(flags.filter())?;
    }
    worker.set_cutoffs(settings.worker().cutoffs)?;
    retaining.limit(storing::limits(&storing.limiting, &said));
    Ok(())
}

/// Gives what comes to the worker until the flag is set and the rest is drained, or the interface fails: that error is
/// handed back, as what came before it is to be sealed all the same.
/// In between it calls `between`.
fn feed(
    live: &mut Live,
    worker: &mut Worker,
    stop: &AtomicBool,
    between: &mut dyn FnMut(&mut Live, &mut Worker),
) -> Result<Option<LiveError>, Error> {
    let mut pulse = Pulse::new();
    let mut broken = None;
    loop {
        let mut taken = Ok(());
        let batch = live.batch(|item| {
            // After an error the rest of the batch has no place to go.
            if taken.is_ok() {
                taken = take(worker, &item);
            }
        });
        taken?;
        storing::complain_of(&worker.take_troubles());
        match batch {
            Ok(Batch::Frames(_)) => {}
            Ok(Batch::Idle(now)) => worker.clock(now)?,
            Ok(Batch::End) => break,
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
        if stop.load(Ordering::Relaxed) {
            live.stop();
        }
        between(live, worker);
        alive();
        pulse.show(|| (worker.counters(), worker.open_connections()));
    }
    pulse.finish();
    Ok(broken)
}

fn take(worker: &mut Worker, item: &Item<'_>) -> Result<(), Error> {
    match item {
        Item::Frame(frame) => worker.frame(frame)?,
        Item::Interface(_, interface) => worker.interface(interface)?,
        Item::Drops(drops) => worker.dropped(drops.by_kernel, drops.by_interface)?,
        Item::Secrets { kind, data } => worker.attachment(Some(*kind), data)?,
        Item::Names(data) => worker.attachment(None, data)?,
    }
    Ok(())
}

fn report(
    args: &Capture,
    summary: &Summary,
    counters: &Counters,
    broken: Option<LiveError>,
) -> Result<ExitCode, Error> {
    let (dropped_by_kernel, dropped_by_interface) = (counters.dropped_kernel, counters.dropped_interface);
    if args.storing.json {
        let error = broken.as_ref().map(LiveError::to_string);
        let interface = args.interface.as_str();
        storing::print_json(&Report { interface, summary, dropped_by_kernel, dropped_by_interface, error })?;
    } else {
        storing::print_line(&summary.line())?;
    }
    if dropped_by_kernel > 0 {
        complain(&format!(
            "{dropped_by_kernel} frames were dropped by the kernel, as they came faster than they were stored: give more \
             --buffer ({} now) for bursts; --compression fast, or less to store by --filter, for what lasts",
            units::binary(args.buffer.into())
        ));
    }
    if dropped_by_interface > 0 {
        complain(&format!(
            "{dropped_by_interface} frames were dropped by the interface before the kernel saw them: give it more receive \
             buffers (ethtool -G {} rx N)",
            args.interface
        ));
    }
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}
