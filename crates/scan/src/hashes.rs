//! Lists of digests: what is known to be on them is found without looking at any content.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use streamdb_types::{Digests, Scanner, Verdict};

use crate::error::Error;

/// Longest line, in bytes; what lies beyond is not looked at.
const LINE: u64 = 64 << 10;
/// Most bytes of what a line says beside its digest that are repeated.
const NOTE: usize = 200;
/// Most bytes of all of that which are kept of a list.
const NOTES: usize = 64 << 20;

/// The digests of one file, sorted.
#[derive(Debug)]
pub struct HashList {
    name: String,
    md5: Vec<([u8; 16], u32)>,
    sha1: Vec<([u8; 20], u32)>,
    sha256: Vec<([u8; 32], u32)>,
    /// What lines say beside their digests; a digest has the place of its own, or 0.
    notes: String,
}

impl HashList {
    /// Reads a file: a digest a line, alone, as `md5sum`, `sha1sum` and `sha256sum` print them, or as the first column of a CSV.
    /// Lines that are empty or begin with `#` or `;` say nothing, and the first one may have the names of columns.
    ///
    /// # Errors
    /// When it cannot be read, and for the first line without a digest.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let wrong = |source| Error::Read { path: path.to_owned(), what: "digests", source };
        let file = std::fs::File::open(path).map_err(wrong)?;
        let mut list = Self::read(&mut BufReader::new(file), path)?;
        list.name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(list)
    }

    /// The same, from any reader; `path` is what errors name.
    pub(crate) fn read(mut input: &mut dyn BufRead, path: &Path) -> Result<Self, Error> {
        let path = || PathBuf::from(path);
        let wrong = |source| Error::Read { path: path(), what: "digests", source };
        let mut list =
            Self { name: String::new(), md5: vec![], sha1: vec![], sha256: vec![], notes: String::from("\n") };
        let mut line = Vec::new();
        let mut number = 0;
        let mut columns = true;
        loop {
            line.clear();
            if Read::take(&mut input, LINE).read_until(b'\n', &mut line).map_err(wrong)? == 0 {
                break;
            }
            if !line.ends_with(b"\n") && line.len() as u64 == LINE {
                input.skip_until(b'\n').map_err(wrong)?;
            }
            number += 1;
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() || text.starts_with(['#', ';']) {
                continue;
            }
            let quoted = text.strip_prefix(['"', '\'', '\\']).unwrap_or(text);
            let digits = quoted.bytes().take_while(u8::is_ascii_hexdigit).count();
            let (digest, rest) = quoted.split_at(digits);
            let ends = rest.bytes().next().is_none_or(|b| !b.is_ascii_alphanumeric());
            if !ends || !list.put(digest, rest) {
                if columns && text.contains(',') {
                    columns = false;
                    continue;
                }
                return Err(Error::Line { path: path(), line: number });
            }
            columns = false;
        }
        list.sort();
        Ok(list)
    }

    /// Takes a digest; whether it was one.
    fn put(&mut self, hex: &str, rest: &str) -> bool {
        let rest = rest.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '*'));
        let rest = rest.get(..rest.floor_char_boundary(NOTE)).unwrap_or_default();
        let at = if rest.is_empty() || self.notes.len() + rest.len() >= NOTES { 0 } else { self.notes.len() as u32 };
        let taken = match hex.len() {
            32 => unhex(hex).map(|digest| self.md5.push((digest, at))),
            40 => unhex(hex).map(|digest| self.sha1.push((digest, at))),
            64 => unhex(hex).map(|digest| self.sha256.push((digest, at))),
            _ => None,
        };
        if taken.is_some() && at > 0 {
            self.notes.push_str(rest);
            self.notes.push('\n');
        }
        taken.is_some()
    }

    fn sort(&mut self) {
        fn tidy<const N: usize>(digests: &mut Vec<([u8; N], u32)>) {
            digests.sort_unstable();
            digests.dedup_by_key(|(digest, _)| *digest);
            digests.shrink_to_fit();
        }
        tidy(&mut self.md5);
        tidy(&mut self.sha1);
        tidy(&mut self.sha256);
        self.notes.shrink_to_fit();
    }

    /// How many digests it has.
    pub const fn len(&self) -> usize {
        self.md5.len() + self.sha1.len() + self.sha256.len()
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the list says of a content with these digests: at most once, by the longest digest that is on it.
    pub fn look(&self, digests: &Digests) -> Option<Verdict> {
        fn find<const N: usize>(digests: &[([u8; N], u32)], wanted: &[u8; N]) -> Option<u32> {
            let at = digests.binary_search_by(|(digest, _)| digest.cmp(wanted)).ok()?;
            digests.get(at).map(|(_, note)| *note)
        }
        let note = find(&self.sha256, &digests.sha256)
            .or_else(|| find(&self.sha1, &digests.sha1))
            .or_else(|| find(&self.md5, &digests.md5))?;
        let note = self.notes.get(note as usize..).and_then(|notes| notes.lines().next()).unwrap_or_default();
        Some(Verdict { scanner: Scanner::HashList, name: self.name.clone(), details: note.to_owned() })
    }

    /// Feeds what makes this list another one than before.
    pub(crate) fn tell(&self, feed: &mut dyn FnMut(&[u8])) {
        feed(self.name.as_bytes());
        self.md5.iter().for_each(|(digest, _)| feed(digest));
        self.sha1.iter().for_each(|(digest, _)| feed(digest));
        self.sha256.iter().for_each(|(digest, _)| feed(digest));
    }
}

