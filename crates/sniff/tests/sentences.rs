//! The sentences: what each kind is called, in the present wording and in that of 2012.
#![allow(clippy::unwrap_used, reason = "a test without its sample has failed")]

mod common;

use common::{Pe, ar, compound, elf, hello, put, tar, zip};
use streamdb_sniff::{Content, HEAD_BYTES, Kind, sniff, sniff_content, sniff_stream};

const PE: &str = "application/vnd.microsoft.portable-executable";

fn whole(bytes: &[u8]) -> Kind {
    sniff_content(Content::whole(bytes))
}

/// What is said of all of it: MIME type, description.
#[track_caller]
fn says(bytes: &[u8], mime: &str, description: &str) {
    let kind = whole(bytes);
    assert_eq!((kind.mime, kind.description.as_ref()), (mime, description));
}

/// Both wordings.
#[track_caller]
fn both(bytes: &[u8], mime: &str, description: &str, legacy: &str) {
    says(bytes, mime, description);
    assert_eq!(whole(bytes).legacy(), legacy);
}

#[test]
fn windows_programs() {
    both(
        &Pe::GUI.build(),
        PE,
        "PE32 executable (GUI) Intel 80386, for MS Windows, 3 sections",
        "MS-DOS executable PE  for MS Windows (GUI) Intel 80386 32-bit",
    );
    both(
        &Pe { sections: &[b"UPX0", b"UPX1", b".rsrc"], ..Pe::GUI }.build(),
        PE,
        "PE32 executable (GUI) Intel 80386, for MS Windows, UPX compressed, 3 sections",
        "MS-DOS executable PE  for MS Windows (GUI) Intel 80386 32-bit, UPX compressed",
    );
    both(
        &Pe { subsystem: 3, dll: true, ..Pe::GUI }.build(),
        PE,
        "PE32 executable (DLL) (console) Intel 80386, for MS Windows, 3 sections",
        "MS-DOS executable PE  for MS Windows (DLL) (console) Intel 80386 32-bit",
    );
    let installer =
        "PE32 executable (GUI) Intel 80386, for MS Windows, Nullsoft Installer self-extracting archive, 3 sections";
    let legacy = "MS-DOS executable PE  for MS Windows (GUI) Intel 80386 32-bit";
    both(&Pe { sections: &[b".text", b".ndata", b".rsrc"], ..Pe::GUI }.build(), PE, installer, legacy);
    both(&Pe { behind: b"\0\0\0\0\xef\xbe\xad\xdeNullsoftInst", ..Pe::GUI }.build(), PE, installer, legacy);
    both(
        &Pe { managed: true, ..Pe::GUI }.build(),
        PE,
        "PE32 executable (GUI) Intel 80386 Mono/.Net assembly, for MS Windows, 3 sections",
        "PE32 executable (GUI) Intel 80386 Mono/.Net assembly, for MS Windows, 3 sections",
    );
    let plus = Pe { plus: true, machine: 0x8664, subsystem: 3, ..Pe::GUI };
    both(
        &plus.build(),
        PE,
        "PE32+ executable (console) x86-64, for MS Windows, 3 sections",
        "PE32+ executable (console) x86-64, for MS Windows",
    );
    both(
        &Pe { managed: true, dll: true, ..plus }.build(),
        PE,
        "PE32+ executable (DLL) (console) x86-64 Mono/.Net assembly, for MS Windows, 3 sections",
        "PE32+ executable (DLL) (console) Mono/.Net assembly, for MS Windows",
    );
    says(
        &Pe { machine: 0xaa64, subsystem: 10, plus: true, sections: &[b".text"], ..Pe::GUI }.build(),
        PE,
        "PE32+ executable (EFI application) Aarch64, for MS Windows, 1 section",
    );
    both(
        &Pe { machine: 0x1c4, subsystem: 1, ..Pe::GUI }.build(),
        PE,
        "PE32 executable (native) ARMv7 Thumb, for MS Windows, 3 sections",
        "MS-DOS executable PE  for MS Windows (native) ARMv7 Thumb",
    );
}

