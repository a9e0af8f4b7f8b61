//! Objects into the queue, by their oids: what the server and the command line call.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use streamdb_derive::{BodyLimits, Conversation, Decode, Named, Piece, Store, conversation, each_object};
use streamdb_types::Oid;

use crate::error::Error;
use crate::incoming::Incoming;
use crate::job::Job;
use crate::queue::{Item, Queue, Receipt};
use crate::sender::{Sender, Signal};
use crate::settings::Settings;

/// A queue, and where what is in it goes. Clones share it.
#[derive(Clone)]
pub struct Submissions {
    queue: Arc<Queue>,
    settings: Arc<Settings>,
    signal: Signal,
}

impl std::fmt::Debug for Submissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submissions").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What may be submitted. The default is for what a search found; for what somebody named by its oid, incomplete objects may
/// be taken too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Objects of which something is missing too, with zeros in the place of what is.
    pub incomplete: bool,
    /// What a target was given before, or could not be given, once more.
    pub again: bool,
}

impl Submissions {
    /// Opens the queue of a data folder.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn open(data: &Path, settings: Settings) -> Result<Self, Error> {
        let queue = Arc::new(Queue::open(data)?);
        Ok(Self { queue, settings: Arc::new(settings), signal: Signal::default() })
    }

    /// Takes an object, decoded, into the queue: a copy of its own, which is durable when this returns. The receipt says what
    /// became of it at each target. May block, on the disk and on other processes.
    ///
    /// # Errors
    /// When there is no such object, when it is empty or, unless the rules allow that, incomplete, when the queue is full, or
    /// when the system refuses something. Then nothing of it is in the queue.
    pub fn submit(&self, store: &Store, oid: Oid, rules: Rules) -> Result<Receipt, Error> {
        let mut conversation = conversation(store, oid)?;
        let named = conversation.named(conversation.asked(), oid)?;
        self.take(&mut conversation, &named, oid, rules)
    }

    /// Takes each of these objects as [`submit`](Self::submit) does, and says what came of each, in their order. A connection
    /// is taken apart once, however many of them are in it.
    pub fn submit_all(&self, store: &Store, oids: &[Oid], rules: Rules) -> Vec<Result<Receipt, Error>> {
        let mut answers: Vec<(usize, Result<Receipt, Error>)> = Vec::with_capacity(oids.len());
        each_object(store, oids, &mut |place, oid, found| {
            let answer = found.map_err(Error::from);
            answers.push((place, answer.and_then(|(conversation, named)| self.take(conversation, &named, oid, rules))));
        });
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn take(&self, conversation: &mut Conversation, named: &Named, oid: Oid, rules: Rules) -> Result<Receipt, Error> {
        if let Some(why) = named.incomplete().filter(|_| !rules.incomplete) {
            return Err(Error::Incomplete { oid, why: why.words().to_owned() });
        }
        let mut incoming = self.queue.begin()?;
        let mut written: io::Result<()> = Ok(());
        let room = self.settings.room;
        let mut take = |piece: Piece<'_>| {
            written = match piece {
                Piece::Bytes(bytes) => incoming.write_all(bytes),
                Piece::Hole(gap) if gap.length > room => Ok(()),
                Piece::Hole(gap) => io::copy(&mut io::Read::take(io::repeat(0), gap.length), &mut incoming).map(|_| ()),
            };
            // What does not fit into the queue need not be copied to its end.
            if written.is_ok() && incoming.size() <= room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let outcome = conversation.body_of(named, Decode::Decoded, &BodyLimits::default(), &mut take)?;
        written.map_err(|source| incoming.error(source))?;
        if incoming.size() == 0 {
            return Err(Error::Empty(oid));
        }
        if incoming.size() > room || outcome.length > room {
            return Err(Error::Full { held: 0, size: outcome.length, room });
        }
        if !outcome.complete && !rules.incomplete {
            let why = match (&outcome.problem, outcome.missing) {
                (Some(problem), _) => problem.to_string(),
                (None, missing) => format!("{missing} bytes are missing"),
            };
            return Err(Error::Incomplete { oid, why });
        }
        let item = Item { oid, complete: outcome.complete, extension: outcome.what.extension.to_owned() };
        self.put(incoming, &item, rules)
    }

    fn put(&self, incoming: Incoming, item: &Item, rules: Rules) -> Result<Receipt, Error> {
        let targets = self.settings.targets();
        let receipt = self.queue.put(incoming, item, &targets, rules.again, self.settings.room)?;
        if receipt.is_new() {
            self.signal.wake();
        }
        Ok(receipt)
    }

    /// All that was ever taken in, oldest first; and how many lines of the queue's record are damaged.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn jobs(&self) -> Result<(Vec<Job>, u64), Error> {
        self.queue.jobs()
    }

    /// What sends all this. Any number of processes may have one; one of them sends at a time.
    pub fn sender(&self) -> Sender {
        Sender::new(Arc::clone(&self.queue), Settings::clone(&self.settings), self.signal.clone())
    }

    /// Wakes and ends the senders.
    pub const fn signal(&self) -> &Signal {
        &self.signal
    }
}
