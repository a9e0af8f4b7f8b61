//! A listing as a page for browsers: a form, the conversation, and links to what can be downloaded. Plain HTML; what was
//! captured is escaped text in it, and nothing of it is loaded or run.

use std::time::Duration;

use askama::Template;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_query::{Wording, Zone, hex, is_mismatch, meta};
use streamdb_submit::Submissions;
use streamdb_types::{Direction, ObjectKind, ObjectRow};

use super::entry::{Connection, Entry, Listing};
use super::holes::Drawn;
use super::params::Search;
use super::text::first_line;
use super::{printable, usage};
use crate::answer::{HTML, whole};
use crate::submitted::{self, Submitted};

/// Most bytes of an object that a page shows: who wants more has the download.
pub(super) const SHOWN: usize = 16 << 10;

#[derive(Template)]
#[template(path = "search.html")]
struct Page<'p> {
    form: Form<'p>,
    zone: &'p str,
    listing: Option<Shown>,
    first_line: String,
    /// What its two numbers count.
    counts: String,
    /// The search in short: its terms.
    asked: String,
    /// Whether the form is folded away, as there is something better to see.
    folded: bool,
    as_text: String,
    as_json: String,
    as_hex: String,
    /// The next page of results; empty when this is the last one.
    next: String,
    /// The page before this one; empty when this is the first.
    earlier: String,
    can_submit: bool,
    /// Why there is no result; empty when nothing was asked for.
    why: &'p str,
    usage: &'static str,
}

/// What was asked for, to be asked for again.
#[derive(Default)]
struct Form<'p> {
    ip: &'p str,
    srcip: &'p str,
    srcport: &'p str,
    dstip: &'p str,
    dstport: &'p str,
    start: &'p str,
    end: &'p str,
    host: &'p str,
    uri: &'p str,
    filetype: &'p str,
    verdict: &'p str,
    sha256: &'p str,
    pcre: &'p str,
    sort: bool,
    incomplete: bool,
    raw: bool,
    /// Terms for which the form has no field.
    others: Vec<(&'p str, &'p str)>,
}

impl<'p> Form<'p> {
    fn of(pairs: &'p [(String, String)]) -> Self {
        let mut form = Self::default();
        for (name, value) in pairs.iter().map(|(name, value)| (name.as_str(), value.trim())) {
            match name {
                "ip" => form.ip = value,
                "srcip" | "sip" => form.srcip = value,
                "srcport" | "spt" => form.srcport = value,
                "dstip" | "dip" => form.dstip = value,
                "dstport" | "dpt" => form.dstport = value,
                "start" | "stime" => form.start = value,
                "end" | "etime" => form.end = value,
                "host" => form.host = value,
                "uri" => form.uri = value,
                "filetype" => form.filetype = value,
                "verdict" => form.verdict = value,
                "sha256" => form.sha256 = value,
                "pcre" => form.pcre = value,
                "sort" => form.sort = value == "1",
                "incomplete" if value == "1" => form.incomplete = true,
                "raw" => form.raw = value == "1",
                // Each search begins at its first page, in the shape of a page.
                "offset" | "as_json" | "as_hex" | "quiet" | "filename" | "submit" => {}
                _ if value.is_empty() && !name.contains('!') => {}
                _ => form.others.push((name, value)),
            }
        }
        form
    }
}

/// Most characters that are shown of a fact's value.
const FACT: usize = 512;

struct Shown {
    remarks: Vec<String>,
    connections: Vec<ShownConnection>,
}

struct ShownConnection {
    line: String,
    oid: String,
    streams: Vec<ShownStream>,
    objects: Vec<ShownObject>,
    /// Ways in which no byte went.
    empty: Vec<&'static str>,
    trouble: String,
    /// What was lost in its time; empty when nothing was.
    loss: String,
}

struct ShownStream {
    oid: String,
    way: &'static str,
}

struct ShownObject {
    oid: String,
    class: &'static str,
    meta: String,
    legacy: String,
    size: String,
    complete: bool,
    conflict: bool,
    why: String,
    /// What is missing, on a line.
    missing: Option<Drawn>,
    mismatch: bool,
    declared: String,
    /// What scanners found.
    verdicts: Vec<String>,
    /// Names and values.
    facts: Vec<(String, String)>,
    has_content: bool,
    sha256: String,
    md5: String,
    head: String,
    content: String,
    /// Whether the content is for reading. Of other content, little more than dots is printable.
    is_text: bool,
    submitted: Vec<Submitted>,
    notes: Vec<String>,
}

