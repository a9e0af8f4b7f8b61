//! `streamdb streams`: rows of streams.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use streamdb_derive::{Rows, objects};
use streamdb_query::{Filter, StreamRow, json_line, rows};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::ObjectRow;

use super::{Error, without_contents};
use crate::cli::Streams;
use crate::output::{Output, complain};

pub(super) fn run(args: &Streams) -> Result<ExitCode, Error> {
    let filter = Filter::parse_words(&args.filters)?;
    without_contents(&filter, "streams")?;
    let store = Store::open(&args.data.folder)?;
    let mut out = Output::open(None)?;
    let failed = out.error();
    let mut refused = None;
    let mut code = ExitCode::SUCCESS;
    let mut made = Rows::new();
    let mut troubles = Vec::new();
    // Where objects decide which streams are wanted, those are skipped and counted that have one.
    let by_objects = !filter.objects.is_empty();
    let all = Filter { offset: 0, limit: None, ..filter.clone() };
    let (mut left, mut room) = if by_objects { (filter.offset, filter.limit) } else { (0, None) };
    let mut visit = |stream: &StreamInfo| {
        if by_objects {
            match objects(&store, stream, &mut made) {
                Ok(found) => {
                    let wanted = |row: &ObjectRow| row.direction == stream.direction && filter.objects.matches(row);
                    if !found.iter().any(wanted) {
                        return ControlFlow::Continue(());
                    }
                }
                Err(error) => {
                    troubles.push(error.to_string());
                    return ControlFlow::Continue(());
                }
            }
            if left > 0 {
                left -= 1;
                return ControlFlow::Continue(());
            }
            match &mut room {
                Some(0) => return ControlFlow::Break(()),
                Some(room) => *room -= 1,
                None => {}
            }
        }
        let mut row = StreamRow::of(stream);
        // The gaps of earlier parts are known when all are looked at. A bucket that cannot be read is told of where it is met first.
        if stream.part > 0
            && let Ok(whole) = store.stream(stream.oid)
        {
            (row.gap_bytes, row.dropped) = (whole.info().gap_bytes, whole.dropped());
        }
        let written = if args.json { json_line(&mut out, &row) } else { text_line(&mut out, &row) };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                refused = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    rows(&store, if by_objects { &all } else { &filter }, &mut visit, &mut |error| {
        complain(&error.to_string());
        code = ExitCode::FAILURE;
    })?;
    for trouble in &troubles {
        complain(trouble);
        code = ExitCode::FAILURE;
    }
    match refused {
        Some(error) => Err(failed(error)),
        None => out.flush().map_err(failed).map(|()| code),
    }
}

/// One stream for people: when, who, which way, how long, why it ended, and its name.
fn text_line(out: &mut Output, row: &StreamRow) -> std::io::Result<()> {
    let arrow = if row.direction == 'c' { "<-" } else { "->" };
    let gaps = match (row.gap_bytes, row.dropped) {
        (0, _) => String::new(),
        (missing, None) => format!(" ({missing} missing)"),
        (missing, Some(time)) => format!(" ({missing} missing, retention dropped a part at {time})"),
    };
    writeln!(
        out,
        "{} {} {}:{} {arrow} {}:{} {} bytes{gaps} {} {}",
        row.start, row.protocol, row.src_ip, row.src_port, row.dst_ip, row.dst_port, row.length, row.reason, row.oid
    )
}
