//! One thing, compressed.

use std::fmt::Write;

use crate::bytes::{first, from, le16, le32, push_printable, to_nul};
use crate::kind::{Content, Kind};

/// The longest name of a gzip member that is shown, in bytes.
const NAME: usize = 64;

/// The sentence for compressed data that begin with the head.
pub(crate) fn describe(content: &Content<'_>) -> Option<Kind> {
    let head = content.head();
    match head {
        [0x1f, 0x8b, 8, ..] => Some(gzip(content)),
        [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f)) => {
            let sentence = format!(
                "compress'd data{} {} bits",
                if flags & 0x80 != 0 { " block compressed" } else { "" },
                flags & 0x1f
            );
            Some(Kind::made("application/x-compress", sentence, "Z"))
        }
        [b'B', b'Z', b'h', level @ b'1'..=b'9', rest @ ..] if is_bzip2(rest) => {
            let level = char::from(*level);
            Some(Kind::made("application/x-bzip2", format!("bzip2 compressed data, block size = {level}00k"), "bz2"))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, rest @ ..] => {
            let sentence = match rest {
                [0, 0, ..] => "XZ compressed data, checksum NONE",
                [0, 1, ..] => "XZ compressed data, checksum CRC32",
                [0, 4, ..] => "XZ compressed data, checksum CRC64",
                [0, 10, ..] => "XZ compressed data, checksum SHA-256",
                _ => "XZ compressed data",
            };
            Some(Kind::fixed("application/x-xz", sentence, "xz"))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Some(Kind::fixed("application/zstd", "Zstandard compressed data (v0.8+)", "zst"))
        }
        [0x04, 0x22, 0x4d, 0x18, ..] => Some(Kind::fixed("application/x-lz4", "LZ4 compressed data (v1.4+)", "lz4")),
        _ => None,
    }
}

/// A block begins with the digits of pi, and a stream without blocks ends with those of its square root.
fn is_bzip2(rest: &[u8]) -> bool {
    const BEGINS: [[u8; 6]; 2] = [[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], [0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];
    let start = first(rest, 6);
    BEGINS.iter().any(|begins| begins.starts_with(start))
}

/// The member header (RFC 1952 §2.3), and the size at the end if that is at hand.
fn gzip(content: &Content<'_>) -> Kind {
    const FLAG_EXTRA: u8 = 4;
    const FLAG_NAME: u8 = 8;
    let head = content.head();
    let flags = head.get(3).copied().unwrap_or(0);
    let system = match head.get(9) {
        Some(0) => ", from FAT filesystem (MS-DOS, OS/2, NT)",
        Some(1) => ", from Amiga",
        Some(2) => ", from VMS",
        Some(3) => ", from Unix",
        Some(4) => ", from VM/CMS",
        Some(5) => ", from Atari",
        Some(6) => ", from HPFS filesystem (OS/2, NT)",
        Some(7) => ", from MacOS",
        Some(8) => ", from Z-System",
        Some(9) => ", from CP/M",
        Some(10) => ", from TOPS/20",
        Some(11) => ", from NTFS filesystem (NT)",
        Some(12) => ", from QDOS",
        Some(13) => ", from Acorn RISCOS",
        _ => "",
    };
    let mut sentence = String::from("gzip compressed data");
    if flags & FLAG_NAME != 0 {
        let extra = if flags & FLAG_EXTRA == 0 { 0 } else { 2 + usize::from(le16(head, 10).unwrap_or(u16::MAX)) };
        let name = to_nul(first(from(head, 10 + extra), 4096));
        if !name.is_empty() {
            sentence.push_str(", was \"");
            push_printable(&mut sentence, name, NAME);
            sentence.push('"');
        }
    }
    sentence.push_str(system);
    // Header and trailer are 18 bytes; what is shorter has no trailer.
    if content.is_whole()
        && head.len() >= 18
        && let Some(size) = le32(head, head.len() - 4)
    {
        // Writing to a string cannot fail.
        _ = write!(sentence, ", original size modulo 2^32 {size}");
    }
    Kind::made("application/gzip", sentence, "gz").formerly(format!("gzip compressed data{system}"))
}
