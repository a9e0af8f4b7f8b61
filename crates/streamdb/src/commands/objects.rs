//! `streamdb objects`: rows of objects.

use std::collections::HashSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use streamdb_derive::{Rows, objects};
use streamdb_query::{Filter, ObjectLine, Wording, json_line, meta, rows};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{BucketId, ConnKey, ObjectRow};

use super::{Error, without_contents};
use crate::cli::Streams;
use crate::output::{Output, complain, printable};

pub(super) fn run(args: &Streams) -> Result<ExitCode, Error> {
    let filter = Filter::parse_words(&args.filters)?;
    without_contents(&filter, "objects")?;
    let store = Store::open(&args.data.folder)?;
    let mut out = Output::open(None)?;
    let failed = out.error();
    let mut refused = None;
    let mut code = ExitCode::SUCCESS;
    let mut made = Rows::new();
    let mut seen = Seen::default();
    let mut left = filter.offset;
    let mut room = filter.limit.unwrap_or(u64::MAX);
    // What is skipped and what is shown are objects here, not streams.
    let streams = Filter { offset: 0, limit: None, direction: None, ..filter.clone() };
    let mut troubles = Vec::new();
    let mut visit = |stream: &StreamInfo| {
        if !seen.is_new(stream) {
            return ControlFlow::Continue(());
        }
        let found = match objects(&store, stream, &mut made) {
            Ok(found) => found,
            Err(error) => {
                troubles.push(error.to_string());
                return ControlFlow::Continue(());
            }
        };
        for row in &found {
            if filter.direction.is_some_and(|direction| direction != row.direction) || !filter.objects.matches(row) {
                continue;
            }
            if left > 0 {
                left -= 1;
                continue;
            }
            if room == 0 {
                return ControlFlow::Break(());
            }
            room -= 1;
            let written = if args.json { json_line(&mut out, &ObjectLine::of(row)) } else { text_line(&mut out, row) };
            if let Err(error) = written {
                refused = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    };
    rows(&store, &streams, &mut visit, &mut |error| {
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

/// The connections that were looked at: both of their streams come along, in the same bucket mostly.
#[derive(Default)]
struct Seen {
    bucket: BucketId,
    keys: HashSet<ConnKey>,
}

impl Seen {
    fn is_new(&mut self, stream: &StreamInfo) -> bool {
        if stream.peer.is_none() {
            return true;
        }
        if self.bucket != stream.oid.bucket {
            self.bucket = stream.oid.bucket;
            self.keys.clear();
        }
        self.keys.insert(stream.key)
    }
}

/// One object for people: when, who, which way, what it is, and its name.
fn text_line(out: &mut Output, row: &ObjectRow) -> std::io::Result<()> {
    let arrow = if row.direction.letter() == 'c' { "<-" } else { "->" };
    let what = printable(&meta(row, Wording::Current));
    writeln!(
        out,
        "{} {} {arrow} {} {} bytes {what} {}",
        row.start, row.tuple.client, row.tuple.server, row.size, row.oid
    )
}
