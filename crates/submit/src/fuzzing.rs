//! A way in for the fuzz targets: the record of the queue, past its checksums. Only with the feature `fuzzing`.

use crate::job::{Jobs, State};
use crate::record::Entry;

/// Reads the lines of a record, each as it is and with the checksum that it should have, and asserts what holds for any: an
/// entry is written as a line that reads as the same entry, and what the lines add up to can be asked about.
pub fn submission_record(bytes: &[u8]) {
    let mut jobs = Jobs::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let sealed = [format!("{:08x} ", crc32fast::hash(line)).as_bytes(), line].concat();
        for entry in [line, &sealed].into_iter().filter_map(Entry::decode) {
            let written = entry.encode();
            let read = written.strip_suffix('\n').and_then(|line| Entry::decode(line.as_bytes()));
            assert_eq!(read.as_ref(), Some(&entry), "{written:?}");
            jobs.apply(entry);
        }
    }
    for job in jobs.iter() {
        let of_it = jobs.iter().filter(|other| other.target == job.target && other.holds());
        let held = of_it.fold(0, |all: u64, other| all.saturating_add(other.size));
        assert_eq!(jobs.held(&job.target), held, "what is kept is known");
        assert!(!job.holds() || jobs.needs(job.hash), "a copy that is held is one that is needed");
        assert!(!job.file_name().contains('/'), "{:?}", job.file_name());
        assert!(
            !job.key().bytes().any(|byte| !byte.is_ascii_alphanumeric() && !b"._-".contains(&byte)),
            "{:?}",
            job.key()
        );
        assert!(jobs.of(job.hash).any(|known| known == job), "it is found by its content");
        if let State::Sent { link, .. } = &job.state {
            assert!(link.is_empty() || link.get(..4).is_some_and(|web| web.eq_ignore_ascii_case("http")), "{link:?}");
        }
    }
}
