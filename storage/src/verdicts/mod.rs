//! What scanners said of contents, and how far they came: `derived/verdicts`, one append file.
//!
//! - `file` is the file: frames with checksums, and what they say; `anew` writes it without what counts no more
//! - `keep` appends, for the one who scans, who has `known`, `joined` and `marks` in memory; `look` follows, for all who show it
//! - `joined` is which joined contents were handed on: they have no rows, and are made of what comes in any order
//!
//! None of it is part of the truth: contents can be scanned again. So nothing here is synced; what a power cut tears, the
//! checksums find, and as how far the scan came lies behind what was found until then, neither is believed without the other.

mod anew;
mod file;
mod joined;
mod keep;
mod known;
mod look;
mod marks;

use std::path::{Path, PathBuf};

use streamdb_types::{Oid, Scanner, Verdict};

#[cfg(feature = "fuzzing")]
pub(crate) use file::{replay, seal};
pub use joined::JoinMet;
pub use keep::Keeper;
pub use known::Known;
pub use look::{Verdicts, VerdictsTally};

/// What came of scanning a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Which content.
    pub sha256: [u8; 32],
    /// The object in which it was met.
    pub oid: Oid,
    /// Whether no earlier object had it. Of a content that is known already that is known, too, and not asked here.
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

/// For whom somebody goes through rows: for scanners, and for rules that want objects. What was gone through is known for each
/// by itself, so that one process may have fewer of them than another, and takes nothing from those that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties(u8);

impl Parties {
    const RULES: u8 = 1 << Scanner::ALL.len();

    /// These scanners, [`Scanner::bit`](streamdb_types::Scanner::bit) by bit, and rules, if there are some.
    pub const fn new(scanners: u8, rules: bool) -> Self {
        Self(scanners & (Self::RULES - 1) | if rules { Self::RULES } else { 0 })
    }

    /// Those of them that are not among others.
    const fn without(self, others: u8) -> u8 {
        self.0 & !others
    }
}

/// Contents that were forgotten, since anybody scans here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Those in which something was found.
    pub found: u64,
    /// Those in which nothing was.
    pub clean: u64,
}

/// The file.
fn path(folder: &Path) -> PathBuf {
    folder.join(crate::folder::DERIVED).join("verdicts")
}
