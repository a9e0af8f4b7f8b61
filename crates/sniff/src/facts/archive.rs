//! Facts of cabinets ([MS-CAB]) and of disk images (ECMA-119): what they contain.

use super::Facts;
use crate::bytes::{first, from, le16, le32, place, to_nul};

/// The most members whose names are told.
const NAMES: usize = 64;
/// The longest name, in bytes.
const NAME: usize = 256;

pub(super) fn cabinet(content: &[u8], facts: &mut Facts) {
    let (Some(size), Some(at), Some(files)) = (le32(content, 8), le32(content, 16), le16(content, 28)) else { return };
    facts.say("size", size);
    facts.say("members", files);
    let mut rest = from(content, place(at.into()));
    for _ in 0..usize::from(files).min(NAMES) {
        let name = first(from(rest, 16), NAME);
        if !name.contains(&0) {
            return;
        }
        facts.quote("member", to_nul(name));
        rest = from(rest, 16 + to_nul(name).len() + 1);
    }
}

/// The volume's label, whether a machine can start from it, and the root folder.
pub(super) fn disk(content: &[u8], facts: &mut Facts) {
    const SECTOR: usize = 2048;
    let descriptor = from(content, 16 * SECTOR);
    facts.quote("label", to_nul(first(from(descriptor, 40), 32)).trim_ascii_end());
    for number in 17..32 {
        let descriptor = from(content, number * SECTOR);
        if !from(descriptor, 1).starts_with(b"CD001") || descriptor.first() == Some(&0xff) {
            break;
        }
        if descriptor.first() == Some(&0) && from(descriptor, 7).starts_with(b"EL TORITO SPECIFICATION") {
            facts.say("bootable", "yes");
        }
    }
    // The record of the root folder stands in the descriptor (§8.4.18, §9.1).
    let root = from(descriptor, 156);
    let (Some(sector), Some(length)) = (le32(root, 2), le32(root, 10)) else { return };
    let folder = first(from(content, place(u64::from(sector) * SECTOR as u64)), place(length.into()));
    let mut told = 0;
    for sector in folder.chunks(SECTOR) {
        let mut rest = sector;
        while let Some(length) = rest.first().copied().map(usize::from).filter(|length| *length > 33) {
            let name = first(from(rest, 33), rest.get(32).copied().unwrap_or(0).into());
            // The folder itself and the one above have names of one such byte.
            if !matches!(name, [0 | 1] | []) {
                told += 1;
                if told > NAMES {
                    return;
                }
                let name = name.split(|byte| *byte == b';').next().unwrap_or_default();
                facts.quote("member", name);
            }
            rest = from(rest, length);
        }
    }
}
