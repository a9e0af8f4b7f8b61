//! Objects into the queue: named by their oids, as the server and the command line do; or handed over as new rows, of which
//! the rules say where they go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use streamdb_derive::{Join, Joined, Store, each_object};
use streamdb_query::{JoinLine, Troubles, best_join, joined_row, whole_object};
use streamdb_types::{ObjectRow, Oid, Verdict};

use crate::about::About;
use crate::batch::{Batch, Item};
use crate::error::Error;
use crate::hash::ContentHash;
use crate::incoming::Incoming;
use crate::job::{Job, MOST, Tally};
use crate::object::{self, Bounds};
use crate::queue::{NotTaken, Queue};
use crate::receipt::{Placed, Receipt};
use crate::rule::Choice;
use crate::sender::{Sender, Signal};
use crate::settings::{Settings, TargetName};
use crate::shown::Shown;

/// A queue, and where what is in it goes. Clones share it.
#[derive(Clone)]
pub struct Submissions {
    queue: Arc<Queue>,
    settings: Arc<Settings>,
    signal: Signal,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
    /// Targets without room, and how many objects they did not get.
    full: Arc<Mutex<BTreeMap<TargetName, u64>>>,
    shown: Arc<Shown>,
}

/// A new object, or a content that is joined of several, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'r> {
    /// Its row; of a joined content as if it had come at once.
    pub row: &'r ObjectRow,
    /// What a joined content is joined of.
    pub join: Option<&'r Join>,
    /// Whether no earlier object in the store has the same content; it is never said of one without digests, which nobody can
    /// compare.
    pub first_seen: bool,
    /// What scanners say of its content; nothing of one without digests.
    pub verdicts: &'r [Verdict],
}

/// What was handed over and copied, and for whom.
type Handed<'h> = (Fresh<'h>, Vec<Choice>);

