//! What the queue remembers: one event a line, in the order in which they happened, never changed. Of each target the latest 100,000
//! that are over (sent, or given up without their copy) are remembered, and as many that were not taken in; lines of others go.
//!
//! `<crc32, 8 hex digits> <time, RFC 3339 in UTC> <event> <key>=<value>...` and a line feed, as in the ledger. The checksum is
//! that of the bytes between the blank after it and the line feed. In values every byte but the printable ASCII ones, and
//! `%` and `=`, is written as `%` and two hex digits. Each line has `target` (a name) and `sha256`; beside them:
//!
//! | event | keys | meaning |
//! |---|---|---|
//! | `queued` | `oid`, `size`, `complete`, `extension`, `joined` (optional, `true`), `rule` (optional) | it was taken in, and its copy is durable; whether it is joined of several objects, of which `oid` is the first; by which rule, if not by a person |
//! | `trying` | | a try begins; without a line about its end after it, that end is not known |
//! | `tried` | `due`, `why`, `doubt` (optional, `true`) | the try came to nothing, the next is not before `due`; whether the target may have it all the same |
//! | `sent` | `said`, `link`, `task` (both optional) | the target has it; where the result is, what the target calls it |
//! | `failed` | `why`, `kept` (optional, `false`) | it was given up; whether its copy is kept, as it would be tried again by hand |
//! | `full` | those of `queued` | a rule chose it, and there was no room: nothing was taken in |
//! | `dropped` | | it was given up, and is to be forgotten |
//!
//! Records from before there were `trying`, `joined`, `rule`, `doubt`, `kept`, `link` and `task` are read as they are: there the targets are
//! `sandbox` and `folder`. Keys that are not known are passed over.

use std::fmt::Write;

use streamdb_types::{Oid, Timestamp};

use crate::hash::ContentHash;
use crate::settings::TargetName;

/// Longer lines are neither written nor read.
pub(crate) const MAX_LINE: usize = 8 << 10;
/// Most bytes of what a target said, and of why it failed.
pub(crate) const MAX_SAID: usize = 300;
/// Most bytes of the address of a result.
const MAX_LINK: usize = 1000;
/// Most bytes of what a target calls a task.
const MAX_TASK: usize = 100;

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) hash: ContentHash,
    pub(crate) target: TargetName,
    pub(crate) event: Event,
}

/// Something that happened to a content on its way to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It was taken in.
    Queued(Taken),
    /// A try begins.
    Trying,
    /// It was tried, and will be again.
    Tried { due: Timestamp, why: String, doubt: bool },
    /// The target took it.
    Sent { said: String, link: String, task: String },
    /// It was given up.
    Failed { why: String, kept: bool },
    /// There was no room for it.
    Full(Taken),
    /// It was given up, and is to be forgotten.
    Dropped,
}

/// What was, or was to be, taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) oid: Oid,
    /// Whether the content is joined of this object and others.
    pub(crate) joined: bool,
    pub(crate) size: u64,
    pub(crate) complete: bool,
    pub(crate) extension: String,
    pub(crate) rule: String,
}

