//! Whether a signature is what it looks like, and how long what it begins is.

use flate2::Crc;

use super::EmbeddedKind;
use super::later::{Begin, End, Says};
use crate::bytes::{le16, le32, le64, place};
use crate::elf::Elf;
use crate::pe;

/// What is at a signature.
pub(super) enum Header {
    /// A find whose length is said here or nowhere.
    Found(EmbeddedKind, Option<u64>),
    /// A find whose length shows later.
    Begins(Begin),
    /// What ends an earlier find.
    Ends(End),
}

/// What begins here, judged by as many bytes as there are.
pub(super) fn judge(bytes: &[u8]) -> Option<Header> {
    use EmbeddedKind::{Cabinet, Gzip, Rar, SevenZip};
    match bytes {
        [b'M', b'Z', ..] => program(bytes),
        [0x7f, b'E', b'L', b'F', ..] => elf(bytes),
        [b'P', b'K', 3, 4, ..] => member(bytes),
        [b'P', b'K', 5, 6, ..] => directory(bytes),
        [b'%', b'P', b'D', b'F', b'-', b'0'..=b'9', b'.', b'0'..=b'9', ..] => Some(Header::Begins(Begin::Pdf)),
        [b'%', b'%', b'E', b'O', b'F', rest @ ..] => {
            let line = match rest {
                [b'\r', b'\n', ..] => 2,
                [b'\r' | b'\n', ..] => 1,
                _ => 0,
            };
            Some(Header::Ends(End::Pdf { length: 5 + line }))
        }
        [0xd0, 0xcf, ..] => compound(bytes),
        // No flags that there are not (RFC 1952 §2.3.1), how hard it was tried, and a system that has a number.
        [0x1f, 0x8b, 8, flags, _, _, _, _, 0 | 2 | 4, 0..=13 | 255, ..] if flags & 0xe0 == 0 => {
            Some(Header::Found(Gzip, None))
        }
        // The header has a checksum of its own.
        [b'7', b'z', ..] => {
            let start = bytes.get(12..32)?;
            let mut sum = Crc::new();
            sum.update(start);
            let length = le64(start, 0)?.checked_add(le64(start, 8)?)?.checked_add(32)?;
            (le32(bytes, 8)? == sum.sum()).then_some(Header::Found(SevenZip, Some(length)))
        }
        [b'R', b'a', b'r', b'!', 0x1a, 7, 0, ..] | [b'R', b'a', b'r', b'!', 0x1a, 7, 1, 0, ..] => {
            Some(Header::Found(Rar, None))
        }
        // Reserved fields are zero, and the version is 1.3 ([MS-CAB] §2.1).
        [b'M', b'S', b'C', b'F', ..] => {
            let sound = le32(bytes, 12)? == 0 && le32(bytes, 20)? == 0 && le16(bytes, 24)? == 0x0103;
            let length = le32(bytes, 8)?;
            (sound && length >= 36).then_some(Header::Found(Cabinet, Some(length.into())))
        }
        _ => None,
    }
}

/// A PE header of a known machine, with sections.
fn program(bytes: &[u8]) -> Option<Header> {
    /// The fifth directory, whose address is a place in the file.
    const SECURITY: usize = 4;
    let at = place(le32(bytes, 0x3c)?.into());
    let header = bytes.get(at..).filter(|header| header.starts_with(b"PE\0\0"))?;
    pe::machine(le16(header, 4)?)?;
    let count = le16(header, 6).filter(|count| (1..=96).contains(count))?;
    let optional = usize::from(le16(header, 20)?);
    let directories = match le16(header, 24)? {
        0x10b => 24 + 96,
        0x20b => 24 + 112,
        _ => return None,
    };
    let number = |bytes, at| u64::from(le32(bytes, at).unwrap_or(0));
    // Of a section table that is not within what is looked at nothing is said.
    let table = header.get(24 + optional..).and_then(|rest| rest.get(..usize::from(count) * 40));
    let length = table.map(|table| {
        let ends = table.chunks_exact(40).map(|section| match number(section, 16) {
            0 => 0,
            stored => number(section, 20) + stored,
        });
        // Whatever the numbers say, it is as long as what was read of it.
        let read = (at + 24 + optional + table.len()) as u64;
        let end = ends.max().unwrap_or(0).max(number(header, 24 + 60)).max(read);
        let entry = directories + SECURITY * 8;
        if entry + 8 > 24 + optional || number(header, directories - 4) <= SECURITY as u64 {
            return end;
        }
        // A certificate table behind the sections is the program's last part, also where something stands between.
        match (number(header, entry), number(header, entry + 4)) {
            (at, size @ 1..) if at >= end => at + size,
            _ => end,
        }
    });
    // Symbols of the older sort, as the GNU linker writes them, follow the sections: 18 bytes each, and then their strings. Packers
    // leave the place where they were.
    let (symbols, count) = (number(header, 12), number(header, 16));
    match length {
        Some(without) if (without..without + 512).contains(&symbols) && count > 0 => {
            let before = symbols + count * 18;
            let says = Says::Strings { before, without };
            Some(Header::Begins(Begin::Elsewhere { kind: EmbeddedKind::Pe, place: Some(before), says }))
        }
        _ => Some(Header::Found(EmbeddedKind::Pe, length)),
    }
}