/// What a page says of submissions.
pub(super) struct Submitting<'s> {
    pub(super) submissions: Option<&'s Submissions>,
    /// Whether who asks may submit.
    pub(super) allowed: bool,
}

/// The answer to a search.
pub(super) fn results(
    listing: Listing,
    search: &Search,
    pairs: &[(String, String)],
    took: Duration,
    zone: &Zone,
    submitting: &Submitting<'_>,
) -> Response {
    let objects = listing.connections.iter().flat_map(|connection| &connection.objects);
    // In the order in which the objects are shown; those without a digest are nobody's content.
    let hashes: Vec<[u8; 32]> =
        objects.map(|object| object.row.digests.map(|digests| digests.sha256).unwrap_or_default()).collect();
    let mut submitted = submitted::of(submitting.submissions, &hashes).into_iter();
    let first_line = first_line(&listing, took, zone);
    let counts =
        format!("{} shown, of {} found", count(listing.objects() as u64, "object"), count(listing.found, "stream"));
    let limit = search.filter.limit.unwrap_or(u64::MAX);
    let after = listing.offset.saturating_add(limit);
    let next = if listing.found > after { link(pairs, Some(("offset", &after.to_string()))) } else { String::new() };
    let earlier = match listing.offset {
        0 => String::new(),
        offset if offset <= limit => link(pairs, None),
        offset => link(pairs, Some(("offset", &(offset - limit).to_string()))),
    };
    render(&Page {
        form: Form::of(pairs),
        zone: zone.name(),
        first_line,
        counts,
        asked: asked(pairs),
        folded: !listing.connections.is_empty(),
        as_text: link(pairs, Some(("as_text", "1"))),
        as_json: link(pairs, Some(("as_json", "1"))),
        as_hex: link(pairs, Some(("as_hex", "1"))),
        next,
        earlier,
        can_submit: submitting.allowed,
        why: "",
        usage: usage::USAGE,
        listing: Some(Shown {
            remarks: listing.remarks,
            connections: listing
                .connections
                .into_iter()
                .map(|connection| shown(connection, zone, &mut || submitted.next().unwrap_or_default()))
                .collect(),
        }),
    })
}

/// The form, with nothing found because nothing could be looked for: `why` says why, or is empty.
pub(super) fn form(pairs: &[(String, String)], why: &str, zone: &Zone) -> Response {
    let mut response = render(&Page {
        form: Form::of(pairs),
        zone: zone.name(),
        listing: None,
        first_line: String::new(),
        counts: String::new(),
        asked: String::new(),
        folded: false,
        as_text: String::new(),
        as_json: String::new(),
        as_hex: String::new(),
        next: String::new(),
        earlier: String::new(),
        can_submit: false,
        why,
        usage: usage::USAGE,
    });
    if !why.is_empty() {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    response
}

fn render(page: &Page<'_>) -> Response {
    match page.render() {
        Ok(text) => html(text),
        Err(_) => super::broken(),
    }
}

/// A page, with the policy that it lives under: it may use the sheet, and send its form here.
pub(crate) fn html(text: String) -> Response {
    let mut response = whole(StatusCode::OK, HTML, text);
    response.headers_mut().insert(
        axum::http::header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    );
    response
}

/// The same search, but for how it is shown and where it begins, with one more parameter.
fn link(pairs: &[(String, String)], extra: Option<(&str, &str)>) -> String {
    let kept = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, value)| {
            let shape = ["as_text", "as_json", "as_hex", "offset", "submit"].contains(name);
            !shape && (!value.is_empty() || name.contains('!'))
        })
        .chain(extra);
    let mut query = form_urlencoded::Serializer::for_suffix(String::from("/streamdb/?"), 11);
    for (name, value) in kept {
        query.append_pair(name, value);
    }
    query.finish()
}

/// The terms of a search on one line, without those that say how it is shown.
fn asked(pairs: &[(String, String)]) -> String {
    const LONGEST: usize = 200;
    let kept = pairs.iter().filter(|(name, value)| name != "offset" && (!value.is_empty() || name.contains('!')));
    let terms: Vec<String> = kept.map(|(name, value)| format!("{name}={value}")).collect();
    printable::line(terms.join(" ").as_bytes(), LONGEST)
}

/// Whether content of this kind is for reading.
fn is_text(row: &ObjectRow) -> bool {
    const READ: [&str; 4] = ["json", "xml", "javascript", "urlencoded"];
    row.kind == ObjectKind::Stream || row.mime.starts_with("text/") || READ.iter().any(|kind| row.mime.contains(kind))
}

