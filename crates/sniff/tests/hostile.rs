//! Whatever the bytes are, there is an answer: no panic, and no sentence with a byte that a terminal could obey.
#![allow(clippy::unwrap_used, reason = "a test without its sample has failed")]

mod common;

use common::{Pe, ar, compound, elf, hello, tar, xored, zip};
use proptest::prelude::*;
use streamdb_sniff::{Content, HEAD_BYTES, Kind, SENTENCE_BYTES, sniff, sniff_content, sniff_stream};

/// Beginnings that lead into each describer; what follows them is random.
const STARTS: &[&[u8]] = &[
    b"",
    b"MZ",
    b"\x7fELF",
    b"dex\n035\0",
    b"\xca\xfe\xba\xbe",
    b"\xcf\xfa\xed\xfe",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"\xff\xd8\xff\xe0",
    b"BM",
    b"\0\0\x01\0",
    b"RIFF\0\0\0\0WEBP",
    b"\x1f\x8b\x08",
    b"\x1f\x8b\x08\x08",
    b"BZh9",
    b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c",
    b"MSCF\0\0\0\0",
    b"PK\x03\x04",
    b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x13\0\0\0[Content_Types].xml",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"%PDF-1.",
    b"%PDF-1.7 /Linearized /N ",
    b"{\\rtf",
    b"CWS",
    b"#!",
    b"#!/usr/bin/env ",
    b"<?xml",
    b"<!--",
    b"<",
    b"{\"",
    b"[{\"",
    b"From: a\nReceived: b\n",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\x28\xb5\x2f\xfd",
    b"\x50\x2a\x4d\x18",
    b"\x04\x22\x4d\x18",
    b"\0\0\0\x20ftyp",
    b"\x1a\x45\xdf\xa3",
    b"ID3",
    b"OggS",
    b"dey\n",
    b"\x30\x82",
    b"!<arch>\n",
    b"!<arch>\ndebian-binary   ",
    b"\xed\xab\xee\xdb",
    b"\xd4\xc3\xb2\xa1",
    b"SQLite format 3\0",
    b"-----BEGIN ",
    b"wOFF",
    b"wOF2",
    b"\0\x01\0\0\0",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"SSH-2.0-",
    b"\x40\0\0\0\x0a8",
    b"RFB ",
    b"\0\x40",
    b"220 ",
    b"*3\r\n",
];

/// Whole files, of which mutations go deep.
fn samples() -> Vec<Vec<u8>> {
    let program = Pe { sections: &[b"UPX0", b".ndata", b".rsrc"], managed: true, ..Pe::GUI }.build();
    let name = [&[0, 14, 0, 0, 11][..], b"example.com"].concat();
    vec![
        xored(&program, &[0x95, 0x3c]),
        [&b"0123"[..], &xored(&program, b"0123")].concat(),
        program,
        elf(3, Some(b"/lib64/ld-linux-x86-64.so.2\0"), Some(&[[0x6fff_fffb, 0x0800_0000], [14, 1], [0, 0]]), true),
        zip(&[(8, "[Content_Types].xml", b"", b"<Types/>"), (8, "word/document.xml", b"", b"<w/>")]),
        zip(&[(0, "META-INF/", b"\xfe\xca\0\0", b""), (1, "META-INF/MANIFEST.MF", b"", b"x")]),
        compound([0; 16], &["Workbook", "a", "b", "c", "d", "_VBA_PROJECT_CUR", "VBA"]),
        ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", b"")]),
        tar(b"ustar  \0"),
        hello(true, 0x303, &[(0, &name), (16, b"\0\x0c\x02h2\x08http/1.1"), (43, &[5, 0x7a, 0x7a, 3, 4, 3, 3])]),
        hello(false, 0x303, &[(43, &[3, 4])]),
        b"%PDF-1.4\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 12 /S /JavaScript >>\nendobj\n".to_vec(),
        b"\x1f\x8b\x08\x0c\0\0\0\0\0\x03\x02\0xxname.txt\0\x03\0\0\0\0\0\x2a\0\0\0".to_vec(),
        b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01".to_vec(),
    ]
}

/// In each way of asking.
fn answers(bytes: &[u8]) -> Vec<Kind> {
    let contents = [Content::whole(bytes), Content::beginning(bytes), Content::of_length(bytes, u64::MAX)];
    contents.into_iter().flat_map(|content| [sniff_content(content), sniff_stream(content)]).collect()
}

fn sound(bytes: &[u8]) -> Result<(), TestCaseError> {
    for kind in answers(bytes) {
        prop_assert!(!kind.mime.is_empty());
        for sentence in [kind.description.as_ref(), kind.legacy()] {
            prop_assert!(!sentence.is_empty() && sentence.len() <= SENTENCE_BYTES, "{}", sentence);
            prop_assert!(sentence.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{:?}", sentence);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 200_000 } else { 2_000 }))]

    #[test]
    fn there_is_always_an_answer(start in prop::sample::select(STARTS), rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut head = start.to_vec();
        head.extend(rest);
        for end in [head.len(), head.len() / 2, start.len()] {
            sound(&head[..end])?;
        }
    }

    #[test]
    fn samples_may_be_damaged(
        sample in prop::sample::select(samples()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        sound(&bytes)?;
        sound(&bytes[..end.index(bytes.len())])?;
    }
}

/// Names are cut before they fill a sentence, even where each byte takes four.
#[test]
fn the_longest_names() {
    let name = [&[1, 3, 0, 1, 0][..], &[0xff; 256]].concat();
    let protocols = [&[1, 0][..], &[&[0xff_u8][..], &[0xfe; 255]].concat()].concat();
    sound(&hello(true, 0x303, &[(0, &name), (16, &protocols)])).unwrap();
    sound(&[&b"SSH-2.0-"[..], &[0xff; 300]].concat()).unwrap();
    sound(&[&b"\x1f\x8b\x08\x08\0\0\0\0\0\x03"[..], &[0xff; 5000]].concat()).unwrap();
    sound(&elf(3, Some(&[0xff; 5000]), None, true)).unwrap();
}

#[test]
fn only_the_head_counts() {
    let mut bytes = vec![b'a'; HEAD_BYTES];
    bytes.extend([0; 100]);
    assert_eq!(sniff(&bytes).mime, "text/plain");
}
