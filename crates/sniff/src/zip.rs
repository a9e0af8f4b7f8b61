//! Zip archives, and the many formats that are one: told by the names of the members (PKWARE APPNOTE §4.3).

use std::fmt::Write;

use crate::bytes::{find, first, from, le16, le32, place};
use crate::kind::Kind;

/// The most members that are looked at.
const MEMBERS: usize = 256;

/// What the members' names show, as far as they lie within the head.
#[derive(Default)]
struct Seen {
    word: bool,
    excel: bool,
    powerpoint: bool,
    types: bool,
    macros: bool,
    manifest: bool,
    android: bool,
    encrypted: bool,
}

impl Seen {
    fn member(&mut self, flags: u16, name: &[u8]) {
        self.encrypted |= flags & 1 != 0;
        match name {
            b"[Content_Types].xml" => self.types = true,
            b"META-INF/MANIFEST.MF" => self.manifest = true,
            b"AndroidManifest.xml" | b"classes.dex" | b"resources.arsc" => self.android = true,
            _ => {
                self.word |= name.starts_with(b"word/");
                self.excel |= name.starts_with(b"xl/");
                self.powerpoint |= name.starts_with(b"ppt/");
                self.macros |= name.ends_with(b"/vbaProject.bin");
            }
        }
    }
}

/// The sentence for a zip archive that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Kind {
    let head = head.strip_prefix(b"PK00").unwrap_or(head);
    if head.starts_with(b"PK\x05\x06") {
        return Kind::fixed("application/zip", "Zip archive data (empty)", "zip");
    }
    if let Some(kind) = by_mimetype(head) {
        return kind;
    }
    let mut seen = Seen::default();
    local(head, &mut seen);
    central(head, &mut seen);
    if seen.word || seen.excel || seen.powerpoint {
        return office(&seen);
    }
    if seen.android {
        return Kind::fixed("application/vnd.android.package-archive", "Android package (APK)", "apk");
    }
    // The first entry of what the jar tool makes says so in an extra field of its own.
    let extra = 30 + usize::from(le16(head, 26).unwrap_or(0));
    if seen.manifest || le16(head, 28).is_some_and(|length| length >= 4) && le16(head, extra) == Some(0xcafe) {
        return Kind::fixed("application/java-archive", "Java archive data (JAR)", "jar");
    }
    if seen.types {
        return Kind::fixed("application/zip", "Microsoft OOXML", "zip");
    }
    let version = le16(head, 4).unwrap_or(0) & 0xff;
    let mut sentence = format!("Zip archive data, at least v{}.{} to extract", version / 10, version % 10);
    let older = sentence.clone();
    let method = match le16(head, 8) {
        Some(0) => "store",
        Some(1) => "shrink",
        Some(6) => "implode",
        Some(8) => "deflate",
        Some(9) => "deflate64",
        Some(12) => "bzip2",
        Some(14) => "lzma",
        Some(93) => "zstd",
        Some(95) => "xz",
        Some(98) => "PPMd",
        Some(99) => "AES Encrypted",
        _ => "",
    };
    if !method.is_empty() {
        // Writing to a string cannot fail.
        _ = write!(sentence, ", compression method={method}");
    }
    if seen.encrypted {
        sentence.push_str(", encrypted");
    }
    Kind::made("application/zip", sentence, "zip").formerly(older)
}

