//! `streamdb streams`: rows of streams.

use std::io::Write;
use std::process::ExitCode;

use streamdb_query::{Filter, StreamRow, find_streams, json_line};
use streamdb_storage::Store;

use super::{Error, finding};
use crate::cli::Streams;
use crate::output::Output;

pub(super) fn run(args: &Streams) -> Result<ExitCode, Error> {
    let filter = Filter::parse_words(&args.filters)?;
    let store = Store::open(&args.data.folder)?;
    finding::run(&filter, |looking, lines| {
        find_streams(&store, &filter, looking, &mut |stream, _| {
            let mut row = StreamRow::of(stream);
            // The gaps of earlier parts are known when all are looked at. A bucket that cannot be read is told of where it is
            // met first.
            if stream.part > 0
                && let Ok(whole) = store.stream(stream.oid)
            {
                (row.gap_bytes, row.dropped) = (whole.info().gap_bytes, whole.dropped());
            }
            lines.put(|out| if args.json { json_line(out, &row) } else { text_line(out, &row) })
        })
    })
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
