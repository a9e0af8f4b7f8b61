//! How a text is encoded, how its lines end, and how long they are: what file(1) says of every text.

use std::borrow::Cow;
use std::fmt::Write;

use crate::bytes::{first, from};
use crate::kind::Content;

/// A line that is longer than this, in characters, is very long.
const LONG_LINE: usize = 300;
/// How many bytes are looked at in order to keep texts out of what two letters would make of them.
const GLANCE: usize = 4096;

/// How a text is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Ascii,
    Utf8,
    Utf8Bom,
    Utf16Le,
    Utf16Be,
    Latin,
    ExtendedAscii,
}

impl Encoding {
    /// As file(1) says it.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Ascii => "ASCII text",
            Self::Utf8 => "Unicode text, UTF-8 text",
            Self::Utf8Bom => "Unicode text, UTF-8 (with BOM) text",
            Self::Utf16Le => "Unicode text, UTF-16, little-endian text",
            Self::Utf16Be => "Unicode text, UTF-16, big-endian text",
            Self::Latin => "ISO-8859 text",
            Self::ExtendedAscii => "Non-ISO extended-ASCII text",
        }
    }

    /// As it was said in 2012.
    pub(crate) const fn legacy(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8 Unicode text",
            Self::Utf8Bom => "UTF-8 Unicode (with BOM) text",
            Self::Utf16Le => "Little-endian UTF-16 Unicode text",
            Self::Utf16Be => "Big-endian UTF-16 Unicode text",
            _ => self.sentence(),
        }
    }

    /// The byte order mark that comes before the words.
    pub(crate) fn strip(self, head: &[u8]) -> &[u8] {
        let mark = match self {
            Self::Utf8Bom => 3,
            Self::Utf16Le | Self::Utf16Be => 2,
            _ => 0,
        };
        from(head, mark)
    }
}

/// Which bytes occur.
#[derive(Clone, Copy, Default)]
struct Bytes {
    /// Controls that are in no text.
    control: bool,
    high: bool,
    /// 0x80 to 0x9f but NEL (0x85), which ISO 8859 does not use.
    upper_control: bool,
    escape: bool,
    backspace: bool,
    return_: bool,
}

/// What a text is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) encoding: Encoding,
    escapes: bool,
    overstrikes: bool,
    crlf: bool,
    cr: bool,
    lf: bool,
    /// The longest line, in characters.
    longest: usize,
    /// Whether lines that do not end in sight end nowhere.
    ended: bool,
}

/// Whether these bytes read as text in an encoding that is told without guessing (ASCII or UTF-8).
pub(crate) fn is_text(head: &[u8]) -> bool {
    let head = first(head, GLANCE);
    matches!(encoding(head, occurring(head)), Some(Encoding::Ascii | Encoding::Utf8 | Encoding::Utf8Bom))
}

/// What the text is like, or nothing when a byte of it is in no text.
pub(crate) fn manner(content: &Content<'_>) -> Option<Manner> {
    let head = content.head();
    let bytes = occurring(head);
    let encoding = encoding(head, bytes)?;
    let mut manner = Manner {
        encoding,
        escapes: bytes.escape,
        overstrikes: bytes.backspace,
        crlf: false,
        cr: false,
        lf: false,
        longest: 0,
        ended: content.is_whole() || head.len() == crate::HEAD_BYTES,
    };
    match encoding {
        Encoding::Utf16Le => manner.wide_lines(from(head, 2), u16::from_le_bytes),
        Encoding::Utf16Be => manner.wide_lines(from(head, 2), u16::from_be_bytes),
        _ => manner.lines(head, bytes.return_),
    }
    Some(manner)
}

