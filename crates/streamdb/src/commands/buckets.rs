//! `streamdb buckets`: what is in the data folder, bucket by bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_storage::{BucketInfo, BucketState, Event, Store};
use streamdb_types::{BucketId, Timestamp};

use super::{Error, held, json_line};
use crate::cli::Buckets;
use crate::output::{Output, complain, printable};
use crate::units;

#[derive(Serialize)]
struct Row {
    bucket: u64,
    state: &'static str,
    window_start: String,
    window_end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_frame: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_frame: Option<String>,
    bytes: u64,
    blocks: usize,
    connections: u32,
    streams: usize,
    frames: u64,
    /// Whether it stays whatever the limits say.
    held: bool,
}

/// One that retention dropped.
#[derive(Serialize)]
struct DroppedRow {
    bucket: u64,
    state: &'static str,
    dropped: String,
    reason: String,
    bytes: u64,
    frames: u64,
}

pub(super) fn run(args: &Buckets) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    let mut out = Output::open(None)?;
    let error = out.error();
    let mut code = ExitCode::SUCCESS;
    let held = held(&store, &mut code);
    if args.dropped {
        for row in dropped(&store)? {
            if args.json {
                json_line(&mut out, &row)?;
                continue;
            }
            writeln!(
                out,
                "{:>6} {:9} {} {:>10} {:>9} frames by {}",
                row.bucket,
                row.state,
                row.dropped,
                units::bytes(row.bytes),
                row.frames,
                printable(&row.reason)
            )
            .map_err(&error)?;
        }
    }
    for info in store.buckets()? {
        match info {
            Ok(info) if args.json => json_line(&mut out, &row(&info, &held))?,
            Ok(info) => {
                let row = row(&info, &held);
                writeln!(
                    out,
                    "{:>6} {:9} {} {:>10} {:>7} connections {:>9} frames{}",
                    row.bucket,
                    row.state,
                    row.first_frame.as_deref().unwrap_or("-"),
                    units::bytes(row.bytes),
                    row.connections,
                    row.frames,
                    if row.held { " held" } else { "" }
                )
                .map_err(&error)?;
            }
            Err(damage) => {
                complain(&damage.to_string());
                code = ExitCode::FAILURE;
            }
        }
    }
    out.flush().map_err(&error)?;
    Ok(code)
}

/// The buckets that were dropped, with what the ledger knows of them.
fn dropped(store: &Store) -> Result<Vec<DroppedRow>, Error> {
    let mut sealed: BTreeMap<BucketId, (u64, u64)> = BTreeMap::new();
    let mut rows = Vec::new();
    for entry in store.ledger()? {
        let time: Timestamp = entry.time;
        match entry.event {
            Event::Sealed { id, bytes, frames } => {
                sealed.insert(id, (bytes, frames));
            }
            Event::Dropped { id, reason } => {
                let (bytes, frames) = sealed.remove(&id).unwrap_or_default();
                let dropped = time.to_string();
                rows.push(DroppedRow { bucket: id.0, state: "dropped", dropped, reason, bytes, frames });
            }
            _ => {}
        }
    }
    Ok(rows)
}

fn row(info: &BucketInfo, held: &BTreeSet<BucketId>) -> Row {
    Row {
        bucket: info.superblock.id.0,
        state: match info.state() {
            BucketState::Sealed => "sealed",
            BucketState::Recovered => "recovered",
            BucketState::Open => "open",
            BucketState::Unsealed => "unsealed",
        },
        window_start: info.superblock.window_start.to_string(),
        window_end: info.superblock.window_end.to_string(),
        first_frame: info.times.map(|(first, _)| first.to_string()),
        last_frame: info.times.map(|(_, last)| last.to_string()),
        bytes: info.bytes,
        blocks: info.blocks,
        connections: info.connections,
        streams: info.streams,
        frames: info.frames,
        held: held.contains(&info.superblock.id),
    }
}
