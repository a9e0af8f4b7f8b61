//! The bytes on disk, and nothing else: superblock, blocks, records, directory, trailer. No I/O here. FORMAT.md beside
//! this crate is the one description; this module is its only implementation.

pub(crate) mod block;
pub(crate) mod bytes;
pub(crate) mod directory;
pub(crate) mod record;
pub(crate) mod superblock;

/// The version of the format, in the superblock and in every block header.
pub const FORMAT_VERSION: u16 = 1;
