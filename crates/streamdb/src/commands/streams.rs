//! `streamdb streams`: rows of streams.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use streamdb_query::{Filter, StreamRow, json_line, rows};
use streamdb_storage::{Store, StreamInfo};

use super::Error;
use crate::cli::Streams;
use crate::output::{Output, complain};

pub(super) fn run(args: &Streams) -> Result<ExitCode, Error> {
    let filter = Filter::parse_words(&args.filters)?;
    let store = Store::open(&args.data.folder)?;
    let mut out = Output::open(None)?;
    let failed = out.error();
    let mut refused = None;
    let mut code = ExitCode::SUCCESS;
    let mut visit = |stream: &StreamInfo| {
        let row = StreamRow::of(stream);
        let written = if args.json { json_line(&mut out, &row) } else { text_line(&mut out, &row) };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                refused = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    rows(&store, &filter, &mut visit, &mut |error| {
        complain(&error.to_string());
        code = ExitCode::FAILURE;
    })?;
    match refused {
        Some(error) => Err(failed(error)),
        None => out.flush().map_err(failed).map(|()| code),
    }
}

/// One stream for people: when, who, which way, how long, why it ended, and its name.
fn text_line(out: &mut Output, row: &StreamRow) -> std::io::Result<()> {
    let arrow = if row.direction == 'c' { "<-" } else { "->" };
    let gaps = if row.gap_bytes > 0 { format!(" ({} missing)", row.gap_bytes) } else { String::new() };
    writeln!(
        out,
        "{} {} {}:{} {arrow} {}:{} {} bytes{gaps} {} {}",
        row.start, row.protocol, row.src_ip, row.src_port, row.dst_ip, row.dst_port, row.length, row.reason, row.oid
    )
}
