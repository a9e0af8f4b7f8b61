//! Where a content was seen: what it is, how often it came, when, under which names, and between whom.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use streamdb_derive::{Error, Joined, Store};
use streamdb_query::{JoinLine, Seen, Tally, best_join, first_sighting, hex, sightings};
use streamdb_submit::Submissions;
use streamdb_types::{Digests, Oid, Timestamp, Verdict};
use utoipa::ToSchema;

use super::asked::LIMIT;
use super::find::{Found, Kind, in_time};
use super::page::{Count, Taken, json};
use crate::answer::{broken, failed, refuse};
use crate::channel::Maker;
use crate::streamdb::{send_joined, send_object};
use crate::submitted::{self, Submitted};

/// Most joined ones that are told.
const JOINS: usize = 20;

/// A content, and where it was seen.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Content<Row> {
    /// Its SHA-256.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// Its SHA-1.
    #[schema(pattern = "^[0-9a-f]{40}$")]
    sha1: String,
    /// Its MD5.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    md5: String,
    /// Its bytes.
    size: u64,
    /// Whether these are the bytes as they were sent, under a content coding such as gzip. Type and description then say what
    /// they are without it.
    encoded: bool,
    /// The MIME type by content.
    mime: String,
    /// What it is.
    description: String,
    /// What scanners found in it; left out when nothing was found, or nobody has looked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verdicts: Vec<Said>,
    /// How often it was seen.
    count: Count,
    /// When the first stream began that had it, or a part of it: RFC 3339, UTC, nanoseconds.
    #[schema(format = DateTime)]
    first_seen: String,
    /// When the last one began, likewise.
    #[schema(format = DateTime)]
    last_seen: String,
    /// An object that has it whole, to fetch it by; without one it may be joined of parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]+-[0-9]+-[0-9]+-[0-9]+$")]
    oid: Option<String>,
    /// Between whom it went.
    pairs: Pairs,
    /// Names that its senders gave it.
    filenames: Names,
    /// Hosts that it was asked of.
    hosts: Names,
    /// Who opened the connections.
    sources: Names,
    /// The other sides of them.
    destinations: Names,
    /// What became of it where it was submitted, target by target; empty where the server submits nothing.
    submissions: Vec<Submitted>,
    /// How it came in several responses: they are counted neither in `count` nor in `pairs`.
    joins: Vec<JoinLine>,
    /// The objects that had it, newest first.
    rows: Vec<Row>,
    /// When there are more: the value of `after` with which `/api/v1/objects?sha256=...&sort=1` goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Whether the search ended before it was done, as it took too long; a remark then says how far it came.
    stopped: bool,
    /// Streams that were looked at.
    streams_looked_at: u64,
    /// What could not be read, and what was left out: one sentence each.
    remarks: Vec<String>,
}

/// What a scanner found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Said {
    /// Who says so: `yara`, `clamd` or `hash-list`.
    scanner: &'static str,
    /// The rule, the signature, or the list that has its digest.
    name: String,
    /// What more is said: of a rule its file and tags, of a list what is beside the digest.
    details: String,
}

impl From<Verdict> for Said {
    fn from(Verdict { scanner, name, details }: Verdict) -> Self {
        Self { scanner: scanner.word(), name, details }
    }
}

/// Different names, in their order.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Names {
    /// So many as there is room for.
    #[schema(max_items = 100)]
    values: BTreeSet<String>,
    /// Whether there are others.
    more: bool,
}

impl From<streamdb_query::Names> for Names {
    fn from(names: streamdb_query::Names) -> Self {
        Self { values: names.values, more: names.more }
    }
}

/// Between whom it went, the most frequent first.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Pairs {
    /// So many as there is room for.
    #[schema(max_items = 100)]
    values: Vec<Pair>,
    /// Whether there are others.
    more: bool,
}

/// A client and a server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pair {
    /// Who opened the connections.
    source: String,
    /// The other side.
    destination: String,
    /// How often it went between them, whichever way, of the times that were counted.
    #[schema(minimum = 1)]
    count: u64,
}

impl Pairs {
    fn of(seen: &Seen) -> Self {
        let (pairs, more) = seen.pairs();
        let pair = |(pair, count): (streamdb_query::Pair, u64)| Pair {
            source: pair.client.to_string(),
            destination: pair.server.to_string(),
            count,
        };
        Self { values: pairs.into_iter().map(pair).collect(), more }
    }
}

