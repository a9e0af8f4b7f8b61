//! Whatever the bytes are, there is an answer: no panic, and no sentence with a byte that a terminal could obey.

use proptest::prelude::*;
use streamdb_sniff::{HEAD_BYTES, sniff};

/// Beginnings that lead into each describer; what follows them is random.
const STARTS: &[&[u8]] = &[
    b"",
    b"MZ",
    b"\x7fELF",
    b"dex\n035\0",
    b"\xca\xfe\xba\xbe",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"\xff\xd8\xff\xe0",
    b"BM",
    b"RIFF\0\0\0\0WEBP",
    b"\x1f\x8b\x08",
    b"7z\xbc\xaf\x27\x1c",
    b"MSCF\0\0\0\0",
    b"PK\x03\x04",
    b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x13\0\0\0[Content_Types].xml",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"%PDF-1.",
    b"{\\rtf",
    b"CWS",
    b"#!",
    b"<?xml",
    b"<",
    b"{\"",
    b"[{\"",
    b"\xff\xfe",
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
    b"\xed\xab\xee\xdb",
    b"SQLite format 3\0",
    b"wOFF",
    b"wOF2",
    b"\0\x01\0\0\0",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("STREAMDB_SOAK").is_some() { 200_000 } else { 4_000 }))]

    #[test]
    fn there_is_always_an_answer(start in prop::sample::select(STARTS), rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut head = start.to_vec();
        head.extend(rest);
        for end in [head.len(), head.len() / 2, start.len()] {
            let kind = sniff(&head[..end]);
            prop_assert!(!kind.mime.is_empty() && !kind.description.is_empty());
            prop_assert!(kind.description.chars().all(|c| !c.is_control()));
        }
    }
}

#[test]
fn only_the_head_counts() {
    let mut bytes = vec![b'a'; HEAD_BYTES];
    bytes.extend([0; 100]);
    assert_eq!(sniff(&bytes).mime, "text/plain");
}
