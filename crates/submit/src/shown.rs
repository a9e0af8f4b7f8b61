//! How it stands with each target, for who asks often and must not wait: whoever sends holds the queue while a disk syncs.
//!
//! A thread of its own waits for the queue, one at a time. Who asks waits for it so long and no longer, and has what was there last
//! time where that is not enough.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::job::Tally;
use crate::queue::Queue;
use crate::settings::TargetName;

/// How long a look at the queue is waited for, by all who ask meanwhile.
const WAIT: Duration = Duration::from_millis(100);

/// How it stands with each target; nothing where that could not be read.
type Tallies = Option<BTreeMap<TargetName, Tally>>;

/// What was seen, and the look that is under way.
#[derive(Default)]
pub(crate) struct Shown(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    last: Tallies,
    look: Option<Look>,
}

/// A look at the queue that is not over.
struct Look {
    answer: Receiver<Tallies>,
    since: Instant,
}

impl Look {
    /// Begins one, if the system has a thread for it.
    fn begin(queue: &Arc<Queue>) -> Option<Self> {
        let (queue, since) = (Arc::clone(queue), Instant::now());
        let (tell, answer) = sync_channel(1);
        // Nobody may ask any more.
        let look = move || drop(tell.send(queue.tally().ok()));
        thread::Builder::new().name("tally".to_owned()).spawn(look).ok()?;
        Some(Self { answer, since })
    }
}

impl Shown {
    /// How it stands now; as it was last time where the queue is held by somebody for longer. Nothing before it was read, and where it
    /// cannot be.
    pub(crate) fn tally(&self, queue: &Arc<Queue>) -> Tallies {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that came to its end when nobody waited any more is of then.
        if let Some(done) = seen.look.as_ref().map(|look| look.answer.try_recv())
            && done != Err(TryRecvError::Empty)
        {
            seen.last = done.unwrap_or_default();
            seen.look = None;
        }
        if let Some(look) = seen.look.take().or_else(|| Look::begin(queue)) {
            match look.answer.recv_timeout(WAIT.saturating_sub(look.since.elapsed())) {
                Ok(tallies) => seen.last = tallies,
                Err(RecvTimeoutError::Timeout) => seen.look = Some(look),
                Err(RecvTimeoutError::Disconnected) => seen.last = None,
            }
        }
        seen.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use streamdb_testkit::TestFolder;
    use streamdb_types::Timestamp;

    use super::*;
    use crate::hash::ContentHash;
    use crate::record::{Entry, Event, Taken};

    #[test]
    fn who_asks_does_not_wait_for_who_holds_the_queue() {
        let folder = TestFolder::new("shown");
        let queue = Arc::new(Queue::open(folder.path()).unwrap());
        let target = TargetName::folder();
        let take = |n: u8| {
            let (oid, text) = ("1-2-3-4".parse().unwrap(), String::new);
            let taken = Taken { oid, joined: false, size: 5, complete: true, extension: text(), rule: text() };
            let (hash, target, event) = (ContentHash([n; 32]), target.clone(), Event::Queued(taken));
            queue.locked(|known| known.append(vec![Entry { time: Timestamp(1), hash, target, event }])).unwrap();
        };
        let hold = || {
            let lock = queue.lock_file("lock").unwrap();
            lock.lock().unwrap();
            lock
        };
        let shown = Shown::default();
        let waiting = |shown: &Shown| shown.tally(&queue).map(|all| all.get(&target).map_or(0, |tally| tally.waiting));
        // Who waits for it has no limit but this.
        let until = |wanted: Option<u64>| {
            let begun = Instant::now();
            while waiting(&shown) != wanted {
                assert!(begun.elapsed() < Duration::from_secs(60), "{wanted:?}");
            }
        };
        take(1);
        let lock = hold();
        assert_eq!(waiting(&shown), None, "it was never read");
        drop(lock);
        until(Some(1));
        take(2);
        let lock = hold();
        let begun = Instant::now();
        for _ in 0..1000 {
            assert_eq!(waiting(&shown), Some(1), "as it was");
        }
        assert!(begun.elapsed() < Duration::from_secs(50), "one look is waited for, not a thousand");
        drop(lock);
        until(Some(2));
    }
}
