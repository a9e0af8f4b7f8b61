//! The sync thread: makes what was written durable, each second or each 64 MiB, and moves no byte.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use streamdb_types::BucketId;

use crate::live::LiveWriter;
use crate::volume::VolumeFile;

const INTERVAL: Duration = Duration::from_secs(1);
const AHEAD: u64 = 64 << 20;

#[derive(Default)]
struct State {
    /// The open bucket, and how far it is published and durable.
    open: Option<(BucketId, Arc<dyn VolumeFile>, u64)>,
    durable: u64,
    /// The bucket that `durable` is about, also after it ended.
    about: BucketId,
    /// A sync is under way.
    busy: bool,
    failed: Option<std::io::Error>,
    stop: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

/// The handle of the sync thread; it ends when this is dropped.
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(live: Arc<LiveWriter>, worker: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("sync".into()).spawn(move || run(&theirs, &live, worker))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// This much of the bucket is published; the answer is how much is durable. An error is that of an earlier sync: the
    /// bucket must end.
    pub(crate) fn published(&self, id: BucketId, file: &Arc<dyn VolumeFile>, position: u64) -> std::io::Result<u64> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        if state.open.as_ref().is_none_or(|(open, ..)| *open != id) {
            state.durable = 0;
            state.about = id;
            state.open = Some((id, Arc::clone(file), position));
        } else if let Some((_, _, end)) = &mut state.open {
            *end = position;
        }
        if position.saturating_sub(state.durable) >= AHEAD {
            self.shared.wake.notify_one();
        }
        Ok(state.durable)
    }

    /// How much of a bucket is durable; 0 when nothing of it was synced.
    pub(crate) fn durable(&self, id: BucketId) -> u64 {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.about == id { state.durable } else { 0 }
    }

    /// The bucket is about to be sealed, and with that made durable by who seals it. The error of a sync before that comes
    /// first: a later sync of the same file would not tell of it again.
    pub(crate) fn before_seal(&self) -> std::io::Result<()> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = None;
        while state.busy {
            state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failed.take().map_or(Ok(()), Err)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; there is nothing left to sync for.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, live: &LiveWriter, worker: usize) {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    while !state.stop {
        (state, _) = shared.wake.wait_timeout(state, INTERVAL).unwrap_or_else(PoisonError::into_inner);
        let Some((id, file, position)) = state.open.clone().filter(|(_, _, end)| *end > state.durable) else {
            continue;
        };
        state.busy = true;
        drop(state);
        let result = file.sync_data();
        state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy = false;
        match result {
            Ok(()) if state.about == id => {
                state.durable = position;
                live.durable(worker, id, position);
            }
            Ok(()) => {}
            Err(error) => {
                state.failed = Some(error);
                // Syncing again would succeed and prove nothing.
                state.open = None;
            }
        }
        shared.wake.notify_all();
    }
}
