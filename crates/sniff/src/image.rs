//! Pictures whose size stands in their first bytes.

use crate::kind::{Kind, be32, le16, le32};

/// The sentence for a picture that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(png(head)),
        [b'G', b'I', b'F', b'8', version @ (b'7' | b'9'), b'a', ..] => Some(gif(head, *version)),
        [0xff, 0xd8, 0xff, ..] => Some(jpeg(head)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            Some(Kind::fixed("image/webp", "RIFF (little-endian) data, Web/P image", "webp"))
        }
        [b'B', b'M', ..] => bmp(head),
        _ => None,
    }
}

/// The IHDR chunk comes first (PNG specification §11.2.2).
fn png(head: &[u8]) -> Kind {
    let header = head.get(16..29).and_then(|h| h.first_chunk::<13>());
    let (Some(width), Some(height), Some([.., depth, colour, _, _, interlace])) =
        (be32(head, 16), be32(head, 20), header)
    else {
        return Kind::fixed("image/png", "PNG image data", "png");
    };
    let colour = match colour {
        0 => " grayscale",
        2 => "/color RGB",
        3 => " colormap",
        4 => " gray+alpha",
        6 => "/color RGBA",
        _ => " unknown color type",
    };
    let interlace = if *interlace == 0 { "non-interlaced" } else { "interlaced" };
    Kind::made("image/png", format!("PNG image data, {width} x {height}, {depth}-bit{colour}, {interlace}"), "png")
}

fn gif(head: &[u8], version: u8) -> Kind {
    let version = char::from(version);
    let size = match (le16(head, 6), le16(head, 8)) {
        (Some(width), Some(height)) => format!(", {width} x {height}"),
        _ => String::new(),
    };
    Kind::made("image/gif", format!("GIF image data, version 8{version}a{size}"), "gif")
}

fn jpeg(head: &[u8]) -> Kind {
    match head.get(6..13) {
        Some([b'J', b'F', b'I', b'F', 0, major, minor]) => {
            Kind::made("image/jpeg", format!("JPEG image data, JFIF standard {major}.{minor:02}"), "jpg")
        }
        _ => Kind::fixed("image/jpeg", "JPEG image data", "jpg"),
    }
}

/// Two letters alone would make bitmaps of many texts: the reserved field and the size of the next header must fit.
fn bmp(head: &[u8]) -> Option<Kind> {
    let known = matches!(le32(head, 14)?, 12 | 40 | 52 | 56 | 64 | 108 | 124);
    (le32(head, 6)? == 0 && known).then(|| Kind::fixed("image/bmp", "PC bitmap", "bmp"))
}
