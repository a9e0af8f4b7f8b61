//! A joined content as a row: what JSON shows of it, and which are wanted.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::{ControlFlow, Range};

use serde::Serialize;
use streamdb_derive::{Error, Evidence, Join, JoinState, Joined};
use streamdb_storage::Store;
use streamdb_types::{ObjectKind, ObjectRow, Oid, Timestamp};
use utoipa::ToSchema;

use crate::filter::{Filter, Order};
use crate::object::ObjectFilter;
use crate::object_row::hex;
use crate::row::as_text;
use crate::verdict::Said;

/// Most parts, and most ranges, that are listed of one.
const LISTED: usize = 1000;

/// A part of a joined content.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JoinPartLine {
    /// The object that it is.
    #[schema(pattern = "^[0-9]+-[0-9]+-[0-9]+-[0-9]+$")]
    pub oid: String,
    /// The bytes that it has, as sent: each from its first to its last, from 0.
    #[schema(inline)]
    pub ranges: Vec<String>,
    /// Its status: 206, or 200 of a whole one that broke off.
    pub status: u16,
    /// When its stream began: RFC 3339, UTC, nanoseconds.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// Who opened the connection.
    #[schema(value_type = String)]
    pub src_ip: IpAddr,
    /// Its port.
    pub src_port: u16,
    /// The other side.
    #[schema(value_type = String)]
    pub dst_ip: IpAddr,
    /// Its port.
    pub dst_port: u16,
    /// Whether retention left it.
    pub here: bool,
    /// Whether other bytes than its own were captured too, for some place of it.
    pub conflict: bool,
}

/// A content that came in several responses.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JoinLine {
    /// How it stands: `complete`; `candidate`, when nothing strong says that its parts belong together, or not all could be compared;
    /// `conflicting`, when they differ where they overlap, or frames of one did, and those that came first are handed out; `missing`, when bytes are in no part; `gone`, when retention took some;
    /// `undecoded`, when all is here and does not decode; `unread`, when a part cannot be read.
    #[schema(pattern = "^(complete|candidate|conflicting|missing|gone|undecoded|unread)$")]
    pub state: &'static str,
    /// What says that they belong together: `etag`, `last-modified`, or `weak`.
    #[schema(pattern = "^(etag|last-modified|weak)$")]
    pub evidence: &'static str,
    /// Scheme, host, path and query.
    pub url: String,
    /// The entity tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The name that its sender gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// The media type that its sender declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_type: Option<String>,
    /// Content codings, in the order in which they were applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(inline)]
    pub codings: Vec<String>,
    /// Bytes of all of it, as sent, where any part says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoded_size: Option<u64>,
    /// Bytes of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The MIME type by content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is wrong with it as it is decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub md5: Option<String>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{40}$")]
    pub sha1: Option<String>,
    /// Likewise: `/api/v1/objects/{sha256}/content` hands it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256: Option<String>,
    /// Of the bytes as sent, where a content coding makes them differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256_encoded: Option<String>,
    /// What scanners found in it, each as `SCANNER:NAME`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(inline)]
    pub verdicts: Vec<String>,
    /// When the first stream began that has a part: RFC 3339, UTC, nanoseconds.
    #[schema(format = DateTime)]
    pub first_seen: String,
    /// When the last one began, likewise.
    #[schema(format = DateTime)]
    pub last_seen: String,
    /// Bytes as sent that are not here.
    #[schema(inline)]
    pub missing: Vec<String>,
    /// Bytes as sent in which parts differ, and all of a part for whose bytes others were captured too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(inline)]
    pub conflicts: Vec<String>,
    /// The parts, those that were found first in front.
    pub parts: Vec<JoinPartLine>,
    /// So many more were seen, and are not listed.
    pub more_parts: u64,
    /// So many of those were not compared with the others.
    pub unchecked_parts: u64,
    /// Whom the parts came from, each address and port once: of several nothing but what they say tells that they speak of one content.
    #[schema(inline)]
    pub servers: Vec<String>,
}

