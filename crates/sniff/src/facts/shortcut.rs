//! Facts of Windows shortcuts ([MS-SHLLINK]): where they lead, and what they hand over there.

use super::Facts;
use crate::bytes::{first, from, le16, le32, place, to_nul};

const HAS_IDS: u32 = 1;
const HAS_INFO: u32 = 2;
const UNICODE: u32 = 0x80;
/// The texts that may follow, in this order, each with its flag (§2.4).
const TEXTS: [(u32, &str); 5] =
    [(4, "description"), (8, "relative path"), (0x10, "working folder"), (0x20, "arguments"), (0x40, "icon")];
/// The most blocks behind the texts.
const BLOCKS: usize = 32;

pub(super) fn look(content: &[u8], facts: &mut Facts) {
    let (Some(flags), Some(mut rest)) = (le32(content, 20), content.get(76..)) else { return };
    for (name, at) in [("target created", 28), ("target written", 44)] {
        if let Some(time) = crate::bytes::le64(content, at).filter(|time| *time != 0).and_then(super::filetime) {
            facts.say(name, time);
        }
    }
    if flags & HAS_IDS != 0 {
        let Some(length) = le16(rest, 0) else { return };
        rest = from(rest, 2 + usize::from(length));
    }
    let mut target = false;
    if flags & HAS_INFO != 0 {
        let Some(length) = le32(rest, 0) else { return };
        let info = first(rest, place(length.into()));
        target = path(info, facts).is_some();
        rest = from(rest, place(length.into()));
    }
    for (flag, name) in TEXTS {
        if flags & flag == 0 {
            continue;
        }
        let Some(letters) = le16(rest, 0).map(usize::from) else { return };
        let length = if flags & UNICODE != 0 { letters * 2 } else { letters };
        let Some(text) = rest.get(2..2 + length) else { return };
        if flags & UNICODE != 0 {
            facts.quote_wide(name, text.as_chunks::<2>().0.iter().map(|letter| u16::from_le_bytes(*letter)));
        } else {
            facts.quote(name, text);
        }
        rest = from(rest, 2 + length);
    }
    const ENVIRONMENT: u32 = 0xa000_0001;
    const TRACKER: u32 = 0xa000_0003;
    for _ in 0..BLOCKS {
        let Some(size) = le32(rest, 0).map(|size| place(size.into())).filter(|size| *size >= 8) else { return };
        let block = first(rest, size);
        match le32(block, 4) {
            // A path with variables goes before the one that was found when the shortcut was made.
            Some(ENVIRONMENT) if !target => facts.quote("target", to_nul(first(from(block, 8), 260))),
            Some(TRACKER) => facts.quote("made on", to_nul(first(from(block, 16), 16))),
            _ => {}
        }
        rest = from(rest, size);
    }
}

/// The path on a local volume or a share (§2.3).
fn path(info: &[u8], facts: &mut Facts) -> Option<()> {
    const LOCAL: u32 = 1;
    const SHARE: u32 = 2;
    let flags = le32(info, 8)?;
    let text = |at: usize| Some(to_nul(from(info, place(le32(info, at)?.into()))));
    let rest = text(24)?;
    let begin = if flags & LOCAL != 0 {
        text(16)?.to_vec()
    } else if flags & SHARE != 0 {
        let share = from(info, place(le32(info, 20)?.into()));
        let name = to_nul(from(share, place(le32(share, 8)?.into())));
        if rest.is_empty() { name.to_vec() } else { [name, b"\\"].concat() }
    } else {
        return None;
    };
    facts.quote("target", &[&begin, rest].concat());
    Some(())
}
