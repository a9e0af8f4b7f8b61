//! What a head says about its message: the fields that framing, decoding and pairing depend on, in one pass.

use std::sync::Arc;

use super::head::Parsed;
use super::line::{Line, is_token};
use crate::fields::{Fields, is_folded, unfold};
use crate::message::Kind;
use crate::notes::Notes;

/// Most codings of either kind that are remembered; decoding refuses far fewer.
const CODINGS: usize = 16;
/// Longest name of a coding that is remembered.
const CODING_BYTES: usize = 64;

/// What a head says, in memory of its own.
pub(super) struct Facts {
    pub kind: Kind,
    pub fields: Fields,
    pub host: Option<Arc<[u8]>>,
    pub content_codings: Vec<String>,
    pub transfer_codings: Vec<String>,
    /// Whether `chunked` is the last transfer coding.
    pub chunked: bool,
    /// Whether `chunked` is spoken of in another way: not last, misspelt, with something beside it. The bytes decide.
    pub perhaps_chunked: bool,
    /// The Content-Length that counts.
    pub length: Option<u64>,
    /// Whether the sender waits for 100 Continue before the body (RFC 9110 §10.1.1).
    pub expects: bool,
    pub notes: Notes,
    /// Bytes of memory that names and values take.
    pub kept: usize,
}

impl Facts {
    /// Reads a parsed head.
    pub(super) fn new(parsed: &Parsed<'_>) -> Self {
        let kind = match parsed.line {
            Line::Request { method, target, version } => {
                Kind::Request { method: method.into(), target: target.into(), version }
            }
            Line::Response { status, version } => Kind::Response { status, version },
        };
        let mut facts = Self {
            kind,
            fields: Fields::default(),
            host: None,
            content_codings: Vec::new(),
            transfer_codings: Vec::new(),
            chunked: false,
            perhaps_chunked: false,
            length: None,
            expects: false,
            notes: parsed.notes,
            kept: 0,
        };
        facts.host_of_target(parsed.line);
        for (name, value) in &parsed.fields {
            facts.field(name, value);
        }
        if facts.chunked && facts.length.is_some() {
            facts.notes.insert(Notes::LENGTH_AND_CHUNKED);
        }
        facts
    }

    /// The authority of an absolute or authority-form target comes before the Host field (RFC 9112 §3.2.2, §3.2.3).
    fn host_of_target(&mut self, line: Line<'_>) {
        let Line::Request { method, target, .. } = line else { return };
        self.kept += method.len() + target.len();
        let authority = if method == b"CONNECT" {
            target
        } else {
            let Some(at) = target.windows(3).take(16).position(|w| w == b"://") else { return };
            let rest = target.get(at + 3..).unwrap_or_default();
            rest.split(|b| matches!(b, b'/' | b'?' | b'#')).next().unwrap_or_default()
        };
        // User and password before an @ are not whom the request is for.
        let host = authority.rsplit(|b| *b == b'@').next().unwrap_or_default();
        self.host = (!host.is_empty()).then(|| host.into());
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        if is_folded(value) {
            self.notes.insert(Notes::OBS_FOLD);
        }
        self.kept += self.fields.keep(name, value);
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("host") {
            if self.host.is_none() && !value.is_empty() {
                self.host = Some(unfold(value).as_ref().into());
            }
        } else if is("content-length") {
            self.content_length(value);
        } else if is("transfer-encoding") {
            for coding in codings(value) {
                self.chunked = coding == "chunked";
                if coding.contains("chunked") {
                    self.perhaps_chunked = true;
                } else if self.transfer_codings.len() < CODINGS {
                    self.transfer_codings.push(coding);
                }
            }
        } else if is("content-encoding") {
            for coding in codings(value) {
                if self.content_codings.len() < CODINGS {
                    self.content_codings.push(coding);
                }
            }
        } else if is("expect") {
            self.expects |= value.eq_ignore_ascii_case(b"100-continue");
        }
    }

    /// A value, or the same one many times, as proxies make of repeated fields (RFC 9112 §6.3).
    fn content_length(&mut self, value: &[u8]) {
        for part in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let digits = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
            if !digits {
                self.notes.insert(Notes::BAD_LENGTH);
                continue;
            }
            let number =
                part.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
            if self.length.is_some_and(|before| before != number) {
                self.notes.insert(Notes::CONFLICTING_LENGTHS);
            }
            self.length.get_or_insert(number);
        }
    }
}

/// The codings of a list, in lower case, `identity` left out, `x-gzip` and `x-compress` by their proper names
/// (RFC 9110 §8.4.1). Bytes around a name that are in none do not hide it.
pub(crate) fn codings(value: &[u8]) -> Vec<String> {
    let names = value.split(|b| *b == b',').filter_map(|part| {
        let name = part.split(|b| *b == b';').next().unwrap_or_default();
        let start = name.iter().position(|b| is_token(*b))?;
        let end = name.iter().rposition(|b| is_token(*b))?;
        let name = name.get(start..=end)?;
        let name = unfold(name.get(..CODING_BYTES).unwrap_or(name));
        let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
        match name.as_str() {
            "identity" => None,
            "x-gzip" => Some("gzip".into()),
            "x-compress" => Some("compress".into()),
            _ => Some(name),
        }
    });
    names.take(CODINGS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_named_properly() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"gzip", &["gzip"]),
            (b"deflate, X-GZip ;q=1,,identity", &["deflate", "gzip"]),
            (b"\x0bchunked\0", &["chunked"]),
            (b"x \r\n chunked", &["x chunked"]),
            (b"", &[]),
            (b" , \0", &[]),
        ];
        for (value, names) in cases {
            assert_eq!(codings(value), *names, "{}", value.escape_ascii());
        }
    }
}
