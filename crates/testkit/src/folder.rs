//! A folder for one test, gone when the test is over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty folder of its own, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct TestFolder(PathBuf);

impl TestFolder {
    /// Makes the folder; `name` helps to find it while a test hangs.
    ///
    /// # Panics
    /// When it cannot be made.
    #[expect(clippy::panic, reason = "a test without its folder can only fail")]
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("streamdb-{name}-{}-{number}", std::process::id()));
        // A process of the same id may have died here before.
        let _ = std::fs::remove_dir_all(&path);
        match std::fs::create_dir_all(&path) {
            Ok(()) => Self(path),
            Err(e) => panic!("{}: could not make it: {e}", path.display()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_a_name_are_apart_and_go() {
        let (one, two) = (TestFolder::new("x"), TestFolder::new("x"));
        assert_ne!(one.path(), two.path());
        std::fs::write(one.path().join("file"), "bytes").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(two.path().is_dir());
    }
}
