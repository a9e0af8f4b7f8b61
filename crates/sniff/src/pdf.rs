//! PDF: its version, and what of its contents stands in plain sight (ISO 32000).

use std::fmt::Write;

use crate::bytes::{decimal, find, first, from};
use crate::kind::{Content, Kind};

/// How far around a page tree's type its other entries are looked for.
const NEAR: usize = 512;

/// What the names in the objects show.
#[derive(Default)]
struct Seen {
    pages: Option<u32>,
    script: bool,
    launch: bool,
    files: bool,
}

/// The sentence for a document that begins with the head.
pub(crate) fn describe(content: &Content<'_>) -> Option<Kind> {
    let head = content.head();
    let header = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let [b'%', b'P', b'D', b'F', b'-', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9', ..] = header else {
        return None;
    };
    let (major, minor) = (char::from(*major), char::from(*minor));
    let mut sentence = format!("PDF document, version {major}.{minor}");
    let older = sentence.clone();
    let seen = look(head, content.is_whole());
    if let Some(pages) = seen.pages {
        // Writing to a string cannot fail. The plural is file(1)'s.
        _ = write!(sentence, ", {pages} pages");
    }
    if seen.script {
        sentence.push_str(", with JavaScript");
    }
    if seen.launch {
        sentence.push_str(", with launch action");
    }
    if seen.files {
        sentence.push_str(", with embedded files");
    }
    Some(Kind::made("application/pdf", sentence, "pdf").formerly(older))
}

fn look(head: &[u8], whole: bool) -> Seen {
    let mut seen = Seen::default();
    let mut linear = None;
    let mut tree = None;
    for at in memchr::memchr_iter(b'/', head) {
        let word = from(head, at + 1);
        match word {
            [b'J', b'a', b'v', b'a', b'S', ..] => seen.script |= is(word, b"JavaScript"),
            [b'J', b'S', ..] => seen.script |= is(word, b"JS"),
            [b'L', b'a', ..] => seen.launch |= is(word, b"Launch"),
            [b'E', b'm', ..] => seen.files |= is(word, b"EmbeddedFile") || is(word, b"EmbeddedFiles"),
            // A linearized file says in its first object how many pages it has (Annex F).
            [b'L', b'i', ..] if at < 1024 && is(word, b"Linearized") => {
                let object = first(word, NEAR);
                let object = first(object, find(object, b">>").unwrap_or(object.len()));
                linear = after(object, b"/N");
            }
            [b'P', b'a', ..] if whole && is(word, b"Pages") => tree = tree.max(count(head, at)),
            _ => {}
        }
    }
    // The root of the page tree counts all of them; which one it is shows only when all are known.
    seen.pages = linear.or(tree);
    seen
}

/// The count of the page tree node whose type stands at `at`.
fn count(head: &[u8], at: usize) -> Option<u32> {
    let before = head.get(at.saturating_sub(NEAR)..at)?;
    if !before.trim_ascii_end().ends_with(b"/Type") {
        return None;
    }
    let begins = memchr::memmem::rfind(before, b"obj").unwrap_or(0);
    let behind = first(from(head, at), NEAR);
    let behind = first(behind, find(behind, b"endobj").unwrap_or(behind.len()));
    after(behind, b"/Count").or_else(|| after(from(before, begins), b"/Count"))
}

/// The number behind a name.
fn after(object: &[u8], name: &[u8]) -> Option<u32> {
    let mut rest = object;
    for _ in 0..8 {
        rest = rest.get(find(rest, name)?..)?.get(name.len()..)?;
        if let Some(number) = decimal(first(rest, 64).trim_ascii_start()) {
            return Some(number);
        }
    }
    None
}

/// Whether a name is this one, and not the beginning of a longer one.
fn is(word: &[u8], name: &[u8]) -> bool {
    word.strip_prefix(name).is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric))
}
