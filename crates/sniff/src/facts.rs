//! What is known of a content beyond its sentence: facts by name, as analysts ask for them.

mod pe;

use std::fmt::{Display, Write};

use crate::bytes::first;

/// How many first bytes of a content are looked at for facts: what is worth giving to [`facts`].
pub const FACTS_LOOK: usize = 8 << 20;
/// The most facts that are told of one content.
pub const FACTS_MOST: usize = 256;
/// The longest value of a fact, in bytes.
pub const FACT_BYTES: usize = 512;

/// One thing that is known of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What is known: one of a fixed set of names, as `imphash`. A name that can have many values comes once for each.
    pub name: &'static str,
    /// The value: letters and digits of any script, and otherwise printable ASCII; anything else is escaped as Rust does it
    /// (`\u{202e}`, `\xff`). At most [`FACT_BYTES`]; a value that was cut ends in `...`.
    pub value: String,
}

/// The facts about a content, given its first bytes: the more are given, the more may be found, up to [`FACTS_LOOK`]. At most
/// [`FACTS_MOST`], and what a fact stands on was seen: a fact that would need bytes beyond what is given is left out.
///
/// Windows programs (PE): `machine`, `subsystem`, `type` (`exe`, `dll`, `driver`), `sections` (how many), `section` (each name),
/// `compiled` (UTC), `signed` (`yes` or `no`: whether there is a certificate table; nobody checks it), `dotnet` (version of the
/// runtime), `packer`, `installer`, `overlay` (where it begins), `imphash` (as pefile computes it), `pdb` (path of the symbols),
/// and of the version resource `CompanyName`, `FileDescription`, `FileVersion`, `InternalName`, `LegalCopyright`,
/// `OriginalFilename`, `ProductName` and `ProductVersion`.
pub fn facts(content: &[u8]) -> Vec<Fact> {
    let content = first(content, FACTS_LOOK);
    let mut found = Facts::default();
    match content {
        [b'M', b'Z', ..] => pe::look(content, &mut found),
        _ => {}
    }
    found.0
}

/// Collects facts, within the bounds.
#[derive(Default)]
pub(crate) struct Facts(Vec<Fact>);

impl Facts {
    /// A value that comes from us.
    pub(crate) fn say(&mut self, name: &'static str, value: impl Display) {
        self.put(name, |text| {
            // Writing to a string cannot fail.
            _ = write!(text, "{value}");
        });
    }

    /// A value out of the content, in UTF-8 or what comes near it.
    pub(crate) fn quote(&mut self, name: &'static str, value: &[u8]) {
        self.put(name, |text| push_bytes(text, value));
    }

    /// A value out of the content, in UTF-16.
    pub(crate) fn quote_wide(&mut self, name: &'static str, value: impl Iterator<Item = u16>) {
        self.put(name, |text| push_wide(text, value));
    }

    fn put(&mut self, name: &'static str, make: impl FnOnce(&mut String)) {
        if self.0.len() >= FACTS_MOST {
            return;
        }
        let mut value = String::new();
        make(&mut value);
        if !value.is_empty() {
            self.0.push(Fact { name, value });
        }
    }
}

/// Room for what stands in for the rest of a value that is cut.
const CUT: usize = FACT_BYTES - 3;
/// The longest that one letter or byte can become.
const ONE: usize = 10;

/// Bytes out of the content as text.
pub(crate) fn push_bytes(text: &mut String, value: &[u8]) {
    for chunk in first(value, FACT_BYTES + 1).utf8_chunks() {
        for letter in chunk.valid().chars() {
            if !push_letter(text, letter) {
                return;
            }
        }
        for byte in chunk.invalid() {
            if text.len() + ONE > CUT {
                text.push_str("...");
                return;
            }
            // Writing to a string cannot fail.
            _ = write!(text, "\\x{byte:02x}");
        }
    }
}

/// UTF-16 out of the content as text.
pub(crate) fn push_wide(text: &mut String, value: impl Iterator<Item = u16>) {
    for letter in char::decode_utf16(value) {
        let pushed = match letter {
            Ok(letter) => push_letter(text, letter),
            Err(_) => push_letter(text, char::REPLACEMENT_CHARACTER),
        };
        if !pushed {
            return;
        }
    }
}

/// Whether there was room: letters that could turn a line around, or move a cursor, are shown by their numbers.
fn push_letter(text: &mut String, letter: char) -> bool {
    if text.len() + ONE > CUT {
        text.push_str("...");
        return false;
    }
    match letter {
        ' '..='~' => text.push(letter),
        _ if letter.is_alphanumeric() => text.push(letter),
        // Writing to a string cannot fail.
        _ => _ = write!(text, "{}", letter.escape_unicode()),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &[u8]) -> String {
        let mut found = Facts::default();
        found.quote("name", value);
        found.0.pop().map(|fact| fact.value).unwrap_or_default()
    }

    #[test]
    fn values() {
        assert_eq!(shown("Größe 大 \u{202e}gpj.exe\n".as_bytes()), "Größe 大 \\u{202e}gpj.exe\\u{a}");
        assert_eq!(shown(b"a\xff\xfeb"), "a\\xff\\xfeb");
        assert_eq!(shown(b""), "");
        for letter in ["a", "\u{10ffff}", "大", "\u{1f600}"] {
            let long = shown(letter.repeat(2000).as_bytes());
            assert!(long.len() <= FACT_BYTES && long.ends_with("..."), "{long}");
        }
        assert!(shown(&[0xff; 3000]).len() <= FACT_BYTES);
    }

    #[test]
    fn many() {
        let mut found = Facts::default();
        (0..1000).for_each(|n| found.say("n", n));
        assert_eq!(found.0.len(), FACTS_MOST);
    }
}
