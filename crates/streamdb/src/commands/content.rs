//! `streamdb content`: where a content was seen, and its bytes.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use serde::Serialize;
use streamdb_derive::{BodyLimits, Decode, JoinState, Joined, Piece, Rows, object};
use streamdb_query::{Filter, JoinLine, Seen, Troubles, best_join, hex, seen, whole_object};
use streamdb_storage::Store;

use super::get::write_object;
use super::{Error, json_line};
use crate::cli::Content;
use crate::output::{Output, complain, printable};
use crate::stop::stop_flag;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// So many times, at least when that is not exact.
    count: u64,
    exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oid: Option<String>,
    pairs: Vec<Pair>,
    more_pairs: bool,
    filenames: Vec<String>,
    hosts: Vec<String>,
    joins: Vec<JoinLine>,
}

/// Between whom, and how often.
#[derive(Serialize)]
struct Pair {
    source: String,
    destination: String,
    count: u64,
}

pub(super) fn run(args: &Content) -> Result<ExitCode, Error> {
    let digest = digest(&args.sha256)?;
    let store = Store::open(&args.data.folder)?;
    if let Some(output) = &args.output {
        return write(&store, &digest, output);
    }
    let stop = stop_flag()?;
    let mut troubles = Troubles::default();
    let go_on = &|| !stop.load(Ordering::Relaxed);
    let (seen, looked) = seen(&store, digest, &Rows::in_a_hurry, go_on, &mut troubles)?;
    troubles.sentences().for_each(|trouble| complain(&trouble));
    let mut joins = Vec::new();
    for join in store.joins()?.with_sha256(&digest) {
        joins.push(JoinLine::of(&Joined::new(&store, join)?));
    }
    if seen.newest.is_none() && joins.is_empty() {
        return Err(Error::Other(format!("no object with the SHA-256 {} is here", hex(&digest))));
    }
    let summary = Summary::new(&digest, &seen, joins);
    let mut out = Output::open(None)?;
    if args.json {
        json_line(&mut out, &summary)?;
    } else {
        let failed = out.error();
        summary.text(&mut out).map_err(failed)?;
    }
    let failed = out.error();
    out.flush().map_err(failed)?;
    Ok(if troubles.is_empty() && !looked.stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn digest(text: &str) -> Result<[u8; 32], Error> {
    let set = Filter::parse([("sha256", text)])?.objects.sha256;
    match set.as_ref().map(|set| (set.negated, set.values.as_slice())) {
        Some((false, [digest])) => Ok(*digest),
        _ => {
            Err(Error::Other(format!("{text:?} is not accepted; one SHA-256 digest is wanted, 64 hexadecimal digits")))
        }
    }
}

/// Writes the content: of the newest object that has it whole, or of the best joined one.
fn write(store: &Store, digest: &[u8; 32], output: &Path) -> Result<ExitCode, Error> {
    let mut troubles = Troubles::default();
    let whole = whole_object(store, digest, &mut troubles)?;
    let path = (output != Path::new("-")).then_some(output);
    if let Some(oid) = whole {
        let mut object = object(store, oid)?;
        let mut out = Output::open(path)?;
        let failed = out.error();
        write_object(&mut object, oid, &mut out)?;
        out.flush().map_err(failed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(mut joined) = best_join(store, digest, true)?.filter(|joined| joined.state().is_here()) else {
        troubles.sentences().for_each(|trouble| complain(&trouble));
        return Err(Error::Other(format!("no whole content with the SHA-256 {} is here", hex(digest))));
    };
    let mut out = Output::open(path)?;
    let failed = out.error();
    let mut written: std::io::Result<()> = Ok(());
    let mut holes = false;
    let mut put = |piece: Piece<'_>| {
        match piece {
            Piece::Bytes(bytes) => written = out.write_all(bytes),
            Piece::Hole(_) => holes = true,
        }
        if written.is_ok() && !holes { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let as_sent = joined.digests().is_some_and(|digests| digests.sha256 != *digest);
    if as_sent {
        joined.sent(0..joined.sent_len(), &mut put)?;
    } else {
        joined.body(Decode::Decoded, &BodyLimits::default(), None, &mut put)?;
    }
    written.map_err(&failed)?;
    out.flush().map_err(&failed)?;
    if holes {
        return Err(Error::Other(format!(
            "{}: a part of it is not here any more, so that what was written is not whole",
            hex(digest)
        )));
    }
    if joined.state() != JoinState::Complete {
        complain(&JoinLine::of(&joined).sentence());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

impl Summary {
    fn new(digest: &[u8; 32], seen: &Seen, joins: Vec<JoinLine>) -> Self {
        let newest = seen.newest.as_ref();
        let first = joins.first();
        let (pairs, more_pairs) = seen.pairs();
        let times = seen.tally.times;
        let pair = |(pair, count): (streamdb_query::Pair, u64)| Pair {
            source: pair.client.to_string(),
            destination: pair.server.to_string(),
            count,
        };
        Self {
            sha256: hex(digest),
            size: newest.map(|row| row.size).or_else(|| first?.size),
            mime: newest.map(|row| row.mime.clone()).or_else(|| first?.mime.clone()),
            description: newest.map(|row| row.description.clone()).or_else(|| first?.description.clone()),
            count: seen.tally.found,
            exact: seen.tally.exact,
            first_seen: times.map(|(first, _)| first.to_string()),
            last_seen: times.map(|(_, last)| last.to_string()),
            oid: seen.whole.map(|oid| oid.to_string()),
            pairs: pairs.into_iter().map(pair).collect(),
            more_pairs,
            filenames: seen.filenames.values.iter().cloned().collect(),
            hosts: seen.hosts.values.iter().cloned().collect(),
            joins,
        }
    }

    /// For people.
    fn text(&self, out: &mut Output) -> std::io::Result<()> {
        if let (Some(size), Some(what)) = (self.size, &self.description) {
            writeln!(out, "{size} bytes, {}", printable(what))?;
        }
        let least = if self.exact { "" } else { "at least " };
        writeln!(out, "seen {least}{}", times(self.count))?;
        if let (Some(first), Some(last)) = (&self.first_seen, &self.last_seen) {
            writeln!(out, "first {first}\nlast  {last}")?;
        }
        for Pair { source, destination, count } in &self.pairs {
            writeln!(out, "{} {source} <-> {destination}", times(*count))?;
        }
        if self.more_pairs {
            writeln!(out, "and between others")?;
        }
        for (word, names) in [("name", &self.filenames), ("host", &self.hosts)] {
            for name in names {
                writeln!(out, "{word} {}", printable(name))?;
            }
        }
        if let Some(oid) = &self.oid {
            writeln!(out, "whole {oid}")?;
        }
        for join in &self.joins {
            let parts = join.parts.len() as u64 + join.more_parts;
            writeln!(out, "joined of {parts} parts of {}: {}", printable(&join.url), join.state)?;
        }
        Ok(())
    }
}
