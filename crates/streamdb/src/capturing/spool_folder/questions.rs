//! What a folder is asked, by who asks it: what there is in it, how a file is, to open one, to remove one.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use streamdb_capture::fingerprint_of;

use super::asking::{Asker, Held, Pace};
use super::files::{MOST, Shape, is_wanted};

/// More files than this are not listed; of those there are, [`MOST`] are looked at.
const LISTED: usize = 2 * MOST;

/// What there is in a folder.
pub(super) struct Listing {
    /// Which folder it is.
    pub(super) inode: u64,
    pub(super) files: Vec<(OsString, Shape)>,
    /// There are more than are listed.
    pub(super) crowded: bool,
}

/// Looks what there is in a folder.
pub(super) fn list(folder: &Path, pace: &Pace) -> io::Result<Listing> {
    let inode = fs::metadata(folder)?.ino();
    let mut listing = Listing { inode, files: Vec::new(), crowded: false };
    for entry in fs::read_dir(folder)? {
        pace.goes_on();
        let name = entry?.file_name();
        if !is_wanted(&name) {
            continue;
        }
        let Ok(Some(shape)) = shape(&folder.join(&name)) else { continue };
        if listing.files.len() >= LISTED {
            listing.crowded = true;
            break;
        }
        listing.files.push((name, shape));
    }
    Ok(listing)
}

/// How a file is; `None` of what is none. No link is followed, and no pipe or device waited for.
///
/// # Errors
/// When that cannot be told.
pub(super) fn shape(path: &Path) -> io::Result<Option<Shape>> {
    match fs::symlink_metadata(path) {
        Ok(about) => Ok(about.is_file().then(|| Shape::of(&about))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that is to be taken, twice, and its fingerprint.
pub(super) struct Opened {
    /// At its begin.
    pub(super) file: Held,
    /// Whatever the name comes to stand for.
    pub(super) same: Held,
    pub(super) fingerprint: String,
}

/// Opens a file; nothing when it is another one by now, or none.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open(path: &Path, wanted: Shape, asker: &Asker, pace: &Pace) -> io::Result<Option<Opened>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mut file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    let is_same = file.metadata().is_ok_and(|about| about.is_file() && Shape::of(&about) == wanted);
    if !is_same {
        return Ok(None);
    }
    let fingerprint = fingerprint_of(&mut Paced { file: &mut file, pace }, wanted.length)?;
    file.rewind()?;
    let same = Held::new(file.try_clone()?, asker);
    Ok(Some(Opened { file: Held::new(file, asker), same, fingerprint }))
}

/// One that is read with a sign at each step.
struct Paced<'a> {
    file: &'a mut File,
    pace: &'a Pace,
}

impl Read for Paced<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.pace.goes_on();
        self.file.read(bytes)
    }
}

impl Seek for Paced<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Removes a file, if it is the one that is meant: another one may have its name by now, or nobody.
///
/// # Errors
/// When it is there still.
pub(super) fn remove(path: &Path, meant: Shape) -> io::Result<()> {
    match shape(path)? {
        Some(shape) if shape == meant => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

impl Shape {
    /// That of a file of which this is known.
    pub(super) fn of(about: &Metadata) -> Self {
        let modified = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Self { inode: about.ino(), length: about.len(), modified }
    }
}
