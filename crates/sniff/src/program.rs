//! What other machines run, real and virtual: Mach-O, Dalvik, Java, WebAssembly; and the test file of virus scanners.

use crate::bytes::{be32, le32, plural};
use crate::kind::Kind;

/// The test file in two halves, so that a program with this constant is not taken for one.
const EICAR: [&[u8]; 2] = [br"X5O!P%@AP[4\PZX54(P^)7CC)7}", b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// The sentence for an executable that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    match head {
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] => Some(mach_o(head, be32)),
        [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => Some(mach_o(head, le32)),
        [b'd', b'e', b'x', b'\n', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', 0, ..] => {
            let version: String = [*a, *b, *c].into_iter().map(char::from).collect();
            Some(Kind::made("application/x-dex", format!("Dalvik dex file version {version}"), "dex"))
        }
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Some(Kind::fixed("application/wasm", "WebAssembly (wasm) binary module version 0x1 (MVP)", "wasm"))
        }
        [0, b'a', b's', b'm', ..] => {
            let version = le32(head, 4)?;
            let sentence = format!("WebAssembly (wasm) binary module version {version:#x}");
            Some(Kind::made("application/wasm", sentence, "wasm"))
        }
        [0xca, 0xfe, 0xba, 0xbe, ..] => class_or_universal(head),
        [b'X', b'5', b'O', ..] => {
            let rest = head.strip_prefix(EICAR[0])?;
            rest.starts_with(EICAR[1]).then(|| Kind::fixed("text/plain", "EICAR virus test files", "com"))
        }
        _ => None,
    }
}

fn mach_o(head: &[u8], number: fn(&[u8], usize) -> Option<u32>) -> Kind {
    const MIME: &str = "application/x-mach-binary";
    let (Some(magic), Some(machine), Some(kind)) = (number(head, 0), number(head, 4), number(head, 12)) else {
        return Kind::fixed(MIME, "Mach-O", "macho");
    };
    let bits = if magic & 1 == 1 { " 64-bit" } else { "" };
    let machine = mach_machine(machine);
    let (what, extension) = match kind {
        1 => ("object", "o"),
        2 => ("executable", "macho"),
        3 => ("fixed virtual memory shared library", "dylib"),
        4 => ("core", "core"),
        5 => ("preload executable", "macho"),
        6 => ("dynamically linked shared library", "dylib"),
        7 => ("dynamic linker", "dylib"),
        8 => ("bundle", "bundle"),
        9 => ("dynamically linked shared library stub", "dylib"),
        10 => ("dSYM companion file", "dSYM"),
        11 => ("kext bundle", "kext"),
        _ => ("unknown type", "macho"),
    };
    Kind::made(MIME, format!("Mach-O{bits} {machine} {what}"), extension)
}

/// What a machine's number stands for in a Mach-O file.
pub(crate) const fn mach_machine(number: u32) -> &'static str {
    match number {
        7 => "i386",
        0x0100_0007 => "x86_64",
        12 => "arm",
        0x0100_000c => "arm64",
        0x0200_000c => "arm64_32",
        18 => "ppc",
        0x0100_0012 => "ppc64",
        _ => "unknown machine",
    }
}

/// Java classes and universal Mach-O binaries share their first four bytes; what follows is a version from 45 on, or a
/// small number of architectures.
fn class_or_universal(head: &[u8]) -> Option<Kind> {
    match be32(head, 4)? {
        n @ 1..=30 => {
            let sentence = format!("Mach-O universal binary with {n} architecture{}", plural(n));
            Some(Kind::made("application/x-mach-binary", sentence, "macho"))
        }
        n if (45..=200).contains(&(n & 0xffff)) => {
            let (major, minor) = (n & 0xffff, n >> 16);
            let release = match major {
                46..=52 if minor == 0 => format!(" (Java 1.{})", major - 44),
                53.. if minor == 0 => format!(" (Java SE {})", major - 44),
                _ => String::new(),
            };
            let sentence = format!("compiled Java class data, version {major}.{minor}{release}");
            Some(Kind::made("application/java-vm", sentence, "class"))
        }
        _ => None,
    }
}
