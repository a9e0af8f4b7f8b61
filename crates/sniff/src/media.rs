//! Sound, moving pictures, fonts, captures, data bases and certificates.

use std::fmt::Write;

use crate::bytes::{be16, be32, find, first, from, le16, le32, push_printable};
use crate::kind::Kind;

/// The sentence for what begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(iso_media(head)),
        [b'I', b'D', b'3', major @ 2..=4, minor @ 0..=9, ..] => {
            Some(Kind::made("audio/mpeg", format!("Audio file with ID3 version 2.{major}.{minor}"), "mp3"))
        }
        [b'O', b'g', b'g', b'S', 0, ..] => Some(ogg(head)),
        [b'f', b'L', b'a', b'C', ..] => Some(Kind::fixed("audio/flac", "FLAC audio bitstream data", "flac")),
        [b'w', b'O', b'F', b'F', ..] => Some(Kind::fixed("font/woff", "Web Open Font Format", "woff")),
        [b'w', b'O', b'F', b'2', ..] => Some(Kind::fixed("font/woff2", "Web Open Font Format (Version 2)", "woff2")),
        [b'O', b'T', b'T', b'O', 0, ..] => Some(Kind::fixed("font/otf", "OpenType font data", "otf")),
        [0, 1, 0, 0, 0, ..] | [b't', b'r', b'u', b'e', 0, ..] => true_type(head),
        [b't', b't', b'c', b'f', 0, 1 | 2, 0, 0, ..] => {
            let fonts = be32(head, 8)?;
            Some(Kind::made("font/collection", format!("TrueType font collection data, {fonts} fonts"), "ttc"))
        }
        [0xa1, 0xb2, _, _, ..] | [_, _, 0xb2, 0xa1, ..] => pcap(head),
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => pcapng(head),
        [0x30, 0x82, ..] | [0x30, 0x81, ..] => certificate(head),
        [b'%', b'!', ..] if head.starts_with(b"%!PS-AdobeFont") || head.starts_with(b"%!FontType1") => {
            Some(Kind::fixed("application/x-font-type1", "PostScript Type 1 font text", "pfa"))
        }
        _ if head.starts_with(b"SQLite format 3\0") => {
            Some(Kind::fixed("application/vnd.sqlite3", "SQLite 3.x database", "sqlite"))
        }
        _ => armour(head),
    }
}

/// The brand in the first box (ISO/IEC 14496-12 §4.3).
fn iso_media(head: &[u8]) -> Kind {
    let brand = first(from(head, 8), 4);
    let (mime, sentence, extension) = match brand {
        b"isom" => ("video/mp4", "ISO Media, MP4 Base Media v1 [ISO 14496-12:2003]", "mp4"),
        b"iso2" => ("video/mp4", "ISO Media, MP4 Base Media v2 [ISO 14496-12:2005]", "mp4"),
        b"iso4" => ("video/mp4", "ISO Media, MP4 Base Media v4", "mp4"),
        b"iso5" => ("video/mp4", "ISO Media, MP4 Base Media v5", "mp4"),
        b"iso6" => ("video/mp4", "ISO Media, MP4 Base Media v6", "mp4"),
        b"mp41" => ("video/mp4", "ISO Media, MP4 v1 [ISO 14496-1:ch13]", "mp4"),
        b"mp42" => ("video/mp4", "ISO Media, MP4 v2 [ISO 14496-14]", "mp4"),
        b"dash" => ("video/mp4", "ISO Media, MPEG v4 system, Dynamic Adaptive Streaming over HTTP", "mp4"),
        b"avc1" => ("video/mp4", "ISO Media, MPEG v4 system, 3GPP JVT AVC [ISO 14496-12:2005]", "mp4"),
        b"M4A " => ("audio/mp4", "ISO Media, Apple iTunes ALAC/AAC-LC (.M4A) Audio", "m4a"),
        b"M4V " => ("video/x-m4v", "ISO Media, Apple iTunes Video (.M4V) Video", "m4v"),
        b"qt  " => ("video/quicktime", "ISO Media, Apple QuickTime movie", "mov"),
        b"heic" | b"heix" => ("image/heic", "ISO Media, HEIF Image HEVC Main or Main Still Picture Profile", "heic"),
        b"mif1" => ("image/heif", "ISO Media, HEIF Image", "heif"),
        b"avif" => ("image/avif", "ISO Media, AVIF Image", "avif"),
        [b'3', b'g', b'p', ..] => ("video/3gpp", "ISO Media, MPEG v4 system, 3GPP", "3gp"),
        [b'3', b'g', b'2', ..] => ("video/3gpp2", "ISO Media, MPEG v4 system, 3GPP2", "3g2"),
        _ => ("video/mp4", "ISO Media", "mp4"),
    };
    Kind::fixed(mime, sentence, extension)
}