/// What lies beyond the head is left out, and nothing is made up in its place.
#[test]
fn windows_programs_cut() {
    let program = Pe { sections: &[b"UPX0", b"UPX1", b".rsrc"], ..Pe::GUI }.build();
    let of = |length: usize| sniff(&program[..length]).description.into_owned();
    assert_eq!(of(0x7f), "MS-DOS executable");
    assert_eq!(of(0x84), "PE executable, for MS Windows");
    assert_eq!(of(0x9a), "PE32 executable Intel 80386, for MS Windows, 3 sections");
    assert_eq!(of(0x178), "PE32 executable (GUI) Intel 80386, for MS Windows, 3 sections");
    assert_eq!(of(0x1a0), "PE32 executable (GUI) Intel 80386, for MS Windows, UPX compressed, 3 sections");
    says(b"MZ\x90\0", "application/x-dosexec", "MS-DOS executable");
    says(b"MZ no executable, just words\n", "text/plain", "ASCII text");
}

#[test]
fn programs() {
    let path = Some(&b"/lib64/ld-linux-x86-64.so.2\0"[..]);
    let (pie, named) = ([[0x6fff_fffb, 0x0800_0000], [0, 0]], [[14, 1], [0, 0]]);
    let rest = "x86-64, version 1 (SYSV), dynamically linked";
    says(
        &elf(3, path, Some(&pie), false),
        "application/x-executable",
        &format!(
            "ELF 64-bit LSB pie executable, {rest}, interpreter /lib64/ld-linux-x86-64.so.2, for GNU/Linux 3.2.0, stripped"
        ),
    );
    says(
        &elf(3, None, Some(&named), true),
        "application/x-sharedlib",
        &format!("ELF 64-bit LSB shared object, {rest}, for GNU/Linux 3.2.0, not stripped"),
    );
    says(
        &elf(2, None, None, true),
        "application/x-executable",
        "ELF 64-bit LSB executable, x86-64, version 1 (SYSV), statically linked, for GNU/Linux 3.2.0, not stripped",
    );
    says(
        &elf(1, None, None, true),
        "application/x-object",
        "ELF 64-bit LSB relocatable, x86-64, version 1 (SYSV), not stripped",
    );
    let cut = elf(2, None, None, true);
    assert_eq!(
        sniff(&cut[..cut.len() - 1]).description,
        "ELF 64-bit LSB executable, x86-64, version 1 (SYSV), statically linked, for GNU/Linux 3.2.0"
    );
    says(
        b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0",
        "application/x-mach-binary",
        "Mach-O 64-bit x86_64 executable",
    );
    says(
        b"\xcf\xfa\xed\xfe\x0c\0\0\x01\0\0\0\0\x06\0\0\0",
        "application/x-mach-binary",
        "Mach-O 64-bit arm64 dynamically linked shared library",
    );
    says(
        b"\xca\xfe\xba\xbe\0\0\0\x02rest",
        "application/x-mach-binary",
        "Mach-O universal binary with 2 architectures",
    );
    says(b"\xca\xfe\xba\xbe\0\0\0\x34rest", "application/java-vm", "compiled Java class data, version 52.0 (Java 1.8)");
    says(
        b"\xca\xfe\xba\xbe\0\0\0\x3drest",
        "application/java-vm",
        "compiled Java class data, version 61.0 (Java SE 17)",
    );
    says(b"dex\n035\0rest", "application/x-dex", "Dalvik dex file version 035");
    says(b"\0asm\x01\0\0\0", "application/wasm", "WebAssembly (wasm) binary module version 0x1 (MVP)");
    // The test file of virus scanners, in two halves so that they let this one pass.
    let eicar = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}", "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\r\n"].concat();
    both(eicar.as_bytes(), "text/plain", "EICAR virus test files", "EICAR virus test files");
}

