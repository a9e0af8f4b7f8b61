//! Finds whose length shows only later: in a table, or where they end.

use std::collections::VecDeque;

use super::{Embedded, EmbeddedKind};
use crate::bytes::{first, from, le32, place};

/// The most finds that wait for bytes further on.
const WAITING: usize = 32;
/// The most members whose places are known, for the archives that end while another is not at its end.
const MEMBERS: usize = 4096;

/// A find.
pub(super) enum Begin {
    /// A member of a zip archive: the first one begins it.
    Member,
    Pdf,
    /// One whose length stands further on, if the place is known.
    Elsewhere {
        kind: EmbeddedKind,
        /// How far from where it begins.
        place: Option<u64>,
        says: Says,
    },
}

/// How the length is told by what stands elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum Says {
    /// The last sector of a compound file's allocation table.
    Sectors {
        /// How many sectors the tables before that one know.
        before: u64,
        /// The size of a sector, as a power of two: 9 or 12.
        shift: u16,
    },
    /// The length of the strings of a program's symbols, which are its last part.
    Strings {
        /// How long it is to there.
        before: u64,
        /// How long it is without symbols.
        without: u64,
    },
}

/// An end.
pub(super) enum End {
    Pdf {
        /// Of the mark.
        length: u64,
    },
    Zip {
        /// Of the directory, which stands right before.
        size: u64,
        /// Of the directory, from where the archive begins.
        offset: u64,
        /// Of the record that ends it.
        length: u64,
    },
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// Where the archive begins whose end was not seen, and from where on all before it is there.
    zip: Option<(u64, u64)>,
    /// Where the last bytes that are missing end.
    whole_from: u64,
    /// Where its members begin: the last ones.
    members: VecDeque<u64>,
    /// Where the last document begins, and how long it is as far as is known.
    pdf: Option<(u64, Option<u64>)>,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    kind: EmbeddedKind,
    at: u64,
    /// Where the bytes are that it waits for.
    place: u64,
    says: Says,
    /// Those that have gone by.
    seen: Vec<u8>,
}

impl Later {
    pub(super) fn begin(&mut self, begin: Begin, at: u64, found: &mut Vec<Embedded>) {
        match begin {
            Begin::Member => {
                self.zip.get_or_insert((at, self.whole_from));
                if self.members.len() >= MEMBERS {
                    self.members.pop_front();
                }
                self.members.push_back(at);
            }
            Begin::Pdf => {
                self.end_pdf(found);
                self.pdf = Some((at, None));
            }
            Begin::Elsewhere { kind, place, says } => {
                let place = place.and_then(|place| at.checked_add(place));
                match place.filter(|_| self.waiting.len() < WAITING) {
                    Some(place) => self.waiting.push(Waiting { kind, at, place, says, seen: Vec::new() }),
                    None => found.push(Embedded { kind, at, length: None }),
                }
            }
        }
    }

    pub(super) fn end(&mut self, end: End, at: u64, found: &mut Vec<Embedded>) {
        match end {
            End::Pdf { length } => {
                if let Some((begins, known)) = &mut self.pdf {
                    *known = Some(at.saturating_sub(*begins).saturating_add(length));
                }
            }
            End::Zip { size, offset, length } => {
                if let Some(directory) = at.checked_sub(size)
                    && let Some(said) = directory.checked_sub(offset)
                {
                    self.end_zip(directory, said, at.saturating_add(length), found);
                }
            }
        }
    }

    /// An archive has ended whose directory says that it begins at `said`. Before the archive that is open there may be what
    /// unpacks it, which the directory may count; where bytes are missing there, it may be its first members that are.
    fn end_zip(&mut self, directory: u64, said: u64, end: u64, found: &mut Vec<Embedded>) {
        let Some((zip, whole_from)) = self.zip.filter(|(zip, _)| *zip <= directory) else { return };
        let mut of = |at: u64| {
            let length = (at <= said || whole_from <= said).then(|| end.saturating_sub(at));
            found.push(Embedded { kind: EmbeddedKind::Zip, at, length });
        };
        if said <= zip {
            of(zip);
            self.zip = None;
            self.members.clear();
        } else if self.members.binary_search(&said).is_ok() {
            // One that begins later: stored in the one that is open, or that one is cut.
            of(said);
        }
    }

    fn end_pdf(&mut self, found: &mut Vec<Embedded>) {
        if let Some((at, length)) = self.pdf.take() {
            found.push(Embedded { kind: EmbeddedKind::Pdf, at, length });
        }
    }

    /// What comes before `at` is missing.
    pub(super) const fn gap(&mut self, at: u64) {
        self.whole_from = at;
    }

    /// Bytes that begin at `at` and may have gone by before.
    pub(super) fn pass(&mut self, at: u64, bytes: &[u8], found: &mut Vec<Embedded>) {
        self.waiting.retain_mut(|waiting| {
            let size = waiting.says.bytes();
            let wanted = waiting.place.saturating_add(waiting.seen.len() as u64);
            // What a gap swallowed does not come.
            let gone = wanted < at;
            if !gone {
                let new = from(bytes, place(wanted - at));
                waiting.seen.extend_from_slice(first(new, size.saturating_sub(waiting.seen.len())));
            }
            let whole = waiting.seen.len() == size;
            if whole || gone {
                let length = waiting.says.length(&waiting.seen).filter(|_| whole);
                found.push(Embedded { kind: waiting.kind, at: waiting.at, length });
            }
            !(whole || gone)
        });
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, found: &mut Vec<Embedded>) {
        self.end_pdf(found);
        let waiting = self.waiting.drain(..).map(|waiting| (waiting.kind, waiting.at));
        let unknown = self.zip.take().map(|(at, _)| (EmbeddedKind::Zip, at)).into_iter().chain(waiting);
        found.extend(unknown.map(|(kind, at)| Embedded { kind, at, length: None }));
    }
}

impl Says {
    /// How many bytes it takes.
    fn bytes(self) -> usize {
        match self {
            Self::Sectors { shift, .. } => 1 << shift,
            Self::Strings { .. } => 4,
        }
    }

    fn length(self, seen: &[u8]) -> Option<u64> {
        match self {
            // To the end of the last sector that is not free.
            Self::Sectors { before, shift } => {
                const FREE: u32 = 0xffff_ffff;
                let used = |n: &usize| le32(seen, n * 4).is_some_and(|next| next != FREE);
                let last = (0..seen.len() / 4).rev().find(used)?;
                // Sector n ends n + 2 sectors into the file.
                Some((before + last as u64 + 2) << shift)
            }
            // The number counts itself. What is less, or more than any program has, stands in no table.
            Self::Strings { before, without } => Some(match le32(seen, 0)? {
                size @ 4..=0x0fff_ffff => without.max(before + u64::from(size)),
                _ => without,
            }),
        }
    }
}
