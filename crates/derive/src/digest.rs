//! Digests of contents, each made once: SHA-256 as the bytes pass, MD5 and SHA-1 only of content that was not seen before.

use std::collections::HashMap;

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use streamdb_extract::Piece;
use streamdb_types::Digests;

/// The other digests of contents by their SHA-256, as many as fit; when it is full, it begins anew.
pub struct Known {
    by_sha256: HashMap<[u8; 32], ([u8; 16], [u8; 20])>,
    most: usize,
}

impl Known {
    /// Remembers at most so many contents, of about 100 bytes each.
    pub fn new(most: usize) -> Self {
        Self { by_sha256: HashMap::new(), most }
    }

    /// The digests of content with this SHA-256; `others` makes the other two.
    pub(crate) fn digests<E>(
        &mut self,
        sha256: [u8; 32],
        others: impl FnOnce(&mut Others) -> Result<(), E>,
    ) -> Result<Digests, E> {
        let (md5, sha1) = match self.by_sha256.get(&sha256) {
            Some(known) => *known,
            None => {
                let mut hashers = Others::default();
                others(&mut hashers)?;
                let made = hashers.finish();
                if self.by_sha256.len() >= self.most {
                    self.by_sha256.clear();
                }
                self.by_sha256.insert(sha256, made);
                made
            }
        };
        Ok(Digests { md5, sha1, sha256 })
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("contents", &self.by_sha256.len()).field("most", &self.most).finish()
    }
}

/// MD5 and SHA-1, of bytes that are given in pieces.
#[derive(Default)]
pub(crate) struct Others {
    md5: Md5,
    sha1: Sha1,
}

impl Others {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha1.update(bytes);
    }

    fn finish(self) -> ([u8; 16], [u8; 20]) {
        (self.md5.finalize().into(), self.sha1.finalize().into())
    }
}

/// SHA-256 of what is given in pieces, with the bytes themselves as long as they are few.
pub(crate) struct Taking {
    sha256: Option<Sha256>,
    held: Option<Vec<u8>>,
}

/// What was taken.
pub(crate) struct Taken {
    /// `None` for content with a hole: nobody knows what it was.
    pub(crate) sha256: Option<[u8; 32]>,
    /// All of it, if it is little.
    pub(crate) held: Option<Vec<u8>>,
}

impl Taking {
    /// Holds on to little content in the memory of `buffer`.
    pub(crate) fn holding(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { sha256: Some(Sha256::new()), held: Some(buffer) }
    }

    /// Looks at nothing.
    pub(crate) const fn nothing() -> Self {
        Self { sha256: None, held: None }
    }

    /// Takes a piece, and holds on to it while all of them together are at most `most` bytes.
    pub(crate) fn piece(&mut self, piece: Piece<'_>, most: usize) {
        match piece {
            Piece::Bytes(bytes) => {
                if let Some(sha256) = &mut self.sha256 {
                    sha256.update(bytes);
                }
                match &mut self.held {
                    Some(held) if held.len() + bytes.len() <= most => held.extend_from_slice(bytes),
                    _ => self.held = None,
                }
            }
            Piece::Hole(_) => *self = Self::nothing(),
        }
    }

    pub(crate) fn finish(self) -> Taken {
        Taken { sha256: self.sha256.map(|sha256| sha256.finalize().into()), held: self.held }
    }
}
