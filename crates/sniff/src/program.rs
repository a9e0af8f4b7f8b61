//! Executables: what Windows, Unix and virtual machines run.

use crate::kind::{Kind, be32, le16, le32};
use crate::text;

/// The sentence for an executable that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    match head {
        [b'M', b'Z', ..] => windows(head),
        [0x7f, b'E', b'L', b'F', class, order, ..] => Some(elf(*class, *order)),
        [b'd', b'e', b'x', b'\n', a, b, c, 0, ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
            let version: String = [*a, *b, *c].into_iter().map(char::from).collect();
            Some(Kind::made("application/x-dex", format!("Dalvik dex file version {version}"), "dex"))
        }
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Some(Kind::fixed("application/wasm", "WebAssembly (wasm) binary module version 0x1 (MVP)", "wasm"))
        }
        [0xca, 0xfe, 0xba, 0xbe, ..] => class_or_universal(head),
        _ => None,
    }
}

/// MZ, and what the new header says, if it lies within the head (Microsoft PE format, "MS-DOS Stub").
fn windows(head: &[u8]) -> Option<Kind> {
    const MIME: &str = "application/vnd.microsoft.portable-executable";
    let at = le32(head, 0x3c).and_then(|at| usize::try_from(at).ok());
    let signature = at.and_then(|at| head.get(at..)).unwrap_or_default();
    if signature.starts_with(b"PE\0\0") {
        return Some(match le16(signature, 24) {
            Some(0x10b) => Kind::fixed(MIME, "PE32 executable, for MS Windows", "exe"),
            Some(0x20b) => Kind::fixed(MIME, "PE32+ executable, for MS Windows", "exe"),
            _ => Kind::fixed(MIME, "PE executable, for MS Windows", "exe"),
        });
    }
    // Two letters are too little to call a text an executable.
    if text::is_text(head) {
        return None;
    }
    Some(Kind::fixed("application/x-dosexec", "MS-DOS executable", "exe"))
}

fn elf(class: u8, order: u8) -> Kind {
    Kind::fixed(
        "application/x-executable",
        match (class, order) {
            (1, 1) => "ELF 32-bit LSB",
            (1, 2) => "ELF 32-bit MSB",
            (2, 1) => "ELF 64-bit LSB",
            (2, 2) => "ELF 64-bit MSB",
            _ => "ELF",
        },
        "elf",
    )
}

/// Java classes and universal Mach-O binaries share their first four bytes; what follows is a version from 45 on, or a
/// small number of architectures.
fn class_or_universal(head: &[u8]) -> Option<Kind> {
    match be32(head, 4)? {
        n @ 1..=44 => Some(Kind::made(
            "application/x-mach-binary",
            format!("Mach-O universal binary with {n} architecture{}", if n == 1 { "" } else { "s" }),
            "macho",
        )),
        n if (45..=200).contains(&(n & 0xffff)) => {
            let (major, minor) = (n & 0xffff, n >> 16);
            Some(Kind::made(
                "application/java-vm",
                format!("compiled Java class data, version {major}.{minor}"),
                "class",
            ))
        }
        _ => None,
    }
}
