//! Pictures.

use std::fmt::Write;

use crate::bytes::{be16, be32, from, le16, le32, plural};
use crate::kind::Kind;
use crate::text;

/// The most segments of a JPEG that are walked over on the way to its size.
const SEGMENTS: usize = 64;

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
        [0, 0, 1, 0, ..] => icon(head),
        [b'I', b'I', b'*', 0, ..] => Some(Kind::fixed("image/tiff", "TIFF image data, little-endian", "tif")),
        [b'M', b'M', 0, b'*', ..] => Some(Kind::fixed("image/tiff", "TIFF image data, big-endian", "tif")),
        _ => None,
    }
}

/// The IHDR chunk comes first (PNG specification §11.2.2).
fn png(head: &[u8]) -> Kind {
    let header = head.get(16..29).and_then(|h| h.first_chunk::<13>());
    let (Some(width), Some(height), Some([.., depth, colour, _, _, interlace])) =
        (be32(head, 16), be32(head, 20), header)
    else {
        return Kind::fixed("image/png", "PNG image data", "png").formerly("PNG image");
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
    let rest = format!("{width} x {height}, {depth}-bit{colour}, {interlace}");
    Kind::made("image/png", format!("PNG image data, {rest}"), "png").formerly(format!("PNG image, {rest}"))
}

fn gif(head: &[u8], version: u8) -> Kind {
    let version = char::from(version);
    let size = match (le16(head, 6), le16(head, 8)) {
        (Some(width), Some(height)) => format!(", {width} x {height}"),
        _ => String::new(),
    };
    Kind::made("image/gif", format!("GIF image data, version 8{version}a{size}"), "gif")
}

/// JFIF comes first if at all; the size is in the frame header, behind any number of other segments (ITU-T T.81 §B.1).
fn jpeg(head: &[u8]) -> Kind {
    let mut sentence = String::from("JPEG image data");
    let mut older = None;
    if let Some([b'J', b'F', b'I', b'F', 0, major, minor, unit]) = head.get(6..14) {
        // Writing to a string cannot fail.
        _ = write!(sentence, ", JFIF standard {major}.{minor:02}");
        older = Some(sentence.clone());
        sentence.push_str(match unit {
            0 => ", aspect ratio",
            1 => ", resolution (DPI)",
            2 => ", resolution (DPCM)",
            _ => "",
        });
        if let (Some(across), Some(down), Some(length)) = (be16(head, 14), be16(head, 16), be16(head, 4)) {
            _ = write!(sentence, ", density {across}x{down}, segment length {length}");
        }
    }
    let mut at = 2;
    for _ in 0..SEGMENTS {
        let [0xff, marker, rest @ ..] = from(head, at) else { break };
        match (marker, be16(rest, 0)) {
            // SOF0 to SOF15 without the four other markers that lie among them; the scan begins at SOS.
            (0xc0..=0xcf, _) if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let name = match marker {
                    0xc0 => ", baseline",
                    0xc1 => ", extended sequential",
                    0xc2 => ", progressive",
                    _ => "",
                };
                if let (Some(depth), Some(height), Some(width), Some(components)) =
                    (rest.get(2), be16(rest, 3), be16(rest, 5), rest.get(7))
                {
                    _ = write!(sentence, "{name}, precision {depth}, {width}x{height}, components {components}");
                }
                break;
            }
            (0xda | 0xd9, _) | (_, None) => break,
            (0xff, _) => at += 1,
            (_, Some(length)) => at += 2 + usize::from(length),
        }
    }
    let kind = Kind::made("image/jpeg", sentence, "jpg");
    match older {
        Some(older) => kind.formerly(older),
        None => kind,
    }
}

/// Two letters alone would make bitmaps of many texts: the reserved field and the size of the next header must fit.
fn bmp(head: &[u8]) -> Option<Kind> {
    let format = match le32(head, 14)? {
        12 => "OS/2 1.x format",
        40 => "Windows 3.x format",
        52 => "Adobe Photoshop",
        56 => "Adobe Photoshop with alpha channel mask",
        64 => "OS/2 2.x format",
        108 => "Windows 95/NT4 and newer format",
        124 => "Windows 98/2000 and newer format",
        _ => return None,
    };
    if le32(head, 6)? != 0 {
        return None;
    }
    let size = match (le32(head, 18), le32(head, 22), le16(head, 28)) {
        (Some(width), Some(height), Some(depth)) if le32(head, 14) != Some(12) => {
            format!(", {width} x {} x {depth}", height.cast_signed())
        }
        _ => String::new(),
    };
    Some(Kind::made("image/bmp", format!("PC bitmap, {format}{size}"), "bmp"))
}

/// A directory of pictures; as nothing but small numbers shows it, the first entry must make sense.
fn icon(head: &[u8]) -> Option<Kind> {
    let count = le16(head, 4).filter(|count| (1..=512).contains(count))?;
    let [width, height, _, 0, planes, 0, depth, 0, ..] = from(head, 6) else { return None };
    let begins = le32(head, 18)?;
    if *planes > 1 || !matches!(depth, 0 | 1 | 4 | 8 | 16 | 24 | 32) || begins < 6 + 16 * u32::from(count) {
        return None;
    }
    if text::is_text(head) {
        return None;
    }
    let side = |side: u8| if side == 0 { 256 } else { u16::from(side) };
    let s = plural(count.into());
    let sentence = format!("MS Windows icon resource - {count} icon{s}, {}x{}", side(*width), side(*height));
    Some(Kind::made("image/x-icon", sentence, "ico"))
}
