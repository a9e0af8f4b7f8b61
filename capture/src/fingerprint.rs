//! By what a capture file that was read before is known again, without reading all of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes looked at from either end.
const END: u64 = 64 * 1024;

/// How many samples are taken in between.
const SAMPLES: u64 = 62;

/// Bytes of a sample.
const SAMPLE: u64 = 4096;

/// A file's length, the CRC-32 of its two ends, and the CRC-32 of samples spread evenly between them, as hexadecimal
/// numbers with `-` between. Of a file of at most 376 KiB every byte is looked at (the two halves, one CRC each).
///
/// Equal files have equal fingerprints, and two captures are very unlikely to share one by chance; it is no proof
/// against somebody who wants them to.
///
/// # Errors
/// When the file cannot be read, or is not a regular file.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "only a regular file has a fingerprint"));
    }
    fingerprint_of(&mut file, about.len())
}

/// The same of a regular file of this length that is open; where it is read next is anywhere after this.
///
/// # Errors
/// When it cannot be read.
pub fn fingerprint_of(file: &mut (impl Read + Seek), length: u64) -> io::Result<String> {
    let mut crc = |ranges: &mut dyn Iterator<Item = (u64, u64)>| -> io::Result<u32> {
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; END as usize];
        for (start, mut left) in ranges {
            file.seek(SeekFrom::Start(start))?;
            while left > 0 {
                let Some(room) = buffer.get_mut(..left.min(END) as usize) else { break };
                file.read_exact(room)?;
                hasher.update(room);
                left -= room.len() as u64;
            }
        }
        Ok(hasher.finalize())
    };
    let (first, second) = if length <= 2 * END + SAMPLES * SAMPLE {
        let half = length / 2;
        (crc(&mut [(0, half)].into_iter())?, crc(&mut [(half, length - half)].into_iter())?)
    } else {
        let ends = [(0, END), (length - END, END)];
        // The middle has room for all samples; the last one ends before the end that is looked at anyway.
        let stride = (length - 2 * END) / SAMPLES;
        let samples = (0..SAMPLES).map(|n| (END + n * stride, SAMPLE));
        (crc(&mut ends.into_iter())?, crc(&mut samples.into_iter())?)
    };
    Ok(format!("{length:x}-{first:08x}-{second:08x}"))
}
