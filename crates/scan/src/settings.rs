//! What an operator says of scanning.

use std::path::PathBuf;
use std::time::Duration;

use crate::clamd::Address;

/// By what contents are scanned, and how much that may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files of YARA rules, and folders of them.
    pub rules: Vec<PathBuf>,
    /// Lists of digests.
    pub hash_lists: Vec<PathBuf>,
    /// Where ClamAV's daemon listens.
    pub clamd: Option<Address>,
    /// Most bytes of a content that are looked at: its first ones. They are in memory meanwhile.
    pub max_bytes: u64,
    /// How long one scanner may take for one content.
    pub timeout: Duration,
    /// Whether what was in the store before anybody scanned it is scanned, too.
    pub past: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            hash_lists: Vec::new(),
            clamd: None,
            max_bytes: 64 << 20,
            timeout: Duration::from_secs(30),
            past: false,
        }
    }
}

impl Settings {
    /// Whether there is anything to scan by.
    pub const fn any(&self) -> bool {
        !self.rules.is_empty() || !self.hash_lists.is_empty() || self.clamd.is_some()
    }
}
