//! Where a content was seen: what it is, how often it came, when, under which names, and between whom.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use streamdb_derive::{Error, Store};
use streamdb_query::{Tally, hex};
use streamdb_types::{ObjectRow, Verdict};
use utoipa::ToSchema;

use super::asked::{LIMIT, sightings};
use super::find::{Found, Kind, in_time};
use super::page::{Count, Taken, json};
use crate::answer::{broken, refuse};

/// Most names of one kind.
const NAMED: usize = 100;

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
    /// When the first stream began that had it, of those that were counted: RFC 3339, UTC, nanoseconds.
    #[schema(format = DateTime)]
    first_seen: String,
    /// When the last one began, likewise.
    #[schema(format = DateTime)]
    last_seen: String,
    /// Names that its senders gave it.
    filenames: Names,
    /// Hosts that it was asked of.
    hosts: Names,
    /// Who opened the connections.
    sources: Names,
    /// The other sides of them.
    destinations: Names,
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

impl Names {
    fn add(&mut self, name: Option<&str>) {
        let Some(name) = name.filter(|name| !self.values.contains(*name)) else { return };
        if self.values.len() < NAMED {
            self.values.insert(name.to_owned());
        } else {
            self.more = true;
        }
    }
}

/// What is gathered of the objects that have it.
#[derive(Default)]
struct Seen {
    /// The newest of them.
    newest: Option<ObjectRow>,
    filenames: Names,
    hosts: Names,
    sources: Names,
    destinations: Names,
}

impl Seen {
    fn add(&mut self, row: &ObjectRow) {
        self.newest.get_or_insert_with(|| row.clone());
        self.filenames.add(row.filename.as_deref());
        self.hosts.add(row.host.as_deref());
        self.sources.add(Some(&row.tuple.client.addr.to_string()));
        self.destinations.add(Some(&row.tuple.server.addr.to_string()));
    }
}

/// The answer for the content with this SHA-256.
pub(super) fn answer(store: &Store, digest: [u8; 32], waits: &(dyn Fn() -> bool + Sync)) -> Result<Response, Error> {
    let mut taken = Taken::new(LIMIT);
    let (mut seen, mut tally) = (Seen::default(), Tally { exact: true, ..Tally::default() });
    let mut unsaid = Ok(());
    let searched = in_time(store, Kind::Objects, &sightings(digest), waits, &mut |found| {
        if tally.found == Tally::MOST {
            tally.exact = false;
            return ControlFlow::Break(());
        }
        tally.add(found.began());
        unsaid = taken.take(&found);
        if let Found::Object(row, _) = found {
            seen.add(row);
        }
        if unsaid.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut remarks = searched.remarks;
    let sha256 = hex(&digest);
    let Some((newest, (first, last))) = seen.newest.zip(tally.times) else {
        let remarks: String = remarks.iter().map(|remark| format!("; {remark}")).collect();
        // Who did not look everywhere cannot say that it never was there.
        let status = if searched.stopped { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NOT_FOUND };
        return Ok(refuse(status, &format!("No object with the SHA-256 {sha256} was found here{remarks}.")));
    };
    if !tally.exact {
        remarks.push(format!("it was seen more than {} times: they were not counted further", Tally::MOST));
    }
    tally.exact &= !searched.stopped;
    // The content's own digest before that of the bytes as sent.
    let whole = newest.digests.filter(|digests| digests.sha256 == digest);
    let Some(digests) = whole.or(newest.digests_encoded).filter(|_| unsaid.is_ok()) else { return Ok(broken()) };
    let more = tally.found > taken.rows.len() as u64 || !tally.exact;
    Ok(json(&Content {
        sha256,
        sha1: hex(&digests.sha1),
        md5: hex(&digests.md5),
        size: if whole.is_some() { newest.size } else { newest.encoded_size },
        encoded: whole.is_none(),
        mime: newest.mime,
        description: newest.description,
        verdicts: store.verdicts().of(&digest).into_iter().map(Said::from).collect(),
        count: Count::of(&tally),
        first_seen: first.to_string(),
        last_seen: last.to_string(),
        filenames: seen.filenames,
        hosts: seen.hosts,
        sources: seen.sources,
        destinations: seen.destinations,
        next: if more { taken.next() } else { None },
        rows: taken.rows,
        stopped: searched.stopped,
        streams_looked_at: searched.streams,
        remarks,
    }))
}
