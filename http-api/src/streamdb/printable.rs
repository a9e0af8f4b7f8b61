//! Captured bytes for human eyes: unprintable ones as dots, so that neither a terminal nor a page obeys them.

/// Most bytes of a line that holds what was captured.
pub(super) const LINE: usize = 4096;

/// Appends the bytes to `out`: printable ASCII, line ends and tabs as they are; the CR of a CRLF is left out.
pub(super) fn push(out: &mut String, bytes: &[u8]) {
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' if bytes.peek() == Some(&b'\n') => {}
            b'\n' | b'\t' | b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push('.'),
        }
    }
}

/// The bytes on one line, at most `most` of them.
pub(super) fn line(bytes: &[u8], most: usize) -> String {
    let shown = bytes.iter().take(most).map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        let all: Vec<u8> = (0..=255).collect();
        let mut shown = String::new();
        push(&mut shown, &all);
        push(&mut shown, b"a\r\nb\rc\r");
        assert!(shown.ends_with("a\nb.c."));
        assert!(shown.bytes().all(|b| b == b'\n' || b == b'\t' || (0x20..0x7f).contains(&b)));
        assert_eq!(shown.len(), 256 + 6);
        assert_eq!(line(b"a\r\n\tb", 4), "a...");
    }
}
