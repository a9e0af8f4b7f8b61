//! The answer, and the order in which the describers are asked.

use std::borrow::Cow;

use crate::{document, image, packed, program, signature, text};

/// How many first bytes of an object are worth giving to [`sniff`]: the furthest signature lies within.
pub const HEAD_BYTES: usize = 8192;

/// What bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The MIME type by content, never by declaration.
    pub mime: &'static str,
    /// A sentence as file(1) says it.
    pub description: Cow<'static, str>,
    /// A usual file name extension without its dot; empty where none is usual.
    pub extension: &'static str,
}

impl Kind {
    /// Bytes of which nothing is known.
    pub const DATA: Self = Self::fixed("application/octet-stream", "data", "bin");

    /// A kind with a fixed sentence.
    pub(crate) const fn fixed(mime: &'static str, description: &'static str, extension: &'static str) -> Self {
        Self { mime, description: Cow::Borrowed(description), extension }
    }

    /// A kind with a sentence made from the bytes.
    pub(crate) const fn made(mime: &'static str, description: String, extension: &'static str) -> Self {
        Self { mime, description: Cow::Owned(description), extension }
    }
}

/// What an object is that begins with `head`. Only the first [`HEAD_BYTES`] are looked at.
pub fn sniff(head: &[u8]) -> Kind {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    if head.is_empty() {
        return Kind::fixed("application/octet-stream", "empty", "");
    }
    program::describe(head)
        .or_else(|| image::describe(head))
        .or_else(|| packed::describe(head))
        .or_else(|| document::describe(head))
        .or_else(|| signature::describe(head))
        .or_else(|| text::describe(head))
        .unwrap_or(Kind::DATA)
}

/// The little-endian number of two bytes at `at`.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

/// The little-endian number of four bytes at `at`.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// The big-endian number of four bytes at `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Head, MIME type, description.
    type Case = (&'static [u8], &'static str, &'static str);

    fn png() -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend([0, 0, 2, 0x80, 0, 0, 1, 0xe0, 8, 6, 0, 0, 0]);
        bytes
    }

    fn pe(magic: u16) -> Vec<u8> {
        let mut bytes = vec![0; 0x100];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x98..0x9a].copy_from_slice(&magic.to_le_bytes());
        bytes
    }

    #[test]
    fn sentences() {
        let cases: &[Case] = &[
            (b"", "application/octet-stream", "empty"),
            (b"\x00\x01\x02\x03", "application/octet-stream", "data"),
            (b"hello, world\n", "text/plain", "ASCII text"),
            (b"one\r\ntwo\r\n", "text/plain", "ASCII text, with CRLF line terminators"),
            ("gr\u{fc}n\n".as_bytes(), "text/plain", "Unicode text, UTF-8 text"),
            (b"\xef\xbb\xbfa,b\n", "text/plain", "Unicode text, UTF-8 (with BOM) text"),
            (b"\xff\xfea\0b\0", "text/plain", "Unicode text, UTF-16, little-endian text"),
            (b"gr\xfcn\n", "text/plain", "ISO-8859 text"),
            (b"<!DOCTYPE html>\n<html>", "text/html", "HTML document, ASCII text"),
            (b"  <HtMl><body>", "text/html", "HTML document, ASCII text"),
            (b"<?xml version=\"1.0\"?><a/>", "text/xml", "XML 1.0 document, ASCII text"),
            (b"{\"a\": 1}", "application/json", "JSON text data"),
            (b"{ margin: 0 }", "text/plain", "ASCII text"),
            (b"#!/bin/sh\nls\n", "text/x-shellscript", "POSIX shell script, ASCII text executable"),
            (b"#!/usr/bin/env python3\n", "text/x-python", "Python script, ASCII text executable"),
            (b"<?php echo 1;", "text/x-php", "PHP script, ASCII text"),
            (b"GIF89a\x10\x00\x20\x00", "image/gif", "GIF image data, version 89a, 16 x 32"),
            (b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01", "image/jpeg", "JPEG image data, JFIF standard 1.01"),
            (b"\xff\xd8\xff\xe1\x00\x10Exif", "image/jpeg", "JPEG image data"),
            (b"%PDF-1.7\n", "application/pdf", "PDF document, version 1.7"),
            (b"PK\x03\x04\x14\x00rest", "application/zip", "Zip archive data, at least v2.0 to extract"),
            (b"\x1f\x8b\x08\x00\0\0\0\0\0\x03", "application/gzip", "gzip compressed data"),
            (b"MZ\x90\x00", "application/x-dosexec", "MS-DOS executable"),
            (b"MZ no executable, just words\n", "text/plain", "ASCII text"),
            (b"BC dates are text\n", "text/plain", "ASCII text"),
            (b"BMW and other cars, which are no bitmap\n", "text/plain", "ASCII text"),
            (
                b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest",
                "application/x-ole-storage",
                "Composite Document File V2 Document",
            ),
            (b"{\\rtf1\\ansi", "text/rtf", "Rich Text Format data, version 1"),
            (b"CWS\x0arest", "application/x-shockwave-flash", "Macromedia Flash data (compressed), version 10"),
            (b"7z\xbc\xaf\x27\x1c\x00\x04", "application/x-7z-compressed", "7-zip archive data, version 0.4"),
            (b"\x00asm\x01\x00\x00\x00", "application/wasm", "WebAssembly (wasm) binary module version 0x1 (MVP)"),
            (b"SQLite format 3\0", "application/vnd.sqlite3", "SQLite 3.x database"),
        ];
        for (head, mime, description) in cases {
            let kind = sniff(head);
            assert_eq!(
                (kind.mime, kind.description.as_ref()),
                (*mime, *description),
                "{:?}",
                head.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn sentences_from_headers() {
        assert_eq!(sniff(&png()).description, "PNG image data, 640 x 480, 8-bit/color RGBA, non-interlaced");
        assert_eq!(sniff(&pe(0x10b)).description, "PE32 executable, for MS Windows");
        assert_eq!(sniff(&pe(0x20b)).description, "PE32+ executable, for MS Windows");
        assert_eq!(sniff(&pe(0x10b)).extension, "exe");
        // Cut before the new header: only the old one is sure.
        assert_eq!(sniff(&pe(0x10b)[..0x70]).description, "MS-DOS executable");
    }

    #[test]
    fn utf8_may_be_cut_at_the_end_of_the_head() {
        let mut head = "\u{fc}".repeat(HEAD_BYTES).into_bytes();
        head.insert(0, b'a');
        assert_eq!(sniff(&head).description, "Unicode text, UTF-8 text");
    }
}
