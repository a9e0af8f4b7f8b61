//! What is known of a content beyond its sentence: facts by name, as analysts ask for them.

mod archive;
mod document;
mod elf;
mod java;
mod mach;
mod ole;
mod pe;
mod script;
mod shortcut;
mod zip;

use std::fmt::{Display, Write};

use jiff::Timestamp;

use crate::bytes::first;
use crate::kind::sniff;

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
///
/// ELF and Mach-O: `machine`, `type`, `interpreter`, `needed` (each library), `soname`, `runpath`, `packer`; `architectures`,
/// `signed`, `encrypted`. Dalvik and Java: `size`, `classes`, `signature` (SHA-1, as the file says it); `class`, `extends`.
///
/// Archives: `members` (how many, when the whole directory was seen), `member` (names of the first ones), `encrypted`, `size`;
/// `main class` of a JAR; of disk images `label` and `bootable`.
///
/// Documents: `macros`, `encrypted`, `embedded` (each object's name), `external` (the sort of relation, and the target that is
/// fetched, as with `attachedTemplate`), `link`; of compound files `stream` (names) and `title`, `subject`, `author`, `comments`,
/// `last author`, `created`, `saved`, `application`; of RTF `objects` (how many), `object` and `object class` (classes, as the
/// data and as the text have them), `updates objects`, `template`; of PDF how many of each are in plain sight: `javascript`,
/// `launch`, `embedded files`, `open action`, `additional actions`, `object streams`, `encrypted`, `submit form`; and
/// `escaped names`.
///
/// Shortcuts: `target`, `arguments`, `working folder`, `relative path`, `icon`, `description`, `target created`, `target written`,
/// `made on` (the machine). Scripts and HTML applications: `uses` (telling words in it), `url`.
pub fn facts(content: &[u8]) -> Vec<Fact> {
    let content = first(content, FACTS_LOOK);
    let mut found = Facts::default();
    match content {
        [b'M', b'Z', ..] => pe::look(content, &mut found),
        [0x7f, b'E', b'L', b'F', ..] => elf::look(content, &mut found),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => mach::look(content, &mut found),
        [0xca, 0xfe, 0xba, 0xbe, _, _, _, 0..=30, ..] | [0xca, 0xfe, 0xba, 0xbf, ..] => mach::look(content, &mut found),
        [0xca, 0xfe, 0xba, 0xbe, ..] => java::class(content, &mut found),
        [b'd', b'e', b'x', b'\n', _, _, _, 0, ..] => java::dex(content, &mut found),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', b'0', b'0', b'P', b'K', 3, 4, ..] => zip::look(content, &mut found),
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => ole::look(content, &mut found),
        [b'{', b'\\', b'r', b't', ..] => document::rtf(content, &mut found),
        [0x4c, 0, 0, 0, 1, 0x14, 2, 0, ..] => shortcut::look(content, &mut found),
        [b'M', b'S', b'C', b'F', 0, 0, 0, 0, ..] => archive::cabinet(content, &mut found),
        _ => match sniff(content).mime {
            "application/pdf" => document::pdf(content, &mut found),
            "application/x-iso9660-image" => archive::disk(content, &mut found),
            mime => script::look(content, mime, &mut found),
        },
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

/// Bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A time as Windows counts it: in tenths of microseconds since 1601.
fn filetime(ticks: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(ticks / 10_000_000).ok()?.checked_sub(11_644_473_600)?;
    Timestamp::from_second(seconds).ok()
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
