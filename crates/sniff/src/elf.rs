//! ELF: what Linux and its relatives run (System V ABI, "Object Files").

use std::fmt::Write;

use crate::bytes::{be16, be32, be64, first, from, le16, le32, le64, place, push_printable, to_nul};
use crate::kind::Kind;

/// The most program headers, section headers or entries that are looked at.
const ENTRIES: usize = 256;

/// The sentence for an ELF file that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    let [0x7f, b'E', b'L', b'F', _, _, _, abi, ..] = *head else { return None };
    let Some(elf) = Elf::of(head) else { return Some(Kind::fixed("application/x-executable", "ELF", "elf")) };
    Some(elf.kind(abi))
}

/// A file of one class and byte order.
#[derive(Clone, Copy)]
pub(crate) struct Elf<'a> {
    head: &'a [u8],
    pub(crate) wide: bool,
    big: bool,
}

/// One program header.
pub(crate) struct Segment {
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    /// How many bytes of it are in the file.
    pub(crate) stored: u64,
}

/// What the program headers say.
#[derive(Default)]
struct Segments<'a> {
    interpreter: Option<&'a [u8]>,
    dynamic: bool,
    /// Whether the dynamic section lies within the head, and so what it says.
    entries: Option<Entries>,
    system: Option<String>,
}

#[derive(Default)]
struct Entries {
    pie: bool,
    named: bool,
}

impl<'a> Elf<'a> {
    /// What has the signature, and a class and an order that there are.
    pub(crate) fn of(head: &'a [u8]) -> Option<Self> {
        let [0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2, ..] = *head else { return None };
        Some(Self { head, wide: class == 2, big: order == 2 })
    }

    pub(crate) fn half(&self, bytes: &[u8], at: usize) -> Option<u16> {
        if self.big { be16(bytes, at) } else { le16(bytes, at) }
    }

