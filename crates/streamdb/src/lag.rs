//! How far derivation is behind what is stored, and what it did: said each second, for other processes to show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use streamdb_derive::Tally;
use streamdb_storage::{DiskVolume, Status, StatusWriter, Store, Teller, now};
use streamdb_types::{BucketId, Timestamp};

/// How often it is said.
const EACH: Duration = Duration::from_secs(1);
/// How soon it is seen that it is to end.
const SOON: Duration = Duration::from_millis(50);

/// How far a round looked.
#[derive(Clone, Debug, Default)]
struct Reached {
    /// What was published before this moment was looked at.
    until: Timestamp,
    /// How far the buckets that were not whole were published by then.
    published: BTreeMap<BucketId, u64>,
}

/// How far derivation has come.
pub(crate) struct Lag(Mutex<Reached>);

impl Lag {
    /// As the process before left it.
    pub(crate) fn new(store: &Store) -> Self {
        let before = Status::read(store.path(), Teller::Derive).ok().flatten();
        let until = before.and_then(|status| status.text("reached")?.parse().ok()).map_or_else(now, Timestamp);
        Self(Mutex::new(Reached { until, published: BTreeMap::new() }))
    }

    /// A round begins: to be handed to [`end`](Self::end) when it has come to its end.
    pub(crate) fn begin(store: &Store) -> Round {
        let until = now();
        let published = store.not_derived().unwrap_or_default();
        Round(Reached { until, published: published.into_iter().map(|(id, _, published)| (id, published)).collect() })
    }

    pub(crate) fn end(&self, round: Round) {
        let mut reached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was waited for a moment ago is not older than it was then.
        let until = reached.until.max(round.0.until);
        *reached = Reached { until, ..round.0 };
    }

    /// Says how it stands, until all is done.
    pub(crate) fn tell(&self, store: &Store, tally: &Tally, done: &AtomicBool) {
        // What cannot be said is not shown; derivation goes on.
        let Ok(writer) = StatusWriter::open(&DiskVolume, store.path(), Teller::Derive) else { return };
        loop {
            let last = done.load(Ordering::Acquire);
            _ = writer.write(self.status(store, tally).values);
            if last {
                return;
            }
            let mut waited = Duration::ZERO;
            while waited < EACH && !done.load(Ordering::Acquire) {
                thread::sleep(SOON);
                waited += SOON;
            }
        }
    }

    fn status(&self, store: &Store, tally: &Tally) -> Status {
        let Reached { until, published } = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let behind = store
            .not_derived()
            .unwrap_or_default()
            .into_iter()
            .map(|(id, covered, now)| now.saturating_sub(published.get(&id).copied().unwrap_or(0).max(covered)));
        let mut status = Status::default();
        status.set("reached", until.0);
        status.set("lag_millis", u64::try_from(now().since(until) / 1_000_000).unwrap_or(0));
        status.set("lag_bytes", behind.fold(0, u64::saturating_add));
        status.set("connections", tally.connections());
        status.set("objects", tally.objects());
        status.set("damaged", tally.damaged());
        status.set("given_up", store.suspects().map_or(0, |suspects| suspects.given_up()));
        status
    }
}

/// A round that was begun.
pub(crate) struct Round(Reached);

impl Round {
    /// It left out some of what was published in the last moments.
    pub(crate) fn before(self, moments: Duration) -> Self {
        let nanos = i64::try_from(moments.as_nanos()).unwrap_or(i64::MAX);
        Self(Reached { until: self.0.until.plus(nanos.saturating_neg()), ..self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_storage::WriteFolder;
    use streamdb_testkit::TestFolder;

    #[test]
    fn the_lag_is_since_the_last_round_that_ended() {
        let folder = TestFolder::new("lag");
        drop(WriteFolder::open(folder.path(), Box::new(DiskVolume)).unwrap());
        let store = Store::open(folder.path()).unwrap();
        let begun = now().plus(-5_000_000_000);
        let lag = Lag(Mutex::new(Reached { until: begun, published: BTreeMap::new() }));
        let tally = Tally::default();
        let millis = |lag: &Lag| lag.status(&store, &tally).number("lag_millis");
        assert!((5000..60_000).contains(&millis(&lag)), "{}", millis(&lag));
        // The next process goes on from there.
        lag.tell(&store, &tally, &AtomicBool::new(true));
        assert!(millis(&Lag::new(&store)) >= 5000);
        // A round that leaves out the last moments may reach less far than one before.
        lag.end(Lag::begin(&store).before(Duration::from_secs(60)));
        assert_eq!(lag.0.lock().unwrap().until, begun);
        lag.end(Lag::begin(&store).before(Duration::from_secs(2)));
        assert!((2000..5000).contains(&millis(&lag)), "{}", millis(&lag));
        lag.end(Lag::begin(&store));
        assert!(millis(&lag) < 2000);
        assert_eq!(lag.status(&store, &tally).number("lag_bytes"), 0);
    }
}