/// An ELF header of this version, of its own size, and of a type that there is.
fn elf(bytes: &[u8]) -> Option<Header> {
    let elf = Elf::of(bytes)?;
    let (own, table, size, count) = if elf.wide { (52, 40, 58, 60) } else { (40, 32, 46, 48) };
    let sound = bytes.get(6) == Some(&1)
        && elf.word(bytes, 20)? == 1
        && elf.half(bytes, own)? == if elf.wide { 64 } else { 52 }
        && matches!(elf.half(bytes, 16)?, 1..=4);
    if !sound {
        return None;
    }
    let size = u64::from(elf.half(bytes, size)?) * u64::from(elf.half(bytes, count)?);
    let sections = elf.address(bytes, table)?.checked_add(size)?;
    let segments = elf.segments().map(|segment| segment.offset.saturating_add(segment.stored)).max().unwrap_or(0);
    Some(Header::Found(EmbeddedKind::Elf, Some(sections.max(segments)).filter(|length| *length > 0)))
}

/// A member's header with a version and a method that there are, and a name (PKWARE APPNOTE §4.3.7).
fn member(bytes: &[u8]) -> Option<Header> {
    const METHODS: [u16; 14] = [0, 1, 6, 8, 9, 10, 12, 14, 20, 93, 94, 95, 98, 99];
    let sound =
        le16(bytes, 4)? & 0xff <= 63 && METHODS.contains(&le16(bytes, 8)?) && (1..=4096).contains(&le16(bytes, 26)?);
    sound.then_some(Header::Begins(Begin::Member))
}

/// The end of a directory (PKWARE APPNOTE §4.3.16); one of zip64 does not say where anything is.
fn directory(bytes: &[u8]) -> Option<Header> {
    let (size, offset, comment) = (le32(bytes, 12)?, le32(bytes, 16)?, le16(bytes, 20)?);
    let known = size != u32::MAX && offset != u32::MAX;
    known.then(|| Header::Ends(End::Zip { size: size.into(), offset: offset.into(), length: 22 + u64::from(comment) }))
}

/// A compound file with sound sizes of sectors, and where the last sector of its allocation table is ([MS-CFB] §2.2).
fn compound(bytes: &[u8]) -> Option<Header> {
    let shift = le16(bytes, 30)?;
    let sound = matches!((le16(bytes, 26)?, shift), (3, 9) | (4, 12)) && le16(bytes, 28)? == 0xfffe;
    if !sound {
        return None;
    }
    let before = le32(bytes, 44)?.checked_sub(1);
    // Beyond what the header lists, the last one is anywhere.
    let last = before.filter(|last| *last < 109).and_then(|last| le32(bytes, 76 + place(last.into()) * 4));
    let table = last.filter(|sector| *sector < 0xffff_fffa).map(|sector| (u64::from(sector) + 1) << shift);
    let before = u64::from(before.unwrap_or(0)) << (shift - 2);
    let says = Says::Sectors { before, shift };
    Some(Header::Begins(Begin::Elsewhere { kind: EmbeddedKind::Ole, place: table, says }))
}
