//! Text: its encoding and line ends, and what its first words show it to be.

use crate::kind::Kind;

/// How a text is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Ascii,
    Utf8,
    Utf8Bom,
    Utf16Le,
    Utf16Be,
    Latin,
}

impl Encoding {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Ascii => "ASCII text",
            Self::Utf8 => "Unicode text, UTF-8 text",
            Self::Utf8Bom => "Unicode text, UTF-8 (with BOM) text",
            Self::Utf16Le => "Unicode text, UTF-16, little-endian text",
            Self::Utf16Be => "Unicode text, UTF-16, big-endian text",
            Self::Latin => "ISO-8859 text",
        }
    }
}

/// Whether these bytes read as text in an encoding that is told without guessing (ASCII or UTF-8).
pub(crate) fn is_text(head: &[u8]) -> bool {
    matches!(encoding(head), Some(Encoding::Ascii | Encoding::Utf8 | Encoding::Utf8Bom))
}

/// The sentence for a text that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    let encoding = encoding(head)?;
    let sentence = encoding.sentence();
    let words = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if words.starts_with(b"#!") {
        return Some(script(words, sentence));
    }
    if starts_with(words, b"<?php") {
        return Some(Kind::made("text/x-php", format!("PHP script, {sentence}"), "php"));
    }
    if starts_with(words, b"<?xml") {
        let version = if words.windows(13).take(64).any(|w| w == b"version=\"1.1\"") { "1.1" } else { "1.0" };
        return Some(Kind::made("text/xml", format!("XML {version} document, {sentence}"), "xml"));
    }
    if starts_with(words, b"<svg") {
        return Some(Kind::fixed("image/svg+xml", "SVG Scalable Vector Graphics image", "svg"));
    }
    if is_html(words) {
        return Some(Kind::made("text/html", format!("HTML document, {sentence}"), "html"));
    }
    if is_json(words) {
        return Some(Kind::fixed("application/json", "JSON text data", "json"));
    }
    Some(if head.windows(2).any(|pair| pair == b"\r\n") {
        Kind::made("text/plain", format!("{sentence}, with CRLF line terminators"), "txt")
    } else {
        Kind::fixed("text/plain", sentence, "txt")
    })
}

/// The encoding of a text, or nothing when a byte of it is in no text.
fn encoding(head: &[u8]) -> Option<Encoding> {
    match head {
        [0xff, 0xfe, rest @ ..] if utf16_is_text(rest, u16::from_le_bytes) => return Some(Encoding::Utf16Le),
        [0xfe, 0xff, rest @ ..] if utf16_is_text(rest, u16::from_be_bytes) => return Some(Encoding::Utf16Be),
        _ => {}
    }
    // The controls that file(1) allows in texts: bell to carriage return, and escape.
    if head.iter().any(|b| matches!(b, 0..=6 | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f)) {
        return None;
    }
    if head.is_ascii() {
        return Some(Encoding::Ascii);
    }
    let utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character cut by the end of the head is no error.
        Err(error) => error.error_len().is_none(),
    };
    if utf8 {
        return Some(if head.starts_with(b"\xef\xbb\xbf") { Encoding::Utf8Bom } else { Encoding::Utf8 });
    }
    let controls = head.iter().any(|b| (0x80..0xa0).contains(b));
    (!controls).then_some(Encoding::Latin)
}

fn utf16_is_text(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> bool {
    let (pairs, _) = bytes.as_chunks::<2>();
    !pairs.is_empty() && pairs.iter().all(|pair| !matches!(unit(*pair), 0..=6 | 0x0e..=0x1a | 0xfffe | 0xffff))
}

/// A script, by the interpreter that its first line names.
fn script(words: &[u8], sentence: &str) -> Kind {
    let line = words.split(|b| *b == b'\n').next().unwrap_or_default();
    let has = |name: &[u8]| line.windows(name.len()).any(|w| w == name);
    let (mime, what, extension) = if has(b"python") {
        ("text/x-python", "Python", "py")
    } else if has(b"perl") {
        ("text/x-perl", "Perl", "pl")
    } else if has(b"ruby") {
        ("text/x-ruby", "Ruby", "rb")
    } else if has(b"node") {
        ("text/javascript", "Node.js", "js")
    } else if has(b"php") {
        ("text/x-php", "PHP", "php")
    } else if has(b"bash") {
        ("text/x-shellscript", "Bourne-Again shell", "sh")
    } else if has(b"sh") {
        ("text/x-shellscript", "POSIX shell", "sh")
    } else {
        return Kind::made("text/plain", format!("script, {sentence} executable"), "txt");
    };
    Kind::made(mime, format!("{what} script, {sentence} executable"), extension)
}

/// The tags of the WHATWG MIME Sniffing Standard §7.1 that are not also common in other texts.
fn is_html(words: &[u8]) -> bool {
    const TAGS: [&[u8]; 12] = [
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<script",
        b"<iframe",
        b"<body",
        b"<title",
        b"<style",
        b"<table",
        b"<div",
        b"<h1",
        b"<!--",
    ];
    TAGS.iter().any(|tag| {
        let after = words.get(tag.len());
        starts_with(words, tag)
            && (tag.ends_with(b"-") || matches!(after, None | Some(b' ' | b'>' | b'\t' | b'\r' | b'\n')))
    })
}

/// An object whose first member has a name, or an array that begins with an object.
fn is_json(words: &[u8]) -> bool {
    let object = |bytes: &[u8]| -> bool {
        let Some(rest) = bytes.strip_prefix(b"{").map(<[u8]>::trim_ascii_start) else { return false };
        let Some(name) = rest.strip_prefix(b"\"") else { return false };
        let Some(end) = name.iter().position(|b| *b == b'"') else { return false };
        name.get(end + 1..).unwrap_or_default().trim_ascii_start().starts_with(b":")
    };
    object(words) || words.strip_prefix(b"[").is_some_and(|rest| object(rest.trim_ascii_start()))
}

fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
