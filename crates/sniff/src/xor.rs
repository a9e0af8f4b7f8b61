//! Executables under a repeating XOR key.
//!
//! Two ways of finding the key: two bytes turn the start into `MZ`, or the key is the first 4, 8, 16 or 32 bytes and the
//! executable follows it. Either way a whole PE header must come out, so that chance finds none.

use crate::bytes::{first, from, le16, le32};
use crate::kind::{Kind, XorKey};
use crate::pe;

/// How many bytes are decoded: headers and section table lie within.
const DECODED: usize = 4096;

/// The sentence for an executable that is hidden under a key.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    let [one, two, ..] = head else { return None };
    let pair = [one ^ b'M', two ^ b'Z'];
    if let Some(kind) = under(head, &pair, 0) {
        return Some(kind);
    }
    let in_front = [4, 8, 16, 32].into_iter().find_map(|length| {
        let (key, rest) = head.split_at_checked(length)?;
        under(rest, key, u8::try_from(length).ok()?)
    });
    in_front.or_else(|| behind_a_header(head))
}

/// The longest header before what is hidden.
const HEADER: usize = 64;
/// Where a DOS header has zeros, whoever made it: they show the key.
const ZEROS: std::ops::Range<usize> = 0x1c..0x3c;

/// What is under any key, at the beginning or behind a short header.
fn behind_a_header(head: &[u8]) -> Option<Kind> {
    (0..=HEADER).find_map(|begins| {
        let hidden = from(head, begins);
        let shown = hidden.get(ZEROS)?;
        (1..=XorKey::MOST).find_map(|length| {
            let period = |bytes: &[u8]| bytes.iter().zip(from(bytes, length)).all(|(one, next)| one == next);
            if !period(shown) {
                return None;
            }
            // Byte n of the key is over byte n of the file: the zeros begin in the midst of it.
            let mut key = [0; XorKey::MOST];
            for (at, byte) in ZEROS.zip(shown).take(length) {
                *key.get_mut(at % length)? = *byte;
            }
            under(hidden, first(&key, length), u8::try_from(begins).ok()?)
        })
    })
}

/// The sentence for what is under this key, if it is an executable.
fn under(hidden: &[u8], key: &[u8], begins: u8) -> Option<Kind> {
    let shown = |at: usize| Some(hidden.get(at)? ^ key.get(at % key.len())?);
    if shown(0)? != b'M' || shown(1)? != b'Z' || key.iter().all(|byte| *byte == 0) {
        return None;
    }
    let at = u32::from_le_bytes([shown(0x3c)?, shown(0x3d)?, shown(0x3e)?, shown(0x3f)?]);
    let at = usize::try_from(at).ok().filter(|at| (0x40..DECODED).contains(at))?;
    if shown(at)? != b'P' || shown(at.saturating_add(1))? != b'E' {
        return None;
    }
    let mut plain = [0; DECODED];
    let hidden = first(hidden, DECODED);
    for ((plain, hidden), key) in plain.iter_mut().zip(hidden).zip(key.iter().cycle()) {
        *plain = hidden ^ key;
    }
    let plain = first(&plain, hidden.len());
    let header = from(plain, at);
    let sound = le32(header, 0) == Some(u32::from_le_bytes(*b"PE\0\0"))
        && pe::machine(le16(header, 4)?).is_some()
        && (1..=96).contains(&le16(header, 6)?)
        && matches!(le16(header, 24)?, 0x10b | 0x20b);
    if !sound {
        return None;
    }
    Some(pe::describe(plain)?.obfuscated(XorKey::new(shortest(key), begins)?))
}

/// The key without its repetitions.
fn shortest(key: &[u8]) -> &[u8] {
    let repeats = |length: &usize| key.chunks(*length).all(|chunk| key.starts_with(chunk));
    first(key, (1..key.len()).filter(|length| key.len().is_multiple_of(*length)).find(repeats).unwrap_or(key.len()))
}