/// So many bytes from twice as many hex digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (text.len() == 2 * N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<HashList, String> {
        HashList::read(&mut text.as_bytes(), Path::new("bad.txt")).map_err(|error| error.to_string())
    }

    const SHA256: &str = "ec2a3622af18a8dfad692c3e7a81ca1b069cbb71d47be31ff227185213251e9c";

    fn digests() -> Digests {
        Digests { md5: [0xab; 16], sha1: [0xcd; 20], sha256: unhex(SHA256).unwrap() }
    }

    #[test]
    fn every_common_form_is_read() {
        for (text, note) in [
            (SHA256.to_owned(), ""),
            (format!("# ours\r\n\r\n{}  \r\n", SHA256.to_uppercase()), ""),
            (format!("{SHA256}  some file.exe\n"), "some file.exe"),
            (format!("{SHA256} *bin.exe"), "bin.exe"),
            (format!("sha256,family,seen\n\"{SHA256}\",\"emotet\",2020\n"), "emotet\",2020"),
            (format!("\u{feff}{SHA256};x"), "x"),
            ("ABABABABABABABABABABABABABABABAB".to_owned(), ""),
            (format!("{}\n{}", "cd".repeat(20), "00".repeat(16)), ""),
        ] {
            let verdict = read(&text).unwrap().look(&digests()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(verdict.details, note, "{text}");
        }
        assert!(read("").unwrap().is_empty());
        assert_eq!(read(&format!("{SHA256}\n{SHA256} again")).unwrap().len(), 1);
    }

    #[test]
    fn a_bad_line_is_one_sentence() {
        for (text, line) in [
            ("hello", 1),
            (&format!("{SHA256}\n{SHA256}0"), 2),
            (&format!("{SHA256}\n\nxyz,1"), 3),
            ("a,b\nc,d", 2),
            (&"0".repeat(33), 1),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.starts_with(&format!("bad.txt, line {line}: there is no digest here; ")), "{said}");
        }
        let long = "x".repeat(200_000);
        assert_eq!(read(&format!("#{long}\n{SHA256} {long}\n{SHA256}")).unwrap().len(), 1);
        let said = HashList::load(Path::new("/nowhere/bad.txt")).unwrap_err().to_string();
        assert_eq!(said, "/nowhere/bad.txt: these digests cannot be read: No such file or directory (os error 2)");
    }

    proptest! {
        /// As a set would have it.
        #[test]
        fn what_is_on_it_is_found(on in proptest::collection::vec(any::<[u8; 2]>(), 0..40), asked: [u8; 2]) {
            let hex = |bytes: &[u8; 2], n: usize| format!("{:02x}{:02x}", bytes[0], bytes[1]).repeat(n / 2);
            let text: Vec<String> =
                on.iter().enumerate().map(|(at, bytes)| hex(bytes, [16, 20, 32][at % 3])).collect();
            let list = read(&text.join("\n")).unwrap();
            let fill = |n: usize| asked.repeat(n / 2);
            let digests = Digests {
                md5: fill(16).try_into().unwrap(), sha1: fill(20).try_into().unwrap(), sha256: fill(32).try_into().unwrap(),
            };
            prop_assert_eq!(list.look(&digests).is_some(), on.contains(&asked));
        }

        #[test]
        fn any_text_is_read_or_refused(text: Vec<u8>) {
            let _ = HashList::read(&mut &text[..], Path::new("x"));
        }
    }
}