/// The answer for the content with this SHA-256.
pub(super) fn answer(
    store: &Store,
    submissions: Option<&Submissions>,
    digest: [u8; 32],
    waits: &(dyn Fn() -> bool + Sync),
) -> Result<Response, Error> {
    let mut taken = Taken::new(LIMIT);
    let mut seen = Seen::new(digest);
    let mut unsaid = Ok(());
    let searched = in_time(store, Kind::Objects, &sightings(digest), waits, &mut |found| {
        let room = match &found {
            Found::Object(row, _) => seen.add(row),
            Found::Stream(..) => true,
        };
        if room {
            unsaid = taken.take(&found);
        }
        if room && unsaid.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut remarks = searched.remarks;
    if !seen.tally.exact {
        remarks.push(format!("it was seen more than {} times: they were not counted further", Tally::MOST));
        in_time(store, Kind::Objects, &first_sighting(digest), waits, &mut |found| {
            seen.began(found.began());
            ControlFlow::Break(())
        })?;
    }
    let sha256 = hex(&digest);
    let joins = joined(store, &digest)?;
    let Some((what, (first, last))) = What::of(&digest, &seen, &joins).zip(times(&seen, &joins)) else {
        if seen.newest.is_some() {
            return Ok(broken());
        }
        let remarks: String = remarks.iter().map(|remark| format!("; {remark}")).collect();
        // Who did not look everywhere cannot say that it never was there.
        let status = if searched.stopped { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NOT_FOUND };
        return Ok(refuse(status, &format!("No object with the SHA-256 {sha256} was found here{remarks}.")));
    };
    if unsaid.is_err() {
        return Ok(broken());
    }
    let more = seen.tally.found > taken.rows.len() as u64 || !seen.tally.exact || searched.stopped;
    seen.tally.exact &= !searched.stopped;
    Ok(json(&Content {
        sha256,
        sha1: hex(&what.digests.sha1),
        md5: hex(&what.digests.md5),
        size: what.size,
        encoded: what.encoded,
        mime: what.mime,
        description: what.description,
        verdicts: store.verdicts().of(&digest).into_iter().map(Said::from).collect(),
        count: Count::of(&seen.tally),
        first_seen: first.to_string(),
        last_seen: last.to_string(),
        oid: seen.whole.map(|oid| oid.to_string()),
        pairs: Pairs::of(&seen),
        filenames: seen.filenames.into(),
        hosts: seen.hosts.into(),
        sources: seen.sources.into(),
        destinations: seen.destinations.into(),
        joins: joins.iter().map(JoinLine::of).collect(),
        submissions: submitted::of(submissions, &[digest]).pop().unwrap_or_default(),
        next: if more { taken.next() } else { None },
        rows: taken.rows,
        stopped: searched.stopped,
        streams_looked_at: searched.streams,
        remarks,
    }))
}

/// The contents that came in several responses and have this SHA-256.
fn joined<'s>(store: &'s Store, digest: &[u8; 32]) -> Result<Vec<Joined<'s>>, Error> {
    store.joins()?.with_sha256(digest).take(JOINS).map(|join| Joined::new(store, join)).collect()
}

/// When the first and the last stream began that had it, or a part of it.
fn times(seen: &Seen, joins: &[Joined<'_>]) -> Option<(Timestamp, Timestamp)> {
    let all = || joins.iter().filter_map(|joined| joined.join().times()).chain(seen.tally.times);
    all().map(|(first, _)| first).min().zip(all().map(|(_, last)| last).max())
}

/// What a content is.
struct What {
    digests: Digests,
    size: u64,
    encoded: bool,
    mime: String,
    description: String,
}

impl What {
    /// As the newest object that has it says, or else a joined one: the content's own digest before that of the bytes as sent.
    fn of(digest: &[u8; 32], seen: &Seen, joins: &[Joined<'_>]) -> Option<Self> {
        if let Some(newest) = &seen.newest {
            let whole = newest.digests.filter(|digests| digests.sha256 == *digest);
            return Some(Self {
                digests: whole.or(newest.digests_encoded)?,
                size: if whole.is_some() { newest.size } else { newest.encoded_size },
                encoded: whole.is_none(),
                mime: newest.mime.clone(),
                description: newest.description.clone(),
            });
        }
        let join = joins.first()?.join();
        let made = join.made.as_ref()?;
        let whole = Some(made.digests).filter(|digests| digests.sha256 == *digest);
        Some(Self {
            digests: whole.or(made.digests_encoded)?,
            size: if whole.is_some() { made.size } else { join.of.total.unwrap_or_default() },
            encoded: whole.is_none(),
            mime: made.mime.clone(),
            description: made.description.clone(),
        })
    }
}

/// Hands out the content with this SHA-256: of an object that is whole, or joined of parts.
pub(super) fn send(store: &Arc<Store>, digest: [u8; 32], asked: &HeaderMap, maker: Maker) {
    match whole(store, &digest) {
        Err(error) => maker.whole(failed(&error)),
        Ok((Some(oid), _)) => send_object(store, oid, None, asked, maker),
        Ok((None, stopped)) => match best_join(store, &digest, true) {
            Err(error) => maker.whole(failed(&error)),
            Ok(Some(joined)) => send_joined(joined, &digest, asked, maker),
            Ok(None) => {
                // Who did not look everywhere cannot say that it is not there.
                let status = if stopped { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NOT_FOUND };
                let why = format!("No whole content with the SHA-256 {} was found here.", hex(&digest));
                maker.whole(refuse(status, &why));
            }
        },
    }
}

/// The newest object that is whole and has this content, not only its bytes as sent; and whether the search ended before it was done.
fn whole(store: &Store, digest: &[u8; 32]) -> Result<(Option<Oid>, bool), Error> {
    let mut oid = None;
    let searched = in_time(store, Kind::Objects, &sightings(*digest), &|| true, &mut |found| match found {
        Found::Object(row, _) if row.complete && row.digests.is_some_and(|digests| digests.sha256 == *digest) => {
            oid = Some(row.oid);
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })?;
    Ok((oid, searched.stopped))
}
