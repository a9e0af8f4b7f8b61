//! What the version resource says of a program: who made it, and as what (VS_VERSIONINFO).

use super::super::Facts;
use super::image::Image;
use super::wide16;
use crate::bytes::{first, from, le16, le32, place};

/// The strings that are told, by the names they have in the resource.
const NAMES: [&str; 8] = [
    "CompanyName",
    "FileDescription",
    "FileVersion",
    "InternalName",
    "LegalCopyright",
    "OriginalFilename",
    "ProductName",
    "ProductVersion",
];
/// The most entries of a directory, or parts of a block, that are looked at.
const ENTRIES: usize = 256;
/// The most bytes of the resource.
const BYTES: usize = 65536;

/// The strings of the first language.
pub(super) fn look(image: &Image<'_>, facts: &mut Facts) {
    let Some(resource) = resource(image) else { return };
    let Some(block) = Block::of(resource) else { return };
    if !block.is("VS_VERSION_INFO") {
        return;
    }
    let strings = block.children().find(|child| child.is("StringFileInfo"));
    let Some(table) = strings.and_then(|strings| strings.children().next()) else { return };
    for string in table.children() {
        if let Some(name) = NAMES.into_iter().find(|name| string.is(name)) {
            facts.quote_wide(name, string.text());
        }
    }
}

/// The first version resource in the first language: three levels of directories (Microsoft PE format, ".rsrc").
fn resource<'a>(image: &Image<'a>) -> Option<&'a [u8]> {
    const RESOURCES: usize = 2;
    const VERSION: u32 = 16;
    const DIRECTORY: u32 = 1 << 31;
    let (root, _) = image.directory(RESOURCES).filter(|(address, _)| *address != 0)?;
    let all = image.at(root);
    let entries = |at: u32| {
        let directory = from(all, place((at & !DIRECTORY).into()));
        let count = wide16(directory, 12).unwrap_or(0) + wide16(directory, 14).unwrap_or(0);
        from(directory, 16).as_chunks::<8>().0.iter().take(count.min(ENTRIES))
    };
    let kind = entries(0).find(|entry| le32(*entry, 0) == Some(VERSION))?;
    let name = entries(le32(kind, 4).filter(|at| at & DIRECTORY != 0)?).next()?;
    let language = entries(le32(name, 4).filter(|at| at & DIRECTORY != 0)?).next()?;
    let data = from(all, place(le32(language, 4).filter(|at| at & DIRECTORY == 0)?.into()));
    let (address, length) = (le32(data, 0)?, place(le32(data, 4)?.into()));
    Some(first(first(image.at(address), length), BYTES))
}

/// A block of the resource: lengths, a name, a value, and blocks in it, each at a multiple of four from the beginning.
struct Block<'a> {
    name: &'a [u8],
    value: &'a [u8],
    inside: &'a [u8],
}

impl<'a> Block<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let bytes = first(bytes, wide16(bytes, 0).filter(|length| *length > 6)?);
        let value = wide16(bytes, 2)?;
        const TEXT: u16 = 1;
        // A text's length is in letters.
        let value = if le16(bytes, 4)? == TEXT { value * 2 } else { value };
        let letters = from(bytes, 6);
        let name = letters.as_chunks::<2>().0.iter().position(|letter| *letter == [0, 0])? * 2;
        let at = (6 + name + 2).next_multiple_of(4);
        Some(Self {
            name: first(letters, name),
            value: first(from(bytes, at), value),
            inside: from(bytes, (at + value).next_multiple_of(4)),
        })
    }

    fn is(&self, name: &str) -> bool {
        self.name.len() == name.len() * 2 && wide(self.name).eq(name.encode_utf16())
    }

    fn children(&self) -> impl Iterator<Item = Self> {
        let mut rest = self.inside;
        std::iter::from_fn(move || {
            let child = Block::of(rest)?;
            rest = from(rest, wide16(rest, 0)?.next_multiple_of(4));
            Some(child)
        })
        .take(ENTRIES)
    }

    /// The value as letters, up to the zero that ends it.
    fn text(&self) -> impl Iterator<Item = u16> {
        wide(self.value).take_while(|letter| *letter != 0)
    }
}

fn wide(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|letter| u16::from_le_bytes(*letter))
}
