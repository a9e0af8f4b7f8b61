//! What is told beside a content: as JSON, in a file next to it, or to the program that takes it.

use serde::Serialize;
use streamdb_query::{JoinLine, hex};
use streamdb_types::{Digests, Direction, ObjectRow, Oid, Timestamp, Tuple, Verdict};

use crate::job::Job;

/// Most bytes of a text in it.
const LONGEST: usize = 4 << 10;
/// Most verdicts in it.
const VERDICTS: usize = 100;

/// What is known of a content when it is submitted. Texts that come from the wire are as captured, as in [`ObjectRow`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    oid: String,
    sha256: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sha1: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    md5: String,
    /// Bytes, holes included.
    size: u64,
    complete: bool,
    /// Bytes as sent that are known to be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_bytes: Option<u64>,
    /// Why it is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// As its sender called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    declared_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// `to_server` or `to_client`.
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    /// When its stream began.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    /// When its stream had its last frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    /// Whether it was never seen before; only where a rule asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verdicts: Vec<Said>,
    /// Of a content that is joined: its parts, and how they belong together. What is said above of one connection is of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<JoinLine>,
    /// The target.
    target: String,
    /// The rule that chose it; absent where a person did.
    #[serde(skip_serializing_if = "String::is_empty")]
    rule: String,
    /// When it was taken into the queue.
    queued: String,
}

/// A verdict.
#[derive(Clone, Debug, Serialize)]
struct Said {
    scanner: &'static str,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    details: String,
}

impl About {
    /// Of an object as a row; whether it was never seen before, if that was asked.
    pub fn row(row: &ObjectRow, first_seen: Option<bool>, verdicts: &[Verdict]) -> Self {
        let said = |verdict: &Verdict| Said {
            scanner: verdict.scanner.word(),
            name: cut(&verdict.name),
            details: cut(&verdict.details),
        };
        let text = |text: &Option<String>| text.as_deref().map(cut);
        Self {
            missing_bytes: Some(row.missing_bytes),
            reason: text(&row.reason),
            name: text(&row.filename),
            mime: Some(cut(&row.mime)),
            description: Some(cut(&row.description)),
            declared_type: text(&row.declared_type),
            kind: Some(row.kind.word()),
            protocol: Some(cut(&row.protocol)).filter(|protocol| !protocol.is_empty()),
            method: text(&row.method),
            host: text(&row.host),
            uri: text(&row.uri),
            status: row.status,
            first_seen,
            verdicts: verdicts.iter().take(VERDICTS).map(said).collect(),
            ..Self::default()
        }
        .seen(&row.tuple, row.direction, row.start, None)
    }

    /// Of what its bytes are.
    pub(crate) fn bytes(mime: &str, description: &str, missing: u64, reason: Option<String>) -> Self {
        let (mime, description) = (Some(cut(mime)), Some(cut(description)));
        Self { mime, description, missing_bytes: Some(missing), reason, ..Self::default() }
    }

    /// Of which parts it is joined.
    #[must_use]
    pub(crate) fn joined(self, joined: JoinLine) -> Self {
        Self { joined: Some(joined), ..self }
    }

    /// Whether it is joined of several objects.
    pub(crate) const fn is_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// Where and when it was seen.
    #[must_use]
    pub(crate) fn seen(self, tuple: &Tuple, direction: Direction, start: Timestamp, end: Option<Timestamp>) -> Self {
        let direction = match direction {
            Direction::ToServer => "to_server",
            Direction::ToClient => "to_client",
        };
        Self {
            client: Some(tuple.client.to_string()),
            server: Some(tuple.server.to_string()),
            direction: Some(direction),
            start: Some(start.to_string()),
            end: end.map(|end| end.to_string()),
            ..self
        }
    }

    /// The JSON for one target, of a copy that was made.
    pub(crate) fn json(&self, oid: Oid, digests: &Digests, size: u64, complete: bool, entry: &Submitted<'_>) -> String {
        let Submitted { target, rule, queued } = *entry;
        let about = Self {
            oid: oid.to_string(),
            sha256: hex(&digests.sha256),
            sha1: hex(&digests.sha1),
            md5: hex(&digests.md5),
            size,
            complete,
            target: target.to_owned(),
            rule: rule.to_owned(),
            queued: queued.to_string(),
            ..self.clone()
        };
        text(&about)
    }

    /// What the record alone tells, for a job whose file of JSON is not there.
    pub(crate) fn of(job: &Job) -> String {
        text(&Self {
            oid: job.oid.to_string(),
            sha256: job.hash.to_string(),
            size: job.size,
            complete: job.complete,
            target: job.target.to_string(),
            rule: job.rule.clone(),
            queued: job.queued.to_string(),
            ..Self::default()
        })
    }
}

/// Where it goes, why and since when.
#[derive(Clone, Copy)]
pub(crate) struct Submitted<'s> {
    pub(crate) target: &'s str,
    pub(crate) rule: &'s str,
    pub(crate) queued: Timestamp,
}

fn text(about: &About) -> String {
    // Of texts and numbers JSON can always be made.
    serde_json::to_string(about).unwrap_or_default() + "\n"
}

/// A text of a bounded length.
fn cut(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded() {
        assert_eq!(cut("abc"), "abc");
        assert_eq!(cut(&"ö".repeat(LONGEST)).len(), LONGEST);
        assert_eq!(cut(&format!("x{}", "ö".repeat(LONGEST))).len(), LONGEST - 1);
    }
}
