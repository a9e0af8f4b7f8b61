//! Executables under a key: found whatever the key, and nothing found where there is none.
#![allow(clippy::unwrap_used, reason = "a test without its sample has failed")]

mod common;

use common::{Pe, xored};
use proptest::prelude::*;
use streamdb_sniff::{Content, sniff, sniff_content};

#[test]
fn two_bytes() {
    let plain = Pe { sections: &[b"UPX0", b"UPX1"], ..Pe::GUI }.build();
    let kind = sniff(&xored(&plain, &[0x95, 0x3c]));
    assert_eq!(
        kind.description,
        "XOR obfuscated PE32 executable (GUI) Intel 80386, for MS Windows, UPX compressed, 2 sections"
    );
    assert_eq!(
        kind.legacy(),
        "XOR obfuscated MS-DOS executable PE  for MS Windows (GUI) Intel 80386 32-bit, UPX compressed"
    );
    assert_eq!((kind.mime, kind.extension), ("application/vnd.microsoft.portable-executable", "exe"));
    let key = kind.xor_key.unwrap();
    assert_eq!((key.as_bytes(), key.begins_at()), (&[0x95, 0x3c][..], 0));
    // One byte is the same byte twice.
    assert_eq!(sniff(&xored(&plain, &[0xff])).xor_key.unwrap().as_bytes(), [0xff]);
}

#[test]
fn no_key() {
    let plain = Pe::GUI.build();
    assert_eq!(sniff(&plain).xor_key, None);
    // Zeros in front are no key.
    let shifted = [&[0; 8], &plain[..]].concat();
    assert_eq!(sniff(&shifted).description, "data");
    // Without a PE header within the head nothing is claimed.
    assert_eq!(sniff(&xored(&plain[..0x82], &[0x95, 0x3c])).xor_key, None);
    let mut dos = plain;
    dos[0x80] = b'Q';
    assert_eq!(sniff(&xored(&dos, &[0x95, 0x3c])).xor_key, None);
}

proptest! {
    #[test]
    fn any_key_in_front(length in prop::sample::select(vec![4_usize, 8, 16, 32]), key in any::<[u8; 32]>()) {
        let key = &key[..length];
        prop_assume!(key.iter().any(|byte| *byte != 0));
        let plain = Pe::GUI.build();
        let sent = [key, &xored(&plain, key)].concat();
        let kind = sniff_content(Content::whole(&sent));
        prop_assert!(kind.description.starts_with("XOR obfuscated PE32 executable (GUI)"), "{}", kind.description);
        let found = kind.xor_key.unwrap();
        prop_assert_eq!(xored(&sent[found.begins_at()..], found.as_bytes()), plain);
    }

    #[test]
    fn any_key_behind_a_header(
        key in prop::collection::vec(any::<u8>(), 1..=32),
        header in prop::collection::vec(any::<u8>(), 0..=64),
    ) {
        prop_assume!(key.iter().any(|byte| *byte != 0));
        let plain = Pe::GUI.build();
        let sent = [&header[..], &xored(&plain, &key)].concat();
        let found = sniff(&sent).xor_key.unwrap();
        prop_assert_eq!(xored(&sent[found.begins_at()..], found.as_bytes()), plain);
    }

    #[test]
    fn any_two_bytes(key in any::<[u8; 2]>()) {
        prop_assume!(key != [0, 0]);
        let plain = Pe { plus: true, machine: 0x8664, ..Pe::GUI }.build();
        let sent = xored(&plain, &key);
        let found = sniff(&sent).xor_key.unwrap();
        prop_assert_eq!(xored(&sent[found.begins_at()..], found.as_bytes()), plain);
    }

    #[test]
    fn nothing_in_what_is_random(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(sniff(&bytes).xor_key, None);
    }
}
