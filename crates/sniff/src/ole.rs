//! Compound files ([MS-CFB]): the older office documents, installers and saved mails, told by the names in the directory.

use crate::bytes::{first, from, le16, le32, place};
use crate::kind::Kind;

const MAGIC: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
/// The most sectors of the directory that are looked at.
const SECTORS: usize = 64;
/// The class of an installer's root entry, 000C1084-0000-0000-C000-000000000046; and the same of a patch and a transform.
const INSTALLER: [u8; 15] = [0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

/// What the names of the directory show.
#[derive(Default)]
struct Seen {
    word: bool,
    excel: bool,
    powerpoint: bool,
    installer: bool,
    message: bool,
    macros: bool,
}

/// The sentence for a compound file that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    if !head.starts_with(MAGIC) {
        return None;
    }
    let seen = directory(head).unwrap_or_default();
    let (mime, what, extension) = if seen.installer {
        ("application/x-msi", ", MSI Installer", "msi")
    } else if seen.message {
        ("application/vnd.ms-outlook", ", Outlook message", "msg")
    } else if seen.word {
        ("application/msword", ", Microsoft Word", "doc")
    } else if seen.excel {
        ("application/vnd.ms-excel", ", Microsoft Excel", "xls")
    } else if seen.powerpoint {
        ("application/vnd.ms-powerpoint", ", Microsoft PowerPoint", "ppt")
    } else {
        ("application/x-ole-storage", "", "ole")
    };
    let macros = if seen.macros { ", with macros" } else { "" };
    let sentence = format!("Composite Document File V2 Document{what}{macros}");
    Some(Kind::made(mime, sentence, extension).formerly("CDF V2 Document"))
}

/// Follows the directory through the first sectors of the allocation table, as far as both lie within the head.
fn directory(head: &[u8]) -> Option<Seen> {
    let shift = le16(head, 30).filter(|shift| matches!(shift, 9 | 12))?;
    let size = 1_usize << shift;
    // Sector n begins n + 1 sectors into the file.
    let sector = |number: u32| first(from(head, place((u64::from(number) + 1) << shift)), size);
    let mut seen = Seen::default();
    let mut at = le32(head, 48)?;
    for _ in 0..SECTORS {
        for entry in sector(at).chunks_exact(128) {
            seen.entry(entry);
        }
        let index = place(at.into());
        let table = index.checked_div(size / 4).filter(|table| *table < 109)?;
        let Some(table) = le32(head, 76 + table * 4) else { break };
        match le32(sector(table), (index % (size / 4)) * 4) {
            // The numbers from here on are no sectors.
            Some(next @ ..0xffff_fffa) => at = next,
            _ => break,
        }
    }
    Some(seen)
}

impl Seen {
    /// One entry: a name in UTF-16, its length in bytes with the zero at its end, and what it is (§2.6.1).
    fn entry(&mut self, entry: &[u8]) {
        let length = usize::from(le16(entry, 64).unwrap_or(0)).saturating_sub(2).min(62);
        let mut name = [0; 31];
        let letters = first(entry, length).as_chunks::<2>().0.iter().map(|pair| {
            // Names of other letters are none of ours.
            u8::try_from(u16::from_le_bytes(*pair)).unwrap_or(b'?')
        });
        for (to, letter) in name.iter_mut().zip(letters) {
            *to = letter;
        }
        match first(&name, length / 2) {
            b"WordDocument" => self.word = true,
            b"Workbook" | b"Book" => self.excel = true,
            b"PowerPoint Document" => self.powerpoint = true,
            b"__nameid_version1.0" | b"__properties_version1.0" => self.message = true,
            b"VBA" | b"_VBA_PROJECT" | b"_VBA_PROJECT_CUR" => self.macros = true,
            b"Root Entry" => {
                self.installer = matches!(from(entry, 80), [0x84..=0x86, rest @ ..] if rest.starts_with(&INSTALLER));
            }
            _ => {}
        }
    }
}
