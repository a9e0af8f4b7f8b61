//! `streamdb retain`: the oldest buckets go until the store is within its limits.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use streamdb_storage::{Cause, Limits, Store, WriteFolder};
use streamdb_types::BucketId;

use super::{Error, json_line, storing};
use crate::cli::Retain;
use crate::config::Config;
use crate::output::{Output, complain};
use crate::retaining::{Looking, Total, sentence};
use crate::units;

#[derive(Serialize)]
struct Row {
    bucket: u64,
    bytes: u64,
    reason: &'static str,
    dropped: bool,
}

pub(super) fn run(args: &Retain) -> Result<ExitCode, Error> {
    let limits = storing::limits(&args.limiting, &Config::load(args.config.as_deref())?);
    if !limits.any() {
        let what = "give --max-bytes, --max-age or --min-free, or a configuration with one of them below [retention]";
        return Err(Error::Other(format!("there is no limit to keep the store within: {what}")));
    }
    // A folder that is not there is not made.
    let store = Store::open(&args.data.folder)?;
    if args.dry_run {
        return dry_run(args, &store, &limits);
    }
    drop(store);
    let folder = storing::open(&args.data.folder)?;
    retain(args, &folder, limits)
}

fn retain(args: &Retain, folder: &Arc<WriteFolder>, limits: Limits) -> Result<ExitCode, Error> {
    let mut out = Output::open(None)?;
    let mut looking = Looking::new(limits);
    let mut refused = None;
    let well = looking.look(folder, &mut |dropped| {
        if let Err(error) = row(args, &mut out, dropped.id, dropped.bytes, dropped.cause, true) {
            refused.get_or_insert(error);
        }
    });
    if let Some(error) = refused {
        return Err(error);
    }
    total(args, &mut out, looking.total, "dropped")?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn dry_run(args: &Retain, store: &Store, limits: &Limits) -> Result<ExitCode, Error> {
    let choice = store.would_drop(limits)?;
    let mut out = Output::open(None)?;
    let mut all = Total::default();
    for chosen in &choice.chosen {
        all.buckets += 1;
        all.bytes = all.bytes.saturating_add(chosen.bytes);
        row(args, &mut out, chosen.id, chosen.bytes, chosen.cause, false)?;
    }
    total(args, &mut out, all, "would be dropped")?;
    choice.unmet.iter().for_each(|unmet| complain(&sentence(unmet, limits)));
    Ok(ExitCode::SUCCESS)
}

fn row(args: &Retain, out: &mut Output, id: BucketId, bytes: u64, cause: Cause, dropped: bool) -> Result<(), Error> {
    if args.json {
        return json_line(out, &Row { bucket: id.0, bytes, reason: cause.word(), dropped });
    }
    let error = out.error();
    writeln!(out, "{id:>6} {:>10} {}", units::bytes(bytes), cause.word()).map_err(error)
}

fn total(args: &Retain, out: &mut Output, total: Total, what: &str) -> Result<(), Error> {
    let error = out.error();
    if !args.json {
        let buckets = if total.buckets == 1 { "bucket" } else { "buckets" };
        writeln!(out, "{} {buckets}, {}: {what}", total.buckets, units::bytes(total.bytes)).map_err(&error)?;
    }
    out.flush().map_err(error)
}
