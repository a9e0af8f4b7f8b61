//! A dissector made to misbehave, for tests alone: what a connection's client says first tells how.

use streamdb_extract::{Read, Source};
use streamdb_types::StreamOffset;

/// Does as it is told behind this word.
pub(crate) fn misbehave(source: &impl Source, word: &[u8]) {
    let mut first = [0; 32];
    let Read::Bytes(read) = source.read(StreamOffset(0), &mut first) else { return };
    misbehave_as(first.get(..read).unwrap_or_default(), word);
}

/// The same by what was said.
pub(crate) fn misbehave_as(said: &[u8], word: &[u8]) {
    let Some(said) = said.strip_prefix(word) else { return };
    if said.starts_with(b"panic") {
        #[expect(clippy::panic, reason = "it is told to")]
        {
            panic!("a dissector that panics");
        }
    } else if said.starts_with(b"spin") {
        loop {
            std::hint::spin_loop();
        }
    } else if said.starts_with(b"eat") {
        let mut eaten: Vec<Vec<u8>> = Vec::new();
        loop {
            eaten.push(vec![1; 16 << 20]);
        }
    }
}
