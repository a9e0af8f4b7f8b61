//! A folder that did not answer at the start, as one of a file server that is away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How soon one that says no is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// A thread of its own waits until it answers, for as long as that takes.
pub(crate) struct Away {
    folder: PathBuf,
    answers: Arc<AtomicBool>,
}

impl Away {
    /// Begins to wait.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn watch(folder: &Path) -> io::Result<Self> {
        let (folder, answers) = (folder.to_owned(), Arc::new(AtomicBool::new(false)));
        let (asked, answer) = (folder.clone(), Arc::clone(&answers));
        thread::Builder::new().name("away".into()).spawn(move || {
            // A file server that is not up yet may say no.
            while fs::metadata(&asked).is_err() {
                thread::sleep(AGAIN);
            }
            answer.store(true, Ordering::Relaxed);
        })?;
        Ok(Self { folder, answers })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it has answered by now.
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }
}