/// The first packet of the first logical stream names the codec (RFC 3533, RFC 5334).
fn ogg(head: &[u8]) -> Kind {
    let packet = from(head, 28);
    if packet.starts_with(b"\x01vorbis") {
        Kind::fixed("audio/ogg", "Ogg data, Vorbis audio", "ogg")
    } else if packet.starts_with(b"OpusHead") {
        Kind::fixed("audio/ogg", "Ogg data, Opus audio", "opus")
    } else if packet.starts_with(b"\x7fFLAC") {
        Kind::fixed("audio/ogg", "Ogg data, FLAC audio", "oga")
    } else if packet.starts_with(b"Speex   ") {
        Kind::fixed("audio/ogg", "Ogg data, Speex audio", "spx")
    } else if packet.starts_with(b"\x80theora") {
        Kind::fixed("video/ogg", "Ogg data, Theora video", "ogv")
    } else if packet.starts_with(b"fishead\0") {
        Kind::fixed("video/ogg", "Ogg data, Skeleton", "ogv")
    } else {
        Kind::fixed("application/ogg", "Ogg data", "ogg")
    }
}

/// The table directory: how many, and the first one's tag, which is of printable letters (OpenType, "otff").
fn true_type(head: &[u8]) -> Option<Kind> {
    let tables = be16(head, 4).filter(|tables| (1..=128).contains(tables))?;
    let tag = first(from(head, 12), 4);
    if tag.len() < 4 || !tag.iter().all(|b| matches!(b, b' '..=b'~')) {
        return None;
    }
    let mut sentence = format!("TrueType Font data, {tables} tables, 1st \"");
    push_printable(&mut sentence, tag, 4);
    sentence.push('"');
    Some(Kind::made("font/ttf", sentence, "ttf"))
}

fn pcap(head: &[u8]) -> Option<Kind> {
    let (unit, big) = match first(head, 4) {
        [0xa1, 0xb2, 0xc3, 0xd4] => ("microsecond", true),
        [0xd4, 0xc3, 0xb2, 0xa1] => ("microsecond", false),
        [0xa1, 0xb2, 0x3c, 0x4d] => ("nanosecond", true),
        [0x4d, 0x3c, 0xb2, 0xa1] => ("nanosecond", false),
        _ => return None,
    };
    let half = |at| if big { be16(head, at) } else { le16(head, at) };
    let word = |at| if big { be32(head, at) } else { le32(head, at) };
    let mut sentence = format!("pcap capture file, {unit} ts ({}-endian)", if big { "big" } else { "little" });
    if let (Some(major), Some(minor), Some(length), Some(link)) = (half(4), half(6), word(16), word(20)) {
        // Writing to a string cannot fail.
        _ = match link_name(link & 0xffff) {
            Some(name) => write!(sentence, " - version {major}.{minor} ({name}, capture length {length})"),
            None => {
                write!(sentence, " - version {major}.{minor} (linktype {}, capture length {length})", link & 0xffff)
            }
        };
    }
    Some(Kind::made("application/vnd.tcpdump.pcap", sentence, "pcap"))
}

const fn link_name(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "No link-layer encapsulation",
        1 => "Ethernet",
        6 => "802.5 Token Ring",
        8 => "SLIP",
        9 => "PPP",
        10 => "FDDI",
        12 | 14 | 101 => "raw IP",
        50 => "PPP or Cisco HDLC",
        51 => "PPP-over-Ethernet",
        105 => "802.11",
        108 => "OpenBSD loopback",
        113 => "Linux cooked v1",
        127 => "802.11 with radiotap header",
        192 => "PPI",
        228 => "Raw IPv4",
        229 => "Raw IPv6",
        276 => "Linux cooked v2",
        _ => return None,
    })
}

