//! A folder that takes files: each appears whole, under a name made of its content, never executable; a file of JSON that
//! says what it is appears before it.
//!
//! That its file is there tells that a try came through. Who takes files away from the folder may, after a try that was
//! broken off, find one there twice: under the same name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Attempt, Deliver, Has, Later, Parcel, Sent};
use crate::disk::sync_dir;
use crate::job::Job;

/// A folder.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) json: bool,
}

impl Deliver for Folder {
    fn deliver(&self, parcel: &mut Parcel<'_>) -> Attempt {
        let name = parcel.job.file_name();
        match self.put(&name, parcel) {
            Ok(()) => Attempt::Sent(Sent { said: name, ..Sent::default() }),
            Err(error) => {
                let why = format!("{}: could not write {name}: {error}", self.path.display());
                Attempt::Later(Later { why, pause: None, target: true, doubt: true })
            }
        }
    }

    fn has(&self, job: &Job) -> Has {
        let name = job.file_name();
        match fs::metadata(self.path.join(&name)) {
            Ok(there) if there.is_file() && there.len() == job.size => Has::Yes(Sent { said: name, ..Sent::default() }),
            _ => Has::No,
        }
    }
}

impl Folder {
    fn put(&self, name: &str, parcel: &mut Parcel<'_>) -> io::Result<()> {
        if self.json {
            write(&self.path, &format!("{name}.json"), &mut parcel.about.as_bytes())?;
        }
        write(&self.path, name, &mut parcel.content)?;
        sync_dir(&self.path).map_err(io::Error::other)
    }
}

/// Writes a file, which appears whole.
fn write(folder: &Path, name: &str, content: &mut dyn Read) -> io::Result<()> {
    // Whoever watches the folder skips names that begin with a dot.
    let unfinished = folder.join(format!(".{name}.part"));
    let _ = fs::remove_file(&unfinished);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let copied = copy(file, content).and_then(|()| fs::rename(&unfinished, folder.join(name)));
    if copied.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    copied
}

fn copy(mut file: File, content: &mut dyn Read) -> io::Result<()> {
    io::copy(content, &mut file)?;
    file.flush()?;
    file.sync_all()
}
