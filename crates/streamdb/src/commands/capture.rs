//! `streamdb capture`: what goes over interfaces into the store, until somebody says stop.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Serialize;
use streamdb_capture::{FeedSettings, LiveError, LiveSettings};
use streamdb_storage::{Held, WriterSummary};
use streamdb_types::Counters;

use super::Error;
use super::storing::{self, Summary};
use crate::capturing::{Crew, Done, Holds, Opened, SpoolSettings};
use crate::cli::Capture;
use crate::config::Config;
use crate::deriving::Deriving;
use crate::handing::{self, Handing};
use crate::limiting::{come_as_others, come_first};
use crate::output::{complain, inform, printable};
use crate::progress::Pulse;
use crate::reporting::Reporting;
use crate::retaining::Retaining;
use crate::rights::{self, Needs};
use crate::settings::Settings;
use crate::spooling::Spooling;
use crate::stop::{reload_flag, stop_flag};
use crate::supervising::{AGAIN, alive, ready};
use crate::units;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    interfaces: Vec<OfInterface<'a>>,
    #[serde(flatten)]
    summary: &'a Summary,
    dropped_by_kernel: u64,
    dropped_by_interface: u64,
    /// What those who send captures say they dropped.
    dropped_by_senders: u64,
    /// Frames that one worker could not hand to another.
    shed: u64,
    /// Why the capture ended before it was told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What became of the frames of an interface.
#[derive(Serialize)]
struct OfInterface<'a> {
    interface: &'a str,
    workers: Vec<OfWorker>,
}

/// What one worker did.
#[derive(Serialize)]
struct OfWorker {
    /// The frames that it stored, those that others handed to it among them.
    frames: u64,
    dropped_by_kernel: u64,
    dropped_by_interface: u64,
    /// Frames that came to it and went on to another worker.
    handed_over: u64,
    /// And those that it could not hand over.
    shed: u64,
}

impl OfWorker {
    const fn new(counters: &Counters) -> Self {
        Self {
            frames: counters.frames,
            dropped_by_kernel: counters.dropped_kernel,
            dropped_by_interface: counters.dropped_interface,
            handed_over: counters.handed_frames,
            shed: counters.shed_frames,
        }
    }
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
    let mut opened = Opened::new(
        args.interface.iter().map(|name| live_settings(args, name)).collect(),
        args.workers,
        &feed_settings(args),
        &SpoolSettings { folders: args.spool.clone(), removes: args.spool_remove },
        &storing.data.folder,
    )?;
    // With the rights that are given up next it may do so.
    come_first();
    // A folder that they may write to as it is stays as it is.
    if let Some(name) = args.giving_up.user.as_ref().filter(|_| rights::is_root_s(&storing.data.folder)) {
        storing::make_for(&storing.data.folder, &rights::user(name)?)?;
    }
    rights::lower(&args.giving_up)?;
    opened.check(&storing.data.folder)?;
    let (needs, spool) = (needs(args, &said, &opened), opened.folders().map(Path::to_owned).collect::<Vec<_>>());
    let folder = storing::open(&storing.data.folder)?;
    rights::confine(&args.giving_up, &needs)?;
    let mut crew = Crew::start(opened, &folder, &settings, !args.giving_up.any())?;
    come_as_others();
    let retaining = Retaining::start(&folder, limits);
    let retaining = retaining.map_err(|e| Error::Other(format!("could not start the thread of retention: {e}")))?;
    let reporting = Reporting::start(folder.status()?, crew.told());
    let reporting = reporting.map_err(|e| Error::Other(format!("could not start the thread of the status: {e}")))?;
    let spooling = Spooling::start(&folder)?;
    // It reads what is published, beside those who capture: nothing there waits for it.
    let handing = Handing::start(&storing.data.folder, scanners, storing::submissions(storing, &said)?, false)?;
    let deriving = storing::derive(storing)?;
    let how = if std::io::stderr().is_terminal() { "; Ctrl-C ends it" } else { "" };
    let listening = args.listen_pcap.iter().map(|address| format!("what is sent to {address}"));
    let appearing = spool.iter().map(|folder| format!("what appears in {}", folder.display()));
    let names = args.interface.iter().cloned().chain(listening).chain(appearing).collect::<Vec<_>>().join(", ");
    inform(&format!("capturing from {names} into {}{how}", storing.data.folder.display()));
    ready();
    let mut pulse = Pulse::new();
    crew.follow(&stop, &mut |crew| {
        if crew.goes_on() {
            alive();
        }
        if reload.swap(false, Ordering::Relaxed) {
            match reread(args, crew, &retaining) {
                Ok(Holds::ByAll) => inform("the configuration was read again"),
                Ok(Holds::Later) => complain(
                    "the configuration was read again; one of those who store is busy, and goes on by it when it has the time",
                ),
                Ok(Holds::NotByAll) => complain(
                    "the configuration was read again, and not all who store go on by its filter and cutoffs; it is tried once \
                     more when it is read the next time",
                ),
                Err(error) => {
                    complain(&format!("the configuration is as it was, as the new one is not right: {error}"))
                }
            }
            ready();
        }
        pulse.show(|| crew.seen());
    });
    pulse.finish();
    let (sources, begins_again) = (crew.sources(), crew.begins_again());
    let (done, broken) = crew.finish()?;
    spooling.stop();
    let (counters, written) = sum(&done);
    reporting.finish();
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
    let by_interface = |(name, workers): &(String, Vec<usize>)| {
        let of = |worker: &usize| done.get(*worker).map(|done| done.counters);
        (name.clone(), workers.iter().filter_map(of).collect())
    };
    let sources: Vec<(String, Vec<Counters>)> = sources.iter().map(by_interface).collect();
    let code = report(args, &sources, &summary, &counters, broken)?;
    if begins_again {
        return Ok(AGAIN.into());
    }
    // What was asked for is not all there.
    Ok(if lost { ExitCode::FAILURE } else { code })
}

