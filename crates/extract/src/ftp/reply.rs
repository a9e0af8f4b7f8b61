//! Replies of a server (RFC 959 §4.2), of one line or of several.

use streamdb_types::StreamOffset;

use super::line::{Line, Lines};

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// Where it begins.
    pub(super) start: StreamOffset,
    /// Where what follows it begins.
    pub(super) end: StreamOffset,
    /// What its first line says behind the code.
    pub(super) first: Vec<u8>,
    /// What its last line says.
    pub(super) last: Vec<u8>,
    /// Whether a hole took its end.
    pub(super) broken: bool,
}

/// The next reply. Lines that are none are passed over.
pub(super) fn next(lines: &mut Lines<'_>) -> Option<Reply> {
    let (code, goes_on, line) = loop {
        let line = lines.next()?;
        if let Some((code, goes_on)) = code(&line.text) {
            break (code, goes_on, line);
        }
    };
    let Line { start, mut end, text, .. } = line;
    let first = said(&text);
    let mut last = first.clone();
    let lossy = lines.lossy;
    lines.lossy = false;
    // It ends with its code again and a blank; a hole may have taken that.
    while goes_on && !lines.lossy {
        let line = lines.next()?;
        if lines.lossy {
            break;
        }
        end = line.end;
        if self::code(&line.text) == Some((code, false)) {
            last = said(&line.text);
            break;
        }
    }
    let broken = lines.lossy;
    lines.lossy |= lossy;
    Some(Reply { code, start, end, first, last, broken })
}

/// The code that a line begins with, and whether more lines follow.
pub(super) fn code(line: &[u8]) -> Option<(u16, bool)> {
    let (digits, after) = line.split_first_chunk::<3>()?;
    let sound = matches!(digits, [b'1'..=b'6', b'0'..=b'9', b'0'..=b'9']) && matches!(after, [] | [b' ' | b'-', ..]);
    let code =
        digits.iter().fold(0u16, |code, digit| code.wrapping_mul(10).wrapping_add(u16::from(digit.wrapping_sub(b'0'))));
    sound.then_some((code, after.first() == Some(&b'-')))
}

fn said(line: &[u8]) -> Vec<u8> {
    line.get(4..).unwrap_or_default().to_vec()
}
