//! Lines of the beginning of a stream, and where they end.

/// The lines that are whole, without their ends, and where what follows each begins.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut at = 0usize;
    bytes.split_inclusive(|byte| *byte == b'\n').filter_map(move |line| {
        at += line.len();
        let line = line.strip_suffix(b"\n")?;
        Some((line.strip_suffix(b"\r").unwrap_or(line), at))
    })
}
