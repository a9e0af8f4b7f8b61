//! Text: what its first words show it to be.

use std::borrow::Cow;

use crate::bytes::{contains, find, first, from, starts_with};
use crate::encoding::{Encoding, Manner, manner};
use crate::kind::{Content, Kind};
use crate::script;

pub(crate) use crate::encoding::is_text;

/// How many bytes the words are looked for in.
const WORDS: usize = 4096;

/// The sentence for a text that begins with the head.
pub(crate) fn describe(content: &Content<'_>) -> Option<Kind> {
    let text = Text { manner: manner(content)?, whole: content.is_whole() };
    let words = text.manner.encoding.strip(content.head());
    let narrow = narrow(&text.manner, words);
    let words = narrow.as_ref().map_or(words, |narrow| first(narrow, words.len() / 2));
    let starts = first(words, WORDS);
    if starts.starts_with(b"#!") {
        let (mime, what, extension) = script::by_interpreter(starts);
        return Some(text.program(mime, what, extension));
    }
    let starts = starts.trim_ascii_start();
    text.markup(starts)
        .or_else(|| text.json(words.trim_ascii()))
        .or_else(|| text.mail(starts))
        .or_else(|| {
            let (mime, what, extension) = script::by_words(starts)?;
            Some(if what == "Python script" {
                text.program(mime, what, extension)
            } else {
                text.document(mime, what, extension)
            })
        })
        .or_else(|| Some(text.plain()))
}

/// UTF-16 as single bytes, for looking at the words; other letters become question marks.
fn narrow(manner: &Manner, words: &[u8]) -> Option<[u8; WORDS]> {
    let unit = match manner.encoding {
        Encoding::Utf16Le => u16::from_le_bytes,
        Encoding::Utf16Be => u16::from_be_bytes,
        _ => return None,
    };
    let mut narrow = [b' '; WORDS];
    for (to, pair) in narrow.iter_mut().zip(words.as_chunks::<2>().0) {
        *to = u8::try_from(unit(*pair)).ok().filter(u8::is_ascii).unwrap_or(b'?');
    }
    Some(narrow)
}

/// A text of which the manner is known.
struct Text {
    manner: Manner,
    whole: bool,
}

impl Text {
    fn plain(&self) -> Kind {
        let encoding = self.manner.encoding;
        let description = match self.manner.suffix() {
            Cow::Borrowed(_) => Cow::Borrowed(encoding.sentence()),
            Cow::Owned(suffix) => Cow::Owned(format!("{}{suffix}", encoding.sentence())),
        };
        Kind { description, ..Kind::fixed("text/plain", "", "txt") }.formerly(encoding.legacy())
    }

    /// `PHP script, ASCII text`
    fn document(&self, mime: &'static str, what: &str, extension: &'static str) -> Kind {
        let sentence = format!("{what}, {}{}", self.manner.encoding.sentence(), self.manner.suffix());
        Kind::made(mime, sentence, extension)
    }

    /// `Python script, ASCII text executable`
    fn program(&self, mime: &'static str, what: &str, extension: &'static str) -> Kind {
        let sentence = format!("{what}, {} executable{}", self.manner.encoding.sentence(), self.manner.suffix());
        Kind::made(mime, sentence, extension)
    }

    fn markup(&self, words: &[u8]) -> Option<Kind> {
        if !words.starts_with(b"<") {
            return None;
        }
        const SVG: Kind = Kind::fixed("image/svg+xml", "SVG Scalable Vector Graphics image", "svg");
        if starts_with(words, b"<?php") || words.starts_with(b"<?=") {
            return Some(self.document("text/x-php", "PHP script", "php"));
        }
        if words.starts_with(b"<svg") {
            return Some(SVG);
        }
        if starts_with(words, b"<?xml") {
            if contains(words, b"<svg") {
                return Some(SVG);
            }
            let opening = first(words, 1024);
            if contains(opening, b"<!doctype html") || contains(opening, b"<html") {
                return Some(self.document("text/html", "XHTML document", "xhtml").formerly("XHTML document text"));
            }
            let what =
                if contains(first(words, 64), b"version=\"1.1\"") { "XML 1.1 document" } else { "XML 1.0 document" };
            return Some(self.document("text/xml", what, "xml").formerly("XML document text"));
        }
        let html = is_html(words);
        if (html || starts_with(words, b"<hta:")) && contains(words, b"<hta:application") {
            return Some(self.document("application/hta", "HTML Application (HTA)", "hta"));
        }
        html.then(|| self.document("text/html", "HTML document", "html").formerly("HTML document text"))
    }

