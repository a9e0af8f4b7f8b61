//! The order of texts in which upper and lower case are alike.
//!
//! Texts that differ in the case of ASCII letters alone lie side by side, and so do the two characters outside ASCII whose
//! lower case is an ASCII letter in Unicode's simple case folding (CaseFolding.txt): the Kelvin sign and the long s. So all
//! texts that an ASCII name may mean, upper and lower case alike, are one range.

use std::cmp::Ordering;

/// The bytes of a text in lower case.
pub(super) fn folded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, left) = match rest {
            [0xe2, 0x84, 0xaa, left @ ..] => (b'k', left),
            [0xc5, 0xbf, left @ ..] => (b's', left),
            [byte, left @ ..] => (byte.to_ascii_lowercase(), left),
            [] => return None,
        };
        rest = left;
        Some(byte)
    })
}

/// The order of two texts.
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    folded(a).cmp(folded(b)).then_with(|| a.cmp(b))
}

/// Where a text stands beside those that begin with `prefix`, which is folded: before them, among them, or behind them.
pub(super) fn beside_prefix(text: &[u8], prefix: &[u8]) -> Ordering {
    folded(text).take(prefix.len()).cmp(prefix.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_are_alike() {
        let fold = |text: &str| String::from_utf8(folded(text.as_bytes()).collect()).unwrap();
        assert_eq!(fold("WWW.Example.ORG"), "www.example.org");
        assert_eq!(fold("\u{212a}\u{17f}\u{e9}\u{c9}"), "ks\u{e9}\u{c9}");
        let mut texts = ["b", "B", "a", "ab", "\u{212a}", "k", "K", "l"];
        texts.sort_by(|a, b| compare(a.as_bytes(), b.as_bytes()));
        assert_eq!(texts, ["a", "ab", "B", "b", "K", "k", "\u{212a}", "l"]);
        assert_eq!(beside_prefix(b"Abc", b"ab"), Ordering::Equal);
        assert_eq!(beside_prefix(b"a", b"ab"), Ordering::Less);
        assert_eq!(beside_prefix(b"ac", b"ab"), Ordering::Greater);
    }
}
