//! Windows and DOS executables: the MZ header, and the PE header it points to (Microsoft PE format).

use std::borrow::Cow;
use std::fmt::Write;

use crate::bytes::{find, from, le16, le32, place};
use crate::kind::Kind;
use crate::text;

const MIME: &str = "application/vnd.microsoft.portable-executable";
/// The most sections whose names are looked at; the Windows loader takes no more.
const SECTIONS: usize = 96;
/// What is in an NSIS installer behind its sections, from the fifth byte on.
const NULLSOFT: &[u8] = b"\xef\xbe\xad\xdeNullsoftInst";

/// The sentence for an executable that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let header = le32(head, 0x3c).map_or(&[][..], |at| from(head, place(at.into())));
    if header.starts_with(b"PE\0\0") {
        return Some(Header(header).kind(head));
    }
    // Two letters are too little to call a text an executable.
    if text::is_text(head) {
        return None;
    }
    Some(Kind::fixed("application/x-dosexec", "MS-DOS executable", "exe"))
}

/// What a machine number stands for.
pub(crate) const fn machine(number: u16) -> Option<&'static str> {
    Some(match number {
        0x14c => "Intel 80386",
        0x166 => "MIPS R4000",
        0x168 => "MIPS R10000",
        0x169 => "MIPS WCE v2",
        0x184 => "Alpha",
        0x1a2 => "Hitachi SH3",
        0x1a3 => "Hitachi SH3 DSP",
        0x1a6 => "Hitachi SH4",
        0x1a8 => "Hitachi SH5",
        0x1c0 => "ARM",
        0x1c2 => "ARM Thumb",
        0x1c4 => "ARMv7 Thumb",
        0x1d3 => "Matsushita AM33",
        0x1f0 => "PowerPC",
        0x1f1 => "PowerPC with FPU",
        0x1f2 => "PowerPC (big-endian)",
        0x200 => "Intel Itanium",
        0x266 => "MIPS16",
        0x366 => "MIPSIV",
        0x466 => "MIPS16 with FPU",
        0xebc => "EFI byte code",
        0x5032 => "RISC-V 32-bit",
        0x5064 => "RISC-V 64-bit",
        0x5128 => "RISC-V 128-bit",
        0x6264 => "LoongArch 64-bit",
        0x8664 => "x86-64",
        0x9041 => "Mitsubishi M32R",
        0xaa64 => "Aarch64",
        0xc0ee => "MSIL",
        _ => return None,
    })
}

/// What a subsystem's number stands for.
pub(crate) const fn subsystem(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "native",
        2 => "GUI",
        3 => "console",
        5 => "OS/2",
        7 => "POSIX",
        8 => "Win9x",
        9 => "Windows CE",
        10 => "EFI application",
        11 => "EFI boot service driver",
        12 => "EFI runtime driver",
        13 => "EFI ROM",
        14 => "XBOX",
        16 => "Windows boot application",
        _ => return None,
    })
}

/// From the PE signature to the end of the head: any field may lie beyond it.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn kind(&self, head: &[u8]) -> Kind {
        let plus = match le16(self.0, 24) {
            Some(0x10b) => false,
            Some(0x20b) => true,
            _ => return Kind::fixed(MIME, "PE executable, for MS Windows", "exe"),
        };
        let number = le16(self.0, 4).unwrap_or(0);
        let dll = le16(self.0, 22).is_some_and(|flags| flags & 0x2000 != 0);
        let machine = machine(number).map_or_else(|| format!("unknown machine {number:#x}").into(), Cow::Borrowed);
        let managed = self.is_managed(plus);
        let packed = if self.is_upx() { ", UPX compressed" } else { "" };

        let mut what = String::with_capacity(32);
        if dll {
            what.push_str(" (DLL)");
        }
        // Writing to a string cannot fail.
        _ = match le16(self.0, 92).map(|number| (number, subsystem(number))) {
            Some((_, Some(name))) => write!(what, " ({name})"),
            Some((number, None)) => write!(what, " (Unknown subsystem {number:#x})"),
            None => Ok(()),
        };
        let sign = if plus { "PE32+" } else { "PE32" };
        let assembly = if managed { " Mono/.Net assembly" } else { "" };
        let installer = if self.is_nullsoft(head) { ", Nullsoft Installer self-extracting archive" } else { "" };
        let sections = match le16(self.0, 6) {
            Some(1) => ", 1 section".to_owned(),
            Some(n @ 2..) => format!(", {n} sections"),
            _ => String::new(),
        };
        let description =
            format!("{sign} executable{what} {machine}{assembly}, for MS Windows{packed}{installer}{sections}");
        let older = match (plus, managed) {
            (true, false) => Some(format!("PE32+ executable{what} {machine}, for MS Windows")),
            (true, true) => Some(format!("PE32+ executable{what} Mono/.Net assembly, for MS Windows")),
            (false, true) => None,
            (false, false) => {
                let bits = if number == 0x14c { " 32-bit" } else { "" };
                Some(format!("MS-DOS executable PE  for MS Windows{what} {machine}{bits}{packed}"))
            }
        };
        let kind = Kind::made(MIME, description, if dll { "dll" } else { "exe" });
        match older {
            Some(older) => kind.formerly(older),
            None => kind,
        }
    }

    /// Whether there is a header of the common language runtime: the fifteenth data directory.
    fn is_managed(&self, plus: bool) -> bool {
        let directories = if plus { 24 + 112 } else { 24 + 96 };
        le32(self.0, directories - 4).is_some_and(|count| count > 14)
            && le32(self.0, directories + 14 * 8).is_some_and(|address| address != 0)
    }

    /// The section headers within the head, 40 bytes each.
    fn sections(&self) -> impl Iterator<Item = &[u8]> {
        let at = 24 + usize::from(le16(self.0, 20).unwrap_or(0));
        let count = usize::from(le16(self.0, 6).unwrap_or(0)).min(SECTIONS);
        from(self.0, at).chunks_exact(40).take(count)
    }

    fn is_upx(&self) -> bool {
        self.sections().any(|section| matches!(section, [b'U', b'P', b'X', b'0'..=b'2', ..]))
    }

    /// The installer's data follow the last section; a head that does not reach there shows it by a section's name.
    fn is_nullsoft(&self, head: &[u8]) -> bool {
        let mut end = 0;
        for section in self.sections() {
            if section.starts_with(b".ndata\0\0") {
                return true;
            }
            let part = |at| u64::from(le32(section, at).unwrap_or(0));
            end = end.max(part(16) + part(20));
        }
        let behind = from(head, place(end));
        end != 0 && find(behind.get(..1024).unwrap_or(behind), NULLSOFT).is_some()
    }
}