#[test]
fn zip_archives() {
    const ZIP: &str = "application/zip";
    let stored = "Zip archive data, at least v2.0 to extract, compression method=store";
    let older = "Zip archive data, at least v2.0 to extract";
    both(&zip(&[(0, "a.txt", b"", b"text")]), ZIP, stored, older);
    both(&zip(&[(0, "a", b"", b"x"), (1, "b", b"", b"y")]), ZIP, &format!("{stored}, encrypted"), older);
    let jar = "Java archive data (JAR)";
    says(&zip(&[(0, "META-INF/", b"\xfe\xca\0\0", b"")]), "application/java-archive", jar);
    says(&zip(&[(0, "A.class", b"", b"x"), (0, "META-INF/MANIFEST.MF", b"", b"")]), "application/java-archive", jar);
    says(
        &zip(&[(0, "META-INF/MANIFEST.MF", b"", b""), (0, "AndroidManifest.xml", b"", b"")]),
        "application/vnd.android.package-archive",
        "Android package (APK)",
    );
    let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    // Members whose length stands behind them, as streaming writers make them.
    let members: [(u16, &str, &[u8], &[u8]); 4] = [
        (8, "[Content_Types].xml", b"", b"<Types/>"),
        (8, "_rels/.rels", b"", b"<x/>"),
        (8, "word/document.xml", b"", b"<w/>"),
        (8, "word/vbaProject.bin", b"", b"\xd0\xcf"),
    ];
    says(&zip(&members[..3]), word, "Microsoft Word 2007+");
    both(&zip(&members), word, "Microsoft Word 2007+, with macros", "Microsoft Word 2007+");
    let begins = zip(&members[..3]);
    assert_eq!(sniff(&begins[..160]).description, "Microsoft Word 2007+", "the directory is not needed");
    says(
        &zip(&[(0, "[Content_Types].xml", b"", b""), (0, "xl/workbook.xml", b"", b"")]),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "Microsoft Excel 2007+",
    );
    says(
        &zip(&[(0, "ppt/presentation.xml", b"", b"")]),
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "Microsoft PowerPoint 2007+",
    );
    says(&zip(&[(0, "mimetype", b"", b"application/epub+zip")]), "application/epub+zip", "EPUB document");
    says(
        &zip(&[(0, "mimetype", b"", b"application/vnd.oasis.opendocument.text")]),
        "application/vnd.oasis.opendocument.text",
        "OpenDocument Text",
    );
    says(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", ZIP, "Zip archive data (empty)");
}

#[test]
fn documents() {
    let ole = |what: &str| format!("Composite Document File V2 Document{what}");
    let legacy = "CDF V2 Document";
    both(&compound([0; 16], &["Contents"]), "application/x-ole-storage", &ole(""), legacy);
    both(&compound([0; 16], &["1Table", "WordDocument"]), "application/msword", &ole(", Microsoft Word"), legacy);
    let macros = compound([0; 16], &["Workbook", "a", "b", "c", "d", "_VBA_PROJECT_CUR", "VBA"]);
    both(&macros, "application/vnd.ms-excel", &ole(", Microsoft Excel, with macros"), legacy);
    says(&compound([0; 16], &["PowerPoint Document"]), "application/vnd.ms-powerpoint", &ole(", Microsoft PowerPoint"));
    says(&compound([0; 16], &["__properties_version1.0"]), "application/vnd.ms-outlook", &ole(", Outlook message"));
    let class = [0x84, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];
    says(&compound(class, &["x"]), "application/x-msi", &ole(", MSI Installer"));
    assert_eq!(sniff(&macros[..600]).description, ole(""), "the directory is beyond the head");

    both(b"{\\rtf1\\ansi x}", "text/rtf", "Rich Text Format data, version 1", "Rich Text Format data, version 1");
    let rtf = b"{\\rtf1{\\object\\objdata 01}{\\object{\\*\\objdata 02}}}";
    let version = "Rich Text Format data, version 1";
    both(rtf, "text/rtf", "Rich Text Format data, version 1, with 2 embedded objects", version);
    assert_eq!(sniff(rtf).description, version, "there may be more of them");
    says(b"{\\rt\\ansi x}", "text/rtf", "Rich Text Format data");

    let mut lnk = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".to_vec();
    lnk.extend([0x83, 0, 0, 0]);
    both(&lnk, "application/x-ms-shortcut", "MS Windows shortcut", "MS Windows shortcut");
    lnk[20] |= 0x20;
    both(&lnk, "application/x-ms-shortcut", "MS Windows shortcut, Has command line arguments", "MS Windows shortcut");
    says(b"CWS\x0arest", "application/x-shockwave-flash", "Macromedia Flash data (compressed), version 10");
    says(b"FWS\x08rest", "application/x-shockwave-flash", "Macromedia Flash data, version 8");
}

#[test]
fn pdf() {
    const PDF: &str = "application/pdf";
    let plain = "PDF document, version 1.7";
    both(b"%PDF-1.7\n%\xe2\xe3\n", PDF, plain, plain);
    let tree = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (x) >> >>\nendobj\n\
        2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 12 >>\nendobj\n3 0 obj << /Count 5 /Kids [] /Type/Pages >> endobj\n";
    both(tree, PDF, "PDF document, version 1.4, 12 pages, with JavaScript", "PDF document, version 1.4");
    assert_eq!(sniff(tree).description, "PDF document, version 1.4, with JavaScript", "a tree may have a higher root");
    let linear = b"%PDF-1.6\n1 0 obj <</Linearized 1/L 99/O 3/E 77/N 31/T 88>>\nendobj\n/Launch /EmbeddedFiles ";
    assert_eq!(
        sniff(linear).description,
        "PDF document, version 1.6, 31 pages, with launch action, with embedded files"
    );
    assert_eq!(sniff(b"%PDF-1.7 /JSXGraph /JavaScripting /Launchpad").description, plain, "longer names are others");
}

#[test]
fn pictures() {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend([0, 0, 2, 0x80, 0, 0, 1, 0xe0, 8, 6, 0, 0, 0]);
    both(
        &png,
        "image/png",
        "PNG image data, 640 x 480, 8-bit/color RGBA, non-interlaced",
        "PNG image, 640 x 480, 8-bit/color RGBA, non-interlaced",
    );
    let mut jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\x01\0\x48\0\x48\0\0".to_vec();
    jpeg.extend(b"\xff\xfe\0\x06note\xff\xc2\0\x11\x08\0\x20\0\x10\x03\x01\x22\0");
    both(
        &jpeg,
        "image/jpeg",
        "JPEG image data, JFIF standard 1.01, resolution (DPI), density 72x72, segment length 16, progressive, precision 8, 16x32, components 3",
        "JPEG image data, JFIF standard 1.01",
    );
    says(b"\xff\xd8\xff\xe1\0\x10Exif", "image/jpeg", "JPEG image data");
    says(b"GIF89a\x10\0\x20\0", "image/gif", "GIF image data, version 89a, 16 x 32");
    says(b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", "RIFF (little-endian) data, Web/P image");
    let mut bmp = b"BM".to_vec();
    put(&mut bmp, 14, &[40, 0, 0, 0, 16, 0, 0, 0, 0xe0, 0xff, 0xff, 0xff, 1, 0, 24, 0]);
    says(&bmp, "image/bmp", "PC bitmap, Windows 3.x format, 16 x -32 x 24");
    says(b"BMW and other cars, which are no bitmap\n", "text/plain", "ASCII text");
    let mut icon = vec![0, 0, 1, 0, 1, 0, 16, 0, 0, 0, 1, 0, 32, 0, 0x68, 4, 0, 0, 22, 0, 0, 0];
    says(&icon, "image/x-icon", "MS Windows icon resource - 1 icon, 16x256");
    icon[9] = 1;
    says(&icon, "application/octet-stream", "data");
}

#[test]
fn compressed() {
    const GZIP: &str = "application/gzip";
    says(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", GZIP, "gzip compressed data, from Unix");
    let mut named = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03evil\x1b]0;\x07.txt\0".to_vec();
    named.extend([3, 0, 0, 0, 0, 0, 42, 0, 0, 0]);
    both(
        &named,
        GZIP,
        "gzip compressed data, was \"evil\\x1b]0;\\x07.txt\", from Unix, original size modulo 2^32 42",
        "gzip compressed data, from Unix",
    );
    assert_eq!(sniff(&named).description, "gzip compressed data, was \"evil\\x1b]0;\\x07.txt\", from Unix");
    says(b"BZh91AY&SY", "application/x-bzip2", "bzip2 compressed data, block size = 900k");
    says(b"BZh9 is a text\n", "text/plain", "ASCII text");
    says(b"\xfd7zXZ\0\0\x04", "application/x-xz", "XZ compressed data, checksum CRC64");
    says(b"\x28\xb5\x2f\xfd\x04", "application/zstd", "Zstandard compressed data (v0.8+)");
}

#[test]
fn archives() {
    says(&tar(b"ustar  \0"), "application/x-tar", "POSIX tar archive (GNU)");
    says(&tar(b"ustar\x0000"), "application/x-tar", "POSIX tar archive");
    says(&tar(b""), "application/x-tar", "tar archive");
    let mut wrong = tar(b"ustar  \0");
    wrong[0] ^= 1;
    says(&wrong, "application/octet-stream", "data");
    says(b"7z\xbc\xaf\x27\x1c\0\x04", "application/x-7z-compressed", "7-zip archive data, version 0.4");
    says(b"Rar!\x1a\x07\x01\0", "application/vnd.rar", "RAR archive data, v5");
    let mut cabinet = b"MSCF\0\0\0\0\xe8\x03\0\0".to_vec();
    put(&mut cabinet, 28, &[7, 0]);
    let mime = "application/vnd.ms-cab-compressed";
    says(&cabinet, mime, "Microsoft Cabinet archive data, 1000 bytes, 7 files");
    let mut iso = vec![0; 40960];
    put(&mut iso, 32768, b"\x01CD001\x01");
    put(&mut iso, 32808, b"TOOLS\x07                          ");
    says(&iso, "application/x-iso9660-image", "ISO 9660 CD-ROM filesystem data 'TOOLS\\x07'");
    let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", b"")]);
    let mime = "application/vnd.debian.binary-package";
    says(&deb, mime, "Debian binary package (format 2.0), with control.tar.xz, data compression xz");
    assert_eq!(sniff(&deb[..140]).description, "Debian binary package (format 2.0), with control.tar.xz");
    says(b"\xed\xab\xee\xdb\x03\0\0\0\0\x01", "application/x-rpm", "RPM v3.0 bin i386/x86_64");
}

#[test]
fn media_and_the_rest() {
    says(b"\0\0\0\x20ftypisom", "video/mp4", "ISO Media, MP4 Base Media v1 [ISO 14496-12:2003]");
    says(b"ID3\x04\0\0\0\0\0\0", "audio/mpeg", "Audio file with ID3 version 2.4.0");
    let mut ogg = b"OggS\0\x02".to_vec();
    put(&mut ogg, 28, b"\x01vorbis");
    says(&ogg, "audio/ogg", "Ogg data, Vorbis audio");
    says(b"\0\x01\0\0\0\x11\x01\0\0\x04\0\x10GSUB", "font/ttf", "TrueType Font data, 17 tables, 1st \"GSUB\"");
    says(b"wOF2\0\x01\0\0", "font/woff2", "Web Open Font Format (Version 2)");
    says(b"SQLite format 3\0", "application/vnd.sqlite3", "SQLite 3.x database");
    says(
        b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0",
        "application/vnd.tcpdump.pcap",
        "pcap capture file, microsecond ts (little-endian) - version 2.4 (Ethernet, capture length 262144)",
    );
    let certificate = b"\x30\x82\x03\x00\x30\x82\x02\x00\xa0\x03\x02\x01\x02\x02\x14";
    says(certificate, "application/pkix-cert", "Certificate, Version=3");
    says(b"-----BEGIN CERTIFICATE-----\nMII", "application/x-pem-file", "PEM certificate");
    says(b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3", "application/x-pem-file", "OpenSSH private key");
    says(b"", "application/octet-stream", "empty");
    both(b"\0\x01\x02\x03", "application/octet-stream", "data", "data");
}

#[test]
fn texts() {
    const TEXT: &str = "text/plain";
    both(b"hello, world\n", TEXT, "ASCII text", "ASCII text");
    both(b"one\r\ntwo\r\n", TEXT, "ASCII text, with CRLF line terminators", "ASCII text");
    both("gr\u{fc}n\n".as_bytes(), TEXT, "Unicode text, UTF-8 text", "UTF-8 Unicode text");
    says(b"\xef\xbb\xbfa,b\n", TEXT, "Unicode text, UTF-8 (with BOM) text");
    says(b"\xff\xfea\0\n\0", TEXT, "Unicode text, UTF-16, little-endian text");
    says(b"gr\xfcn\n", TEXT, "ISO-8859 text");
    let mut long = vec![b'x'; 1234];
    long.push(b'\n');
    both(&long, TEXT, "ASCII text, with very long lines (1234)", "ASCII text");
    let mut cut = "\u{fc}".repeat(HEAD_BYTES).into_bytes();
    cut.insert(0, b'a');
    assert_eq!(sniff(&cut).legacy(), "UTF-8 Unicode text", "a character may be cut by the end of the head");
}

#[test]
fn markup_and_data() {
    let html = "HTML document text";
    both(b"<!DOCTYPE html>\n<html>", "text/html", "HTML document, ASCII text", html);
    both(
        "  <HtMl>\r\n\u{fc}".as_bytes(),
        "text/html",
        "HTML document, Unicode text, UTF-8 text, with CRLF line terminators",
        html,
    );
    says(b"<!-- a -->\n<p>", "text/html", "HTML document, ASCII text");
    says(b"<!-- a -->\n<!ELEMENT a EMPTY>\n", "text/plain", "ASCII text");
    both(b"<?xml version=\"1.0\"?>\n<a/>", "text/xml", "XML 1.0 document, ASCII text", "XML document text");
    says(b"<?xml version=\"1.0\"?>\n<svg/>", "image/svg+xml", "SVG Scalable Vector Graphics image");
    says(b"{\"a\": 1}", "application/json", "JSON text data");
    says(b"[1, 2]", "application/json", "JSON text data");
    says(b"[1] is a footnote\n", "text/plain", "ASCII text");
    says(b"{ margin: 0 }\n", "text/plain", "ASCII text");
    says(
        b"Received: from a by b\n\twith SMTP\nFrom: a@example.com\nSubject: x\n\nbody\n",
        "message/rfc822",
        "RFC 822 mail, ASCII text",
    );
    says(b"From: here to there\nis not far\n", "text/plain", "ASCII text");
}

#[test]
fn scripts() {
    says(b"#!/bin/sh\nls\n", "text/x-shellscript", "POSIX shell script, ASCII text executable");
    says(b"#! /bin/bash -e\nls\n", "text/x-shellscript", "Bourne-Again shell script, ASCII text executable");
    says(b"#!/usr/bin/env python3\n", "text/x-python", "Python script, ASCII text executable");
    says(b"#!/usr/bin/env -S LANG=C perl -w\n", "text/x-perl", "Perl script, ASCII text executable");
    says(b"#!/opt/thing\n", "text/plain", "script, ASCII text executable");
    says(b"<?php echo 1;\n", "text/x-php", "PHP script, ASCII text");
    says(b"@echo off\r\ndir\r\n", "text/x-msdos-batch", "DOS batch file, ASCII text, with CRLF line terminators");
    says(b"(function(){\n  var a = 1;\n})();\n", "text/javascript", "JavaScript source, ASCII text");
    says(b"var a = new ActiveXObject('x');\n", "text/javascript", "JavaScript source, ASCII text");
    says(
        b"$c = New-Object Net.WebClient\nInvoke-Expression $c.DownloadString('x')\n",
        "text/x-powershell",
        "PowerShell script, ASCII text",
    );
    let wide: Vec<u8> =
        "\u{feff}$c = New-Object Net.WebClient\n$c.x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    says(&wide, "text/x-powershell", "PowerShell script, Unicode text, UTF-16, little-endian text");
    says(b"Dim s\nSet s = CreateObject(\"WScript.Shell\")\n", "text/vbscript", "VBScript source, ASCII text");
    says(b"<html>\n<HTA:APPLICATION id=x>\n", "application/hta", "HTML Application (HTA), ASCII text");
    let packed = b"var a='x';for(var i=0;i<a.length;i++)b+=String.fromCharCode(a.charCodeAt(i)^7);eval(b)";
    says(packed, "text/javascript", "JavaScript source, ASCII text, with no line terminators");
    let loaded = b"[Reflection.Assembly]::Load([Convert]::FromBase64String($env:x)).EntryPoint.Invoke($null,$null)\n";
    says(loaded, "text/x-powershell", "PowerShell script, ASCII text");
    // Other languages with like words.
    says(b"syntax = \"proto3\";\nimport \"a.proto\";\nimport \"b.proto\";\n", "text/plain", "ASCII text");
    says(b"(function car)\n(function cdr)\n", "text/plain", "ASCII text");
    says(b"We write about CreateObject( and the like.\n", "text/plain", "ASCII text");
    says(b"In PowerShell, New-Object makes objects.\n", "text/plain", "ASCII text");
}

#[track_caller]
fn session(bytes: &[u8], description: &str) {
    assert_eq!(sniff_stream(Content::beginning(bytes)).description, description);
}

#[test]
fn sessions() {
    let name = [&[0, 14, 0, 0, 11][..], b"example.com"].concat();
    let client: [(u16, &[u8]); 4] =
        [(0, &name), (10, &[0, 2, 0, 29]), (16, b"\0\x03\x02h2"), (43, &[5, 0x7a, 0x7a, 3, 4, 3, 3])];
    session(&hello(true, 0x303, &client), "TLS 1.3 session, SNI example.com, ALPN h2");
    session(&hello(true, 0x303, &[(16, b"\0\x0c\x02h2\x08http/1.1")]), "TLS 1.2 session, ALPN h2,http/1.1");
    session(&hello(true, 0x301, &[(0, b"\0\x0a\0\0\x07a\x1b[1m\n\xff")]), "TLS 1.0 session, SNI a\\x1b[1m\\x0a\\xff");
    session(&hello(false, 0x303, &[(43, &[3, 4])]), "TLS 1.3 session");
    session(&hello(false, 0x300, &[]), "SSL 3.0 session");
    session(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0 session, OpenSSH_9.2p1 Debian-2");
    session(b"\0\0\0\x80\xfeSMB\x40\0", "SMB2 session");
    session(b"\0\0\0\x80\xffSMBr", "SMB session");
    session(b"\x13BitTorrent protocol\0\0\0\0", "BitTorrent");
    session(b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01", "DNS over TCP");
    session(b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x47example\x03com\0\0\x01\0\x01", "data");
    session(b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x0b\0\0\0", "RDP session");
    session(b"EHLO client.example.com\r\n", "SMTP session");
    session(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", "LDAP session");
    session(b"\0\0\0\x08\x04\xd2\x16\x2f", "PostgreSQL session");
    session(b"\xff\xfd\x18\xff\xfd\x20", "Telnet session");
    session(b"\x30\x84\0\0\0\x4b\x02\x02\0\xa0\x60\x84\0\0\0\x41", "LDAP session");
    session(b"\x82\0\0\0\0\0\x01\xc0\xfeSMB\x40\0", "SMB2 session");
    session(b"\x05\x01\0\x05\x01\0\x01\x0a\0\0\x01\0\x50", "SOCKS5 session");
    session(b"R\0\0\0\x0c\0\0\0\x05\xde\x90\x7f\x24", "PostgreSQL session");
    session(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 session");
    // No protocol: what the bytes are.
    session(b"hello\n", "ASCII text");
    session(&Pe::GUI.build(), "PE32 executable (GUI) Intel 80386, for MS Windows, 3 sections");
    session(b"\x05\xc3\x91", "data");
}
