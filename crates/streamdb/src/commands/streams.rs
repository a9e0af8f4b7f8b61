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
            let row = StreamRow::whole(&store, stream);
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
