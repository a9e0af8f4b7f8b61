//! The folder that takes files: each appears whole, under a name made of its content, never executable.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::job::Job;
use crate::queue::sync_dir;
use crate::sender::Attempt;

/// Puts one file there.
pub(crate) fn put(folder: &Path, job: &Job, content: File) -> Attempt {
    let name = job.file_name();
    match copy(folder, &name, content) {
        Ok(()) => Attempt::Sent { said: name },
        Err(error) => {
            let why = format!("{}: could not write {name}: {error}", folder.display());
            Attempt::Later { why, pause: None, unreachable: true }
        }
    }
}

fn copy(folder: &Path, name: &str, mut content: File) -> io::Result<()> {
    // Whoever watches the folder skips names that begin with a dot.
    let unfinished = folder.join(format!(".{name}.part"));
    let _ = fs::remove_file(&unfinished);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let copied = io::copy(&mut content, &mut file)
        .and_then(|_| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, folder.join(name)));
    if copied.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    copied?;
    sync_dir(folder).map_err(io::Error::other)
}
