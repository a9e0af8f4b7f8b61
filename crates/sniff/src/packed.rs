//! Archives and compressed data.

use crate::kind::{Kind, le16, le32};

/// The sentence for an archive that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Kind::fixed("application/gzip", "gzip compressed data", "gz")),
        [b'B', b'Z', b'h', level @ b'1'..=b'9', ..] => {
            let level = char::from(*level);
            Some(Kind::made("application/x-bzip2", format!("bzip2 compressed data, block size = {level}00k"), "bz2"))
        }
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, major, minor, ..] => Some(Kind::made(
            "application/x-7z-compressed",
            format!("7-zip archive data, version {major}.{minor}"),
            "7z",
        )),
        [b'R', b'a', b'r', b'!', 0x1a, 7, 1, 0, ..] => {
            Some(Kind::fixed("application/vnd.rar", "RAR archive data, v5", "rar"))
        }
        [b'R', b'a', b'r', b'!', 0x1a, 7, 0, ..] => {
            Some(Kind::fixed("application/vnd.rar", "RAR archive data, v4", "rar"))
        }
        [b'M', b'S', b'C', b'F', 0, 0, 0, 0, ..] => Some(cabinet(head)),
        [b'P', b'K', 3, 4, ..] => zip(head),
        _ => None,
    }
}

fn cabinet(head: &[u8]) -> Kind {
    const MIME: &str = "application/vnd.ms-cab-compressed";
    match (le32(head, 8), le16(head, 28)) {
        (Some(bytes), Some(files)) => {
            let s = if files == 1 { "" } else { "s" };
            Kind::made(MIME, format!("Microsoft Cabinet archive data, {bytes} bytes, {files} file{s}"), "cab")
        }
        _ => Kind::fixed(MIME, "Microsoft Cabinet archive data", "cab"),
    }
}

/// The local file header (APPNOTE §4.3.7). Office documents, books and packages are zip files too: those are left to the
/// signatures, which look at the names inside.
fn zip(head: &[u8]) -> Option<Kind> {
    if infer::get(head).is_some_and(|kind| kind.mime_type() != "application/zip") {
        return None;
    }
    let version = le16(head, 4).unwrap_or(0) & 0xff;
    let (major, minor) = (version / 10, version % 10);
    let description = format!("Zip archive data, at least v{major}.{minor} to extract");
    Some(Kind::made("application/zip", description, "zip"))
}