impl Entry {
    /// The line, line feed included.
    pub(crate) fn encode(&self) -> String {
        let (name, fields) = match &self.event {
            Event::Queued(taken) => ("queued", taken.fields()),
            Event::Full(taken) => ("full", taken.fields()),
            Event::Trying => ("trying", Vec::new()),
            Event::Tried { due, why, doubt } => {
                let doubt = if *doubt { "true" } else { "" };
                ("tried", vec![("due", due.to_string()), ("why", why.clone()), ("doubt", doubt.to_owned())])
            }
            Event::Sent { said, link, task } => {
                ("sent", vec![("said", said.clone()), ("link", link.clone()), ("task", task.clone())])
            }
            Event::Failed { why, kept } => {
                let kept = if *kept { "" } else { "false" };
                ("failed", vec![("why", why.clone()), ("kept", kept.to_owned())])
            }
            Event::Dropped => ("dropped", Vec::new()),
        };
        let mut text = format!("{} {name} target={} sha256={}", self.time, self.target, self.hash);
        let optional = |key: &str| ["joined", "rule", "doubt", "kept", "link", "task"].contains(&key);
        for (key, value) in fields.into_iter().filter(|(key, value)| !optional(key) || !value.is_empty()) {
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
        let or_empty = |key: &str| field(key).unwrap_or_default();
        let event = match name {
            "queued" | "full" => {
                let oid = field("oid")?.parse().ok()?;
                let size = field("size")?.parse().ok()?;
                let complete = field("complete")?.parse().ok()?;
                let extension = field("extension").filter(|extension| is_extension(extension))?;
                let (joined, rule) = (or_empty("joined") == "true", or_empty("rule"));
                let taken = Taken { oid, joined, size, complete, extension, rule };
                if name == "full" { Event::Full(taken) } else { Event::Queued(taken) }
            }
            "trying" => Event::Trying,
            "tried" => Event::Tried {
                due: field("due")?.parse().ok()?,
                why: field("why")?,
                doubt: or_empty("doubt") == "true",
            },
            // What is not the address of a page is none, whoever wrote it there.
            "sent" => Event::Sent { said: field("said")?, link: link(&or_empty("link")), task: or_empty("task") },
            "failed" => Event::Failed { why: field("why")?, kept: or_empty("kept") != "false" },
            "dropped" => Event::Dropped,
            _ => return None,
        };
        let target = TargetName::parse(&field("target")?)?;
        Some(Self { time, hash: ContentHash::parse(&field("sha256")?)?, target, event })
    }
}

impl Taken {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { oid, joined, size, complete, extension, rule } = self;
        vec![
            ("oid", oid.to_string()),
            ("size", size.to_string()),
            ("complete", complete.to_string()),
            ("extension", extension.clone()),
            ("joined", if *joined { "true".to_owned() } else { String::new() }),
            ("rule", rule.clone()),
        ]
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

/// The address of a page, if that is what it is, and empty otherwise: it begins with `http://` or `https://`, and has only
/// characters that an address may have (RFC 3986 §2).
pub(crate) fn link(text: &str) -> String {
    let text = text.trim();
    let web = ["http://", "https://"].iter().find(|scheme| {
        let begin = text.as_bytes().get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    let host = web.is_some_and(|scheme| text.as_bytes().get(scheme.len()).is_some_and(|b| !b"/?#:@".contains(b)));
    let plain = text.len() <= MAX_LINK && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    if host && plain { text.to_owned() } else { String::new() }
}

/// What a target calls its tasks: letters, digits and `. _ -`, with commas between several; those that there is room for.
pub(crate) fn tasks<'i>(ids: impl IntoIterator<Item = &'i str>) -> String {
    let mut tasks = String::new();
    for id in ids {
        let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !plain || tasks.len() + id.len() >= MAX_TASK {
            continue;
        }
        if !tasks.is_empty() {
            tasks.push(',');
        }
        tasks.push_str(id);
    }
    tasks
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
                Event::Tried { due: time, why: (*text).to_owned(), doubt: text.is_empty() },
                Event::Sent { said: (*text).to_owned(), link: String::new(), task: String::new() },
                Event::Failed { why: (*text).to_owned(), kept: text.is_empty() },
            ]
        });
        let queued = Event::Queued(Taken {
            oid: "1-2-3-4".parse().unwrap(),
            joined: true,
            size: u64::MAX,
            complete: false,
            extension: "exe".to_owned(),
            rule: "all = 100 % of it".to_owned(),
        });
        let full = Event::Full(Taken {
            oid: "1-2-3-4".parse().unwrap(),
            joined: false,
            size: 1,
            complete: true,
            extension: String::new(),
            rule: "all".to_owned(),
        });
        // As long as they can be.
        let longest = Event::Sent {
            said: "=".repeat(MAX_SAID),
            link: format!("https://{}", "=".repeat(MAX_LINK - 8)),
            task: tasks(["9"; 200]),
        };
        let targets = ["sandbox", &"x".repeat(64)].map(|name| TargetName::parse(name).unwrap());
        let all = events.chain([queued, full, Event::Trying, longest, Event::Dropped]).zip(targets.into_iter().cycle());
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

    /// As they were written before targets had names.
    #[test]
    fn lines_of_the_first_form_are_read() {
        let hash = "a5".repeat(32);
        let about = format!("target=sandbox sha256={hash}");
        for (line, event) in [
            (
                format!("queued {about} oid=1-2-3-4 size=9 complete=true extension=exe"),
                Event::Queued(Taken {
                    oid: "1-2-3-4".parse().unwrap(),
                    joined: false,
                    size: 9,
                    complete: true,
                    extension: "exe".to_owned(),
                    rule: String::new(),
                }),
            ),
            (
                format!("tried {about} due=2012-03-02T07:51:51Z why=500"),
                Event::Tried { due: "2012-03-02T07:51:51Z".parse().unwrap(), why: "500".to_owned(), doubt: false },
            ),
            (
                format!("sent {about} said=200%20OK"),
                Event::Sent { said: "200 OK".to_owned(), link: String::new(), task: String::new() },
            ),
            (format!("failed {about} why=422"), Event::Failed { why: "422".to_owned(), kept: true }),
            (format!("dropped {about}"), Event::Dropped),
        ] {
            let text = format!("2012-03-02T07:51:51Z {line}");
            let entry = Entry::decode(format!("{:08x} {text}", crc32fast::hash(text.as_bytes())).as_bytes()).unwrap();
            assert_eq!((entry.target, entry.hash), (TargetName::sandbox(), ContentHash([0xa5; 32])));
            assert_eq!(entry.event, event);
        }
    }

    #[test]
    fn only_pages_are_links() {
        for good in ["http://cape.example/analysis/7/", "HTTPS://[fd00::9]:8000/x?y='%20"] {
            assert_eq!(link(&format!(" {good}\n")), good);
        }
        let long = format!("http://{}", "x".repeat(MAX_LINK));
        for bad in [
            "",
            "7",
            "javascript:alert(1)",
            "http://",
            "http:///x",
            "https://:80",
            "http://a b",
            "ftp://a",
            "http://a/\"><script>",
            &long,
        ] {
            assert_eq!(link(bad), "", "{bad}");
        }
        assert_eq!(tasks(["7", "", "a b", "8_x"]), "7,8_x");
    }

    #[test]
    fn what_is_said_is_cut_and_cleaned() {
        assert_eq!(said(" {\"task\": 5}\r\n\x1b[2J "), "{\"task\": 5}   [2J");
        let long = said(&"ö".repeat(MAX_SAID));
        assert_eq!(long.len(), MAX_SAID);
    }
}
