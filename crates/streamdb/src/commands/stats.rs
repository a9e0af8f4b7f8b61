//! `streamdb stats`: how much is stored, and what became of every byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_storage::Store;
use streamdb_types::{Counters, Timestamp};

use super::{Error, json_line};
use crate::cli::Listing;
use crate::output::{Output, complain};
use crate::units;

#[derive(Serialize)]
struct Report {
    buckets: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_frame: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_frame: Option<String>,
    unaccounted_payload_bytes: i64,
    counters: BTreeMap<&'static str, u64>,
}

pub(super) fn run(args: &Listing) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    let mut counters = Counters::default();
    let (mut buckets, mut bytes) = (0u64, 0u64);
    let mut times: Option<(Timestamp, Timestamp)> = None;
    let mut code = ExitCode::SUCCESS;
    for info in store.buckets()? {
        match info {
            Ok(info) => {
                buckets += 1;
                bytes += info.bytes;
                counters.add(&info.counters);
                times = match (times, info.times) {
                    (Some(all), Some(one)) => Some((all.0.min(one.0), all.1.max(one.1))),
                    (all, one) => all.or(one),
                };
            }
            Err(damage) => {
                complain(&damage.to_string());
                code = ExitCode::FAILURE;
            }
        }
    }
    let mut out = Output::open(None)?;
    let error = out.error();
    if args.json {
        let report = Report {
            buckets,
            bytes,
            first_frame: times.map(|(first, _)| first.to_string()),
            last_frame: times.map(|(_, last)| last.to_string()),
            unaccounted_payload_bytes: counters.unaccounted(),
            counters: Counters::NAMES.iter().copied().zip(counters.values()).collect(),
        };
        json_line(&mut out, &report)?;
    } else {
        writeln!(out, "{buckets} buckets, {}", units::bytes(bytes)).map_err(&error)?;
        if let Some((first, last)) = times {
            writeln!(out, "from {first} to {last}").map_err(&error)?;
        }
        for (name, value) in Counters::NAMES.iter().zip(counters.values()).filter(|(_, value)| *value > 0) {
            writeln!(out, "{value:>16} {name}").map_err(&error)?;
        }
        writeln!(out, "{:>16} payload bytes unaccounted for", counters.unaccounted()).map_err(&error)?;
    }
    out.flush().map_err(&error)?;
    Ok(code)
}
