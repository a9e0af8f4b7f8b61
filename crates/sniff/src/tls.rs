//! The hellos with which a TLS session begins (RFC 8446 §4.1, RFC 5246 §7.4.1).

use crate::bytes::{be16, first, from, push_printable};

/// The longest server name that is shown, in bytes: as long as a host name can be.
const NAME: usize = 253;
/// The most extensions, versions and protocols that are looked at, of each.
const ENTRIES: usize = 64;
/// How much of the application protocols is shown, in bytes.
const PROTOCOLS: usize = 64;

/// What a hello says.
#[derive(Default)]
struct Hello<'a> {
    version: u16,
    name: Option<&'a [u8]>,
    protocols: Option<&'a [u8]>,
}

/// The sentence for the side of a session that begins with these bytes. A client's version is the highest that it offers, a
/// server's the one that it chose.
pub(crate) fn describe(head: &[u8]) -> Option<String> {
    // A handshake record of version 3.x, and in it a hello.
    let [22, 3, 0..=4, _, _, message, 0, _, _, body @ ..] = head else { return None };
    if be16(head, 3).is_none_or(|length| !(4..=16640).contains(&length)) {
        return None;
    }
    let hello = match message {
        1 => client(body),
        2 => server(body),
        _ => return None,
    };
    let mut sentence = match hello.version {
        0x0300 => "SSL 3.0 session".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{} session", hello.version - 0x0301),
        _ => "TLS session".to_owned(),
    };
    if let Some(name) = hello.name {
        sentence.push_str(", SNI ");
        push_printable(&mut sentence, name, NAME);
    }
    // Captured names are escaped to four times their length at most; the whole stays within what a sentence may have.
    let room = crate::SENTENCE_BYTES.saturating_sub(PROTOCOLS * 4 + 16);
    if sentence.len() > room {
        sentence.truncate(room);
        sentence.push_str("...");
    }
    if let Some(protocols) = hello.protocols {
        for (n, protocol) in list(protocols).enumerate() {
            sentence.push_str(if n == 0 { ", ALPN " } else { "," });
            push_printable(&mut sentence, protocol, PROTOCOLS);
            if sentence.len() > room {
                break;
            }
        }
    }
    Some(sentence)
}

fn client(body: &[u8]) -> Hello<'_> {
    let mut hello = Hello { version: be16(body, 0).unwrap_or(0), ..Hello::default() };
    let rest = skip8(from(body, 34));
    let rest = skip8(from(rest, usize::from(be16(rest, 0).unwrap_or(u16::MAX)) + 2));
    for (kind, data) in extensions(from(rest, 2)) {
        match kind {
            // The list of names, of which the first of type host_name counts (RFC 6066 §3).
            0 => {
                if let [_, _, 0, high, low, name @ ..] = data {
                    let name = first(name, u16::from_be_bytes([*high, *low]).into());
                    hello.name = Some(name).filter(|name| !name.is_empty());
                }
            }
            16 => hello.protocols = data.get(2..),
            43 => {
                let versions = data.get(1..).unwrap_or_default().as_chunks::<2>().0.iter().take(ENTRIES);
                let highest = versions.map(|v| u16::from_be_bytes(*v)).filter(|v| (0x0300..=0x0304).contains(v)).max();
                hello.version = highest.unwrap_or(hello.version);
            }
            _ => {}
        }
    }
    hello
}

fn server(body: &[u8]) -> Hello<'_> {
    let mut hello = Hello { version: be16(body, 0).unwrap_or(0), ..Hello::default() };
    // Session id, cipher suite, compression method, length of the extensions.
    let rest = from(skip8(from(body, 34)), 5);
    for (kind, data) in extensions(rest) {
        match kind {
            16 => hello.protocols = data.get(2..),
            43 => hello.version = be16(data, 0).unwrap_or(hello.version),
            _ => {}
        }
    }
    hello
}

/// What follows a vector with a length of one byte.
fn skip8(bytes: &[u8]) -> &[u8] {
    match bytes {
        [length, rest @ ..] => from(rest, usize::from(*length)),
        [] => &[],
    }
}

/// Types and contents, as far as they are there.
fn extensions(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = (be16(bytes, 0)?, be16(bytes, 2)?);
        let data = first(from(bytes, 4), length.into());
        bytes = from(bytes, 4 + usize::from(length));
        Some((kind, data))
    })
    .take(ENTRIES)
}

/// Vectors with a length of one byte each.
fn list(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        bytes = from(rest, usize::from(*length));
        Some(first(rest, usize::from(*length)))
    })
    .take(ENTRIES)
}

/// Whether these bytes begin a hello of SSL 2, which old clients sent to ask for a later version (RFC 5246 §E.2).
pub(crate) fn is_version_2(head: &[u8]) -> bool {
    let [0x80..=0xff, length, 1, 3, 0..=3, ..] = head else { return false };
    // Cipher specifications of three bytes each, no session, a challenge of 16 to 32 bytes.
    let (ciphers, session, challenge) = (be16(head, 5), be16(head, 7), be16(head, 9));
    matches!((ciphers, session, challenge), (Some(c), Some(0 | 16), Some(16..=32)) if c > 0 && c % 3 == 0)
        && *length > 9
}
