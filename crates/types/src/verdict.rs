//! What scanners say of a content.

use std::fmt;

/// Who looks at contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scanner {
    /// Rules of YARA.
    Yara,
    /// The daemon of ClamAV.
    Clamd,
    /// A list of digests.
    HashList,
}

impl Scanner {
    /// Every scanner.
    pub const ALL: [Self; 3] = [Self::Yara, Self::Clamd, Self::HashList];

    /// The word: in JSON, in queries and in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Yara => "yara",
            Self::Clamd => "clamd",
            Self::HashList => "hash-list",
        }
    }

    /// Its bit in a set of scanners.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One thing that a scanner found in a content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Verdict {
    /// Who says so.
    pub scanner: Scanner,
    /// The rule, the signature, or the list that has its digest.
    pub name: String,
    /// What more is said: a rule's namespace and tags, what a list says beside the digest; may be empty.
    pub details: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scanner.word(), self.name)
    }
}