/// OpenDocument and EPUB begin with a stored member that names the type.
fn by_mimetype(head: &[u8]) -> Option<Kind> {
    const TYPES: [(&str, &str, &str); 13] = [
        ("application/vnd.oasis.opendocument.text", "OpenDocument Text", "odt"),
        ("application/vnd.oasis.opendocument.text-template", "OpenDocument Text Template", "ott"),
        ("application/vnd.oasis.opendocument.spreadsheet", "OpenDocument Spreadsheet", "ods"),
        ("application/vnd.oasis.opendocument.presentation", "OpenDocument Presentation", "odp"),
        ("application/vnd.oasis.opendocument.graphics", "OpenDocument Drawing", "odg"),
        ("application/vnd.oasis.opendocument.spreadsheet-template", "OpenDocument Spreadsheet Template", "ots"),
        ("application/vnd.oasis.opendocument.presentation-template", "OpenDocument Presentation Template", "otp"),
        ("application/vnd.oasis.opendocument.graphics-template", "OpenDocument Drawing Template", "otg"),
        ("application/vnd.oasis.opendocument.text-master", "OpenDocument Master Document", "odm"),
        ("application/vnd.oasis.opendocument.base", "OpenDocument Database", "odb"),
        ("application/vnd.oasis.opendocument.formula", "OpenDocument Formula", "odf"),
        ("application/epub+zip", "EPUB document", "epub"),
        ("image/openraster", "OpenRaster Image Format", "ora"),
    ];
    if from(head, 30).get(..8)? != b"mimetype" || le16(head, 8)? != 0 {
        return None;
    }
    let begins = 38 + usize::from(le16(head, 28)?);
    let named = first(from(head, begins), place(le32(head, 22)?.into()));
    let (mime, sentence, extension) = TYPES.iter().find(|(mime, ..)| mime.as_bytes() == named.trim_ascii_end())?;
    Some(Kind::fixed(mime, sentence, extension))
}

/// The members' own headers, one after the other; where one says its length only behind its data, the next is looked for.
fn local(head: &[u8], seen: &mut Seen) {
    let mut at: usize = 0;
    for _ in 0..MEMBERS {
        let header = from(head, at);
        if !header.starts_with(b"PK\x03\x04") {
            return;
        }
        let (Some(flags), Some(packed), Some(name), Some(extra)) =
            (le16(header, 6), le32(header, 18), le16(header, 26), le16(header, 28))
        else {
            return;
        };
        seen.member(flags, first(from(header, 30), name.into()));
        let data = 30 + usize::from(name) + usize::from(extra);
        let length = if flags & 8 != 0 && packed == 0 || packed == u32::MAX {
            let Some(next) = find(from(header, data), b"PK\x03\x04") else { return };
            next
        } else {
            place(packed.into())
        };
        at = at.saturating_add(data).saturating_add(length);
        // Behind known lengths there may be a descriptor.
        if flags & 8 != 0 && from(head, at).starts_with(b"PK\x07\x08") {
            at = at.saturating_add(16);
        }
    }
}

/// The directory, if it and its end record lie within the head: the small archives are at hand as a whole.
fn central(head: &[u8], seen: &mut Seen) {
    let Some(end) = memchr::memmem::rfind(head, b"PK\x05\x06") else { return };
    let Some(directory) = le32(head, end.saturating_add(16)) else { return };
    let mut at = place(directory.into());
    for _ in 0..MEMBERS {
        let header = from(head, at);
        if !header.starts_with(b"PK\x01\x02") {
            return;
        }
        let (Some(flags), Some(name), Some(extra), Some(comment)) =
            (le16(header, 8), le16(header, 28), le16(header, 30), le16(header, 32))
        else {
            return;
        };
        seen.member(flags, first(from(header, 46), name.into()));
        let length = 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
        at = at.saturating_add(length);
    }
}

fn office(seen: &Seen) -> Kind {
    let (mime, sentence, with_macros, extension) = if seen.word {
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "Microsoft Word 2007+",
            "Microsoft Word 2007+, with macros",
            ["docx", "docm"],
        )
    } else if seen.excel {
        (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "Microsoft Excel 2007+",
            "Microsoft Excel 2007+, with macros",
            ["xlsx", "xlsm"],
        )
    } else {
        (
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "Microsoft PowerPoint 2007+",
            "Microsoft PowerPoint 2007+, with macros",
            ["pptx", "pptm"],
        )
    };
    let [plain, macros] = extension;
    if seen.macros {
        Kind::fixed(mime, with_macros, macros).formerly(sentence)
    } else {
        Kind::fixed(mime, sentence, plain)
    }
}