    pub(crate) fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        if self.big { be32(bytes, at) } else { le32(bytes, at) }
    }

    /// An address or offset, as wide as the class.
    pub(crate) fn address(&self, bytes: &[u8], at: usize) -> Option<u64> {
        match (self.wide, self.big) {
            (true, true) => be64(bytes, at),
            (true, false) => le64(bytes, at),
            (false, _) => self.word(bytes, at).map(u64::from),
        }
    }

    fn kind(&self, abi: u8) -> Kind {
        let bits = if self.wide { "64" } else { "32" };
        let order = if self.big { "MSB" } else { "LSB" };
        let (Some(kind), Some(machine)) = (self.half(self.head, 16), self.half(self.head, 18)) else {
            return Kind::made("application/x-executable", format!("ELF {bits}-bit {order}"), "elf");
        };
        let segments = self.seen();
        let pie = match &segments.entries {
            Some(entries) => entries.pie || !entries.named && segments.interpreter.is_some(),
            None => segments.interpreter.is_some(),
        };
        let (mime, what, extension) = match kind {
            1 => ("application/x-object", "relocatable", "o"),
            2 => ("application/x-executable", "executable", "elf"),
            3 if pie => ("application/x-executable", "pie executable", "elf"),
            3 => ("application/x-sharedlib", "shared object", "so"),
            4 => ("application/x-coredump", "core file", "core"),
            _ => ("application/x-executable", "no file type", "elf"),
        };
        let mut sentence = String::with_capacity(160);
        // Writing to a string cannot fail.
        _ = write!(sentence, "ELF {bits}-bit {order} {what}, {}", machine_name(machine));
        if machine == 40 && !self.wide {
            match self.word(self.head, 36).map(|flags| flags >> 24) {
                Some(4) => sentence.push_str(", EABI4"),
                Some(5) => sentence.push_str(", EABI5"),
                _ => sentence.push(','),
            }
        } else {
            sentence.push(',');
        }
        _ = write!(sentence, " version {} ({})", self.word(self.head, 20).unwrap_or(1), system_name(abi));
        if matches!(kind, 2 | 3) {
            sentence.push_str(match (segments.dynamic, pie && segments.interpreter.is_none()) {
                (true, true) => ", static-pie linked",
                (true, false) => ", dynamically linked",
                (false, _) => ", statically linked",
            });
            if let Some(path) = segments.interpreter {
                sentence.push_str(", interpreter ");
                push_printable(&mut sentence, path, 80);
            }
            if let Some(system) = &segments.system {
                sentence.push_str(system);
            }
        }
        match self.is_stripped() {
            Some(true) if kind != 4 => sentence.push_str(", stripped"),
            Some(false) if kind != 4 => sentence.push_str(", not stripped"),
            _ => {}
        }
        Kind::made(mime, sentence, extension)
    }

    /// The program headers within the head.
    pub(crate) fn segments(self) -> impl Iterator<Item = Segment> {
        let (table, size, count) = if self.wide { (32, 54, 56) } else { (28, 42, 44) };
        let table = self.address(self.head, table).map_or(&[][..], |at| from(self.head, place(at)));
        let size = usize::from(self.half(self.head, size).unwrap_or(0));
        let count = usize::from(self.half(self.head, count).unwrap_or(0));
        let (offset, address, stored) = if self.wide { (8, 16, 32) } else { (4, 8, 16) };
        table.chunks_exact(size.max(1)).take(count).map_while(move |header| {
            Some(Segment {
                kind: self.word(header, 0)?,
                offset: self.address(header, offset)?,
                address: self.address(header, address)?,
                stored: self.address(header, stored)?,
            })
        })
    }

    fn seen(&self) -> Segments<'a> {
        let mut found = Segments::default();
        for segment in self.segments().take(ENTRIES) {
            let body = first(from(self.head, place(segment.offset)), place(segment.stored));
            match segment.kind {
                2 => {
                    found.dynamic = true;
                    let there = body.len() as u64 == segment.stored && segment.stored > 0;
                    found.entries = there.then(|| self.entries(body));
                }
                3 if !body.is_empty() => found.interpreter = Some(to_nul(body)),
                4 if found.system.is_none() => found.system = self.system(body),
                _ => {}
            }
        }
        found
    }

    fn entries(&self, dynamic: &[u8]) -> Entries {
        let mut found = Entries::default();
        let size = if self.wide { 16 } else { 8 };
        for entry in dynamic.chunks_exact(size).take(ENTRIES) {
            match self.address(entry, 0) {
                Some(0) => break,
                // DT_SONAME, and DT_FLAGS_1 with DF_1_PIE.
                Some(14) => found.named = true,
                Some(0x6fff_fffb) => {
                    found.pie |= self.address(entry, size / 2).is_some_and(|flags| flags & 0x0800_0000 != 0);
                }
                _ => {}
            }
        }
        found
    }

    /// The GNU ABI note: which system it is for, and the earliest version of it.
    fn system(&self, mut notes: &[u8]) -> Option<String> {
        for _ in 0..16 {
            let (name, value) = (self.word(notes, 0)?, self.word(notes, 4)?);
            let padded = |length: u32| usize::try_from(length).ok()?.checked_next_multiple_of(4);
            let value_at = padded(name)?.checked_add(12)?;
            if self.word(notes, 8)? == 1 && name == 4 && value >= 16 && from(notes, 12).starts_with(b"GNU\0") {
                let part = |n: usize| self.word(notes, value_at.checked_add(n * 4)?);
                let system = match part(0)? {
                    0 => "GNU/Linux",
                    1 => "GNU/Hurd",
                    2 => "Solaris",
                    3 => "kFreeBSD",
                    4 => "kNetBSD",
                    _ => return None,
                };
                return Some(format!(", for {system} {}.{}.{}", part(1)?, part(2)?, part(3)?));
            }
            notes = notes.get(value_at.checked_add(padded(value)?)?..)?;
        }
        None
    }

    /// Whether there is no symbol table; nothing when the section headers lie beyond the head.
    fn is_stripped(&self) -> Option<bool> {
        let (table, size, count) = if self.wide { (40, 58, 60) } else { (32, 46, 48) };
        let table = self.address(self.head, table)?;
        let size = usize::from(self.half(self.head, size)?);
        let count = usize::from(self.half(self.head, count)?);
        if table == 0 || count == 0 {
            return Some(true);
        }
        let headers = first(from(self.head, place(table)), size.checked_mul(count)?);
        if size == 0 || headers.len() < size.checked_mul(count.min(ENTRIES))? {
            return None;
        }
        Some(!headers.chunks_exact(size).take(ENTRIES).any(|header| self.word(header, 4) == Some(2)))
    }
}

/// What a machine's number stands for.
pub(crate) const fn machine_name(number: u16) -> &'static str {
    match number {
        2 => "SPARC",
        3 => "Intel 80386",
        4 => "Motorola m68k",
        8 => "MIPS",
        15 => "PA-RISC",
        18 => "SPARC32PLUS",
        20 => "PowerPC or cisco 4500",
        21 => "64-bit PowerPC or cisco 7500",
        22 => "IBM S/390",
        40 => "ARM",
        41 => "Alpha",
        42 => "Renesas SH",
        43 => "SPARC V9",
        50 => "IA-64",
        62 => "x86-64",
        83 => "Atmel AVR 8-bit",
        92 => "OpenRISC",
        93 => "Synopsys ARCompact ARC700 cores",
        94 => "Tensilica Xtensa",
        183 => "ARM aarch64",
        189 => "Xilinx MicroBlaze 32-bit RISC",
        195 => "Synopsys ARCv2/HS3x/HS4x cores",
        243 => "UCB RISC-V",
        247 => "eBPF",
        258 => "LoongArch",
        _ => "unknown machine",
    }
}

const fn system_name(number: u8) -> &'static str {
    match number {
        0 => "SYSV",
        1 => "HP-UX",
        2 => "NetBSD",
        3 => "GNU/Linux",
        4 => "GNU/Hurd",
        6 => "Solaris",
        9 => "FreeBSD",
        12 => "OpenBSD",
        97 => "ARM",
        255 => "embedded",
        _ => "unknown system",
    }
}
