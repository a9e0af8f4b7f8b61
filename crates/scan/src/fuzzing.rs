//! Ways in for the fuzz targets: what reads bytes that others wrote.

use std::path::Path;

use crate::clamd::read_answer;
use crate::hashes::HashList;

/// Reads the bytes as a list of digests and as an answer of clamd; whether either was one.
pub fn lists_and_answers(bytes: &[u8]) -> bool {
    let list = HashList::read(&mut &*bytes, Path::new("list"));
    let answer = read_answer(&String::from_utf8_lossy(bytes));
    list.is_ok_and(|list| !list.is_empty()) || answer.is_some()
}
