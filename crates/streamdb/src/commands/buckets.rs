//! `streamdb buckets`: what is in the data folder, bucket by bucket.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_storage::{BucketInfo, Store};

use super::{Error, json_line};
use crate::cli::Listing;
use crate::output::{Output, complain};
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
}

pub(super) fn run(args: &Listing) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    let mut out = Output::open(None)?;
    let error = out.error();
    let mut code = ExitCode::SUCCESS;
    for info in store.buckets()? {
        match info {
            Ok(info) if args.json => json_line(&mut out, &row(&info))?,
            Ok(info) => {
                let row = row(&info);
                writeln!(
                    out,
                    "{:>6} {:9} {} {:>10} {:>7} connections {:>9} frames",
                    row.bucket,
                    row.state,
                    row.first_frame.as_deref().unwrap_or("-"),
                    units::bytes(row.bytes),
                    row.connections,
                    row.frames
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

fn row(info: &BucketInfo) -> Row {
    Row {
        bucket: info.superblock.id.0,
        state: match (info.sealed, info.recovered) {
            (true, false) => "sealed",
            (true, true) => "recovered",
            (false, _) => "open",
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
    }
}
