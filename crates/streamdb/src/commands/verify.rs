//! `streamdb verify`: is everything there, and does it agree with itself?

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_storage::{Store, Verify as How};

use super::{Error, json_line};
use crate::cli::Verify;
use crate::output::{Output, complain, printable};
use crate::progress::Progress;
use crate::units;

#[derive(Serialize)]
struct Report {
    deep: bool,
    buckets: u64,
    unsealed: u64,
    blocks: u64,
    bytes: u64,
    /// Parts of streams: one for each bucket that a stream reaches into.
    parts: u64,
    frames: u64,
    /// Rows of objects that were made again and compared.
    objects: u64,
    findings: Vec<String>,
}

pub(super) fn run(args: &Verify) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    let how = if args.deep { How::Deep } else { How::Quick };
    let mut progress: Option<Progress> = None;
    let verified = store.verify(how, &mut |done, total| {
        progress.get_or_insert_with(|| Progress::new(Some(total))).set(done);
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    let mut findings: Vec<String> = verified.findings.iter().map(|f| printable(&f.what)).collect();
    let objects = if args.deep { compare_rows(&store, &mut findings)? } else { 0 };
    if args.deep {
        store.verify_index(&mut |what| {
            findings.push(printable(&format!("{what}; it is left out, and whoever derives next makes it again")));
        })?;
    }
    for finding in &findings {
        complain(finding);
    }
    let code = if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let mut out = Output::open(None)?;
    if args.json {
        let report = Report {
            deep: args.deep,
            buckets: verified.buckets,
            unsealed: verified.unsealed,
            blocks: verified.blocks,
            bytes: verified.bytes,
            parts: verified.parts,
            frames: verified.frames,
            objects,
            findings,
        };
        json_line(&mut out, &report)?;
    } else {
        let result = match findings.len() {
            0 => "all is well".into(),
            1 => "1 thing is wrong".into(),
            n => format!("{n} things are wrong"),
        };
        let looked = if args.deep { "every byte" } else { "headers and tables" };
        let rows = if args.deep { format!(", {} of objects", units::counted(objects, "row")) } else { String::new() };
        let error = out.error();
        writeln!(
            out,
            "{} ({} unsealed), {}, {}, {}, {}{rows}; looked at {looked}: {result}",
            units::counted(verified.buckets, "bucket"),
            verified.unsealed,
            units::counted(verified.blocks, "block"),
            units::bytes(verified.bytes),
            if verified.parts == 1 {
                "1 part of a stream".into()
            } else {
                format!("{} parts of streams", verified.parts)
            },
            units::counted(verified.frames, "frame"),
        )
        .map_err(error)?;
    }
    let error = out.error();
    out.flush().map_err(error)?;
    Ok(code)
}

/// Compares the rows of objects that are kept with what the buckets give; how many there were.
fn compare_rows(store: &Store, findings: &mut Vec<String>) -> Result<u64, Error> {
    let progress = Progress::buckets();
    let wrong = &mut |what: String| findings.push(printable(&what));
    let checked = streamdb_derive::check(store, wrong, &mut |done, all| progress.step(done, all))?;
    progress.finish();
    Ok(checked.objects)
}
