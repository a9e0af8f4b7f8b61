//! Content of any bytes, at hand as a whole or in part: sentences and facts stay printable and bounded, keys and codings give
//! executables, what is inside does not depend on the pieces, and what is said does not depend on when.

use streamdb_sniff::{
    Content, EMBEDDED_MOST, EmbeddedScanner, FACT_BYTES, FACTS_MOST, HEAD_BYTES, Kind, SENTENCE_BYTES, TextDecoder,
    embedded, facts, protocol, protocols, sniff_content, sniff_stream, wrapped,
};

/// What goes before the rest, in some cases, so that it lies where the search goes on from one piece to the next.
const BEFORE: usize = 65536 - 300;

/// The first byte says how much of the rest is at hand, and how it is asked about.
pub fn sniff(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let content = match how & 3 {
        0 => Content::whole(bytes),
        1 => Content::beginning(bytes),
        2 => Content::of_length(bytes, bytes.len() as u64 + 1),
        // Less than there is: not what a caller should say.
        _ => Content::of_length(bytes, 0),
    };
    let ask = if how & 4 == 0 { sniff_content } else { sniff_stream };
    let kind = ask(content);
    sound(&kind);
    assert_eq!(kind, ask(content));
    assert!(protocol(bytes).is_none_or(|word| protocols().any(|known| known == word)));
    known(bytes);
    unwrapped(bytes);
    inside(*how, bytes);
    if let Some(key) = kind.xor_key {
        let (key, begins) = (key.as_bytes(), key.begins_at());
        // Behind a header of at most 64 bytes.
        assert!((1..=32).contains(&key.len()) && begins <= 64);
        let plain: Vec<u8> = bytes[begins..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert!(plain.starts_with(b"MZ"));
        let inside = sniff_content(Content::beginning(&plain));
        assert_eq!(inside.mime, kind.mime);
        assert!(kind.description.starts_with("XOR obfuscated PE32"));
    }
}

/// Values that can be shown.
fn known(bytes: &[u8]) {
    let found = facts(bytes);
    assert!(found.len() <= FACTS_MOST);
    for fact in &found {
        assert!(!fact.value.is_empty() && fact.value.len() <= FACT_BYTES, "{fact:?}");
        assert!(!fact.value.chars().any(char::is_control), "{fact:?}");
    }
    assert_eq!(found, facts(bytes));
}

/// What a decoder gives of the place that is told is what was told.
fn unwrapped(bytes: &[u8]) {
    let Some(found) = wrapped(bytes) else { return };
    sound(&found.kind);
    let coded = &bytes[found.begins..found.ends.unwrap_or(bytes.len().min(HEAD_BYTES))];
    let Some(mut decoder) = TextDecoder::new(found.coding) else { return };
    let mut plain = Vec::new();
    let ended = decoder.feed(coded, &mut plain);
    assert!(ended.is_none(), "all of it is of the coding");
    decoder.finish(&mut plain);
    assert!(plain.starts_with(b"MZ") || plain.starts_with(b"\x7fELF"));
    assert_eq!(sniff_content(Content::beginning(&plain)), found.kind);
}

/// The same in pieces as at once; and nothing before the beginning or behind a gap that was not there.
fn inside(how: u8, bytes: &[u8]) {
    let before = vec![0; if how & 0x80 == 0 { 0 } else { BEFORE }];
    let size = usize::from(how >> 3 & 15) + 1;
    let content = [&before[..], bytes].concat();
    let found = embedded([&content[..]]);
    assert!(found.len() <= EMBEDDED_MOST && found.is_sorted_by_key(|found| found.at));
    for found in &found {
        assert!(
            (before.len() as u64..content.len() as u64).contains(&found.at) && found.length != Some(0),
            "{found:?}"
        );
    }
    assert_eq!(found, embedded(std::iter::once(&before[..]).chain(bytes.chunks(size))));
    let mut scanner = EmbeddedScanner::default();
    scanner.feed(&before);
    for piece in bytes.chunks(size * 64) {
        scanner.gap(1 << 20);
        scanner.feed(piece);
    }
    assert!(scanner.finish().iter().all(|found| found.at >= 1 << 20));
}

fn sound(kind: &Kind) {
    assert!(!kind.mime.is_empty() && kind.extension.len() < 8);
    for sentence in [kind.description.as_ref(), kind.legacy()] {
        assert!(!sentence.is_empty() && sentence.len() <= SENTENCE_BYTES, "{sentence}");
        assert!(sentence.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{sentence:?}");
    }
}
