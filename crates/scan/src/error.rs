//! What is wrong with rules, lists and scanners, in one sentence each.

use std::path::PathBuf;

/// Why contents cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path}: these {what} cannot be read: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What it was to have.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder without any rule.
    #[error("{0}: there is no rule file in this folder; their names end in .yar or .yara")]
    NoRules(PathBuf),
    /// Rules that do not compile.
    #[error("{path}, line {line}: {what}")]
    Rule {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A line of a hash list that has no digest.
    #[error(
        "{path}, line {line}: there is no digest here; a line begins with the 32, 40 or 64 hex digits of an MD5, SHA-1 or SHA-256, \
         or with #"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Nothing can be done with rules of YARA.
    #[error(
        "{0}: this streamdb has no engine for rules of YARA; build it with `cargo build --release -p streamdb --features yara`, or take the \
         rules out"
    )]
    NoEngine(PathBuf),
    /// The daemon of ClamAV is not there, or does not answer as one: later it may.
    #[error("clamd at {address}: {what}")]
    Clamd {
        /// Where it was looked for.
        address: String,
        /// What went wrong.
        what: String,
    },
    /// It was there, took a content or a part of it, and went away.
    #[error("clamd at {address}: {what}")]
    Left {
        /// Where it was.
        address: String,
        /// What went wrong.
        what: String,
    },
    /// A rule engine that does not run.
    #[error("the engine for rules of YARA: {0}")]
    Engine(String),
}
