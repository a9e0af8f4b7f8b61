//! The hash of what a program imports, by which relatives are found: as pefile computes it, so that it is the one that
//! everybody looks for.

use std::fmt::Write;
use std::sync::LazyLock;

use md5::{Digest, Md5};

use super::image::Image;
use crate::bytes::{first, le32, to_nul};

/// The most functions; pefile's bound, too.
const FUNCTIONS: usize = 0x2000;
/// The most libraries.
const LIBRARIES: usize = 1024;
/// The longest name, in bytes; pefile's bound, too.
const NAME: usize = 0x200;

/// The MD5 of `library.function,library.function` in lower case, in hexadecimal digits. Nothing when the program imports
/// nothing, or when a part of the tables is not at hand, as it would be the hash of something else.
pub(super) fn hash(image: &Image<'_>) -> Option<String> {
    const IMPORTS: usize = 1;
    let (mut at, _) = image.directory(IMPORTS).filter(|(address, _)| *address != 0)?;
    let mut list = List::default();
    let mut left = FUNCTIONS;
    for _ in 0..LIBRARIES {
        let entry: [u8; 20] = image.read(at)?;
        if entry == [0; 20] {
            return list.finish();
        }
        library(image, &entry, &mut list, &mut left)?;
        at = at.checked_add(20)?;
    }
    None
}

/// The functions from one library, added to the list.
fn library(image: &Image<'_>, entry: &[u8], list: &mut List, left: &mut usize) -> Option<()> {
    let (names, bound) = (le32(entry, 0)?, le32(entry, 16)?);
    let file = name_at(image, le32(entry, 12)?)?.to_ascii_lowercase();
    // A name that no file can have.
    let library =
        if file.iter().all(|byte| is_of_file(*byte)) { String::from_utf8(file).ok()? } else { "*invalid*".into() };
    let stem = match library.rsplit_once('.') {
        Some((stem, "ocx" | "sys" | "dll")) => stem,
        _ => library.as_str(),
    };
    // Where the first table is missing, the second still has the names, as the loader has not been there.
    let mut at = if names == 0 { bound } else { names };
    loop {
        let (value, by_number) = if image.plus {
            let value = u64::from_le_bytes(image.read(at)?);
            (value, value >> 63 == 1)
        } else {
            let value = u32::from_le_bytes(image.read(at)?);
            (value.into(), value >> 31 == 1)
        };
        if value == 0 {
            return Some(());
        }
        *left = left.checked_sub(1)?;
        at = at.checked_add(if image.plus { 8 } else { 4 })?;
        if by_number {
            let number = u16::try_from(value & 0xffff).ok()?;
            match by_ordinal(&library, number) {
                Some(name) => list.push(stem, &name.to_ascii_lowercase()),
                None => list.push(stem, &format!("ord{number}")),
            }
            continue;
        }
        let name = name_at(image, u32::try_from(value).ok()?.checked_add(2)?)?;
        // pefile leaves out what is no name; and so do we, as it is its hash.
        if !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._?@$()<>".contains(byte)) {
            list.push(stem, &String::from_utf8_lossy(name).to_ascii_lowercase());
        }
    }
}

/// What is hashed.
#[derive(Default)]
struct List {
    hash: Md5,
    begun: bool,
}

impl List {
    fn push(&mut self, library: &str, function: &str) {
        if self.begun {
            self.hash.update(",");
        }
        self.begun = true;
        self.hash.update(library);
        self.hash.update(".");
        self.hash.update(function);
    }

    fn finish(self) -> Option<String> {
        self.begun.then(|| {
            self.hash.finalize().iter().fold(String::new(), |mut text, byte| {
                // Writing to a string cannot fail.
                _ = write!(text, "{byte:02x}");
                text
            })
        })
    }
}

/// The name at an address, if its end is at hand.
fn name_at<'a>(image: &Image<'a>, address: u32) -> Option<&'a [u8]> {
    let bytes = first(image.at(address), NAME + 1);
    let name = to_nul(bytes);
    (name.len() < bytes.len()).then_some(name)
}

/// pefile's letters of a file name.
fn is_of_file(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'()-@^_`{}~+,.;=[]:\\/".contains(&byte)
}

/// The name of what these libraries export by number, which programs import in no other way.
fn by_ordinal(library: &str, number: u16) -> Option<&'static str> {
    let known = NAMES.iter().find(|(name, _)| *name == library)?;
    let at = known.1.binary_search_by_key(&number, |(number, _)| *number).ok()?;
    known.1.get(at).map(|(_, name)| *name)
}

type Names = Vec<(&'static str, Vec<(u16, &'static str)>)>;

/// pefile's tables: a library's name alone on a line, then its numbers in order, each with a name.
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut all = Names::new();
    for line in include_str!("ordinals.txt").lines() {
        match line.split_once(' ') {
            Some((number, name)) => {
                if let (Some((_, names)), Ok(number)) = (all.last_mut(), number.parse()) {
                    names.push((number, name));
                }
            }
            None => all.push((line, Vec::new())),
        }
    }
    all
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals() {
        assert_eq!(NAMES.len(), 3);
        assert!(NAMES.iter().all(|(_, names)| names.is_sorted() && names.len() > 70));
        assert_eq!(by_ordinal("ws2_32.dll", 10), Some("ioctlsocket"));
        assert_eq!(by_ordinal("wsock32.dll", 10), Some("inet_addr"));
        assert_eq!(by_ordinal("oleaut32.dll", 2), Some("SysAllocString"));
        assert_eq!(by_ordinal("kernel32.dll", 2), None);
    }
}
