//! Bytes as a hex dump, sixteen a line, as `hexdump -C` prints them.

use std::fmt::Write;
use std::io;

const WIDTH: usize = 16;

/// Turns bytes that come in pieces into lines.
#[derive(Default)]
pub(super) struct Dump {
    /// The offset of the line that is begun.
    at: u64,
    line: Vec<u8>,
}

impl Dump {
    /// Appends the lines that these bytes complete.
    pub(super) fn bytes(&mut self, mut bytes: &[u8], out: &mut String) {
        while !bytes.is_empty() {
            let n = (WIDTH - self.line.len()).min(bytes.len());
            let (now, rest) = bytes.split_at_checked(n).unwrap_or((bytes, &[]));
            self.line.extend_from_slice(now);
            bytes = rest;
            if self.line.len() == WIDTH {
                self.end_line(out);
            }
        }
    }

    /// Says that bytes are missing; those after them keep their offsets.
    pub(super) fn hole(&mut self, length: u64, why: &str, out: &mut String) {
        self.end_line(out);
        // Writing into a string cannot fail.
        let _ = writeln!(out, "{:08x}  [{length} bytes missing: {why}]", self.at);
        self.at = self.at.saturating_add(length);
    }

    /// Ends the line that is begun.
    pub(super) fn end_line(&mut self, out: &mut String) {
        if self.line.is_empty() {
            return;
        }
        let _ = write!(out, "{:08x} ", self.at);
        for place in 0..WIDTH {
            let gap = if place % 8 == 0 { " " } else { "" };
            let _ = match self.line.get(place) {
                Some(byte) => write!(out, "{gap}{byte:02x} "),
                None => write!(out, "{gap}   "),
            };
        }
        let shown: String =
            self.line.iter().map(|b| if (b' '..=b'~').contains(b) { char::from(*b) } else { '.' }).collect();
        let _ = writeln!(out, " |{shown}|");
        self.at = self.at.saturating_add(self.line.len() as u64);
        self.line.clear();
    }
}

/// Writes a dump of what it is given.
pub(super) struct HexWriter<W> {
    dump: Dump,
    text: String,
    out: W,
}

impl<W: io::Write> HexWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { dump: Dump::default(), text: String::new(), out }
    }

    pub(super) fn hole(&mut self, length: u64, why: &str) -> io::Result<()> {
        self.dump.hole(length, why, &mut self.text);
        self.send()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.dump.bytes(bytes, &mut self.text);
        self.send()
    }

    /// The last line, and what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.dump.end_line(&mut self.text);
        self.send()?;
        Ok(self.out)
    }

    fn send(&mut self) -> io::Result<()> {
        self.out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_hexdump_prints_them() {
        let bytes: Vec<u8> = (0..20).map(|n| n * 7).collect();
        let whole = "00000000  00 07 0e 15 1c 23 2a 31  38 3f 46 4d 54 5b 62 69  |.....#*18?FMT[bi|\n\
                     00000010  70 77 7e 85                                       |pw~.|\n";
        for cut in 0..bytes.len() {
            let mut writer = HexWriter::new(Vec::new());
            writer.bytes(&bytes[..cut]).unwrap();
            writer.bytes(&bytes[cut..]).unwrap();
            assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), whole, "{cut}");
        }
    }

    #[test]
    fn holes_keep_offsets() {
        let mut writer = HexWriter::new(Vec::new());
        writer.bytes(b"ab").unwrap();
        writer.hole(30, "missing").unwrap();
        writer.bytes(b"c").unwrap();
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        let starts: Vec<&str> = text.lines().map(|line| &line[..12]).collect();
        assert_eq!(starts, ["00000000  61", "00000002  [3", "00000020  63"]);
        assert!(text.contains("\n00000002  [30 bytes missing: missing]\n"));
    }
}
