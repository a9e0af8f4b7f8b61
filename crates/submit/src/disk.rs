//! What the queue asks of the disk: that what it wrote stays there, and that what it needs no more is gone.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::Error;

/// The file systems on which syncfs(2) leaves what was written before it as fsync(2) of each file would, and names of files
/// durable too: ext2 to ext4, XFS, Btrfs and F2FS, as statfs(2) has them.
const WHOLE: [u32; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];

/// Whether one call can make all files durable that are written to a file system after this one was opened there, and says
/// so when one of them is not: since Linux 5.8 it does.
pub(crate) fn syncs_whole(file: &File) -> bool {
    let known = |facts: rustix::fs::StatFs| u32::try_from(facts.f_type).is_ok_and(|kind| WHOLE.contains(&kind));
    rustix::fs::fstatfs(file).is_ok_and(known) && is_since(&rustix::system::uname().release().to_string_lossy(), (5, 8))
}

/// Whether the release of a kernel is this one or a later one.
fn is_since(release: &str, first: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (major, minor) = (numbers.next(), numbers.next());
    matches!((major, minor), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= first)
}

/// Makes all durable that was written to a file system since this file was opened there.
pub(crate) fn sync_whole(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io(path, "make the names durable"))
}

/// The names in a folder, but for those that are no text, which are none of ours.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder, "list the copies"))?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::io(folder, "list the copies"))?.file_name().into_string());
    }
    Ok(names)
}

/// Removes a file that may be gone.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "remove the copy")(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (release, wanted) in [
            ("6.18.44-fc", true),
            ("5.8.0", true),
            ("5.10", true),
            ("10.0", true),
            ("5.7.19-generic", false),
            ("4.19.0", false),
            ("5", false),
            ("", false),
            ("next", false),
        ] {
            assert_eq!(is_since(release, (5, 8)), wanted, "{release}");
        }
    }
}