impl Manner {
    /// What follows a sentence about a text.
    pub(crate) fn suffix(&self) -> Cow<'static, str> {
        let mut suffix = String::new();
        if self.longest > LONG_LINE {
            // Writing to a string cannot fail.
            _ = write!(suffix, ", with very long lines ({})", self.longest);
        }
        match (self.crlf, self.cr, self.lf) {
            (false, false, true) => {}
            (false, false, false) => {
                if self.ended {
                    suffix.push_str(", with no line terminators");
                }
            }
            (true, false, false) => suffix.push_str(", with CRLF line terminators"),
            (true, false, true) => suffix.push_str(", with CRLF, LF line terminators"),
            (true, true, false) => suffix.push_str(", with CRLF, CR line terminators"),
            (true, true, true) => suffix.push_str(", with CRLF, CR, LF line terminators"),
            (false, true, false) => suffix.push_str(", with CR line terminators"),
            (false, true, true) => suffix.push_str(", with CR, LF line terminators"),
        }
        if self.escapes {
            suffix.push_str(", with escape sequences");
        }
        if self.overstrikes {
            suffix.push_str(", with overstriking");
        }
        if suffix.is_empty() { Cow::Borrowed("") } else { Cow::Owned(suffix) }
    }

    fn lines(&mut self, text: &[u8], has_returns: bool) {
        if has_returns {
            let (mut crlf, mut cr, mut lf) = (false, false, text.first() == Some(&b'\n'));
            for (one, two) in text.iter().zip(from(text, 1)) {
                crlf |= (*one == b'\r') & (*two == b'\n');
                cr |= (*one == b'\r') & (*two != b'\n');
                lf |= (*one != b'\r') & (*two == b'\n');
            }
            // A last return may be half of a line end that is not here.
            cr |= self.ended && text.last() == Some(&b'\r');
            (self.crlf, self.cr, self.lf) = (crlf, cr, lf);
        } else {
            self.lf = memchr::memchr(b'\n', text).is_some();
        }
        self.longest = longest(text);
    }

    fn wide_lines(&mut self, text: &[u8], unit: fn([u8; 2]) -> u16) {
        let (mut before, mut length) = (0, 0_usize);
        for pair in text.as_chunks::<2>().0 {
            let unit = unit(*pair);
            match unit {
                0x0a if before == 0x0d => self.crlf = true,
                0x0a => self.lf = true,
                _ => self.cr |= before == 0x0d,
            }
            length = if matches!(unit, 0x0a | 0x0d) { 0 } else { length + 1 };
            self.longest = self.longest.max(length);
            before = unit;
        }
        self.cr |= self.ended && before == 0x0d;
    }
}

/// The longest line in characters, if it is very long; 0 otherwise. Most bytes need no look: a line end that is found
/// backwards from where a line would be too long makes all lines up to it short enough.
fn longest(text: &[u8]) -> usize {
    let (mut rest, mut longest) = (text, 0);
    while let Some(window) = rest.get(..=LONG_LINE) {
        if let Some(end) = memchr::memrchr2(b'\n', b'\r', window) {
            rest = from(rest, end + 1);
            continue;
        }
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = first(rest, end);
        let continued = line.iter().filter(|b| **b & 0xc0 == 0x80).count();
        let characters = match std::str::from_utf8(line) {
            Ok(_) => line.len() - continued,
            Err(_) => line.len(),
        };
        if characters > LONG_LINE {
            longest = longest.max(characters);
        }
        rest = from(rest, end + 1);
    }
    longest
}

/// Looks at every byte once, in blocks, so that the compiler can look at many at a time, and stops in the block that no
/// text has.
fn occurring(head: &[u8]) -> Bytes {
    let mut seen = Bytes::default();
    for block in head.chunks(256) {
        let (mut control, mut high, mut upper, mut escape, mut backspace, mut return_) =
            (0_u8, 0_u8, 0_u8, 0_u8, 0_u8, 0_u8);
        for byte in block {
            let byte = *byte;
            // The controls that file(1) allows in texts: bell to carriage return, and escape.
            let low = byte < 0x20;
            let allowed = byte.wrapping_sub(7) < 7;
            let is_escape = byte == 0x1b;
            control |= u8::from(low & !allowed & !is_escape) | u8::from(byte == 0x7f);
            high |= byte & 0x80;
            upper |= u8::from((byte.wrapping_sub(0x80) < 0x20) & (byte != 0x85));
            escape |= u8::from(is_escape);
            backspace |= u8::from(byte == 8);
            return_ |= u8::from(byte == b'\r');
        }
        seen = Bytes {
            control: seen.control | (control != 0),
            high: seen.high | (high != 0),
            upper_control: seen.upper_control | (upper != 0),
            escape: seen.escape | (escape != 0),
            backspace: seen.backspace | (backspace != 0),
            return_: seen.return_ | (return_ != 0),
        };
        if seen.control {
            break;
        }
    }
    seen
}

