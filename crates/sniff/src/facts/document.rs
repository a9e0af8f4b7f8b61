//! Facts of RTF and PDF documents: what they bring with them, and what they do when they are opened.

use super::Facts;
use crate::bytes::{first, from, le32, place, to_nul};

/// The most values that are told of one name.
const VALUES: usize = 32;

/// Rich Text Format: embedded objects with their classes, and templates from elsewhere.
pub(super) fn rtf(content: &[u8], facts: &mut Facts) {
    let (mut objects, mut classes, mut templates) = (0_usize, 0, 0);
    let mut updates = false;
    for at in memchr::memchr_iter(b'\\', content) {
        let word = from(content, at + 1);
        if let Some(data) = word.strip_prefix(b"objdata") {
            objects += 1;
            if objects <= VALUES
                && let Some(class) = class_of(data)
            {
                facts.quote("object", &class);
            }
        } else if let Some(class) = word.strip_prefix(b"objclass ") {
            classes += 1;
            if classes <= VALUES {
                facts.quote("object class", argument(class));
            }
        } else if let Some(target) = word.strip_prefix(b"template ") {
            templates += 1;
            if templates <= VALUES {
                facts.quote("template", argument(target));
            }
        } else if word.starts_with(b"objupdate") {
            updates = true;
        }
    }
    if objects > 0 {
        facts.say("objects", objects);
    }
    if updates {
        facts.say("updates objects", "yes");
    }
}

/// The words up to the end of a group.
fn argument(text: &[u8]) -> &[u8] {
    let text = first(text, 1024);
    first(text, text.iter().position(|byte| matches!(byte, b'}' | b'{')).unwrap_or(text.len())).trim_ascii()
}

/// The class of an embedded object: version, format, and a text with its length before it ([MS-OLEDS] §2.2.4).
fn class_of(data: &[u8]) -> Option<Vec<u8>> {
    let digits = first(data, 512).iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<u32> = digits.map_while(|byte| char::from(*byte).to_digit(16)).collect();
    let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().filter_map(|[a, b]| u8::try_from(a * 16 + b).ok()).collect();
    let length = place(le32(&bytes, 8)?.into());
    let class = to_nul(bytes.get(12..)?.get(..length)?);
    class.iter().all(u8::is_ascii_graphic).then(|| class.to_vec())
}

/// PDF (ISO 32000): names in plain sight, also with letters written as numbers (§7.3.5).
pub(super) fn pdf(content: &[u8], facts: &mut Facts) {
    const NAMES: [(&[u8], &str); 9] = [
        (b"JavaScript", "javascript"),
        (b"JS", "javascript"),
        (b"Launch", "launch"),
        (b"EmbeddedFile", "embedded files"),
        (b"OpenAction", "open action"),
        (b"AA", "additional actions"),
        (b"ObjStm", "object streams"),
        (b"Encrypt", "encrypted"),
        (b"SubmitForm", "submit form"),
    ];
    let mut counts = [0_usize; NAMES.len()];
    let mut hidden = false;
    let mut links = 0;
    for at in memchr::memchr_iter(b'/', content) {
        let (name, escaped, behind) = name_at(from(content, at + 1));
        if let Some(count) = NAMES.iter().position(|(known, _)| *known == name).and_then(|at| counts.get_mut(at)) {
            *count += 1;
            hidden |= escaped;
        } else if name == b"URI"
            && let Some(target) = behind.trim_ascii_start().strip_prefix(b"(")
            && let Some(end) = memchr::memchr(b')', first(target, 1024))
            && links < VALUES
        {
            links += 1;
            facts.quote("link", first(target, end));
        }
    }
    // An action has both the name of its sort and a key for its text.
    let [script, text, ..] = &mut counts;
    *text = (*text).max(*script);
    *script = 0;
    for ((_, fact), count) in NAMES.iter().zip(counts) {
        if count > 0 {
            facts.say(fact, count);
        }
    }
    if hidden {
        facts.say("escaped names", "yes");
    }
}

/// A name, whether letters of it were written as numbers, and what follows it.
fn name_at(bytes: &[u8]) -> (Vec<u8>, bool, &[u8]) {
    const LONGEST: usize = 16;
    let (mut name, mut escaped, mut rest) = (Vec::with_capacity(LONGEST), false, bytes);
    while name.len() < LONGEST {
        match rest {
            [b'#', a, b, ..] => {
                let digits = (char::from(*a).to_digit(16), char::from(*b).to_digit(16));
                let (Some(a), Some(b)) = digits else { break };
                name.push(u8::try_from(a * 16 + b).unwrap_or(0));
                escaped = true;
                rest = from(rest, 3);
            }
            [byte, ..] if byte.is_ascii_alphanumeric() => {
                name.push(*byte);
                rest = from(rest, 1);
            }
            _ => break,
        }
    }
    (name, escaped, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name_at(b"J#61vaScript /x"), (b"JavaScript".to_vec(), true, &b" /x"[..]));
        assert_eq!(name_at(b"JS(x)"), (b"JS".to_vec(), false, &b"(x)"[..]));
        assert_eq!(name_at(b"#zz").0, b"");
    }
}
