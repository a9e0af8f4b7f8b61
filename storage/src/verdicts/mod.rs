//! What scanners said of contents, and how far they came: `derived/verdicts`, one append file.
//!
//! - `file` is the file: frames with checksums, and what they say
//! - `keep` appends, for the one who scans; `look` follows, for all who show it
//! - `joined` is which joined contents were handed on: they have no rows, and are made of what comes in any order
//!
//! None of it is part of the truth: contents can be scanned again. So nothing here is synced; what a power cut tears, the
//! checksums find, and as how far the scan came lies behind what was found until then, neither is believed without the other.

mod file;
mod joined;
mod keep;
mod look;

use std::path::{Path, PathBuf};

use streamdb_types::{Oid, Verdict};

#[cfg(feature = "fuzzing")]
pub(crate) use file::{replay, seal};
pub use joined::JoinMet;
pub use keep::{Keeper, Known};
pub use look::Verdicts;

/// What came of scanning a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Which content.
    pub sha256: [u8; 32],
    /// The object in which it was met.
    pub oid: Oid,
    /// Whether no earlier object had it.
    pub first_seen: bool,
    /// Whether all of it was looked at: it was not too large, and no scanner gave up.
    pub whole: bool,
    /// By what: the fingerprint of rules and lists.
    pub by: u64,
    /// Which scanners looked at it, [`Scanner::bit`](streamdb_types::Scanner::bit) by bit; none, when it was only handed on.
    pub looked: u8,
    /// What was found, most often nothing.
    pub verdicts: Vec<Verdict>,
}

impl Scanned {
    /// Most verdicts that are kept of a content.
    pub const MOST: usize = 256;
}

/// The file.
fn path(folder: &Path) -> PathBuf {
    folder.join(crate::folder::DERIVED).join("verdicts")
}
