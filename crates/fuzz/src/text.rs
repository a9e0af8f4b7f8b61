//! Lines of text that others write: what a client asks for, and the queue's record.

/// A query string of any bytes that are text.
pub fn query_string(data: &[u8]) {
    if let Ok(query) = std::str::from_utf8(data) {
        streamdb_http_api::query_string(query);
    }
}

/// A record of submissions.
pub fn submission_record(data: &[u8]) {
    streamdb_submit::submission_record(data);
}