    /// An object whose first member has a name, or an array that begins with an object; of a whole text also other arrays,
    /// if they end as they should.
    fn json(&self, words: &[u8]) -> Option<Kind> {
        const JSON: Kind = Kind::fixed("application/json", "JSON text data", "json");
        let object = |bytes: &[u8]| -> bool {
            let Some(rest) = bytes.strip_prefix(b"{").map(<[u8]>::trim_ascii_start) else { return false };
            let Some(name) = rest.strip_prefix(b"\"") else { return false };
            let name = first(name, WORDS);
            let Some(end) = memchr::memchr(b'"', name) else { return false };
            from(name, end + 1).trim_ascii_start().starts_with(b":")
        };
        let closes = |close: &[u8]| !self.whole || words.ends_with(close);
        if words.starts_with(b"{") {
            let empty = self.whole
                && words.trim_ascii_end().strip_suffix(b"}").is_some_and(|w| from(w, 1).trim_ascii().is_empty());
            return (empty || object(words) && closes(b"}")).then_some(JSON);
        }
        let array = words.strip_prefix(b"[")?.trim_ascii_start();
        if object(array) && closes(b"]") {
            return Some(JSON);
        }
        let inside = array.strip_suffix(b"]").filter(|_| self.whole)?;
        let scalar = match inside {
            [b'"', rest @ ..] => first(rest, WORDS).iter().position(|b| *b == b'"').map(|end| end + 2),
            [b'0'..=b'9' | b'-', ..] => {
                inside.iter().position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            }
            [b'[', ..] | [] => return Some(JSON),
            _ => return None,
        };
        let behind = from(inside, scalar.unwrap_or(inside.len())).trim_ascii_start();
        (behind.is_empty() || behind.starts_with(b",")).then_some(JSON)
    }

    /// Header fields, at least three of them, of which one is only in mails (RFC 5322 §3.6).
    fn mail(&self, words: &[u8]) -> Option<Kind> {
        const FIRST: [&[u8]; 10] = [
            b"received:",
            b"return-path:",
            b"delivered-to:",
            b"from:",
            b"date:",
            b"message-id:",
            b"mime-version:",
            b"subject:",
            b"to:",
            b"x-",
        ];
        const TELLING: [&[u8]; 5] = [b"received:", b"return-path:", b"message-id:", b"delivered-to:", b"mime-version:"];
        if !FIRST.iter().any(|name| starts_with(words, name)) {
            return None;
        }
        let (mut fields, mut telling) = (0, false);
        for line in words.split(|b| *b == b'\n') {
            let line = line.trim_ascii_end();
            if matches!(line.first(), Some(b' ' | b'\t')) && fields > 0 {
                continue;
            }
            let name = first(line, memchr::memchr(b':', line).unwrap_or(0));
            if name.is_empty() || !name.iter().all(|b| b.is_ascii_graphic()) {
                break;
            }
            telling |= TELLING.iter().any(|name| starts_with(line, name));
            fields += 1;
        }
        (telling && fields >= 3).then(|| self.document("message/rfc822", "RFC 822 mail", "eml"))
    }
}

/// The tags of the WHATWG MIME Sniffing Standard §7.1 that are not also common in other texts.
fn is_html(words: &[u8]) -> bool {
    // A comment begins a page, unless declarations follow: that is a document type.
    if words.starts_with(b"<!--") {
        let mut rest = words;
        while let Some(comment) = rest.strip_prefix(b"<!--") {
            let Some(end) = find(comment, b"-->") else { return true };
            rest = from(comment, end + 3).trim_ascii_start();
        }
        return !matches!(rest, [b'<', b'!', ..] | [b'%', ..]) || starts_with(rest, b"<!doctype html");
    }
    const TAGS: [&[u8]; 11] = [
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
    ];
    TAGS.iter().any(|tag| {
        let after = words.get(tag.len());
        starts_with(words, tag) && matches!(after, None | Some(b' ' | b'>' | b'\t' | b'\r' | b'\n'))
    })
}
