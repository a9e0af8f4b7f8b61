//! What packed or wrapped a program: by its sections' names, and by what it carries behind them.

use super::super::Facts;
use super::image::Image;
use crate::bytes::{find, first, from, place};

/// How far behind the sections an installer's data are looked for.
const NEAR: usize = 4096;

/// What a section's name begins with, and who writes it.
const PACKERS: [(&[u8], &str); 16] = [
    (b"UPX0", "UPX"),
    (b"UPX1", "UPX"),
    (b".aspack", "ASPack"),
    (b".adata", "ASPack"),
    (b"PEC2", "PECompact"),
    (b"pec1", "PECompact"),
    (b".themida", "Themida"),
    (b".winlice", "Themida"),
    (b".vmp0", "VMProtect"),
    (b".vmp1", "VMProtect"),
    (b".MPRESS1", "MPRESS"),
    (b".petite", "Petite"),
    (b".nsp0", "NsPack"),
    (b"nsp0", "NsPack"),
    (b".enigma1", "Enigma"),
    (b".perplex", "Perplex"),
];

pub(super) fn look(image: &Image<'_>, facts: &mut Facts) {
    let named = |begin: &[u8]| image.sections.iter().any(|section| section.name.starts_with(begin));
    if let Some((_, packer)) = PACKERS.iter().find(|(begin, _)| named(begin)) {
        facts.say("packer", packer);
    }
    let overlay = overlay(image);
    if let Some(at) = overlay {
        facts.say("overlay", at);
    }
    let behind = overlay.map_or(&[][..], |at| from(image.content, place(at)));
    let near = first(behind, NEAR);
    // Inno Setup: the older by a mark in the DOS header, the newer by the table of offsets in a resource.
    let inno = || {
        from(image.content, 0x30).starts_with(b"Inno")
            || find(image.content, b"rDlPtS\xcd\xe6\xd7\x7b\x0b\x2a").is_some()
            || near.starts_with(b"idska32\x1a")
    };
    let installer = if named(b".ndata") || find(near, b"\xef\xbe\xad\xdeNullsoftInst").is_some() {
        "NSIS"
    } else if named(b".wixburn") {
        "WiX Burn"
    } else if inno() {
        "Inno Setup"
    } else if near.starts_with(b";!@Install@!UTF-8!") || near.starts_with(b"7z\xbc\xaf\x27\x1c") {
        "7-Zip self-extracting archive"
    } else if near.starts_with(b"Rar!\x1a\x07") {
        "RAR self-extracting archive"
    } else if near.starts_with(b"PK\x03\x04") {
        "zip self-extracting archive"
    } else if near.starts_with(b"MSCF\0\0\0\0") {
        "cabinet self-extracting archive"
    } else {
        return;
    };
    facts.say("installer", installer);
}

/// Where something begins behind the sections that is not the certificate table, as far as is given.
fn overlay(image: &Image<'_>) -> Option<u64> {
    const SECURITY: usize = 4;
    let end = image.end();
    let behind = image.content.get(place(end)..).filter(|behind| !behind.is_empty() && end > 0)?;
    let (at, size) = image.directory(SECURITY).unwrap_or((0, 0));
    let (at, size) = (u64::from(at), u64::from(size));
    if at < end || size == 0 {
        return Some(end);
    }
    // Files are filled up to the table, which begins at a multiple of eight.
    let between = first(behind, place(at - end));
    if between.len() > 7 || between.iter().any(|byte| *byte != 0) {
        return Some(end);
    }
    let after = at + size.next_multiple_of(8);
    (image.content.len() as u64 > after).then_some(after)
}
