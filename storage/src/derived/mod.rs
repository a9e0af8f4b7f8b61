//! What is derived from buckets and kept: rows of objects, one append file for each bucket, `derived/<id>.objects`.
//!
//! - `row` is a connection's rows as bytes
//! - `file` is a file of them: frames with checksums, and commits that say how far it goes
//! - `write` appends, `read` follows, `since` goes through what came since somebody looked
//!
//! None of it is part of the truth: a file that is damaged, or of another version, is made again from its bucket. So nothing
//! here is synced; what a power cut tears, the checksums find.

mod file;
mod read;
mod row;
mod since;
mod write;

pub(crate) use read::Derived;
pub use since::KeptMark;
pub use write::DerivedWriter;

use std::path::{Path, PathBuf};

use streamdb_types::{BlockPlace, BucketId};

/// What derivation makes of a bucket today. A higher number makes every file of a lower one stale: its rows would come out
/// differently now.
pub const DERIVATION: u32 = 8;

/// How far the rows of a bucket go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Every connection whose last record lies at this place or before it has its rows.
    pub to: BlockPlace,
    /// The bucket is sealed, and all of it is covered.
    pub whole: bool,
}

/// The file of a bucket's rows.
pub(crate) fn path(folder: &Path, bucket: BucketId) -> PathBuf {
    folder.join(format!("{bucket}.objects"))
}
