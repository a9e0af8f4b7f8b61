//! `streamdb hold`: what an investigation needs stays, whatever the limits of the store say.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_derive::Rows;
use streamdb_query::{Filter, Looking, Troubles, find_streams};
use streamdb_storage::{DiskVolume, Holds, Store};
use streamdb_types::{BucketId, ConnKey};

use super::{Error, json_line};
use crate::cli::Hold;
use crate::output::{Output, complain, printable};

#[derive(Serialize)]
struct Row<'a> {
    hold: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    buckets: Vec<u64>,
    what: &'a str,
    note: &'a str,
}

pub(super) fn run(args: &Hold) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    if args.list {
        return list(args, &store);
    }
    match args.release {
        Some(number) => release(args, number),
        None => hold(args, &store),
    }
}

fn list(args: &Hold, store: &Store) -> Result<ExitCode, Error> {
    let mut out = Output::open(None)?;
    let error = out.error();
    for (number, hold) in store.holds()? {
        let buckets: Vec<u64> = hold.buckets.iter().map(|id| id.0).collect();
        if args.json {
            let time = Some(hold.time.to_string());
            json_line(&mut out, &Row { hold: number, time, buckets, what: &hold.what, note: &hold.note })?;
        } else {
            let note = if hold.note.is_empty() { String::new() } else { format!(" ({})", printable(&hold.note)) };
            let (what, ids) = (printable(&hold.what), ranges(&hold.buckets));
            writeln!(out, "{number:>4} {} {what}{note}: {ids}", hold.time).map_err(&error)?;
        }
    }
    out.flush().map_err(error)?;
    // What is listed may not be all.
    store.held()?;
    Ok(ExitCode::SUCCESS)
}

fn release(args: &Hold, number: u64) -> Result<ExitCode, Error> {
    let hold = Holds::open(&DiskVolume, &args.data.folder)?.release(number)?;
    let mut out = Output::open(None)?;
    let error = out.error();
    if args.json {
        let (time, buckets) = (Some(hold.time.to_string()), hold.buckets.iter().map(|id| id.0).collect());
        json_line(&mut out, &Row { hold: number, time, buckets, what: &hold.what, note: &hold.note })?;
    } else {
        let ids = ranges(&hold.buckets);
        writeln!(out, "hold {number} is released: retention may drop {ids}, unless another hold keeps them")
            .map_err(&error)?;
    }
    out.flush().map_err(error).map(|()| ExitCode::SUCCESS)
}

fn hold(args: &Hold, store: &Store) -> Result<ExitCode, Error> {
    let mut code = ExitCode::SUCCESS;
    let mut damaged = |error: String| {
        complain(&error);
        code = ExitCode::FAILURE;
    };
    let connections = connections(args, store, &mut damaged)?;
    if connections.is_empty() {
        return Err(Error::Other("nothing in the store fits, so nothing is held".into()));
    }
    let parts = store.parts(&connections, &mut |error| damaged(error.to_string()))?;
    let wanted: BTreeSet<BucketId> = parts.buckets.union(&parts.missing).copied().collect();
    let what = what(args);
    let note = args.note.as_deref().unwrap_or_default();
    let new = Holds::open(&DiskVolume, &args.data.folder)?.hold(&wanted, &what, note)?;
    let mut out = Output::open(None)?;
    let error = out.error();
    if args.json {
        let buckets = new.buckets.iter().map(|id| id.0).collect();
        json_line(&mut out, &Row { hold: new.number, time: None, buckets, what: &what, note })?;
    } else {
        let (number, ids) = (new.number, ranges(&new.buckets));
        writeln!(out, "hold {number}: {ids} kept until `streamdb hold --release {number}`").map_err(&error)?;
    }
    out.flush().map_err(error)?;
    let gone: BTreeSet<BucketId> = new.gone.keys().copied().collect();
    if let Some(last) = new.gone.values().max() {
        complain(&format!("part of it was dropped before and is not held: {}, at {last} the last", ranges(&gone)));
    }
    if parts.goes_on {
        complain(
            "the newest of these buckets is still being written: what comes later in other buckets is not held; hold it again \
             when the connections have ended",
        );
    }
    Ok(code)
}

/// The connections that are asked for.
fn connections(args: &Hold, store: &Store, damaged: &mut dyn FnMut(String)) -> Result<HashSet<ConnKey>, Error> {
    let mut connections = HashSet::new();
    for oid in &args.oids {
        connections.insert(store.stream(*oid)?.info().key);
    }
    let words = words(args);
    if words.is_empty() {
        return Ok(connections);
    }
    let filter = Filter::parse_words(&words)?;
    let mut troubles = Troubles::default();
    let looking = Looking { made: Rows::new(), go_on: &|| true, troubles: &mut troubles };
    find_streams(store, &filter, looking, &mut |stream, _| {
        connections.insert(stream.key);
        ControlFlow::Continue(())
    })?;
    troubles.sentences().for_each(damaged);
    Ok(connections)
}

/// The filters that the flags are.
fn words(args: &Hold) -> Vec<String> {
    let flags = [("sha256", &args.sha256), ("ip", &args.ip), ("start", &args.start), ("end", &args.end)];
    flags.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect()
}

/// What was asked for, in a line.
fn what(args: &Hold) -> String {
    let oids = args.oids.iter().map(ToString::to_string);
    oids.chain(words(args)).collect::<Vec<_>>().join(" ")
}

/// Ids, ascending, with runs of them as one: `buckets 1-3, 7`.
fn ranges(ids: &BTreeSet<BucketId>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for BucketId(id) in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*id) => *last = *id,
            _ => runs.push((*id, *id)),
        }
    }
    let runs = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    let word = if ids.len() == 1 { "bucket" } else { "buckets" };
    format!("{word} {}", runs.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_ids_are_one() {
        let ranges = |ids: &[u64]| super::ranges(&ids.iter().copied().map(BucketId).collect());
        assert_eq!(ranges(&[7]), "bucket 7");
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "buckets 1-3, 7, 9-10");
        assert_eq!(ranges(&[0, u64::MAX - 1, u64::MAX]), format!("buckets 0, {}-{}", u64::MAX - 1, u64::MAX));
    }
}
