//! A folder from which nothing can be taken: one of a file server that is away, or one that is not as it should be.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::supervising::looked_after;

/// Another process waits until captures can be taken from it, for as long as that takes: a thread of this one that asks a file server
/// which never answers would be there for good, and this process with it.
pub(crate) struct Away {
    folder: PathBuf,
    waits: Child,
}

impl Away {
    /// Begins to wait, with the rights that this process has now.
    ///
    /// # Errors
    /// When the system has no more processes.
    pub(crate) fn watch(folder: &Path, others: &[&Path], data: &Path, removes: bool) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("await-folder").arg("--data").arg(data).arg(folder);
        for other in others {
            command.arg("--beside").arg(other);
        }
        if removes {
            command.arg("--remove");
        }
        looked_after(&mut command);
        let waits = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { folder: folder.to_owned(), waits })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether captures can be taken from it by now; whoever begins anew looks for itself.
    pub(crate) fn answers(&mut self) -> bool {
        matches!(self.waits.try_wait(), Ok(Some(_)))
    }
}
