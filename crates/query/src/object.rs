//! Which objects are wanted, and the line that says what one is.

use std::ops::RangeInclusive;

use streamdb_storage::index::Class;
use streamdb_types::{ObjectKind, ObjectRow};

use crate::content::BytesExpression;
use crate::mismatch;
use crate::pattern::Expression;
use crate::set::Set;
use crate::verdict::VerdictPattern;

/// Which objects are wanted; each of its terms has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectFilter {
    /// What it is to its connection.
    pub kind: Option<Set<ObjectKind>>,
    /// The request's method.
    pub method: Option<Set<String>>,
    /// Whom the request was for, with or without a port.
    pub host: Option<Set<Expression>>,
    /// The request target.
    pub uri: Option<Set<Expression>>,
    /// The status code.
    pub status: Option<Set<u16>>,
    /// The MIME type by content.
    pub mime: Option<Set<Expression>>,
    /// Over the [`meta`] line in either wording.
    pub filetype: Option<Set<Expression>>,
    /// The name that its sender gave it.
    pub name: Option<Set<Expression>>,
    /// Over what more is known of it, a line `name: value` for each fact.
    pub fact: Option<Set<Expression>>,
    /// What scanners found in the content.
    pub verdict: Option<Set<VerdictPattern>>,
    /// Of the content, or of the bytes as sent.
    pub md5: Option<Set<[u8; 16]>>,
    /// Likewise.
    pub sha1: Option<Set<[u8; 20]>>,
    /// Likewise.
    pub sha256: Option<Set<[u8; 32]>>,
    /// Bytes of the content.
    pub size: Option<RangeInclusive<u64>>,
    /// Only those whose declared type contradicts what they are, or only others.
    pub mismatch: Option<bool>,
    /// Only those that are not complete, or only those that are.
    pub incomplete: Option<bool>,
    /// Over head and content.
    pub pcre: Option<BytesExpression>,
}

impl ObjectFilter {
    /// Whether it says anything, so that a stream without a wanted object is not wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it names objects so closely that no address is needed beside it.
    pub fn is_selective(&self) -> bool {
        let named = |set: &Option<Set<Expression>>| set.as_ref().is_some_and(|set| !set.negated);
        let hashed = |negated: Option<bool>| negated == Some(false);
        named(&self.host)
            || named(&self.uri)
            || named(&self.name)
            || named(&self.fact)
            || self.verdict.as_ref().is_some_and(|set| !set.negated)
            || hashed(self.md5.as_ref().map(|set| set.negated))
            || hashed(self.sha1.as_ref().map(|set| set.negated))
            || hashed(self.sha256.as_ref().map(|set| set.negated))
    }

    /// Whether it has terms about what objects have in common with many others.
    pub(crate) const fn is_of_class(&self) -> bool {
        self.kind.is_some()
            || self.status.is_some()
            || self.mime.is_some()
            || self.filetype.is_some()
            || self.incomplete.is_some()
            || self.mismatch.is_some()
    }

    /// Whether an object is wanted by its row. [`pcre`](Self::pcre), which needs the content, is not looked at, nor is
    /// [`verdict`](Self::verdict), which no row has.
    pub fn matches(&self, row: &ObjectRow) -> bool {
        let digests = || row.digests.iter().chain(&row.digests_encoded);
        let text = |set: &Option<Set<Expression>>, value: Option<&str>| {
            set.as_ref().is_none_or(|set| set.wants(|name| value.is_some_and(|value| name.is_in(value))))
        };
        self.kind.as_ref().is_none_or(|set| set.wants(|kind| *kind == row.kind))
            && self.method.as_ref().is_none_or(|set| set.wants(|method| Some(method) == row.method.as_ref()))
            && self
                .host
                .as_ref()
                .is_none_or(|set| set.wants(|name| row.host.as_ref().is_some_and(|host| is_host(name, host))))
            && text(&self.uri, row.uri.as_deref())
            && self.status.as_ref().is_none_or(|set| set.wants(|status| Some(*status) == row.status))
            && text(&self.mime, Some(&row.mime))
            && text(&self.name, row.filename.as_deref())
            && text(&self.fact, Some(row.facts.as_str()).filter(|facts| !facts.is_empty()))
            && self.md5.as_ref().is_none_or(|set| set.wants(|md5| digests().any(|d| d.md5 == *md5)))
            && self.sha1.as_ref().is_none_or(|set| set.wants(|sha1| digests().any(|d| d.sha1 == *sha1)))
            && self.sha256.as_ref().is_none_or(|set| set.wants(|sha256| digests().any(|d| d.sha256 == *sha256)))
            && self.size.as_ref().is_none_or(|size| size.contains(&row.size))
            && self.incomplete.is_none_or(|incomplete| incomplete != row.complete)
            && self.mismatch.is_none_or(|wanted| wanted == mismatch::of(row.declared_type.as_deref(), &row.mime))
            && self.filetype.as_ref().is_none_or(|set| {
                let (legacy, current) = (meta(row, Wording::Legacy), meta(row, Wording::Current));
                set.wants(|expression| expression.is_in(&legacy) || expression.is_in(&current))
            })
    }
}

/// Whether a host, with or without the port after it, is what is looked for.
pub(crate) fn is_host(name: &Expression, host: &str) -> bool {
    name.is_in(host) || name.is_in(without_port(host))
}

/// A host without the port after it; an IPv6 address in brackets keeps them.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// Behind the line of an object of which not all is there.
pub(crate) const INCOMPLETE: &str = " (INCOMPLETE)";
/// Behind the line of an object of whose place other bytes were captured too.
pub(crate) const CONFLICT: &str = " (CONFLICT)";

/// Which sentence says what an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// That of the StreamDB of 2012.
    Legacy,
    /// Today's.
    Current,
}

/// The line over an object: `GET <host><uri>` for a request, `<status> <sentence>` for a response, the sentence for
/// anything else; ` (INCOMPLETE)` after it where that is so, and ` (CONFLICT)` where other bytes were captured too for some
/// place of its stream. It may hold what was captured.
pub fn meta(row: &ObjectRow, wording: Wording) -> String {
    let sentence = match wording {
        Wording::Legacy => &row.legacy,
        Wording::Current => &row.description,
    };
    let request;
    let sentence = match row.kind {
        ObjectKind::Request => {
            let uri = row.uri.as_deref().unwrap_or_default();
            // A target that names its host itself is shown as it is.
            let host = row.host.as_deref().filter(|_| uri.starts_with('/')).unwrap_or_default();
            request = format!("{} {host}{uri}", row.method.as_deref().unwrap_or_default());
            &request
        }
        _ => sentence,
    };
    line(row.kind, row.status, sentence, row.complete, row.conflict)
}

/// The same line over objects of a class, but for requests, whose line has what their class has not.
pub(crate) fn meta_of(class: &Class, wording: Wording) -> String {
    let sentence = match wording {
        Wording::Legacy => &class.legacy,
        Wording::Current => &class.description,
    };
    line(class.kind, class.status, sentence, class.complete, class.conflict)
}

fn line(kind: ObjectKind, status: Option<u16>, sentence: &str, complete: bool, conflict: bool) -> String {
    let status = status.filter(|_| kind == ObjectKind::Response).map(|status| format!("{status} "));
    let incomplete = if complete { "" } else { INCOMPLETE };
    let conflict = if conflict { CONFLICT } else { "" };
    format!("{}{sentence}{incomplete}{conflict}", status.unwrap_or_default())
}
