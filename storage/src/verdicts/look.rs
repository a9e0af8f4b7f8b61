//! Looks up what was said of a content, while somebody may be scanning.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use streamdb_types::Verdict;

use super::Forgotten;
use super::file::{Payload, each};

/// How old what is known may be.
const FRESH: Duration = Duration::from_millis(200);

/// What scanners said of the contents of a data folder. It follows what comes; what cannot be read is as if nothing was said.
#[derive(Debug)]
pub struct Verdicts {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<(File, u64)>,
    at: u64,
    looked: Option<Instant>,
    found: HashMap<[u8; 32], Vec<Verdict>>,
    forgotten: Forgotten,
}

/// How much is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictsTally {
    /// Contents with a verdict.
    pub contents: u64,
    /// What was forgotten, as only so many are kept.
    pub forgotten: Forgotten,
}

impl Verdicts {
    /// Those of a data folder. Nothing is read before somebody asks.
    pub fn open(folder: &Path) -> Self {
        Self { path: super::path(folder), state: Mutex::default() }
    }

    /// What was found in the content with this SHA-256: nothing when nothing was, or when nobody has looked.
    pub fn of(&self, sha256: &[u8; 32]) -> Vec<Verdict> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refresh(&self.path);
        state.found.get(sha256).cloned().unwrap_or_default()
    }

    /// How many there are.
    pub fn tally(&self) -> VerdictsTally {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refresh(&self.path);
        VerdictsTally { contents: state.found.len() as u64, forgotten: state.forgotten }
    }

    /// Every content with a verdict of which `is_one` says so, in no order.
    pub fn contents_with(&self, is_one: &dyn Fn(&Verdict) -> bool) -> Vec<[u8; 32]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refresh(&self.path);
        let with = state.found.iter().filter(|(_, verdicts)| verdicts.iter().any(is_one));
        with.map(|(sha256, _)| *sha256).collect()
    }
}

impl State {
    fn refresh(&mut self, path: &Path) {
        if self.looked.is_some_and(|looked| looked.elapsed() < FRESH) {
            return;
        }
        self.looked = Some(Instant::now());
        // It is written anew now and then, and gone when somebody removed what is derived.
        let facts = std::fs::metadata(path);
        let same = |facts: &std::fs::Metadata| {
            self.file.as_ref().is_some_and(|(_, inode)| *inode == facts.ino()) && facts.len() >= self.at
        };
        match facts {
            Ok(facts) if same(&facts) => {}
            Ok(facts) => {
                self.forget();
                self.file = File::open(path).ok().map(|file| (file, facts.ino()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.forget(),
            Err(_) => return,
        }
        self.read_on();
    }

    fn forget(&mut self) {
        (self.file, self.at) = (None, 0);
        self.found.clear();
        self.forgotten = Forgotten::default();
    }

    fn read_on(&mut self) {
        let Some((file, _)) = &self.file else { return };
        let (found, forgotten) = (&mut self.found, &mut self.forgotten);
        let end = each(&|buffer, at| fill(file, buffer, at), self.at, &mut |said| {
            match said {
                Payload::Scanned(said) if said.verdicts.is_empty() => drop(found.remove(&said.sha256)),
                Payload::Scanned(said) => drop(found.insert(said.sha256, said.verdicts)),
                Payload::Forgotten(said) => *forgotten = said,
                Payload::Mark(..) | Payload::Begun(_) | Payload::Joined(_) => {}
            }
            Ok(())
        });
        // What cannot be read now may be later.
        self.at = end.unwrap_or(self.at);
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
