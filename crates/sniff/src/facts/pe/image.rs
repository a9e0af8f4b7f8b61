//! The headers of a PE file, and where in the file lies what has an address in memory.

use crate::bytes::{first, from, le16, le32, place};

/// The most sections that are looked at; the Windows loader takes no more.
const SECTIONS: usize = 96;
/// The loader reads sections from places that are multiples of this.
const ALIGNED: u32 = !0x1ff;

/// A program whose headers are at hand.
pub(super) struct Image<'a> {
    /// The file, as far as it is given.
    pub(super) content: &'a [u8],
    /// From the PE signature on.
    header: &'a [u8],
    /// Whether addresses have 64 bits (PE32+).
    pub(super) plus: bool,
    pub(super) machine: u16,
    /// How many sections the header claims.
    pub(super) section_count: u16,
    /// Those that are at hand.
    pub(super) sections: Vec<Section<'a>>,
}

/// One section.
pub(super) struct Section<'a> {
    pub(super) name: &'a [u8],
    /// Where it is in memory, and how long.
    address: u32,
    length: u32,
    /// Where it is in the file, and how many bytes of it.
    pub(super) offset: u32,
    pub(super) stored: u32,
}

impl<'a> Image<'a> {
    /// The headers, if the content has a sound beginning of them.
    pub(super) fn of(content: &'a [u8]) -> Option<Self> {
        let header = from(content, place(le32(content, 0x3c)?.into()));
        if !content.starts_with(b"MZ") || !header.starts_with(b"PE\0\0") {
            return None;
        }
        let plus = match le16(header, 24)? {
            0x10b => false,
            0x20b => true,
            _ => return None,
        };
        let section_count = le16(header, 6)?;
        let table = from(header, 24 + usize::from(le16(header, 20)?));
        let sections = table.chunks_exact(40).take(usize::from(section_count).min(SECTIONS));
        let sections = sections
            .map(|entry| {
                let number = |at| le32(entry, at).unwrap_or(0);
                Section {
                    name: first(entry, 8),
                    length: number(8),
                    address: number(12),
                    stored: number(16),
                    offset: number(20),
                }
            })
            .collect();
        Some(Self { content, header, plus, machine: le16(header, 4)?, section_count, sections })
    }

    pub(super) fn compiled(&self) -> Option<u32> {
        le32(self.header, 8)
    }

    pub(super) fn is_library(&self) -> bool {
        le16(self.header, 22).is_some_and(|flags| flags & 0x2000 != 0)
    }

    pub(super) fn subsystem(&self) -> Option<u16> {
        le16(self.header, 92)
    }

    /// Address and size in a data directory; zeros when the program has no such one.
    pub(super) fn directory(&self, number: usize) -> Option<(u32, u32)> {
        let table = if self.plus { 24 + 112 } else { 24 + 96 };
        if place(le32(self.header, table - 4)?.into()) <= number {
            return Some((0, 0));
        }
        let entry = table.checked_add(number.checked_mul(8)?)?;
        Some((le32(self.header, entry)?, le32(self.header, entry.checked_add(4)?)?))
    }

    /// What is in memory from this address to the end of its section, as far as it is in the file and at hand. Headers are in
    /// memory as they are in the file.
    pub(super) fn at(&self, address: u32) -> &'a [u8] {
        let Some((section, within)) = self.section(address) else {
            let headers = self.sections.iter().map(|section| section.address).min().unwrap_or(u32::MAX);
            return if address < headers {
                from(first(self.content, place(headers.into())), place(address.into()))
            } else {
                &[]
            };
        };
        let begins = place(u64::from(section.offset & ALIGNED));
        from(first(from(self.content, begins), place(section.stored.into())), place(within.into()))
    }

    /// The same, of which so many bytes must be there: those that are in memory but not in the file are zeros.
    pub(super) fn read<const N: usize>(&self, address: u32) -> Option<[u8; N]> {
        let there = self.at(address);
        if let Some(bytes) = there.first_chunk() {
            return Some(*bytes);
        }
        let (section, within) = self.section(address)?;
        let stored = section.stored.saturating_sub(within);
        // Bytes that the file has, but that are not at hand, could be anything.
        if place(stored.into()) > there.len() || section.length.checked_sub(within)? < u32::try_from(N).ok()? {
            return None;
        }
        let mut bytes = [0; N];
        bytes.get_mut(..there.len())?.copy_from_slice(there);
        Some(bytes)
    }

    /// The section with this address, and how far in it that is.
    fn section(&self, address: u32) -> Option<(&Section<'a>, u32)> {
        self.sections.iter().find_map(|section| {
            let within = address.checked_sub(section.address)?;
            (within < section.length.max(section.stored)).then_some((section, within))
        })
    }

    /// Where the last section ends in the file.
    pub(super) fn end(&self) -> u64 {
        self.sections.iter().map(Section::end).max().unwrap_or(0)
    }
}

impl Section<'_> {
    fn end(&self) -> u64 {
        if self.stored == 0 { 0 } else { u64::from(self.offset) + u64::from(self.stored) }
    }
}
