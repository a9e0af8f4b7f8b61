//! The answer, and the order in which the describers are asked.

use std::borrow::Cow;

use crate::bytes::first;
use crate::{archive, document, elf, image, media, packed, pe, program, session, signature, text, xor};

/// How many first bytes of an object are worth giving: no more of them is looked at. An ISO image shows itself after
/// 32 KiB, and file(1) tells the encoding of a text from as many as this.
pub const HEAD_BYTES: usize = 65536;

/// The first bytes of something, and how long it is.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    head: &'a [u8],
    length: Option<u64>,
}

impl<'a> Content<'a> {
    /// Bytes of which more may follow, or not.
    pub fn beginning(head: &'a [u8]) -> Self {
        Self { head: first(head, HEAD_BYTES), length: None }
    }

    /// The first bytes of something that is `length` bytes long. If that is how many are given, they are all.
    pub fn of_length(head: &'a [u8], length: u64) -> Self {
        Self { head: first(head, HEAD_BYTES), length: Some(length.max(head.len() as u64)) }
    }

    /// All bytes of something.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self::of_length(bytes, bytes.len() as u64)
    }

    /// The bytes that are looked at.
    pub(crate) const fn head(&self) -> &'a [u8] {
        self.head
    }

    /// Whether the head is all there is.
    pub(crate) fn is_whole(&self) -> bool {
        self.length == Some(self.head.len() as u64)
    }
}

/// What bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The MIME type by content, never by declaration. Of what is obfuscated: that of what is inside.
    pub mime: &'static str,
    /// A sentence as file(1) 5.44 says it: printable ASCII, at most [`SENTENCE_BYTES`].
    pub description: Cow<'static, str>,
    /// A usual file name extension without its dot; empty where none is usual.
    pub extension: &'static str,
    /// The key, if this is an executable that was XORed with one.
    pub xor_key: Option<XorKey>,
    /// The sentence of 2012, where it differs.
    pub(crate) older: Option<Cow<'static, str>>,
}

/// The longest that a sentence can be, in bytes.
pub const SENTENCE_BYTES: usize = 512;

impl Kind {
    /// Bytes of which nothing is known.
    pub const DATA: Self = Self::fixed("application/octet-stream", "data", "bin");

    /// The sentence as libmagic said it in 2012, by which saved searches look; where the two wordings agree, the description.
    pub fn legacy(&self) -> &str {
        self.older.as_ref().unwrap_or(&self.description)
    }

    /// A kind with a fixed sentence.
    pub(crate) const fn fixed(mime: &'static str, description: &'static str, extension: &'static str) -> Self {
        Self { mime, description: Cow::Borrowed(description), extension, xor_key: None, older: None }
    }

    /// A kind with a sentence made from the bytes.
    pub(crate) const fn made(mime: &'static str, description: String, extension: &'static str) -> Self {
        Self { mime, description: Cow::Owned(description), extension, xor_key: None, older: None }
    }

    /// With the sentence of 2012.
    pub(crate) fn formerly(self, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { older: Some(sentence.into()), ..self }
    }

    /// The same, hidden under a key.
    pub(crate) fn obfuscated(self, key: XorKey) -> Self {
        Self {
            description: format!("XOR obfuscated {}", self.description).into(),
            older: Some(format!("XOR obfuscated {}", self.legacy()).into()),
            xor_key: Some(key),
            ..self
        }
    }
}

/// The repeating key under which an executable was found, and where it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct XorKey {
    bytes: [u8; Self::MOST],
    length: u8,
    begins: u8,
}

impl XorKey {
    /// The longest key that is tried, in bytes.
    pub const MOST: usize = 32;

    /// A key of at most [`MOST`](Self::MOST) bytes.
    pub(crate) fn new(key: &[u8], begins: u8) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self { bytes, length: u8::try_from(key.len()).ok()?, begins })
    }

    /// The key, 1 to 32 bytes. Byte `n` of the executable is under byte `n` of the key, modulo its length.
    pub fn as_bytes(&self) -> &[u8] {
        first(&self.bytes, usize::from(self.length))
    }

    /// The offset of the executable's first byte: 0, or behind the key or another short header that the content begins with.
    pub fn begins_at(&self) -> usize {
        self.begins.into()
    }
}

impl std::fmt::Debug for XorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?} from {}", self.as_bytes(), self.begins)
    }
}

/// What an object is that begins with `head`, when its length is not known. Only the first [`HEAD_BYTES`] are looked at.
pub fn sniff(head: &[u8]) -> Kind {
    sniff_content(Content::beginning(head))
}

/// What an object is. A part of a sentence that stands on bytes beyond the head is left out.
pub fn sniff_content(content: Content<'_>) -> Kind {
    let head = content.head();
    if head.is_empty() {
        return Kind::fixed("application/octet-stream", "empty", "");
    }
    pe::describe(head)
        .or_else(|| xor::describe(head))
        .or_else(|| elf::describe(head))
        .or_else(|| program::describe(head))
        .or_else(|| image::describe(head))
        .or_else(|| packed::describe(&content))
        .or_else(|| archive::describe(&content))
        .or_else(|| document::describe(&content))
        .or_else(|| media::describe(head))
        .or_else(|| signature::describe(head))
        .or_else(|| text::describe(&content))
        .unwrap_or(Kind::DATA)
}

/// What one side of a connection says, when no dissector knows it: the session's protocol where its first bytes show one,
/// and otherwise what [`sniff_content`] says of them.
pub fn sniff_stream(content: Content<'_>) -> Kind {
    session::describe(content.head()).unwrap_or_else(|| sniff_content(content))
}
