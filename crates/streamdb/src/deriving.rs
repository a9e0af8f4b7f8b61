//! Derivation beside whatever else the process does: a thread that follows what is published.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use streamdb_derive::{Deriver, Error, Progress, StoreError};
use streamdb_storage::Store;

use crate::output::complain;

/// How long the thread waits for more.
const PAUSE: Duration = Duration::from_millis(200);

/// The thread, until it is told to end.
pub(crate) struct Deriving {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Result<Progress, Error>>,
}

impl Deriving {
    /// Begins to follow a data folder. `None` when another process does already.
    pub(crate) fn start(folder: &Path) -> Result<Option<Self>, Error> {
        let store = Store::open(folder)?;
        let deriver = match Deriver::new(&store) {
            Ok(deriver) => deriver,
            Err(Error::Store(StoreError::Deriving(_))) => return Ok(None),
            Err(error) => return Err(error),
        };
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = thread::Builder::new().name("derive".into()).spawn(move || follow(&store, deriver, &told))?;
        Ok(Some(Self { ending, thread }))
    }

    /// All is published: what there is to do is done, and the thread ends.
    pub(crate) fn finish(self) -> Result<Progress, Error> {
        self.ending.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that derives died").into()))
    }
}

/// Follows a store until `ending`, and then to its end.
pub(crate) fn follow(store: &Store, mut deriver: Deriver, ending: &AtomicBool) -> Result<Progress, Error> {
    let mut all = Progress::default();
    loop {
        // Asked before: what was published until then is still done.
        let last = ending.load(Ordering::Acquire);
        let round = deriver.catch_up(store, &|| false, &mut |error| complain(&error.to_string()))?;
        all.add(&round);
        if last {
            return Ok(all);
        }
        thread::sleep(PAUSE);
    }
}
