//! Facts of Windows programs (Microsoft PE format): headers, packers and installers; what is imported and what the
//! resources say have files of their own.

mod image;
mod imports;
mod packer;
mod version;

use jiff::Timestamp;

use self::image::Image;
use super::Facts;
use crate::bytes::{first, from, le16, le32, place, to_nul};
use crate::pe::{machine, subsystem};

/// The facts of a program that begins with the content.
pub(super) fn look(content: &[u8], facts: &mut Facts) {
    let Some(image) = Image::of(content) else { return };
    match image.machine {
        number if machine(number).is_some() => facts.say("machine", machine(number).unwrap_or_default()),
        number => facts.say("machine", format_args!("{number:#x}")),
    }
    if let Some(number) = image.subsystem() {
        match subsystem(number) {
            Some(name) => facts.say("subsystem", name),
            None => facts.say("subsystem", format_args!("{number:#x}")),
        }
        // What runs in the kernel is linked for no subsystem, as a library of the kernel may be.
        const NATIVE: u16 = 1;
        facts.say(
            "type",
            if image.is_library() {
                "dll"
            } else if number == NATIVE {
                "driver"
            } else {
                "exe"
            },
        );
    }
    facts.say("sections", image.section_count);
    if let Some(compiled) = image.compiled().and_then(|seconds| Timestamp::from_second(seconds.into()).ok()) {
        facts.say("compiled", compiled);
    }
    const SECURITY: usize = 4;
    if let Some((at, size)) = image.directory(SECURITY) {
        facts.say("signed", if at != 0 && size != 0 { "yes" } else { "no" });
    }
    dotnet(&image, facts);
    packer::look(&image, facts);
    if let Some(hash) = imports::hash(&image) {
        facts.say("imphash", hash);
    }
    symbols(&image, facts);
    version::look(&image, facts);
    for section in &image.sections {
        facts.quote("section", to_nul(section.name));
    }
}

/// The version of the runtime, from the root of the metadata (ECMA-335 §II.24.2.1).
fn dotnet(image: &Image<'_>, facts: &mut Facts) {
    const RUNTIME: usize = 14;
    let version = || {
        let header = image.directory(RUNTIME).filter(|(rva, _)| *rva != 0)?.0;
        let metadata = le32(image.at(header), 8)?;
        let root = image.at(metadata).strip_prefix(b"BSJB")?;
        let length = place(le32(root, 8)?.min(255).into());
        from(root, 12).get(..length).map(to_nul)
    };
    if let Some(version) = version() {
        facts.quote("dotnet", version);
    }
}

/// The path of the symbols that the linker wrote (CodeView 7.0).
fn symbols(image: &Image<'_>, facts: &mut Facts) {
    const DEBUG: usize = 6;
    const CODEVIEW: u32 = 2;
    const ENTRIES: usize = 16;
    let Some((rva, size)) = image.directory(DEBUG).filter(|(rva, _)| *rva != 0) else { return };
    for entry in first(image.at(rva), place(size.into())).chunks_exact(28).take(ENTRIES) {
        if le32(entry, 12) != Some(CODEVIEW) {
            continue;
        }
        let Some(record) = le32(entry, 24).map(|at| from(image.content, place(at.into()))) else { continue };
        if record.starts_with(b"RSDS") {
            let path = first(from(record, 24), 1024);
            // Without its end it is not the path.
            if path.contains(&0) {
                facts.quote("pdb", to_nul(path));
            }
            return;
        }
    }
}

/// The number of two bytes, widened.
fn wide16(bytes: &[u8], at: usize) -> Option<usize> {
    le16(bytes, at).map(usize::from)
}
