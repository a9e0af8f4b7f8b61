//! Contents that are, as a whole, an executable in base64, in hexadecimal digits or in gzip.
//!
//! As with keys, a whole header must come out, so that chance finds none. Before base64 and digits there may be what is usual
//! there, within bounds: a `data:` URL up to its comma, the first line of a PEM armour, or a short text that ends in the quote
//! which ends them, too, as a script has it.

mod decoder;

use std::io::Read;

use flate2::bufread::GzDecoder;

pub use self::decoder::TextDecoder;
use crate::bytes::{first, from, starts_with};
use crate::embedded::is_program;
use crate::kind::{HEAD_BYTES, Kind, sniff};
use crate::text;

/// The longest text before a quote, and behind the one that ends it.
const TEXT: usize = 4096;
/// The longest beginning of a `data:` URL, or line of a PEM armour.
const LINE: usize = 256;

/// In what an executable is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Base64 (RFC 4648 §4 or §5), also in lines.
    Base64,
    /// Hexadecimal digits, also in lines, with commas and with `0x`, `\x` or `&H` before each byte.
    Hex,
    /// One gzip member (RFC 1952).
    Gzip,
}

/// An executable in a coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// The coding.
    pub coding: Coding,
    /// The offset of the first byte of what is coded.
    pub begins: usize,
    /// The offset behind its last byte; nothing when nothing marks its end, or when that is not in the head: it
    /// goes on to the end of the content then, as far as is known.
    pub ends: Option<usize>,
    /// What is inside, judged by as much of it as the head holds.
    pub kind: Kind,
}

/// The executable that a content is in a coding, given its first bytes, of which [`HEAD_BYTES`] are looked at.
pub fn wrapped(head: &[u8]) -> Option<Wrapping> {
    let head = first(head, HEAD_BYTES);
    if head.starts_with(&[0x1f, 0x8b, 8]) {
        return gzip(head);
    }
    let bare = head.len() - head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().len();
    run(head, bare, &End::Nothing)
        .or_else(|| run(head, url(head)?, &End::Nothing))
        .or_else(|| run(head, armour(head)?, &End::Armour))
        .or_else(|| quoted(head))
}

fn gzip(head: &[u8]) -> Option<Wrapping> {
    let mut decoder = GzDecoder::new(head);
    let mut plain = Vec::new();
    // What comes out before the head ends, or before something is wrong with it, is enough.
    let read = decoder.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut plain);
    if !is_program(&plain) {
        return None;
    }
    // At the end of the output, and with a checksum that is right.
    let ended = read.is_ok() && matches!(decoder.read(&mut [0]), Ok(0));
    let ends = ended.then(|| head.len() - decoder.into_inner().len());
    Some(Wrapping { coding: Coding::Gzip, begins: 0, ends, kind: sniff(&plain) })
}

/// What must follow what is coded.
enum End {
    Nothing,
    Armour,
    Quote(u8),
}

/// Base64 or digits that begin here, to where they must end.
fn run(head: &[u8], begins: usize, end: &End) -> Option<Wrapping> {
    let coded = from(head, begins);
    let coding = coding(coded)?;
    let mut decoder = TextDecoder::new(coding)?;
    let mut plain = Vec::new();
    let ended = decoder.feed(coded, &mut plain);
    if ended.is_none() {
        decoder.finish(&mut plain);
    }
    if !is_program(&plain) {
        return None;
    }
    let length = first(coded, ended.unwrap_or(coded.len())).trim_ascii_end().len();
    let behind = from(coded, ended.unwrap_or(coded.len())).trim_ascii();
    let ends = match end {
        // Whether it goes on where the head ends nobody knows.
        End::Nothing if behind.is_empty() => None,
        End::Armour if behind.starts_with(b"-----END ") => Some(begins + length),
        End::Quote(quote) if behind.first() == Some(quote) && behind.len() <= TEXT && text::is_text(behind) => {
            Some(begins + length)
        }
        End::Armour | End::Quote(_) if ended.is_none() => None,
        _ => return None,
    };
    Some(Wrapping { coding, begins, ends, kind: sniff(&plain) })
}

/// What these letters can be the beginning of a program in.
fn coding(coded: &[u8]) -> Option<Coding> {
    match coded {
        // The letters of `MZ` and of `\x7fELF`.
        [b'T', b'V', b'o'..=b'r', ..] | [b'f', b'0', b'V', b'M', b'R', ..] => Some(Coding::Base64),
        [b'0' | b'\\' | b'&', b'x' | b'X' | b'h' | b'H', ..] => Some(Coding::Hex),
        [b'4', b'd' | b'D', ..] | [b'7', b'f' | b'F', ..] => Some(Coding::Hex),
        _ => None,
    }
}

/// Where the data of a `data:` URL begin (RFC 2397).
fn url(head: &[u8]) -> Option<usize> {
    if !starts_with(head, b"data:") {
        return None;
    }
    let line = first(head, LINE);
    let comma = memchr::memchr(b',', line)?;
    let before = first(line, comma);
    (!before.iter().any(u8::is_ascii_whitespace) && before.to_ascii_lowercase().ends_with(b";base64"))
        .then_some(comma + 1)
}

/// Where the lines of an armour begin (RFC 7468), which certutil writes around anything.
fn armour(head: &[u8]) -> Option<usize> {
    let line = first(head.strip_prefix(b"-----BEGIN ").map(|_| head)?, LINE);
    let end = memchr::memchr(b'\n', line)?;
    first(line, end).trim_ascii_end().ends_with(b"-----").then_some(end + 1)
}

/// Between the first quotes that enclose a program.
fn quoted(head: &[u8]) -> Option<Wrapping> {
    /// How many quotes are tried: each attempt looks at the whole head.
    const QUOTES: usize = 8;
    let before = first(head, TEXT);
    let mut tried = 0;
    for at in memchr::memchr2_iter(b'"', b'\'', before) {
        if coding(from(head, at + 1)).is_none() {
            continue;
        }
        tried += 1;
        if tried > QUOTES || !text::is_text(first(head, at + 1)) {
            return None;
        }
        let quote = *head.get(at)?;
        if let Some(found) = run(head, at + 1, &End::Quote(quote)) {
            return Some(found);
        }
    }
    None
}