fn shown(connection: Connection, zone: &Zone, submitted: &mut dyn FnMut() -> Vec<Submitted>) -> ShownConnection {
    let line = connection.line(zone);
    let mut streams: Vec<ShownStream> = Vec::new();
    let bare = connection.bare.iter().map(|bare| &bare.stream);
    let names = connection.objects.iter().map(|object| &object.stream).chain(bare).chain([&connection.shown]);
    for stream in names {
        let way = way(stream.direction);
        if !streams.iter().any(|known| known.way == way) {
            streams.push(ShownStream { oid: stream.oid.to_string(), way });
        }
    }
    let empty = connection.bare.iter().filter(|bare| bare.stream.length.0 == 0);
    ShownConnection {
        line,
        oid: connection.shown.oid.to_string(),
        streams,
        empty: empty.map(|bare| way(bare.stream.direction)).collect(),
        trouble: connection.trouble.unwrap_or_default(),
        loss: connection.loss.map(|loss| loss.sentence()).unwrap_or_default(),
        objects: connection.objects.into_iter().map(|object| shown_object(object, submitted())).collect(),
    }
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to the server",
        Direction::ToClient => "to the client",
    }
}

fn shown_object(object: Entry, submitted: Vec<Submitted>) -> ShownObject {
    let row = object.row;
    let line = |wording| printable::line(meta(&row, wording).as_bytes(), printable::LINE);
    let declared = row.declared_type.as_deref().unwrap_or_default();
    let declared = printable::line(declared.as_bytes(), 100);
    let mismatch = is_mismatch(row.declared_type.as_deref(), &row.mime);
    ShownObject {
        oid: row.oid.to_string(),
        class: match row.kind {
            _ if !row.complete => "incomplete",
            _ if mismatch => "odd",
            ObjectKind::Request => "request",
            _ => "response",
        },
        meta: line(Wording::Current),
        legacy: line(Wording::Legacy),
        size: bytes(row.size),
        complete: row.complete,
        conflict: row.conflict,
        why: match (row.reason.as_deref(), row.missing_bytes) {
            (reason, 0) => reason.unwrap_or("unknown").to_owned(),
            (reason, missing) => format!("{}, {missing} bytes missing", reason.unwrap_or("gap")),
        },
        missing: Drawn::of(&object.extent),
        mismatch,
        declared,
        verdicts: object.verdicts.iter().map(|verdict| fact(verdict)).collect(),
        facts: row.each_fact().map(|(name, value)| (fact(name), fact(value))).collect(),
        has_content: row.size > 0,
        is_text: is_text(&row),
        sha256: row.digests.filter(|_| row.size > 0).map(|digests| hex(&digests.sha256)).unwrap_or_default(),
        md5: row.digests.map(|digests| hex(&digests.md5)).unwrap_or_default(),
        head: object.head,
        content: object.content,
        submitted,
        notes: object.notes,
    }
}

/// A part of a fact, in one line.
fn fact(text: &str) -> String {
    printable::line(text.as_bytes(), FACT)
}

/// `22,528 bytes`.
fn bytes(bytes: u64) -> String {
    count(bytes, "byte")
}

/// `22,528` and a word, which has an s unless there is one of it.
fn count(number: u64, word: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        for (n, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (22528, "22,528 bytes"),
            (1 << 30, "1,073,741,824 bytes"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn a_search_in_short_is_one_line_of_printable_text() {
        let pairs = [("srcip", "10.0.0.5"), ("end", ""), ("dstport!80", ""), ("offset", "5"), ("uri", "a\nb\u{202e}")];
        let pairs: Vec<(String, String)> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(asked(&pairs), "srcip=10.0.0.5 dstport!80= uri=a.b...");
        assert_eq!(asked(&[("uri".to_owned(), "x".repeat(1000))]).len(), 200);
    }

    #[test]
    fn links_ask_the_same_in_another_shape() {
        let pairs = [
            ("srcip", "10.0.0.5"),
            ("dstport!80", ""),
            ("uri", "/a?b=c&d"),
            ("offset", "5"),
            ("end", ""),
            ("as_hex", "1"),
        ];
        let pairs: Vec<(String, String)> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(
            link(&pairs, Some(("as_json", "1"))),
            "/streamdb/?srcip=10.0.0.5&dstport%2180=&uri=%2Fa%3Fb%3Dc%26d&as_json=1"
        );
    }
}
