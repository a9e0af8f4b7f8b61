//! Many things in one: archives, disk images and packages.

use std::fmt::Write;

use crate::bytes::{be16, first, from, le16, le32, plural, push_printable, to_nul};
use crate::kind::{Content, Kind};
use crate::zip;

/// The sentence for an archive that begins with the head.
pub(crate) fn describe(content: &Content<'_>) -> Option<Kind> {
    let head = content.head();
    match head {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', b'0', b'0', b'P', b'K', 3, 4, ..] => {
            Some(zip::describe(head))
        }
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, major, minor, ..] => Some(Kind::made(
            "application/x-7z-compressed",
            format!("7-zip archive data, version {major}.{minor}"),
            "7z",
        )),
        [b'R', b'a', b'r', b'!', 0x1a, 7, 1, 0, ..] => {
            Some(Kind::fixed("application/vnd.rar", "RAR archive data, v5", "rar"))
        }
        [b'R', b'a', b'r', b'!', 0x1a, 7, 0, ..] => {
            Some(Kind::fixed("application/vnd.rar", "RAR archive data, v4", "rar"))
        }
        [b'M', b'S', b'C', b'F', 0, 0, 0, 0, ..] => Some(cabinet(head)),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Some(ar(head)),
        [0xed, 0xab, 0xee, 0xdb, ..] => Some(rpm(head)),
        _ => tar(head).or_else(|| iso(head)),
    }
}

fn cabinet(head: &[u8]) -> Kind {
    const MIME: &str = "application/vnd.ms-cab-compressed";
    match (le32(head, 8), le16(head, 28)) {
        (Some(bytes), Some(files)) => {
            let s = plural(files.into());
            Kind::made(MIME, format!("Microsoft Cabinet archive data, {bytes} bytes, {files} file{s}"), "cab")
        }
        _ => Kind::fixed(MIME, "Microsoft Cabinet archive data", "cab"),
    }
}

/// A Unix archive, which a Debian package is too: a member of 60 bytes of header and its padded size after the other.
fn ar(head: &[u8]) -> Kind {
    if !from(head, 8).starts_with(b"debian-binary") {
        return Kind::fixed("application/x-archive", "current ar archive", "a");
    }
    let mut sentence = String::from("Debian binary package");
    let mut at = 8;
    for _ in 0..8 {
        let Some(member) = head.get(at..).and_then(|rest| rest.first_chunk::<60>()) else { break };
        let name = first(member, 16);
        let name = first(name, name.iter().position(|b| matches!(b, b' ' | b'/')).unwrap_or(16));
        let Some(size) = number(first(from(member, 48), 10).trim_ascii(), 10) else { break };
        let body = from(head, at + 60);
        if name == b"debian-binary" {
            let version = first(body, 8).split(|b| *b == b'\n').next().unwrap_or_default();
            if version.iter().all(|b| b.is_ascii_digit() || *b == b'.') {
                sentence.push_str(" (format ");
                push_printable(&mut sentence, version, 8);
                sentence.push(')');
            }
        } else if name.starts_with(b"control.tar") {
            sentence.push_str(", with ");
            push_printable(&mut sentence, name, 16);
        } else if let Some(coding) = name.strip_prefix(b"data.tar") {
            sentence.push_str(", data compression ");
            let coding = coding.strip_prefix(b".").unwrap_or(b"none");
            push_printable(&mut sentence, coding, 16);
            break;
        }
        let next = usize::try_from(size).ok().and_then(|size| at.checked_add(60)?.checked_add(size));
        let Some(next) = next.and_then(|next| next.checked_next_multiple_of(2)) else { break };
        at = next;
    }
    Kind::made("application/vnd.debian.binary-package", sentence, "deb")
}

/// The lead, which newer packages keep for old readers (RPM file format, "Lead").
fn rpm(head: &[u8]) -> Kind {
    let mut sentence = String::from("RPM");
    if let [major, minor, ..] = from(head, 4) {
        // Writing to a string cannot fail.
        _ = write!(sentence, " v{major}.{minor}");
    }
    sentence.push_str(match be16(head, 6) {
        Some(0) => " bin",
        Some(1) => " src",
        _ => "",
    });
    sentence.push_str(match be16(head, 8) {
        Some(1) => " i386/x86_64",
        Some(2) => " Alpha/Sparc64",
        Some(3) => " Sparc",
        Some(4) => " MIPS",
        Some(5) => " PowerPC",
        Some(9) => " IA64",
        Some(11) => " MIPSel",
        Some(12) => " ARM",
        Some(14) => " S/390",
        Some(15) => " S/390x",
        Some(16) => " PowerPC64",
        Some(255) => " noarch",
        _ => "",
    });
    Kind::made("application/x-rpm", sentence, "rpm")
}

/// A header whose checksum is right (POSIX pax, "ustar Interchange Format"): the sum of its bytes, as signed or unsigned
/// ones, with the field itself as blanks.
fn tar(head: &[u8]) -> Option<Kind> {
    const FIELD: std::ops::Range<usize> = 148..156;
    let field = head.get(FIELD)?;
    // The field says whether it is worth adding up.
    let said = number(to_nul(field).trim_ascii(), 8)?;
    let block = head.get(..512)?;
    let other = block.iter().enumerate().filter(|(at, _)| !FIELD.contains(at)).map(|(_, byte)| *byte);
    let unsigned: u64 = other.clone().map(u64::from).sum::<u64>() + 8 * 32;
    let signed: i64 = other.map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + 8 * 32;
    if said != unsigned && i64::try_from(said) != Ok(signed) {
        return None;
    }
    let sentence = match from(block, 257) {
        [b'u', b's', b't', b'a', b'r', b' ', b' ', 0, ..] => "POSIX tar archive (GNU)",
        [b'u', b's', b't', b'a', b'r', 0, ..] => "POSIX tar archive",
        _ => "tar archive",
    };
    Some(Kind::fixed("application/x-tar", sentence, "tar"))
}

/// The primary volume descriptor, in the seventeenth sector (ECMA-119 §8.4).
fn iso(head: &[u8]) -> Option<Kind> {
    let descriptor = head.get(32768..)?;
    if !from(descriptor, 1).starts_with(b"CD001") {
        return None;
    }
    let label = to_nul(first(from(descriptor, 40), 32)).trim_ascii_end();
    let mut sentence = String::from("ISO 9660 CD-ROM filesystem data '");
    push_printable(&mut sentence, label, 32);
    sentence.push('\'');
    Some(Kind::made("application/x-iso9660-image", sentence, "iso"))
}

/// A number in digits alone.
fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() || digits.len() > 11 {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        Some(sum * u64::from(base) + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!((number(b"017", 8), number(b"", 8), number(b"8", 8)), (Some(15), None, None));
    }
}
