//! Any bytes as a block of records, as a directory, or as what is known of joins: reading ends, and what was read is written and read
//! again the same.

use streamdb_storage::fuzzing;
use streamdb_types::BucketId;

/// The first byte says which of the two; the rest are the block's bytes.
pub fn records(data: &[u8]) {
    match data.split_first() {
        Some((4, bytes)) => fuzzing::directory(bytes),
        Some((_, bytes)) => fuzzing::records(BucketId(3), bytes),
        None => {}
    }
}

/// Any payloads as what a file of joins says.
pub fn joins(data: &[u8]) {
    fuzzing::joins(data);
}