impl JoinLine {
    /// That of a joined content.
    pub fn of(joined: &Joined<'_>) -> Self {
        let join = joined.join();
        let (of, made) = (&join.of, join.made.as_ref());
        let (first, last) = join.times().unwrap_or_default();
        let verdicts = made.map(|made| joined.store().verdicts().of(&made.digests.sha256)).unwrap_or_default();
        let parts = joined.parts().take(LISTED).map(|(part, here)| JoinPartLine {
            oid: part.oid.to_string(),
            ranges: ranges(&part.runs),
            status: part.status,
            start: part.start,
            src_ip: part.tuple.client.addr,
            src_port: part.tuple.client.port,
            dst_ip: part.tuple.server.addr,
            dst_port: part.tuple.server.port,
            here,
            conflict: part.conflict,
        });
        Self {
            state: joined.state().word(),
            evidence: of.evidence.word(),
            url: url(join),
            etag: of.etag.clone(),
            filename: of.filename.clone(),
            declared_type: of.declared_type.clone(),
            codings: of.codings.clone(),
            encoded_size: of.total,
            size: made.map(|made| made.size),
            mime: made.map(|made| made.mime.clone()),
            description: made.map(|made| made.description.clone()),
            problem: made.and_then(|made| made.problem.clone()),
            md5: made.map(|made| hex(&made.digests.md5)),
            sha1: made.map(|made| hex(&made.digests.sha1)),
            sha256: made.map(|made| hex(&made.digests.sha256)),
            sha256_encoded: made.and_then(|made| Some(hex(&made.digests_encoded?.sha256))),
            verdicts: verdicts.iter().map(ToString::to_string).collect(),
            first_seen: first.to_string(),
            last_seen: last.to_string(),
            missing: ranges(&joined.missing()),
            conflicts: ranges(&join.conflicts()),
            parts: parts.collect(),
            unchecked_parts: join.more.unchecked,
            servers: servers(join),
            more_parts: join.more.parts + join.parts.len().saturating_sub(LISTED) as u64,
        }
    }

    /// In a sentence without its end, for a part of it.
    pub fn sentence(&self) -> String {
        let (url, parts) = (&self.url, self.parts.len() as u64 + self.more_parts);
        let missing = match self.missing.as_slice() {
            [] => String::new(),
            [range] => format!(", bytes {range} are missing"),
            [range, others @ ..] => format!(", bytes {range} and {} more ranges are missing", others.len()),
        };
        let all = self.encoded_size.map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string());
        let digest =
            self.sha256.as_ref().map_or_else(String::new, |sha256| format!("; /api/v1/objects/{sha256} has it"));
        let servers = match self.servers.len() {
            0 | 1 => String::new(),
            several => format!(" from {several} servers"),
        };
        let found = match self.verdicts.as_slice() {
            [] => String::new(),
            found => format!(", in which {} was found", found.join(", ")),
        };
        format!("part of {url}, {all} bytes joined of {parts} parts{servers}: {}{missing}{found}{digest}", self.state)
    }
}

/// Scheme, host, path and query.
pub fn url(join: &Join) -> String {
    format!("{}://{}{}", join.of.scheme, join.of.host, join.of.target)
}

/// The servers that parts came from.
fn servers(join: &Join) -> Vec<String> {
    let servers: BTreeSet<(IpAddr, u16)> =
        join.parts.iter().map(|part| (part.tuple.server.addr, part.tuple.server.port)).collect();
    servers.into_iter().take(LISTED).map(|(addr, port)| SocketAddr::new(addr, port).to_string()).collect()
}

/// Ranges from the first to the last byte of each.
fn ranges(ranges: &[Range<u64>]) -> Vec<String> {
    ranges.iter().take(LISTED).map(|range| format!("{}-{}", range.start, range.end.saturating_sub(1))).collect()
}

/// Whether it is more than one part that is no whole: of every download that broke off there is one of those.
pub fn is_shown(join: &Join) -> bool {
    let alone = match join.parts.as_slice() {
        [part] => {
            part.status != 206
                || join.of.total.is_some_and(|total| matches!(part.runs.as_slice(), [run] if *run == (0..total)))
        }
        _ => false,
    };
    !alone && !join.parts.is_empty()
}

