//! What commands that write have in common: the folder, the settings, and the summary at the end.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::User;
use serde::Serialize;
use streamdb_derive::Progress;
use streamdb_scan::Scanners;
use streamdb_storage::{
    DiskVolume, Error as StoreError, Limits, Trouble, Volume, WriteFolder, WriterSummary, writer_alive,
};
use streamdb_submit::Submissions;
use streamdb_types::Counters;

use super::{Error, json_line};
use crate::cli::{Limiting, Storing};
use crate::config::Config;
use crate::deriving::Deriving;
use crate::output::{Output, complain, inform};
use crate::retaining::Total;
use crate::rights;
use crate::supervising::is_supervised;
use crate::units;

/// Opens the data folder for writing, made with its parents if need be, and says what was recovered in it.
pub(super) fn open(path: &Path) -> Result<Arc<WriteFolder>, Error> {
    if let Some(parent) = path.parent() {
        make(parent)?;
    }
    let folder = Arc::new(WriteFolder::open(path, Box::new(DiskVolume))?);
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
    Ok(folder)
}

/// Makes a folder with its parents, unless it is there.
pub(super) fn make(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::Other(format!("{}: could not make the folder: {e}", folder.display())))
}

/// Makes a data folder for this user, if it is not there, and gives it to them. What is no data folder, or is written to by somebody
/// else, stays as it is.
pub(super) fn make_for(folder: &Path, user: &User) -> Result<(), Error> {
    if let Some(parent) = folder.parent() {
        make(parent)?;
    }
    match DiskVolume.create_private_dir(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::Other(format!("{}: could not make the folder: {e}", folder.display())));
        }
        _ => {}
    }
    rights::hand_over(folder, user, |opened| {
        may_be_given(folder)?;
        // The one that is given away is asked too: by its name another one may have been.
        may_be_given(opened)
    })
}

fn may_be_given(folder: &Path) -> Result<(), Error> {
    WriteFolder::may_be(folder, &DiskVolume)?;
    if writer_alive(folder)? {
        return Err(StoreError::Locked { path: folder.to_owned(), pid: None }.into());
    }
    Ok(())
}

/// Begins to derive beside what is stored, unless the flags say otherwise or another process does it.
pub(super) fn derive(args: &Storing) -> Result<Option<Deriving>, Error> {
    if args.no_derive { Ok(None) } else { Ok(Deriving::start(&args.data.folder)?) }
}

/// By what is scanned, as the configuration says; nothing where the flags say that nothing is derived.
pub(super) fn scanners(args: &Storing, config: &Config) -> Result<Option<Scanners>, Error> {
    let settings = config.scan.clone().filter(|_| !args.no_derive);
    Ok(settings.map(Scanners::open).transpose()?)
}

/// Where rules want contents, as the configuration says; nowhere where the flags say that nothing is derived, nor without rules.
pub(super) fn submissions(args: &Storing, config: &Config) -> Result<Option<Submissions>, Error> {
    let settings = config.submit.clone().filter(|submit| !args.no_derive && !submit.policy.0.is_empty());
    crate::handing::submissions(&args.data.folder, settings)
}

/// What the store may have: what the flags say, and else the configuration.
pub(super) fn limits(args: &Limiting, config: &Config) -> Limits {
    let said = config.retention;
    Limits {
        max_bytes: args.max_bytes.or(said.max_bytes),
        max_age: args.max_age.or(said.max_age),
        min_free: args.min_free.or(said.min_free),
    }
}

/// Says what retention dropped, if anything.
pub(super) fn complain_of_dropped(total: Total) {
    if total.buckets > 0 {
        let buckets = units::counted(total.buckets, "bucket");
        inform(&format!("retention dropped {buckets}, {}", units::bytes(total.bytes)));
    }
}

/// Says what went wrong with the disk.
pub(crate) fn complain_of(troubles: &[Trouble]) {
    for trouble in troubles {
        complain(&trouble.to_string());
    }
}

/// What the disk did not take, in one sentence.
pub(crate) fn lost(written: &WriterSummary) -> String {
    format!(
        "{} frames and {} bytes of payload could not be written and are not in the store: make room, or see what ails the \
         disk",
        written.lost.frames, written.lost.payload
    )
}

/// What a run came to, as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct Summary {
    /// Frames and bytes, connections and streams: the first things one looks for; they are counters too.
    frames: u64,
    bytes: u64,
    connections: u64,
    streams: u64,
    buckets: u64,
    stored_bytes: u64,
    /// Absent when this process did not look for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<u64>,
    seconds: f64,
    unaccounted_payload_bytes: i64,
    counters: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(crate) fn new(counters: &Counters, written: &WriterSummary, derived: Option<Progress>, time: Duration) -> Self {
        Self {
            frames: counters.frames,
            bytes: counters.captured_bytes,
            connections: counters.connections,
            streams: counters.streams,
            buckets: written.buckets,
            stored_bytes: written.bytes,
            objects: derived.map(|derived| derived.objects),
            seconds: time.as_secs_f64(),
            unaccounted_payload_bytes: counters.unaccounted(),
            counters: Counters::NAMES.iter().copied().zip(counters.values()).collect(),
        }
    }

    /// For people, in one line.
    pub(crate) fn line(&self) -> String {
        let rate = units::bytes((self.bytes as f64 / self.seconds.max(0.001)) as u64);
        let objects =
            self.objects.map_or_else(String::new, |objects| format!(", {}", units::counted(objects, "object")));
        format!(
            "{}, {} in {}{objects}; {}, {} on disk; {:.2} s, {rate}/s",
            units::counted(self.frames, "frame"),
            units::bytes(self.bytes),
            units::counted(self.connections, "connection"),
            units::counted(self.buckets, "bucket"),
            units::bytes(self.stored_bytes),
            self.seconds,
        )
    }
}

/// Prints a line on standard output; of a process that another one looks after it is one more line of the log.
pub(super) fn print_line(line: &str) -> Result<(), Error> {
    if is_supervised() {
        inform(line);
        return Ok(());
    }
    let mut out = Output::open(None)?;
    let error = out.error();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(error)
}

/// Prints a command's summary as one JSON object.
pub(super) fn print_json(summary: &impl Serialize) -> Result<(), Error> {
    let mut out = Output::open(None)?;
    json_line(&mut out, summary)?;
    let error = out.error();
    out.flush().map_err(error)
}
