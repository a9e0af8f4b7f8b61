//! Numbers, words and printable text out of bytes that may end anywhere.

use std::fmt::Write;

/// The little-endian number of two bytes at `at`.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

/// The little-endian number of four bytes at `at`.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// The little-endian number of eight bytes at `at`.
pub(crate) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// The big-endian number of two bytes at `at`.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// The big-endian number of four bytes at `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// The big-endian number of eight bytes at `at`.
pub(crate) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_be_bytes(*b))
}

/// A number that came from the bytes as a place in them; one past all of them when it does not fit.
pub(crate) fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The bytes at `at`, and nothing where there are none.
pub(crate) fn from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// At most the first `count` bytes.
pub(crate) fn first(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(..count).unwrap_or(bytes)
}

/// Where `word` begins.
pub(crate) fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, word)
}

/// Whether the bytes start with `prefix`, upper and lower case alike.
pub(crate) fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether `word`, which is in lower case, occurs, upper and lower case alike.
pub(crate) fn contains(bytes: &[u8], word: &[u8]) -> bool {
    let Some((first, rest)) = word.split_first() else { return true };
    memchr::memchr2_iter(*first, first.to_ascii_uppercase(), bytes)
        .any(|at| starts_with(from(bytes, at.saturating_add(1)), rest))
}

/// The decimal number that these bytes start with.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.iter().take(9).take_while(|b| b.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        number = Some(number.unwrap_or(0) * 10 + u32::from(digit - b'0'));
    }
    number
}

/// The bytes up to the first zero byte, or all of them.
pub(crate) fn to_nul(bytes: &[u8]) -> &[u8] {
    first(bytes, memchr::memchr(0, bytes).unwrap_or(bytes.len()))
}

/// Captured bytes for a sentence: printable ASCII stays, anything else becomes `\xNN`; cut after `most` bytes.
pub fn push_printable(sentence: &mut String, bytes: &[u8], most: usize) {
    for byte in first(bytes, most) {
        match byte {
            b' '..=b'~' => sentence.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => _ = write!(sentence, "\\x{byte:02x}"),
        }
    }
    if bytes.len() > most {
        sentence.push_str("...");
    }
}

/// `s` for any number but one.
pub(crate) const fn plural(number: u32) -> &'static str {
    if number == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable() {
        let mut sentence = String::new();
        push_printable(&mut sentence, b"a\x1b[1m\r\n\xff", 7);
        assert_eq!(sentence, "a\\x1b[1m\\x0d\\x0a...");
    }

    #[test]
    fn words() {
        assert!(contains(b"..WScript.Shell", b"wscript."));
        assert!(!contains(b"wscrip", b"wscript"));
        assert_eq!((decimal(b"12a"), decimal(b"a"), decimal(b"99999999999")), (Some(12), None, Some(999_999_999)));
        assert_eq!(to_nul(b"ab\0c"), b"ab");
    }
}
