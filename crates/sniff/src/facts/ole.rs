//! Facts of compound files ([MS-CFB]): what is in them, and their summary ([MS-OLEPS]).

use super::Facts;
use crate::bytes::{first, from, le16, le32, le64, place, to_nul};

/// The most entries of the directory that are looked at.
const ENTRIES: usize = 4096;
/// The most entries whose names are told.
const NAMES: usize = 64;
/// The most bytes of the summary.
const SUMMARY: usize = 16384;
/// Sector numbers from here on have other meanings.
const SPECIAL: u32 = 0xffff_fffa;
/// Smaller streams than this are kept together in one.
const SMALL: u64 = 4096;

pub(super) fn look(content: &[u8], facts: &mut Facts) {
    let Some(file) = Compound::of(content) else { return };
    let entries = file.entries();
    let has = |names: &[&str]| entries.iter().any(|entry| names.iter().any(|name| entry.is(name)));
    if has(&["VBA", "_VBA_PROJECT", "_VBA_PROJECT_CUR"]) {
        facts.say("macros", "yes");
    }
    if has(&["EncryptedPackage"]) {
        facts.say("encrypted", "yes");
    }
    for entry in &entries {
        if ["\u{1}Ole10Native", "Package", "ObjectPool", "CONTENTS"].iter().any(|name| entry.is(name)) {
            facts.quote_wide("embedded", entry.name());
        }
    }
    if let Some(entry) = entries.iter().find(|entry| entry.is("\u{5}SummaryInformation")) {
        summary(&file.read(entry, entries.first(), SUMMARY), facts);
    }
    for entry in entries.iter().filter(|entry| entry.kind == STREAM).take(NAMES) {
        facts.quote_wide("stream", entry.name());
    }
}

const STREAM: u8 = 2;

/// A compound file, as far as it is at hand.
struct Compound<'a> {
    content: &'a [u8],
    shift: u16,
}

/// An entry of the directory.
struct Entry<'a> {
    letters: &'a [u8],
    kind: u8,
    start: u32,
    size: u64,
}

impl Entry<'_> {
    fn name(&self) -> impl Iterator<Item = u16> {
        self.letters.as_chunks::<2>().0.iter().map(|letter| u16::from_le_bytes(*letter))
    }

    fn is(&self, name: &str) -> bool {
        self.name().eq(name.encode_utf16())
    }
}

impl<'a> Compound<'a> {
    fn of(content: &'a [u8]) -> Option<Self> {
        let shift = le16(content, 30).filter(|shift| matches!(shift, 9 | 12))?;
        Some(Self { content, shift })
    }

    fn size(&self) -> usize {
        1 << self.shift
    }

    /// Sector n begins n + 1 sectors into the file.
    fn sector(&self, number: u32) -> &'a [u8] {
        first(from(self.content, place((u64::from(number) + 1) << self.shift)), self.size())
    }

    /// The sector after this one, through the tables that the header lists: enough for what is looked at.
    fn next(&self, number: u32) -> Option<u32> {
        let (number, numbers) = (place(number.into()), self.size() / 4);
        let table = number.checked_div(numbers).filter(|table| *table < 109)?;
        let table = le32(self.content, 76 + table * 4).filter(|table| *table < SPECIAL)?;
        le32(self.sector(table), number % numbers * 4).filter(|next| *next < SPECIAL)
    }

    /// The sectors of a chain; a chain that is a ring ends with the count.
    fn chain(&self, start: u32, most: usize) -> impl Iterator<Item = &'a [u8]> {
        let begins = Some(start).filter(|start| *start < SPECIAL);
        std::iter::successors(begins, |number| self.next(*number)).take(most).map(|number| self.sector(number))
    }

    fn entries(&self) -> Vec<Entry<'a>> {
        let Some(start) = le32(self.content, 48) else { return Vec::new() };
        let sectors = self.chain(start, ENTRIES * 128 / self.size());
        let entries = sectors.flat_map(|sector| sector.chunks_exact(128)).filter_map(|entry| {
            let length = usize::from(le16(entry, 64)?).saturating_sub(2).min(62);
            // Sizes have 32 bits where sectors are small (§2.6.1).
            let size = if self.shift == 9 { le32(entry, 120)?.into() } else { le64(entry, 120)? };
            Some(Entry { letters: first(entry, length), kind: *entry.get(66)?, start: le32(entry, 116)?, size })
        });
        entries.filter(|entry| entry.kind != 0).collect()
    }

    /// The first bytes of a stream.
    fn read(&self, entry: &Entry<'_>, root: Option<&Entry<'_>>, most: usize) -> Vec<u8> {
        let length = place(entry.size).min(most);
        let mut bytes = Vec::new();
        if entry.size >= SMALL {
            self.chain(entry.start, length.div_ceil(self.size())).for_each(|sector| bytes.extend_from_slice(sector));
        } else if let (Some(root), Some(table)) = (root, le32(self.content, 60)) {
            // Small streams: sectors of 64 bytes in the root's stream, with a table of their own. Both are at hand as bytes.
            let most = self.content.len() / self.size() + 1;
            let join = |start| self.chain(start, most.min(1024)).collect::<Vec<_>>().concat();
            let (table, all) = (join(table), join(root.start));
            let mut number = entry.start;
            while bytes.len() < length && number < SPECIAL {
                let part = first(from(&all, place(u64::from(number) * 64)), 64);
                bytes.extend_from_slice(part);
                let Some(next) = le32(&table, place(u64::from(number) * 4)).filter(|_| !part.is_empty()) else { break };
                number = next;
            }
        }
        bytes.truncate(length);
        bytes
    }
}

/// The properties of the first set ([MS-OLEPS] §2.21).
fn summary(stream: &[u8], facts: &mut Facts) {
    const TEXT: u32 = 30;
    const TIME: u32 = 64;
    let Some(set) = le32(stream, 44).map(|at| from(stream, place(at.into()))) else { return };
    let count = le32(set, 4).unwrap_or(0);
    for entry in from(set, 8).as_chunks::<8>().0.iter().take(place(count.into()).min(64)) {
        let (Some(id), Some(at)) = (le32(entry, 0), le32(entry, 4)) else { return };
        let name = match id {
            2 => "title",
            3 => "subject",
            4 => "author",
            6 => "comments",
            8 => "last author",
            12 => "created",
            13 => "saved",
            18 => "application",
            _ => continue,
        };
        let value = from(set, place(at.into()));
        match le32(value, 0) {
            Some(TEXT) => {
                let length = le32(value, 4).unwrap_or(0);
                facts.quote(name, to_nul(first(from(value, 8), place(length.into()))));
            }
            Some(TIME) => {
                if let Some(time) = le64(value, 4).and_then(super::filetime) {
                    facts.say(name, time);
                }
            }
            _ => {}
        }
    }
}
