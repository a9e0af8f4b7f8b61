//! `streamdb joins`: contents that came in several responses.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use streamdb_query::{Filter, FilterError, JoinLine, find_joins, json_line, not_of_joins};
use streamdb_storage::Store;

use super::Error;
use crate::cli::Streams;
use crate::output::{Output, printable};

pub(super) fn run(args: &Streams) -> Result<ExitCode, Error> {
    let filter = Filter::parse_words(&args.filters)?;
    if let Some(name) = not_of_joins(&filter) {
        let accepted = "nothing here: it does not go with joined contents".into();
        return Err(FilterError::Value { name, given: String::new(), accepted }.into());
    }
    let store = Store::open(&args.data.folder)?;
    let mut out = Output::open(None)?;
    let failed = out.error();
    let mut written = Ok(());
    find_joins(&store, &filter, None, &|| true, &mut |joined| {
        let line = JoinLine::of(&joined);
        written = if args.json { json_line(&mut out, &line) } else { text_line(&mut out, &line) };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written.map_err(&failed)?;
    out.flush().map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// One for people: when, how it stands, of how many parts, where from, and its digest; below it what is missing, and what was found.
fn text_line(out: &mut Output, line: &JoinLine) -> std::io::Result<()> {
    let parts = line.parts.len() as u64 + line.more_parts;
    let size = line.size.or(line.encoded_size).map_or_else(|| "?".to_owned(), |size| size.to_string());
    let (what, sha256) = (line.description.as_deref().unwrap_or("-"), line.sha256.as_deref().unwrap_or("-"));
    writeln!(
        out,
        "{} {} {parts} parts {size} bytes {} {} {sha256}",
        line.first_seen,
        line.state,
        printable(&line.url),
        printable(what)
    )?;
    for (word, ranges) in [("missing", &line.missing), ("differ", &line.conflicts)] {
        if !ranges.is_empty() {
            writeln!(out, "  {word}: {}", ranges.join(" "))?;
        }
    }
    if !line.verdicts.is_empty() {
        writeln!(out, "  found: {}", printable(&line.verdicts.join(" ")))?;
    }
    if line.servers.len() > 1 {
        writeln!(out, "  servers: {}", line.servers.join(" "))?;
    }
    if line.unchecked_parts > 0 {
        writeln!(out, "  not compared: {} parts", line.unchecked_parts)?;
    }
    Ok(())
}
