//! Executables, archives and documents inside of anything: found by their signatures as the bytes go by, each with the length
//! that its own format says.
//!
//! Bytes come in pieces of any size, in order, and may have gaps. What a signature begins must be sound as far as its own header
//! goes, so that chance finds nothing; a header that a gap or the end cuts is no find.

mod header;
mod later;

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use self::header::Header;
use self::later::{Begin, Later};
use crate::bytes::{first, from};

/// The most finds in one content; what comes after them is not looked at.
pub const EMBEDDED_MOST: usize = 1024;

/// How many bytes from where it begins a find is judged by: all headers of a program that is not made to be odd.
const LOOK: usize = 8192;
/// How many bytes are searched at once.
const PIECE: usize = 65536;

/// Something that was found inside of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// What it is.
    pub kind: EmbeddedKind,
    /// Where its first byte is in the content, counting those that gaps swallowed.
    pub at: u64,
    /// How many bytes it has, where its format says it; the content may end before that.
    ///
    /// PE: to the end of the last section, and of the symbols or the certificate table behind it; nobody says how much an overlay
    /// has. ELF: to
    /// the end of the section headers, or of the last segment. CAB and 7z: as their headers say. OLE: to the last sector that
    /// the allocation table knows. PDF: to the last `%%EOF` before the next PDF begins. Zip: to the end of its directory.
    pub length: Option<u64>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EmbeddedKind {
    /// A Windows program.
    Pe,
    /// A program for Linux and its relatives.
    Elf,
    /// A zip archive, told by its first member.
    Zip,
    /// A PDF document.
    Pdf,
    /// A compound file: older office documents, installers.
    Ole,
    /// A gzip member.
    Gzip,
    /// A 7z archive.
    SevenZip,
    /// A RAR archive.
    Rar,
    /// A cabinet.
    Cabinet,
}

/// What is in a content that is given in pieces. The same whatever the pieces.
pub fn embedded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Embedded> {
    let mut scanner = EmbeddedScanner::default();
    pieces.into_iter().for_each(|piece| scanner.feed(piece));
    scanner.finish()
}

/// Whether a program begins here, for Windows or for Linux and its relatives, whose header is sound.
pub(crate) fn is_program(bytes: &[u8]) -> bool {
    let kind = match header::judge(first(bytes, LOOK)) {
        Some(Header::Found(kind, _) | Header::Begins(Begin::Elsewhere { kind, .. })) => kind,
        _ => return false,
    };
    matches!(kind, EmbeddedKind::Pe | EmbeddedKind::Elf)
}

/// Looks through a content piece by piece: in linear time, and with less than half a mebibyte kept.
#[derive(Debug, Default)]
pub struct EmbeddedScanner {
    /// The bytes that wait to be searched.
    kept: Vec<u8>,
    /// Where what is kept begins.
    at: u64,
    found: Vec<Embedded>,
    later: Later,
}

impl EmbeddedScanner {
    /// More of the content.
    pub fn feed(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && self.found.len() < EMBEDDED_MOST {
            let room = (PIECE + LOOK).saturating_sub(self.kept.len());
            let taken = first(piece, room);
            self.kept.extend_from_slice(taken);
            piece = from(piece, taken.len());
            if self.kept.len() == PIECE + LOOK {
                self.search(PIECE);
            }
        }
    }

    /// So many bytes are missing here.
    pub fn gap(&mut self, bytes: u64) {
        self.search(self.kept.len());
        self.at = self.at.saturating_add(bytes);
        self.later.gap(self.at);
    }

    /// All of it was given: what was found, by where it begins.
    pub fn finish(mut self) -> Vec<Embedded> {
        self.search(self.kept.len());
        self.later.finish(&mut self.found);
        self.found.sort_by_key(|found| (found.at, found.kind));
        self.found.truncate(EMBEDDED_MOST);
        self.found
    }

    /// Searches for what begins in the first `end` bytes of what is kept, and lets them go.
    fn search(&mut self, end: usize) {
        let Some(signatures) = &*SIGNATURES else { return };
        // A signature may begin at the last of these bytes.
        let searched = first(&self.kept, end.saturating_add(LONGEST - 1));
        for signature in signatures.find_iter(searched) {
            let begins = signature.start();
            if begins >= end || self.found.len() >= EMBEDDED_MOST {
                break;
            }
            let at = self.at.saturating_add(begins as u64);
            let bytes = first(from(&self.kept, begins), LOOK);
            match header::judge(bytes) {
                Some(Header::Found(kind, length)) => self.found.push(Embedded { kind, at, length }),
                Some(Header::Begins(begins)) => self.later.begin(begins, at, &mut self.found),
                Some(Header::Ends(end)) => self.later.end(end, at, &mut self.found),
                None => {}
            }
        }
        // After the search, as what has just begun may have its table in sight.
        self.later.pass(self.at, &self.kept, &mut self.found);
        self.kept.drain(..end);
        self.at = self.at.saturating_add(end as u64);
    }
}

/// The longest signature, in bytes.
const LONGEST: usize = 8;

/// What the finds begin with, and what ends some of them. No end of one is the beginning of another.
static SIGNATURES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    // The vectorised search is for this order of matches alone.
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostFirst)
        .build([
            &b"MZ"[..],
            b"\x7fELF",
            b"PK\x03\x04",
            b"PK\x05\x06",
            b"%PDF-",
            b"%%EOF",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            b"\x1f\x8b\x08",
            b"7z\xbc\xaf\x27\x1c",
            b"Rar!\x1a\x07",
            b"MSCF\0\0\0\0",
        ])
        .ok()
});
