//! Documents that office and reader programs open.

use crate::kind::Kind;

/// The sentence for a document that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    match head {
        // Not left to the signatures: they open the whole compound file, and the head is only its beginning.
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => {
            Some(Kind::fixed("application/x-ole-storage", "Composite Document File V2 Document", "ole"))
        }
        [b'%', b'P', b'D', b'F', b'-', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9', ..] => {
            let (major, minor) = (char::from(*major), char::from(*minor));
            Some(Kind::made("application/pdf", format!("PDF document, version {major}.{minor}"), "pdf"))
        }
        [b'{', b'\\', b'r', b't', b'f', rest @ ..] => Some(match rest {
            [version @ b'0'..=b'9', ..] => {
                let version = char::from(*version);
                Kind::made("text/rtf", format!("Rich Text Format data, version {version}"), "rtf")
            }
            _ => Kind::fixed("text/rtf", "Rich Text Format data", "rtf"),
        }),
        // The shell link header: its size and class id ([MS-SHLLINK] §2.1).
        [0x4c, 0, 0, 0, 1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46, ..] => {
            Some(Kind::fixed("application/x-ms-shortcut", "MS Windows shortcut", "lnk"))
        }
        [first @ (b'C' | b'F' | b'Z'), b'W', b'S', version @ 1..=60, ..] => {
            let packed = if *first == b'F' { "" } else { " (compressed)" };
            let description = format!("Macromedia Flash data{packed}, version {version}");
            Some(Kind::made("application/x-shockwave-flash", description, "swf"))
        }
        _ => None,
    }
}
