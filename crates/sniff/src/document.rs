//! Documents that office and reader programs open.

use crate::bytes::{find, from, le32, plural};
use crate::kind::{Content, Kind};
use crate::{ole, pdf};

/// The sentence for a document that begins with the head.
pub(crate) fn describe(content: &Content<'_>) -> Option<Kind> {
    let head = content.head();
    match head {
        [0xd0, 0xcf, ..] => ole::describe(head),
        [b'{', b'\\', b'r', b't', ..] => Some(rtf(content)),
        // The shell link header: its size and class id ([MS-SHLLINK] §2.1).
        [0x4c, 0, 0, 0, 1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46, ..] => {
            const HAS_ARGUMENTS: u32 = 0x20;
            Some(if le32(head, 20).is_some_and(|flags| flags & HAS_ARGUMENTS != 0) {
                Kind::fixed("application/x-ms-shortcut", "MS Windows shortcut, Has command line arguments", "lnk")
                    .formerly("MS Windows shortcut")
            } else {
                Kind::fixed("application/x-ms-shortcut", "MS Windows shortcut", "lnk")
            })
        }
        [first @ (b'C' | b'F' | b'Z'), b'W', b'S', version @ 1..=60, ..] => {
            let packed = match first {
                b'F' => "",
                b'C' => " (compressed)",
                _ => " (lzma compressed)",
            };
            let sentence = format!("Macromedia Flash data{packed}, version {version}");
            Some(Kind::made("application/x-shockwave-flash", sentence, "swf"))
        }
        _ => pdf::describe(content),
    }
}

/// Readers take `{\rt` for the start, so what hides wants to be read without the rest.
fn rtf(content: &Content<'_>) -> Kind {
    let head = content.head();
    let mut sentence = String::from("Rich Text Format data");
    if let [b'f', version @ b'0'..=b'9', ..] = from(head, 4) {
        sentence.push_str(", version ");
        sentence.push(char::from(*version));
    }
    let older = sentence.clone();
    let objects = if content.is_whole() { objects(head) } else { 0 };
    if objects > 0 {
        sentence = format!("{sentence}, with {objects} embedded object{}", plural(objects));
    }
    Kind::made("text/rtf", sentence, "rtf").formerly(older)
}

/// How many objects bring their data.
fn objects(head: &[u8]) -> u32 {
    let (mut rest, mut count) = (head, 0);
    while let Some(at) = find(rest, b"\\objdata") {
        count += 1;
        rest = from(rest, at + 8);
    }
    count
}
