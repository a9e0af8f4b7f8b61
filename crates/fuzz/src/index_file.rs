//! Any pages as an index file behind right checksums: reading ends, whatever they say.

use streamdb_storage::index::fuzzing;

/// The pages of the file.
pub fn index_file(data: &[u8]) {
    let name = format!("streamdb-fuzz-index-{}-{:?}", std::process::id(), std::thread::current().id());
    let _ = fuzzing::index_file(data, &std::path::Path::new("/dev/shm").join(name));
}
