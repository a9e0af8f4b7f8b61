//! Objects into the queue: named by their oids, as the server and the command line do; or handed over as new rows, of which
//! the rules say where they go.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use streamdb_derive::{BodyLimits, Conversation, Decode, Named, Piece, Store, conversation, each_object};
use streamdb_types::{ObjectRow, Oid, Verdict};

use crate::about::About;
use crate::error::Error;
use crate::hash::ContentHash;
use crate::job::Job;
use crate::queue::{Item, Queue};
use crate::receipt::Receipt;
use crate::rule::Choice;
use crate::sender::{Sender, Signal};
use crate::settings::{Settings, TargetName};

/// A queue, and where what is in it goes. Clones share it.
#[derive(Clone)]
pub struct Submissions {
    queue: Arc<Queue>,
    settings: Arc<Settings>,
    signal: Signal,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
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
        Ok(Self { queue, settings: Arc::new(settings), signal: Signal::default(), tell: Arc::new(|_| ()) })
    }

    /// The same, and `tell` gets a sentence for each object that was [handed over](Self::handed) and could not be taken.
    #[must_use]
    pub fn telling(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), ..self }
    }

    /// Whether there are rules, so that it is worth while to [hand objects over](Self::handed).
    pub fn has_rules(&self) -> bool {
        !self.settings.policy.0.is_empty()
    }

    /// Takes a new object where the rules want it to go. When this returns, the queue has a copy of its own, durable, or no
    /// target wants the object: none was chosen, or each has, or had, or will get that content. It may be called for the same
    /// object again, and by several processes.
    ///
    /// An object that cannot be taken now or later (retention took it, or it is not whole after all, or larger than all of
    /// the queue) is told and passed over.
    ///
    /// # Errors
    /// When the queue is full, or the system refuses something. Then nothing was taken, and the caller waits and hands it
    /// over again.
    pub fn handed(&self, store: &Store, row: &ObjectRow, first_seen: bool, verdicts: &[Verdict]) -> Result<(), Error> {
        let mut chosen = self.settings.policy.choose(row, first_seen, verdicts);
        if let Some(digests) = row.digests.filter(|_| !chosen.is_empty()) {
            chosen = self.queue.without(ContentHash(digests.sha256), chosen)?;
        }
        if chosen.is_empty() {
            return Ok(());
        }
        // A rule that takes incomplete objects wants them with zeros for what is missing; others did not choose this one.
        let rules = Rules { incomplete: !row.complete, again: false };
        let about = About::row(row, first_seen, verdicts);
        let taken = conversation(store, row.oid).map_err(Error::from).and_then(|mut conversation| {
            let named = conversation.named(conversation.asked(), row.oid)?;
            self.take(&mut conversation, &named, row.oid, rules, &chosen, Some(about))
        });
        match taken {
            Ok(_) => Ok(()),
            Err(error) if error.is_for_good() => {
                let names: Vec<&str> = chosen.iter().map(|choice| choice.target.as_str()).collect();
                (self.tell)(&format!("not submitted to {}: {error}", names.join(", ")));
                Ok(())
            }
            Err(error) => Err(error),
        }
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
        self.take(&mut conversation, &named, oid, rules, &self.all(), None)
    }

    /// Takes each of these objects as [`submit`](Self::submit) does, and says what came of each, in their order. A connection
    /// is taken apart once, however many of them are in it.
    pub fn submit_all(&self, store: &Store, oids: &[Oid], rules: Rules) -> Vec<Result<Receipt, Error>> {
        let mut answers: Vec<(usize, Result<Receipt, Error>)> = Vec::with_capacity(oids.len());
        let targets = self.all();
        each_object(store, oids, &mut |place, oid, found| {
            let answer = found.map_err(Error::from);
            let take = |(conversation, named): (&mut Conversation, Named)| {
                self.take(conversation, &named, oid, rules, &targets, None)
            };
            answers.push((place, answer.and_then(take)));
        });
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// All targets, as for what a person submits.
    fn all(&self) -> Vec<Choice> {
        let choice = |target: TargetName| Choice { target, rule: String::new() };
        self.settings.names().into_iter().map(choice).collect()
    }

    fn take(
        &self,
        conversation: &mut Conversation,
        named: &Named,
        oid: Oid,
        rules: Rules,
        targets: &[Choice],
        about: Option<About>,
    ) -> Result<Receipt, Error> {
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
            return Err(Error::TooLarge { oid, size: outcome.length.max(incoming.size()), room });
        }
        if !outcome.complete && !rules.incomplete {
            let why = match (&outcome.problem, outcome.missing) {
                (Some(problem), _) => problem.to_string(),
                (None, missing) => format!("{missing} bytes are missing"),
            };
            return Err(Error::Incomplete { oid, why });
        }
        let about = about.unwrap_or_else(|| {
            let reason = named.incomplete().map(|why| why.words().to_owned());
            let about = About::bytes(outcome.what.mime, &outcome.what.description, outcome.missing, reason);
            let info = conversation.info(named.message().direction);
            match info {
                Some(info) => about.seen(&info.tuple, info.direction, info.first, Some(info.last)),
                None => about,
            }
        });
        let item = Item { oid, complete: outcome.complete, extension: outcome.what.extension.to_owned(), about };
        let receipt = self.queue.put(incoming, &item, targets, rules.again, room)?;
        if receipt.is_new() {
            self.signal.wake();
        }
        Ok(receipt)
    }

    /// What became of each of these contents, in their order, target by target.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn of(&self, hashes: &[ContentHash]) -> Result<Vec<Vec<Job>>, Error> {
        self.queue.of(hashes)
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
        Sender::new(Arc::clone(&self.queue), &self.settings, self.signal.clone())
    }

    /// Wakes and ends the senders.
    pub const fn signal(&self) -> &Signal {
        &self.signal
    }
}
