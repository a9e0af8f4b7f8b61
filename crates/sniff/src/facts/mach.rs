//! Facts of Mach-O files, also of each architecture in a universal one: type, libraries, signature.

use super::Facts;
use crate::bytes::{be32, be64, first, from, le32, place, to_nul};
use crate::program::mach_machine;

/// The most architectures of a universal binary.
const ARCHITECTURES: usize = 16;
/// The most load commands of one architecture.
const COMMANDS: usize = 512;

pub(super) fn look(content: &[u8], facts: &mut Facts) {
    if !matches!(content, [0xca, 0xfe, 0xba, 0xbe | 0xbf, ..]) {
        return one(content, facts);
    }
    let wide = content.get(3) == Some(&0xbf);
    // Java classes begin alike; their versions are greater.
    let Some(count) = be32(content, 4).filter(|count| *count <= 30) else { return };
    facts.say("architectures", count);
    let size = if wide { 32 } else { 20 };
    for entry in from(content, 8).chunks_exact(size).take(place(count.into()).min(ARCHITECTURES)) {
        let at = if wide { be64(entry, 8) } else { be32(entry, 8).map(u64::from) };
        let inside = at.filter(|at| *at != 0).map_or(&[][..], |at| from(content, place(at)));
        match inside {
            [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] | [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] => one(inside, facts),
            // It begins beyond what is given.
            _ => facts.say("machine", be32(entry, 0).map_or("", mach_machine)),
        }
    }
}

/// One architecture.
fn one(content: &[u8], facts: &mut Facts) {
    let number: fn(&[u8], usize) -> Option<u32> = if content.starts_with(&[0xfe, 0xed]) { be32 } else { le32 };
    let (Some(magic), Some(machine), Some(kind)) = (number(content, 0), number(content, 4), number(content, 12)) else {
        return;
    };
    facts.say("machine", mach_machine(machine));
    facts.say(
        "type",
        match kind {
            1 => "object",
            2 => "executable",
            4 => "core",
            6 => "shared library",
            8 => "bundle",
            11 => "kext bundle",
            _ => "other",
        },
    );
    const SEGMENT: u32 = 0x19;
    const LIBRARY: u32 = 0x0c;
    const WEAK_LIBRARY: u32 = 0x8000_0018;
    const REEXPORTED_LIBRARY: u32 = 0x8000_001f;
    const ID: u32 = 0x0d;
    const SIGNATURE: u32 = 0x1d;
    const ENCRYPTION: [u32; 2] = [0x21, 0x2c];
    let mut rest = from(content, if magic & 1 == 1 { 32 } else { 28 });
    let count = place(number(content, 16).unwrap_or(0).into());
    let mut signed = false;
    for _ in 0..count.min(COMMANDS) {
        let (Some(command), Some(size)) = (number(rest, 0), number(rest, 4)) else { return };
        let size = place(size.into());
        // A command is at least its own two numbers; and of one that is cut nothing is known.
        let Some(body) = rest.get(..size).filter(|_| size >= 8) else { return };
        let name = || to_nul(from(body, number(body, 8).map_or(usize::MAX, |at| place(at.into()))));
        match command {
            LIBRARY | WEAK_LIBRARY | REEXPORTED_LIBRARY => facts.quote("needed", name()),
            ID => facts.quote("soname", name()),
            SIGNATURE => signed = true,
            SEGMENT if first(from(body, 8), 16).starts_with(b"__XHDR\0") => facts.say("packer", "UPX"),
            _ if ENCRYPTION.contains(&command) && number(body, 16).is_some_and(|id| id != 0) => {
                facts.say("encrypted", "yes");
            }
            _ => {}
        }
        rest = from(rest, size);
    }
    // Said of all commands, or not at all.
    if count <= COMMANDS {
        facts.say("signed", if signed { "yes" } else { "no" });
    }
}