/// The encoding of a text, or nothing when a byte of it is in no text.
fn encoding(head: &[u8], bytes: Bytes) -> Option<Encoding> {
    match head {
        [0xff, 0xfe, rest @ ..] if utf16_is_text(rest, u16::from_le_bytes) => return Some(Encoding::Utf16Le),
        [0xfe, 0xff, rest @ ..] if utf16_is_text(rest, u16::from_be_bytes) => return Some(Encoding::Utf16Be),
        _ => {}
    }
    if bytes.control {
        return None;
    }
    if !bytes.high {
        return Some(Encoding::Ascii);
    }
    let utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character cut by the end of the head is no error.
        Err(error) => error.error_len().is_none(),
    };
    Some(match (utf8, bytes.upper_control) {
        (true, _) if head.starts_with(b"\xef\xbb\xbf") => Encoding::Utf8Bom,
        (true, _) => Encoding::Utf8,
        (false, false) => Encoding::Latin,
        (false, true) => Encoding::ExtendedAscii,
    })
}

fn utf16_is_text(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> bool {
    let (pairs, _) = bytes.as_chunks::<2>();
    !pairs.is_empty() && pairs.iter().all(|pair| !matches!(unit(*pair), 0..=6 | 0x0e..=0x1a | 0xfffe | 0xffff))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The longest line, by splitting.
    fn split(text: &[u8]) -> usize {
        let lengths = text.split(|b| matches!(b, b'\n' | b'\r')).map(<[u8]>::len);
        lengths.filter(|length| *length > LONG_LINE).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn the_longest_line_is_the_one_of_splitting(lines in proptest::collection::vec((0..700_usize, 0..3_usize), 0..12)) {
            let mut text = Vec::new();
            for (length, end) in lines {
                text.extend(std::iter::repeat_n(b'x', length));
                text.extend([&b"\n"[..], b"\r\n", b"\r"][end]);
            }
            prop_assert_eq!(longest(&text), split(&text));
            text.pop();
            prop_assert_eq!(longest(&text), split(&text));
        }
    }

    fn said(text: &[u8]) -> String {
        let manner = manner(&Content::whole(text)).unwrap();
        format!("{}{}", manner.encoding.sentence(), manner.suffix())
    }

    #[test]
    fn manners() {
        assert_eq!(said(b"a"), "ASCII text, with no line terminators");
        assert_eq!(said(b"a\n"), "ASCII text");
        assert_eq!(said(b"a\r\nb\n"), "ASCII text, with CRLF, LF line terminators");
        assert_eq!(said(b"a\rb\r"), "ASCII text, with CR line terminators");
        assert_eq!(said(b"a\x1b[m\x08\n"), "ASCII text, with escape sequences, with overstriking");
        assert_eq!(
            said(b"\xff\xfea\0\r\0\n\0"),
            "Unicode text, UTF-16, little-endian text, with CRLF line terminators"
        );
        assert_eq!(said(&[b'a'; 301]), "ASCII text, with very long lines (301), with no line terminators");
        assert_eq!(said(&[b'a'; 300]), "ASCII text, with no line terminators");
        assert_eq!(
            said("\u{fc}".repeat(301).as_bytes()),
            "Unicode text, UTF-8 text, with very long lines (301), with no line terminators"
        );
        assert_eq!(said(b"\x93quoted\x94\n"), "Non-ISO extended-ASCII text");
        assert!(manner(&Content::whole(b"a\0")).is_none());
        assert_eq!(manner(&Content::beginning(b"a")).unwrap().suffix(), "", "a line end may follow");
    }
}
