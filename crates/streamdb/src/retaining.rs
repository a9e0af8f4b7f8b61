//! Retention beside whatever else the process does: a thread that looks now and then, and what it has to say.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamdb_storage::{Cause, Dropped, Limits, Retention, Unmet, WriteFolder};

use crate::output::complain;
use crate::units;

/// How often the thread looks, when nothing happens.
const PAUSE: Duration = Duration::from_secs(5);
/// How soon it sees that a bucket was sealed.
const GLANCE: Duration = Duration::from_millis(250);

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) buckets: u64,
    pub(crate) bytes: u64,
}

/// The thread, until it is told to end.
pub(crate) struct Retaining {
    /// Other limits; it ends when this is gone.
    limits: Sender<Limits>,
    thread: JoinHandle<Total>,
}

impl Retaining {
    /// Begins to keep a folder within limits, if there are any.
    pub(crate) fn start(folder: &Arc<WriteFolder>, limits: Limits) -> io::Result<Self> {
        let folder = Arc::clone(folder);
        let (said, told) = channel();
        let thread = thread::Builder::new().name("retention".into()).spawn(move || {
            let mut looking = Looking::new(limits);
            loop {
                looking.look(&folder, &mut |_| {});
                let (looked, lines) = (Instant::now(), lines(&folder));
                while looked.elapsed() < PAUSE && self::lines(&folder) == lines {
                    match told.recv_timeout(GLANCE) {
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(limits) => {
                            looking.limit(limits);
                            break;
                        }
                        Err(RecvTimeoutError::Disconnected) => {
                            looking.look(&folder, &mut |_| {});
                            return looking.total;
                        }
                    }
                }
            }
        })?;
        Ok(Self { limits: said, thread })
    }

    /// From now on keeps it within these.
    pub(crate) fn limit(&self, limits: Limits) {
        // A thread that died is told of at the end.
        _ = self.limits.send(limits);
    }

    /// All is sealed: it looks once more, and the thread ends.
    pub(crate) fn finish(self) -> Total {
        drop(self.limits);
        self.thread.join().unwrap_or_else(|_| {
            complain("the thread that keeps the store within its limits died");
            Total::default()
        })
    }
}

/// How many lines the ledger has: one more for each bucket that is sealed.
fn lines(folder: &WriteFolder) -> u64 {
    folder.ledger().lock().unwrap_or_else(PoisonError::into_inner).facts().lines()
}

/// Looks, and says each thing once.
pub(crate) struct Looking {
    limits: Limits,
    retention: Retention,
    unmet: BTreeSet<Cause>,
    troubles: BTreeSet<String>,
    pub(crate) total: Total,
}

impl Looking {
    pub(crate) fn new(limits: Limits) -> Self {
        let retention = Retention::new(limits);
        Self { limits, retention, unmet: BTreeSet::new(), troubles: BTreeSet::new(), total: Total::default() }
    }

    /// From now on looks by these limits.
    fn limit(&mut self, limits: Limits) {
        (self.limits, self.retention) = (limits, Retention::new(limits));
        self.unmet.clear();
    }

    /// Drops what has to go; whether all went well.
    pub(crate) fn look(&mut self, folder: &WriteFolder, done: &mut dyn FnMut(&Dropped)) -> bool {
        if !self.limits.any() {
            return true;
        }
        let Self { total, .. } = self;
        let result = self.retention.look(folder, &mut |dropped| {
            total.buckets += 1;
            total.bytes = total.bytes.saturating_add(dropped.bytes);
            done(dropped);
        });
        let (unmet, errors) = match result {
            Ok(retained) => (Some(retained.unmet), retained.not_removed),
            // What is unmet is not known then.
            Err(error) => (None, vec![error]),
        };
        for unmet in unmet.iter().flatten().filter(|unmet| !self.unmet.contains(&unmet.cause)) {
            complain(&sentence(unmet, &self.limits));
        }
        if let Some(unmet) = unmet {
            self.unmet = unmet.iter().map(|unmet| unmet.cause).collect();
        }
        let troubles: BTreeSet<String> = errors.iter().map(ToString::to_string).collect();
        troubles.difference(&self.troubles).for_each(|trouble| complain(trouble));
        self.troubles = troubles;
        self.troubles.is_empty()
    }
}

/// Why a limit is not kept, and what to do.
pub(crate) fn sentence(unmet: &Unmet, limits: &Limits) -> String {
    let bytes = units::bytes;
    let why = match (unmet.held, unmet.unsealed) {
        (0, 0) => "no bucket is left".to_owned(),
        (0, open) => format!("{} are still being written", bytes(open)),
        (held, 0) => format!("{} are held", bytes(held)),
        (held, open) => format!("{} are held and {} are still being written", bytes(held), bytes(open)),
    };
    let release = if unmet.held > 0 { "release a hold (`streamdb hold --list` shows them) or " } else { "" };
    match unmet.cause {
        Cause::Age => {
            let age = limits.max_age.map_or_else(String::new, |age| format!(" of {}", units::span(age)));
            let buckets = if unmet.found == 1 { "1 bucket is" } else { &format!("{} buckets are", unmet.found) };
            format!("{buckets} older than the limit{age} and stay: what is held is kept until its hold is released")
        }
        Cause::Bytes => format!(
            "the buckets take {} where {} are the limit, and nothing more can be dropped: {why}; {release}raise --max-bytes",
            bytes(unmet.found),
            bytes(unmet.limit)
        ),
        Cause::Free => format!(
            "{} are free where {} are wanted, and nothing more can be dropped: {why}; {release}make room on the disk",
            bytes(unmet.found),
            bytes(unmet.limit)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_cannot_be_kept_is_one_sentence() {
        let unmet = |cause, held, unsealed| Unmet { cause, limit: 1000, found: 3000, held, unsealed };
        let limits = Limits { max_age: Some(86_400_000_000_000), ..Limits::default() };
        assert_eq!(
            sentence(&unmet(Cause::Bytes, 2000, 1000), &limits),
            "the buckets take 3.0 kB where 1.0 kB are the limit, and nothing more can be dropped: 2.0 kB are held and 1.0 kB \
             are still being written; release a hold (`streamdb hold --list` shows them) or raise --max-bytes"
        );
        assert_eq!(
            sentence(&unmet(Cause::Free, 0, 0), &limits),
            "3.0 kB are free where 1.0 kB are wanted, and nothing more can be dropped: no bucket is left; make room on the disk"
        );
        assert_eq!(
            sentence(&Unmet { found: 1, ..unmet(Cause::Age, 10, 0) }, &limits),
            "1 bucket is older than the limit of 1d and stay: what is held is kept until its hold is released"
        );
    }
}
