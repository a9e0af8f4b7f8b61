//! Objects into the queue, by their oids: what the server and the command line call.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use streamdb_derive::{BodyLimits, Conversation, Decode, Piece, Store, conversation};
use streamdb_types::{Direction, Oid};

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
        let direction = conversation.asked();
        self.take(&mut conversation, direction, oid, rules)
    }

    /// Takes each of these objects as [`submit`](Self::submit) does, and says what came of each, in their order. A connection
    /// is taken apart once, however many of them are in it; one connection is held at a time.
    pub fn submit_all(&self, store: &Store, oids: &[Oid], rules: Rules) -> Vec<Result<Receipt, Error>> {
        let mut answers: Vec<Option<Result<Receipt, Error>>> = Vec::new();
        answers.resize_with(oids.len(), || None);
        // Where the objects of each stream stand in the list.
        let mut streams: BTreeMap<Oid, Vec<usize>> = BTreeMap::new();
        for (place, oid) in oids.iter().enumerate() {
            streams.entry(oid.with_index(0)).or_default().push(place);
        }
        while let Some((_, places)) = streams.pop_first() {
            let Some(first) = places.first().and_then(|place| oids.get(*place)) else { continue };
            let mut conversation = match conversation(store, *first) {
                Ok(conversation) => conversation,
                Err(error) => {
                    let why = error.to_string();
                    let same = places.iter().skip(1).filter_map(|place| oids.get(*place).zip(Some(*place)));
                    for (oid, place) in same {
                        set(&mut answers, place, Err(Error::Stream { oid: *oid, why: why.clone() }));
                    }
                    if let Some(place) = places.first() {
                        set(&mut answers, *place, Err(error.into()));
                    }
                    continue;
                }
            };
            let asked = conversation.asked();
            self.take_each(&mut conversation, asked, oids, &places, rules, &mut answers);
            // The other direction too, when this one is over, so that it looks the same from there.
            let over = conversation.info(asked).is_some_and(|info| info.reason.is_some());
            let other = conversation.info(asked.flip()).filter(|_| over).map(|info| info.oid);
            if let Some(places) = other.and_then(|oid| streams.remove(&oid)) {
                self.take_each(&mut conversation, asked.flip(), oids, &places, rules, &mut answers);
            }
        }
        answers.into_iter().flatten().collect()
    }

    fn take_each(
        &self,
        conversation: &mut Conversation,
        direction: Direction,
        oids: &[Oid],
        places: &[usize],
        rules: Rules,
        answers: &mut [Option<Result<Receipt, Error>>],
    ) {
        for place in places {
            if let Some(oid) = oids.get(*place) {
                set(answers, *place, self.take(conversation, direction, *oid, rules));
            }
        }
    }

    fn take(
        &self,
        conversation: &mut Conversation,
        direction: Direction,
        oid: Oid,
        rules: Rules,
    ) -> Result<Receipt, Error> {
        let named = conversation.named(direction, oid)?;
        if let Some(why) = named.message().incomplete.filter(|_| !rules.incomplete) {
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
        let outcome = conversation.body_of(&named, Decode::Decoded, &BodyLimits::default(), &mut take)?;
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

fn set(answers: &mut [Option<Result<Receipt, Error>>], place: usize, answer: Result<Receipt, Error>) {
    if let Some(free) = answers.get_mut(place) {
        *free = Some(answer);
    }
}