fn pcapng(head: &[u8]) -> Option<Kind> {
    let versions = match first(from(head, 8), 4) {
        [0x4d, 0x3c, 0x2b, 0x1a] => (le16(head, 12), le16(head, 14)),
        [0x1a, 0x2b, 0x3c, 0x4d] => (be16(head, 12), be16(head, 14)),
        _ => return None,
    };
    const MIME: &str = "application/x-pcapng";
    Some(match versions {
        (Some(major), Some(minor)) => {
            Kind::made(MIME, format!("pcapng capture file - version {major}.{minor}"), "pcapng")
        }
        _ => Kind::fixed(MIME, "pcapng capture file", "pcapng"),
    })
}

/// A SEQUENCE of a SEQUENCE that begins with the version in its explicit tag, or, in version 1, with the serial number
/// and an algorithm (RFC 5280 §4.1).
fn certificate(head: &[u8]) -> Option<Kind> {
    const MIME: &str = "application/pkix-cert";
    let inside = element(head, 0x30)?;
    let signed = element(inside, 0x30)?;
    match signed {
        [0xa0, 3, 2, 1, version @ 0..=2, 2, ..] => {
            Some(Kind::made(MIME, format!("Certificate, Version={}", version + 1), "der"))
        }
        [2, length @ 1..=20, ..] => {
            let algorithm = element(from(signed, 2 + usize::from(*length)), 0x30)?;
            algorithm.starts_with(&[6]).then(|| Kind::fixed(MIME, "Certificate, Version=1", "der"))
        }
        _ => None,
    }
}

/// What is in the element of this tag that the bytes begin with, as far as it is there (X.690 §8.1).
fn element(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    match bytes {
        [first, 0x82, _, _, rest @ ..] | [first, 0x81, _, rest @ ..] if *first == tag => Some(rest),
        [first, 0..=0x7f, rest @ ..] if *first == tag => Some(rest),
        _ => None,
    }
}

/// What is between the dashes (RFC 7468; RFC 9580 §6.2).
fn armour(head: &[u8]) -> Option<Kind> {
    let label = head.strip_prefix(b"-----BEGIN ")?;
    let label = first(label, find(first(label, 64), b"-----")?);
    let (mime, sentence, extension) = match label {
        b"CERTIFICATE" | b"TRUSTED CERTIFICATE" => ("application/x-pem-file", "PEM certificate", "pem"),
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => {
            ("application/x-pem-file", "PEM certificate request", "csr")
        }
        b"RSA PRIVATE KEY" => ("application/x-pem-file", "PEM RSA private key", "key"),
        b"DSA PRIVATE KEY" => ("application/x-pem-file", "PEM DSA private key", "key"),
        b"EC PRIVATE KEY" => ("application/x-pem-file", "PEM EC private key", "key"),
        b"PRIVATE KEY" => ("application/x-pem-file", "PEM private key", "key"),
        b"ENCRYPTED PRIVATE KEY" => ("application/x-pem-file", "PEM encrypted private key", "key"),
        b"PUBLIC KEY" | b"RSA PUBLIC KEY" => ("application/x-pem-file", "PEM public key", "pem"),
        b"OPENSSH PRIVATE KEY" => ("application/x-pem-file", "OpenSSH private key", "key"),
        b"PGP MESSAGE" => ("application/pgp-encrypted", "PGP message", "asc"),
        b"PGP SIGNED MESSAGE" => ("text/PGP", "PGP signed message", "asc"),
        b"PGP SIGNATURE" => ("application/pgp-signature", "PGP signature", "asc"),
        b"PGP PUBLIC KEY BLOCK" => ("application/pgp-keys", "PGP public key block", "asc"),
        b"PGP PRIVATE KEY BLOCK" => ("application/pgp-keys", "PGP private key block", "asc"),
        _ => return None,
    };
    Some(Kind::fixed(mime, sentence, extension))
}
