//! Content of any bytes, at hand as a whole or in part: sentences stay printable and bounded, keys give executables, and
//! what is said does not depend on when.

use streamdb_sniff::{Content, Kind, SENTENCE_BYTES, protocol, protocols, sniff_content, sniff_stream};

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
    if let Some(key) = kind.xor_key {
        let (key, begins) = (key.as_bytes(), key.begins_at());
        assert!((1..=32).contains(&key.len()) && begins <= 32);
        let plain: Vec<u8> = bytes[begins..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert!(plain.starts_with(b"MZ"));
        let inside = sniff_content(Content::beginning(&plain));
        assert_eq!(inside.mime, kind.mime);
        assert!(kind.description.starts_with("XOR obfuscated PE32"));
    }
}

fn sound(kind: &Kind) {
    assert!(!kind.mime.is_empty() && kind.extension.len() < 8);
    for sentence in [kind.description.as_ref(), kind.legacy()] {
        assert!(!sentence.is_empty() && sentence.len() <= SENTENCE_BYTES, "{sentence}");
        assert!(sentence.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{sentence:?}");
    }
}