/// What all of them did.
fn sum(done: &[Done]) -> (Counters, WriterSummary) {
    let mut all = (Counters::default(), WriterSummary::default());
    for Done { counters, written } in done {
        all.0.add(counters);
        all.1.add(written);
    }
    all
}

/// What it still needs once it captures.
fn needs(args: &Capture, said: &Config, opened: &Opened) -> Needs {
    let storing = &args.storing;
    let mut needs =
        if storing.no_derive { Needs::default() } else { handing::needs(&storing.data.folder, said.submit.as_ref()) };
    needs.writes.push(storing.data.folder.clone());
    let spool = if args.spool_remove { &mut needs.writes } else { &mut needs.reads };
    spool.extend(opened.folders().map(Path::to_owned));
    // The configuration is read again, and may be another file by then.
    let config = storing.config.as_deref().and_then(|path| std::path::absolute(path).ok());
    needs.reads.extend(config.and_then(|path| path.parent().map(Path::to_owned)));
    needs
}

fn feed_settings(args: &Capture) -> FeedSettings {
    FeedSettings { listen: args.listen_pcap.clone(), from: args.listen_pcap_from.clone() }
}

fn live_settings(args: &Capture, interface: &str) -> LiveSettings {
    LiveSettings {
        filter: args.storing.filter.clone(),
        snap_length: args.snaplen,
        buffer: args.buffer,
        promiscuous: !args.no_promisc,
        ..LiveSettings::new(interface)
    }
}

/// Takes over what can change while it captures: the filter, the cutoffs, and the limits of the store. Flags override the
/// configuration, as they did at the start.
fn reread(args: &Capture, crew: &mut Crew, retaining: &Retaining) -> Result<Holds, Error> {
    let storing = &args.storing;
    let said = Config::load(storing.config.as_deref())?;
    let settings = Settings::new(storing, &said)?;
    let holds = crew.change(said.capture.as_ref().map(|flags| flags.filter()), &settings.worker().cutoffs)?;
    retaining.limit(storing::limits(&storing.limiting, &said));
    Ok(holds)
}

fn report(
    args: &Capture,
    sources: &[(String, Vec<Counters>)],
    summary: &Summary,
    counters: &Counters,
    broken: Option<LiveError>,
) -> Result<ExitCode, Error> {
    let (dropped_by_kernel, dropped_by_interface) = (counters.dropped_kernel, counters.dropped_interface);
    if args.storing.json {
        let error = broken.as_ref().map(LiveError::to_string);
        let interfaces = sources.iter().map(|(name, workers)| OfInterface {
            interface: name,
            workers: workers.iter().map(OfWorker::new).collect(),
        });
        let interfaces = interfaces.collect();
        let (shed, dropped_by_senders) = (counters.shed_frames, counters.dropped_sender);
        storing::print_json(&Report {
            interfaces,
            summary,
            dropped_by_kernel,
            dropped_by_interface,
            dropped_by_senders,
            shed,
            error,
        })?;
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
    for (name, workers) in sources {
        let dropped: u64 = workers.iter().map(|counters| counters.dropped_interface).sum();
        if dropped > 0 {
            complain(&format!(
                "{dropped} frames were dropped by the interface before the kernel saw them: give it more receive buffers \
                 (ethtool -G {name} rx N)"
            ));
        }
    }
    if counters.dropped_sender > 0 {
        let dropped = counters.dropped_sender;
        complain(&format!("{dropped} frames were dropped where they were captured, before they were sent here"));
    }
    if counters.shed_frames > 0 {
        complain(&format!(
            "{} frames were let go on their way from one worker to the one that has their connection, as that one was too far \
             behind: --compression fast, or less to store by --filter",
            counters.shed_frames
        ));
    }
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}
