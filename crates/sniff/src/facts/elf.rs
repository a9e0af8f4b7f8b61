//! Facts of ELF files (System V ABI, "Object Files"): what they are for, need, and are called by.

use super::Facts;
use crate::bytes::{first, from, place, to_nul};
use crate::elf::{Elf, machine_name};

/// The most program or section headers, or entries of a table, that are looked at.
const ENTRIES: usize = 1024;
/// The longest name of a library, in bytes.
const NAME: usize = 512;

pub(super) fn look(content: &[u8], facts: &mut Facts) {
    let Some(elf) = Elf::of(content) else { return };
    if let Some(machine) = elf.half(content, 18) {
        facts.say("machine", machine_name(machine));
    }
    if let Some(kind) = elf.half(content, 16) {
        facts.say(
            "type",
            match kind {
                1 => "relocatable",
                2 => "executable",
                3 => "shared object",
                4 => "core file",
                _ => "unknown",
            },
        );
    }
    let (mut dynamic, mut loaded) = (&[][..], Vec::new());
    for segment in elf.segments().take(ENTRIES) {
        let body = first(from(content, place(segment.offset)), place(segment.stored));
        match segment.kind {
            1 => loaded.push(segment),
            2 => dynamic = body,
            3 if body.contains(&0) => facts.quote("interpreter", to_nul(body)),
            _ => {}
        }
    }
    // The entries name their strings by offsets in a table that stands at an address.
    let entries = || {
        let size = if elf.wide { 16 } else { 8 };
        dynamic.chunks_exact(size).take(ENTRIES).map_while(move |entry| {
            let tag = elf.address(entry, 0).filter(|tag| *tag != 0)?;
            Some((tag, elf.address(entry, size / 2)?))
        })
    };
    const NEEDED: u64 = 1;
    const STRINGS: u64 = 5;
    const SONAME: u64 = 14;
    const RPATH: u64 = 15;
    const RUNPATH: u64 = 29;
    let strings = entries().find(|(tag, _)| *tag == STRINGS).and_then(|(_, address)| {
        let segment = loaded
            .iter()
            .find(|segment| address.checked_sub(segment.address).is_some_and(|within| within < segment.stored))?;
        content.get(place(segment.offset.checked_add(address - segment.address)?)..)
    });
    for (tag, at) in entries() {
        let name = match tag {
            NEEDED => "needed",
            SONAME => "soname",
            RPATH | RUNPATH => "runpath",
            _ => continue,
        };
        let string = strings.map(|strings| first(from(strings, place(at)), NAME)).unwrap_or_default();
        if string.contains(&0) {
            facts.quote(name, to_nul(string));
        }
    }
    // What UPX leaves in what it packed, right behind the headers.
    if first(content, 4096).windows(4).any(|word| word == b"UPX!") {
        facts.say("packer", "UPX");
    }
}
