//! What the queue remembers: one event a line, in the order in which they happened, never changed.
//!
//! `<crc32, 8 hex digits> <time, RFC 3339 in UTC> <event> <key>=<value>...` and a line feed, as in the ledger. The checksum is
//! that of the bytes between the blank after it and the line feed. In values every byte but the printable ASCII ones, and
//! `%` and `=`, is written as `%` and two hex digits.

use std::fmt::Write;

use streamdb_types::{Oid, Timestamp};

use crate::hash::ContentHash;
use crate::job::Target;

/// Longer lines are neither written nor read.
pub(crate) const MAX_LINE: usize = 8 << 10;
/// Most bytes of what a target said, and of why it failed.
pub(crate) const MAX_SAID: usize = 300;

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) hash: ContentHash,
    pub(crate) target: Target,
    pub(crate) event: Event,
}

/// Something that happened to a content on its way to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It was taken in.
    Queued { oid: Oid, size: u64, complete: bool, extension: String },
    /// It was tried, and will be again.
    Tried { due: Timestamp, why: String },
    /// The target took it.
    Sent { said: String },
    /// It was given up.
    Failed { why: String },
    /// It was given up, and is to be forgotten.
    Dropped,
}

impl Entry {
    /// The line, line feed included.
    pub(crate) fn encode(&self) -> String {
        let (name, fields) = match &self.event {
            Event::Queued { oid, size, complete, extension } => (
                "queued",
                vec![
                    ("oid", oid.to_string()),
                    ("size", size.to_string()),
                    ("complete", complete.to_string()),
                    ("extension", extension.clone()),
                ],
            ),
            Event::Tried { due, why } => ("tried", vec![("due", due.to_string()), ("why", why.clone())]),
            Event::Sent { said } => ("sent", vec![("said", said.clone())]),
            Event::Failed { why } => ("failed", vec![("why", why.clone())]),
            Event::Dropped => ("dropped", Vec::new()),
        };
        let mut text = format!("{} {name} target={} sha256={}", self.time, self.target, self.hash);
        for (key, value) in fields {
            text.push(' ');
            text.push_str(key);
            text.push('=');
            escape(&value, &mut text);
        }
        format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
    }

    /// The entry of a line without its line feed; `None` when it is damaged.
    pub(crate) fn decode(line: &[u8]) -> Option<Self> {
        let (crc, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        if crc.len() != 8 || u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(text.as_bytes())) {
            return None;
        }
        let mut words = text.split(' ');
        let time = words.next()?.parse().ok()?;
        let name = words.next()?;
        let fields: Vec<(&str, String)> = words
            .map(|word| word.split_once('=').and_then(|(key, value)| Some((key, unescape(value)?))))
            .collect::<Option<_>>()?;
        let field = |key: &str| fields.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
        let event = match name {
            "queued" => Event::Queued {
                oid: field("oid")?.parse().ok()?,
                size: field("size")?.parse().ok()?,
                complete: field("complete")?.parse().ok()?,
                extension: field("extension").filter(|extension| is_extension(extension))?,
            },
            "tried" => Event::Tried { due: field("due")?.parse().ok()?, why: field("why")? },
            "sent" => Event::Sent { said: field("said")? },
            "failed" => Event::Failed { why: field("why")? },
            "dropped" => Event::Dropped,
            _ => return None,
        };
        let target = Target::from_word(&field("target")?)?;
        Some(Self { time, hash: ContentHash::parse(&field("sha256")?)?, target, event })
    }
}

/// Whether a file's name may end in this: it becomes part of one.
fn is_extension(text: &str) -> bool {
    text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What somebody else said, fit for a line: cut short, its control characters blanks.
pub(crate) fn said(text: &str) -> String {
    let mut said = String::new();
    for c in text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if said.len() + c.len_utf8() > MAX_SAID {
            break;
        }
        said.push(c);
    }
    said
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b'=' {
            out.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let time: Timestamp = "2012-03-02T07:51:51.000000001Z".parse().unwrap();
        let texts = ["", "500 Internal Server Error: 100 % = größe\n", &"x".repeat(MAX_SAID)];
        let events = texts.iter().flat_map(|text| {
            [
                Event::Tried { due: time, why: (*text).to_owned() },
                Event::Sent { said: (*text).to_owned() },
                Event::Failed { why: (*text).to_owned() },
            ]
        });
        let queued = Event::Queued {
            oid: "1-2-3-4".parse().unwrap(),
            size: u64::MAX,
            complete: false,
            extension: "exe".to_owned(),
        };
        let targets = [Target::Sandbox, Target::Folder];
        let all = events.chain([queued, Event::Dropped]).zip(targets.into_iter().cycle());
        all.map(|(event, target)| Entry { time, hash: ContentHash([0xa5; 32]), target, event }).collect()
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        for entry in entries() {
            let line = entry.encode();
            assert!(line.len() < MAX_LINE && line.ends_with('\n') && line.matches('\n').count() == 1);
            assert_eq!(Entry::decode(line.trim_end().as_bytes()), Some(entry), "{line}");
        }
    }

    #[test]
    fn a_changed_byte_is_seen() {
        for entry in entries() {
            let line = entry.encode();
            let line = line.trim_end().as_bytes();
            for at in 0..line.len() {
                let mut damaged = line.to_vec();
                damaged[at] ^= 1;
                assert_eq!(Entry::decode(&damaged), None, "{}", String::from_utf8_lossy(&damaged));
                assert_eq!(Entry::decode(&line[..at]), None);
            }
        }
    }

    #[test]
    fn what_is_said_is_cut_and_cleaned() {
        assert_eq!(said(" {\"task\": 5}\r\n\x1b[2J "), "{\"task\": 5}   [2J");
        let long = said(&"ö".repeat(MAX_SAID));
        assert_eq!(long.len(), MAX_SAID);
    }
}
