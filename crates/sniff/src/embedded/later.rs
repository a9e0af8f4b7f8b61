//! Finds whose length shows only later: in a table, or where they end.

use std::collections::VecDeque;

use super::{Embedded, EmbeddedKind};
use crate::bytes::{first, from, le32, place};

/// The most compound files that wait for their tables.
const WAITING: usize = 32;
/// The most members whose places are known, for the archives that end while another is not at its end.
const MEMBERS: usize = 4096;

/// A find.
pub(super) enum Begin {
    /// A member of a zip archive: the first one begins it.
    Member,
    Pdf,
    Compound {
        /// How far from where it begins the last sector of the allocation table is, if that is known.
        table: Option<u64>,
        /// How many sectors the tables before that one know.
        before: u64,
        /// The size of a sector, as a power of two: 9 or 12.
        shift: u16,
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
    /// Where the archive begins whose end was not seen.
    zip: Option<u64>,
    /// Where its members begin: the last ones.
    members: VecDeque<u64>,
    /// Where the last document begins, and how long it is as far as is known.
    pdf: Option<(u64, Option<u64>)>,
    compounds: Vec<Compound>,
}

#[derive(Debug)]
struct Compound {
    at: u64,
    /// Where the table is.
    table: u64,
    before: u64,
    shift: u16,
    /// The table, as far as it has gone by.
    seen: Vec<u8>,
}

impl Later {
    pub(super) fn begin(&mut self, begin: Begin, at: u64, found: &mut Vec<Embedded>) {
        match begin {
            Begin::Member => {
                self.zip.get_or_insert(at);
                if self.members.len() >= MEMBERS {
                    self.members.pop_front();
                }
                self.members.push_back(at);
            }
            Begin::Pdf => {
                self.end_pdf(found);
                self.pdf = Some((at, None));
            }
            Begin::Compound { table, before, shift } => {
                let table = table.and_then(|table| at.checked_add(table));
                match table.filter(|_| self.compounds.len() < WAITING) {
                    Some(table) => self.compounds.push(Compound { at, table, before, shift, seen: Vec::new() }),
                    None => found.push(Embedded { kind: EmbeddedKind::Ole, at, length: None }),
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
    /// unpacks it, which the directory may count.
    fn end_zip(&mut self, directory: u64, said: u64, end: u64, found: &mut Vec<Embedded>) {
        let Some(zip) = self.zip.filter(|zip| *zip <= directory) else { return };
        let mut of = |at: u64| {
            found.push(Embedded { kind: EmbeddedKind::Zip, at, length: Some(end.saturating_sub(at)) });
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

    /// Bytes that begin at `at` and may have gone by before.
    pub(super) fn pass(&mut self, at: u64, bytes: &[u8], found: &mut Vec<Embedded>) {
        self.compounds.retain_mut(|compound| {
            let size = 1_usize << compound.shift;
            let wanted = compound.table.saturating_add(compound.seen.len() as u64);
            // What a gap swallowed does not come.
            let gone = wanted < at;
            if !gone {
                let new = from(bytes, place(wanted - at));
                compound.seen.extend_from_slice(first(new, size.saturating_sub(compound.seen.len())));
            }
            let whole = compound.seen.len() == size;
            if whole || gone {
                let length = compound.length().filter(|_| whole);
                found.push(Embedded { kind: EmbeddedKind::Ole, at: compound.at, length });
            }
            !(whole || gone)
        });
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, found: &mut Vec<Embedded>) {
        self.end_pdf(found);
        let unknown = |kind| move |at| Embedded { kind, at, length: None };
        found.extend(self.zip.take().map(unknown(EmbeddedKind::Zip)));
        found.extend(self.compounds.drain(..).map(|compound| compound.at).map(unknown(EmbeddedKind::Ole)));
    }
}

impl Compound {
    /// To the end of the last sector that is not free.
    fn length(&self) -> Option<u64> {
        const FREE: u32 = 0xffff_ffff;
        let used = |n: &usize| le32(&self.seen, n * 4).is_some_and(|next| next != FREE);
        let last = (0..self.seen.len() / 4).rev().find(used)?;
        // Sector n ends n + 2 sectors into the file.
        Some((self.before + last as u64 + 2) << self.shift)
    }
}