/// Hands out the joined contents that a filter wants: by what each is, and by any of its parts; with `part`, those that this object is a
/// part of. At most its limit after its offset, until `visit` breaks off; says whether there are more.
///
/// # Errors
/// When the store cannot be listed, or what is known of joins cannot be opened.
pub fn find_joins(
    store: &Store,
    filter: &Filter,
    part: Option<Oid>,
    go_on: &dyn Fn() -> bool,
    visit: &mut dyn FnMut(Joined<'_>) -> ControlFlow<()>,
) -> Result<bool, Error> {
    let said = Said::of(&filter.objects, store.verdicts());
    let objects = ObjectFilter { incomplete: None, ..filter.objects.clone() };
    let joins = store.joins()?;
    let mut wanted: Vec<(Timestamp, &Join)> = joins
        .all()
        .filter(|join| is_shown(join) || part.is_some())
        .filter(|join| part.is_none_or(|oid| join.parts.iter().any(|part| part.oid == oid)))
        .filter(|join| might_match(join, filter, &objects, said.as_ref()))
        .filter_map(|join| Some((join.times()?.0, join)))
        .collect();
    wanted.sort_by_key(|(first, join)| (*first, join.id));
    if filter.order == Order::NewestFirst {
        wanted.reverse();
    }
    let mut skip = filter.offset;
    let mut room = filter.limit.unwrap_or(u64::MAX);
    for (_, join) in wanted {
        if !go_on() {
            return Ok(true);
        }
        // How it stands takes a look at its parts: one is open at a time.
        let joined = Joined::new(store, join)?;
        if filter.objects.incomplete.is_some_and(|incomplete| incomplete == (joined.state() == JoinState::Complete)) {
            continue;
        }
        if skip > 0 {
            skip -= 1;
        } else if room == 0 {
            return Ok(true);
        } else {
            room -= 1;
            if visit(joined).is_break() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Of the joined contents with this SHA-256, or with `as_sent` whose bytes as sent have it, one that stands best.
///
/// # Errors
/// When the store cannot be listed, or what is known of joins cannot be opened.
pub fn best_join<'s>(store: &'s Store, sha256: &[u8; 32], as_sent: bool) -> Result<Option<Joined<'s>>, Error> {
    let mut best: Option<(JoinState, Joined<'s>)> = None;
    let is_it = |join: &Join| as_sent || join.made.as_ref().is_some_and(|made| made.digests.sha256 == *sha256);
    for join in store.joins()?.with_sha256(sha256).filter(|join| is_it(join)) {
        let joined = Joined::new(store, join)?;
        let state = joined.state();
        if state == JoinState::Complete {
            return Ok(Some(joined));
        }
        if best.as_ref().is_none_or(|(other, _)| state < *other) {
            best = Some((state, joined));
        }
    }
    Ok(best.map(|(_, joined)| joined))
}

/// Whether a filter wants it, however complete it is; `objects` is what it asks of objects apart from that.
fn might_match(join: &Join, filter: &Filter, objects: &ObjectFilter, said: Option<&Said>) -> bool {
    let Some(row) = join_row(join) else { return false };
    objects.matches(&row)
        && said.is_none_or(|said| said.wants(&row))
        && join.parts.iter().any(|part| {
            filter.matches_connection(&part.tuple)
                && filter.start.is_none_or(|start| part.start >= start)
                && filter.end.is_none_or(|end| part.start <= end)
        })
}

/// What of the filter language no joined content could meet: they have no place in the order of rows, no stream of their own, and
/// their bytes are not looked into.
pub const NOT_OF_JOINS: [&str; 5] = ["after", "pcre", "direction", "reason", "length"];

/// The term of a filter that no joined content could meet, if there is one.
pub fn not_of_joins(filter: &Filter) -> Option<&'static str> {
    let Filter { after, direction, reason, length, objects, .. } = filter;
    let asked = [after.is_some(), objects.pcre.is_some(), direction.is_some(), reason.is_some(), length.is_some()];
    NOT_OF_JOINS.into_iter().zip(asked).find_map(|(name, asked)| asked.then_some(name))
}

/// A joined content as a row, as if it were an object that came at once; `None` when its bytes are not here.
pub fn joined_row(joined: &Joined<'_>) -> Option<ObjectRow> {
    let row = join_row(joined.join())?;
    let state = joined.state();
    match state {
        JoinState::Complete => Some(ObjectRow { complete: true, ..row }),
        JoinState::Candidate | JoinState::Conflicting | JoinState::Undecoded => {
            Some(ObjectRow { complete: false, reason: Some(state.word().to_owned()), ..row })
        }
        JoinState::Missing | JoinState::Gone | JoinState::Unread => None,
    }
}

/// It as if it were an object that came at once, in the response that has its first part. Complete, as far as that is known without a
/// look at its parts.
pub fn join_row(join: &Join) -> Option<ObjectRow> {
    let first = join.parts.first()?;
    let (of, made) = (&join.of, join.made.as_ref());
    Some(ObjectRow {
        oid: first.oid,
        key: first.key,
        direction: first.direction,
        begins: first.begins,
        tuple: first.tuple,
        start: first.start,
        kind: ObjectKind::Response,
        protocol: "http".to_owned(),
        method: Some("GET".to_owned()),
        host: Some(of.host.clone()),
        uri: Some(of.target.clone()),
        status: Some(first.status),
        declared_type: of.declared_type.clone(),
        mime: made.map_or_else(String::new, |made| made.mime.clone()),
        description: made.map_or_else(String::new, |made| made.description.clone()),
        legacy: made.map_or_else(String::new, |made| made.description.clone()),
        facts: String::new(),
        xor_key: None,
        filename: of.filename.clone(),
        size: made.map(|made| made.size).or(of.total).unwrap_or_default(),
        encoded_size: of.total.unwrap_or_default(),
        complete: made.is_some_and(|made| made.problem.is_none())
            && join.is_compared()
            && !join.is_conflicting()
            && of.evidence != Evidence::Weak,
        missing_bytes: 0,
        reason: None,
        conflict: join.is_conflicting(),
        digests: made.map(|made| made.digests),
        digests_encoded: made.and_then(|made| made.digests_encoded),
    })
}
