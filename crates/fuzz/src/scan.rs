//! What is read of others around the scanning of contents: the file of verdicts, lists of digests, answers of clamd.

/// Any bytes as frames of the file of verdicts, and as their payloads: reading ends, and what was read is written the same.
pub fn verdicts(data: &[u8]) {
    streamdb_storage::fuzzing::verdicts(data);
}

/// Any bytes as a list of digests, and as an answer of clamd.
pub fn scan_lists(data: &[u8]) {
    let _ = streamdb_scan::fuzzing::lists_and_answers(data);
}
