//! Facts of what virtual machines run: Dalvik executables and Java classes.

use super::Facts;
use crate::bytes::{be16, first, from, le32};

/// The longest name of a class, in bytes.
const NAME: usize = 512;

/// A Dalvik executable (Dalvik executable format, "header_item").
pub(super) fn dex(content: &[u8], facts: &mut Facts) {
    if let Some(size) = le32(content, 32) {
        facts.say("size", size);
    }
    if let Some(classes) = le32(content, 96) {
        facts.say("classes", classes);
    }
    if let Some(signature) = content.get(12..32) {
        // What the file says its SHA-1 is, less the first 32 bytes; files are known by it.
        facts.say("signature", super::Hex(signature));
    }
}

/// A Java class: its name, and that of the class above it (JVM specification §4.1, §4.4).
pub(super) fn class(content: &[u8], facts: &mut Facts) {
    let Some(count) = be16(content, 8) else { return };
    // Where each constant stands.
    let mut places = vec![0; usize::from(count)];
    let (mut at, mut number) = (10_usize, 1);
    while number < places.len() {
        let Some(tag) = content.get(at) else { return };
        let (size, entries) = match tag {
            1 => (3 + usize::from(be16(content, at + 1).unwrap_or(0)), 1),
            3 | 4 | 9..=12 | 17 | 18 => (5, 1),
            // These take two numbers, by what the specification itself calls a poor choice.
            5 | 6 => (9, 2),
            7 | 8 | 16 | 19 | 20 => (3, 1),
            15 => (4, 1),
            _ => return,
        };
        if let Some(place) = places.get_mut(number) {
            *place = at;
        }
        number += entries;
        at += size;
    }
    let constant = |number: usize, tag: u8| {
        let at = places.get(number).copied().filter(|at| *at != 0)?;
        let bytes = from(content, at);
        (bytes.first() == Some(&tag)).then_some(bytes)
    };
    let name = |at: usize| {
        let class = constant(usize::from(be16(content, at)?), 7)?;
        let text = constant(usize::from(be16(class, 1)?), 1)?;
        from(text, 3).get(..usize::from(be16(text, 1)?))
    };
    for (fact, at) in [("class", at + 2), ("extends", at + 4)] {
        if let Some(name) = name(at) {
            facts.quote(fact, first(name, NAME));
        }
    }
}
