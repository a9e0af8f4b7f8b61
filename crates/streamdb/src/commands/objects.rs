//! `streamdb objects`: rows of objects.

use std::io::Write;
use std::process::ExitCode;

use streamdb_query::{Filter, ObjectLine, Wording, find_objects, json_line, meta};
use streamdb_storage::{Store, Verdicts};
use streamdb_types::ObjectRow;

use super::{Error, finding};
use crate::cli::Streams;
use crate::output::{Output, printable};

pub(super) fn run(args: &Streams) -> Result<ExitCode, Error> {
    let filter = Filter::parse_words(&args.filters)?;
    let store = Store::open(&args.data.folder)?;
    finding::run(&filter, |looking, lines| {
        find_objects(&store, &filter, looking, &mut |row| {
            lines.put(|out| match args.json {
                true => json_line(out, &ObjectLine::with_verdicts(row, store.verdicts())),
                false => text_line(out, row, store.verdicts()),
            })
        })
    })
}

/// One object for people: when, who, which way, what it is, its name, and what scanners found in it.
fn text_line(out: &mut Output, row: &ObjectRow, verdicts: &Verdicts) -> std::io::Result<()> {
    let arrow = if row.direction.letter() == 'c' { "<-" } else { "->" };
    let what = printable(&meta(row, Wording::Current));
    let found = row.digests.map(|digests| verdicts.of(&digests.sha256)).unwrap_or_default();
    let found = found.iter().map(|verdict| format!(" [{}]", printable(&verdict.to_string()))).collect::<String>();
    writeln!(
        out,
        "{} {} {arrow} {} {} bytes {what} {}{found}",
        row.start, row.tuple.client, row.tuple.server, row.size, row.oid
    )
}