/// Begins a copy for the queue.
type Begin<'b> = dyn FnMut() -> Result<Incoming, Error> + 'b;

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
        Ok(Self {
            queue,
            settings: Arc::new(settings),
            signal: Signal::default(),
            tell: Arc::new(|_| ()),
            full: Arc::default(),
            shown: Arc::default(),
        })
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

    /// Takes new objects where the rules want them to go; a connection is taken apart once, however many of them are in it. When
    /// this returns, the queue has a copy of its own of each, durable, or no target wants the object: none was chosen, or each has,
    /// or had, or will get that content. It may be called for the same object again, and by several processes.
    ///
    /// An object that cannot be taken now or later (retention took it, or it is not whole after all, or larger than all of
    /// the queue) is told and passed over. So is, for this target alone, one that a target has no room for: nobody waits for a
    /// target that takes nothing, and the queue's record has what it did not get.
    ///
    /// # Errors
    /// When the system refuses something. Then the caller waits and hands them over again.
    pub fn handed(&self, store: &Store, objects: &[Fresh<'_>]) -> Result<(), Error> {
        let (mut wanted, mut over): (Vec<(&Fresh<'_>, Vec<Choice>)>, Vec<NotTaken<'_>>) = Default::default();
        for object in objects {
            let row = object.row;
            let (oid, size, room) = (row.oid, row.size, self.settings.room);
            let chosen = self.settings.policy.choose(object);
            if !chosen.is_empty() && size > room {
                self.never(&chosen, &Error::TooLarge { oid, size, room });
                continue;
            }
            let (fits, targets) = self.with_room(row, chosen)?;
            if !fits.is_empty() {
                wanted.push((object, fits));
            }
            over.push(not_taken(object, targets));
        }
        self.no_room(&over)?;
        let mut batch = self.queue.batch(wanted.len());
        let (joined, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(object, _)| object.join.is_some());
        let oids: Vec<Oid> = wanted.iter().map(|(object, _)| object.row.oid).collect();
        let mut failed = None;
        each_object(store, &oids, &mut |place, oid, found| {
            let Some((object, chosen)) = wanted.get(place).filter(|_| failed.is_none()) else { return };
            failed = self.hand(&mut batch, object, chosen, |bounds, about, begin| {
                let (conversation, named) = found?;
                object::copy(conversation, &named, oid, bounds, Some(about), begin)
            });
        });
        for (object, chosen) in &joined {
            let Some(join) = object.join.filter(|_| failed.is_none()) else { continue };
            failed = self.hand(&mut batch, object, chosen, |bounds, about, begin| {
                let mut joined = Joined::new(store, join)?;
                let about = about.joined(JoinLine::of(&joined));
                object::copy_joined(&mut joined, object.row.oid, bounds, about, begin)
            });
        }
        failed.map_or_else(|| self.take_handed(&mut batch), Err)
    }

    /// Has an object copied for those of the targets that want it, and takes in what was copied when that is much. What failed.
    fn hand<'h>(
        &self,
        batch: &mut Batch<'_, Handed<'h>>,
        object: &Fresh<'h>,
        chosen: &[Choice],
        copy: impl FnOnce(Bounds, About, &mut Begin<'_>) -> Result<(Incoming, Item), Error>,
    ) -> Option<Error> {
        let Fresh { row, first_seen, verdicts, .. } = *object;
        // One before it may have had the same content.
        let had = |target| hash(row).is_some_and(|hash| batch.has(hash, target));
        let chosen: Vec<Choice> = chosen.iter().filter(|choice| !had(&choice.target)).cloned().collect();
        if chosen.is_empty() {
            return None;
        }
        // A rule that takes incomplete objects wants them with zeros for what is missing; others did not choose this one.
        let bounds = Bounds { incomplete: !row.complete, room: self.settings.room };
        let about = About::row(row, Some(first_seen), verdicts);
        let added = match copy(bounds, about, &mut || batch.copy()) {
            Ok((incoming, item)) => batch.add((*object, chosen.clone()), incoming, &item, &chosen),
            Err(error) if error.is_for_good() => {
                self.never(&chosen, &error);
                Ok(())
            }
            Err(error) => Err(error),
        };
        match added {
            Ok(()) if batch.is_full() => self.take_handed(batch).err(),
            added => added.err(),
        }
    }

    /// Takes what was copied into the queue, and says what has no room there.
    fn take_handed(&self, batch: &mut Batch<'_, Handed<'_>>) -> Result<(), Error> {
        let (mut over, mut failed) = (Vec::new(), None);
        batch.take(false, self.settings.room, &mut |(object, mut chosen), answer| match answer {
            Ok(receipt) => {
                self.wake_for(&receipt);
                let lacks = |choice: &Choice| receipt.placed.contains(&(choice.target.clone(), Placed::NoRoom));
                chosen.retain(lacks);
                over.push(NotTaken { hash: Some(receipt.hash), ..not_taken(&object, chosen) });
                failed = failed.take().or_else(|| self.room_again(&receipt).err());
            }
            Err(Error::Full { .. }) => over.push(not_taken(&object, chosen)),
            Err(error) => failed = failed.take().or(Some(error)),
        });
        self.no_room(&over)?;
        failed.map_or(Ok(()), Err)
    }

    /// Says that an object is not taken, now or later.
    fn never(&self, chosen: &[Choice], error: &Error) {
        let names: Vec<&str> = chosen.iter().map(|choice| choice.target.as_str()).collect();
        (self.tell)(&format!("not submitted to {}: {error}", names.join(", ")));
    }

    /// Those of the targets that do not have the content: first those that have room for it.
    fn with_room(&self, row: &ObjectRow, chosen: Vec<Choice>) -> Result<(Vec<Choice>, Vec<Choice>), Error> {
        match hash(row).filter(|_| !chosen.is_empty()) {
            Some(hash) => self.queue.without(hash, row.size, chosen, self.settings.room),
            None => Ok((chosen, Vec::new())),
        }
    }

    /// Writes down which targets have no room for which objects, and says so of each target once.
    fn no_room(&self, over: &[NotTaken<'_>]) -> Result<(), Error> {
        if over.iter().all(|object| object.targets.is_empty()) {
            return Ok(());
        }
        self.queue.not_taken(over)?;
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        for Choice { target, .. } in over.iter().flat_map(|object| &object.targets) {
            let count = full.entry(target.clone()).or_insert(0);
            *count += 1;
            if *count == 1 {
                let room = self.settings.room;
                (self.tell)(&format!(
                    "target {target}: what waits for it fills its room in the queue ({room} bytes, or {MOST} copies), so that what rules choose for \
                     it is not taken until some is sent or dropped; `streamdb submit --list` names what was not, and \
                     `streamdb submit` with such a name submits it"
                ));
            }
        }
        Ok(())
    }

    /// Says which of the targets have room again: half of it, so that it is not said at each object.
    fn room_again(&self, receipt: &Receipt) -> Result<(), Error> {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        for (target, placed) in &receipt.placed {
            if *placed == Placed::Queued
                && full.contains_key(target)
                && self.queue.is_half_empty(target, self.settings.room)?
            {
                let count = full.remove(target).unwrap_or_default();
                (self.tell)(&format!(
                    "target {target}: it has room in the queue again; {count} objects were not taken for it, which \
                     `streamdb submit --list` names"
                ));
            }
        }
        Ok(())
    }

    /// Takes an object, decoded, into the queue: a copy of its own, which is durable when this returns. The receipt says what
    /// became of it at each target. May block, on the disk and on other processes.
    ///
    /// # Errors
    /// When there is no such object, when it is empty or, unless the rules allow that, incomplete, when the queue is full, or
    /// when the system refuses something. Then nothing of it is in the queue.
    pub fn submit(&self, store: &Store, oid: Oid, rules: Rules) -> Result<Receipt, Error> {
        let passed_over = || streamdb_derive::Error::Stream { oid, why: "it was passed over".to_owned() };
        self.submit_all(store, &[oid], rules).pop().unwrap_or_else(|| Err(passed_over().into()))
    }

    /// Takes each of these objects as [`submit`](Self::submit) does, and says what came of each, in their order. A connection
    /// is taken apart once, however many of them are in it.
    pub fn submit_all(&self, store: &Store, oids: &[Oid], rules: Rules) -> Vec<Result<Receipt, Error>> {
        let mut answers: Vec<(usize, Result<Receipt, Error>)> = Vec::with_capacity(oids.len());
        let targets = self.all();
        let bounds = Bounds { incomplete: rules.incomplete, room: self.settings.room };
        let mut batch = self.queue.batch(oids.len());
        let take = |batch: &mut Batch<'_, usize>, answers: &mut Vec<(usize, Result<Receipt, Error>)>| {
            batch.take(rules.again, self.settings.room, &mut |place, answer| {
                answer.iter().for_each(|receipt| self.wake_for(receipt));
                answers.push((place, answer));
            });
        };
        each_object(store, oids, &mut |place, oid, found| {
            let copied = found.map_err(Error::from).and_then(|(conversation, named)| {
                object::copy(conversation, &named, oid, bounds, None, &mut || batch.copy())
            });
            if let Err(error) = copied.and_then(|(incoming, item)| batch.add(place, incoming, &item, &targets)) {
                answers.push((place, Err(error)));
            }
            if batch.is_full() {
                take(&mut batch, &mut answers);
            }
        });
        take(&mut batch, &mut answers);
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Takes each of these contents as [`submit`](Self::submit) takes an object: that of the newest object that has it whole, or one that is
    /// joined of several.
    pub fn submit_contents(&self, store: &Store, hashes: &[ContentHash], rules: Rules) -> Vec<Result<Receipt, Error>> {
        hashes.iter().map(|hash| self.submit_content(store, *hash, rules)).collect()
    }

    fn submit_content(&self, store: &Store, hash: ContentHash, rules: Rules) -> Result<Receipt, Error> {
        if let Some(oid) = whole_object(store, &hash.0, &mut Troubles::default())? {
            return self.submit(store, oid, rules);
        }
        let best = best_join(store, &hash.0, false)?;
        let Some((mut joined, row)) = best.and_then(|joined| joined_row(&joined).map(|row| (joined, row))) else {
            return Err(Error::NoContent(hash));
        };
        let verdicts = store.verdicts().of(&hash.0);
        let about = About::row(&row, None, &verdicts).joined(JoinLine::of(&joined));
        let bounds = Bounds { incomplete: rules.incomplete, room: self.settings.room };
        let mut batch = self.queue.batch(1);
        let (incoming, item) = object::copy_joined(&mut joined, row.oid, bounds, about, &mut || batch.copy())?;
        batch.add((), incoming, &item, &self.all())?;
        let mut taken = Err(Error::NoContent(hash));
        batch.take(rules.again, self.settings.room, &mut |(), answer| taken = answer);
        taken.inspect(|receipt| self.wake_for(receipt))
    }

    /// All targets, as for what a person submits.
    fn all(&self) -> Vec<Choice> {
        let choice = |target: TargetName| Choice { target, rule: String::new() };
        self.settings.names().into_iter().map(choice).collect()
    }

    /// Something new is there to be sent.
    fn wake_for(&self, receipt: &Receipt) {
        if receipt.is_new() {
            self.signal.wake();
        }
    }

    /// What became of each of these contents, in their order, target by target.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn of(&self, hashes: &[ContentHash]) -> Result<Vec<Vec<Job>>, Error> {
        self.queue.of(hashes)
    }

    /// All that was taken in and is remembered, oldest first; and how many lines of the queue's record are damaged.
    ///
    /// # Errors
    /// When the system refuses something.
    pub fn jobs(&self) -> Result<(Vec<Job>, u64), Error> {
        self.queue.jobs()
    }

    /// How it stands with each target that something was submitted to; as it was when this was asked last, where somebody holds the
    /// queue for longer than a moment. Nothing when that was never known, or cannot be read.
    pub fn tally(&self) -> Option<BTreeMap<TargetName, Tally>> {
        self.shown.tally(&self.queue)
    }

    /// What sends all this. Any number of processes may have one; one of them sends at a time.
    pub fn sender(&self) -> Sender {
        Sender::new(Arc::clone(&self.queue), &self.settings, self.signal.clone())
    }

    /// The same, ended by another signal.
    pub fn sender_until(&self, signal: Signal) -> Sender {
        Sender::new(Arc::clone(&self.queue), &self.settings, signal)
    }

    /// Wakes and ends the senders.
    pub const fn signal(&self) -> &Signal {
        &self.signal
    }
}

/// An object that these targets have no room for.
fn not_taken<'r>(object: &Fresh<'r>, targets: Vec<Choice>) -> NotTaken<'r> {
    let Fresh { row, join, .. } = *object;
    NotTaken { hash: hash(row), row, joined: join.is_some(), targets }
}

/// The content of an object, where it is known before it is copied.
fn hash(row: &ObjectRow) -> Option<ContentHash> {
    row.digests.map(|digests| ContentHash(digests.sha256))
}
