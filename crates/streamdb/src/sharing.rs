//! What workers of one capture share, so that each connection is one worker's, whoever sees its frames: the table of who has which,
//! and the ways over which frames go to the one that has theirs. Mostly the kernel gives all frames of a connection to one worker;
//! then the table is asked when the connection begins, and nothing else happens here.

mod fragments;
mod owners;
mod ring;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use streamdb_capture::{Bell, Frame};
use streamdb_decode::PacketName;
use streamdb_reassembly::{Seed, Slot};
use streamdb_storage::Loss;

pub(crate) use self::fragments::{Fragments, Met, Over, Route, Told};
pub use self::owners::{Claim, Member, Owners};
pub(crate) use self::ring::Batch;
use self::ring::{Inbox, Outbox, Spare, inbox};

/// One worker's part in what is shared.
#[derive(Debug)]
pub struct Part {
    me: Member,
    owners: Arc<Owners>,
    seed: Seed,
    bell: Arc<Bell>,
    inbox: Inbox,
    /// By the number of the worker that they are for.
    outboxes: Vec<Outbox>,
    spare: Spare,
    pub(crate) fragments: Fragments,
    /// By slot: the hash of the connection there.
    owned: Vec<u64>,
    /// The hash of the connection of which a frame is being taken.
    current: Option<u64>,
    /// That connection was claimed for this frame, and has not begun.
    unused: bool,
    /// Workers that may still send something, by round of the end.
    senders: Arc<[AtomicUsize; ROUNDS]>,
    /// The rounds in which this one sends nothing more.
    over: usize,
}

/// How often all workers wait for each other at the end: what one hands over may be for another to hand on, where the fragments of a
/// packet meet, and of one in that.
pub(crate) const ROUNDS: usize = 3;

/// Parts for so many workers, of which each may know so many connections.
///
/// # Errors
/// When the process has no descriptor left.
pub fn parts(workers: usize, connections: usize) -> io::Result<Vec<Part>> {
    let workers = workers.clamp(1, Member::MOST);
    let owners = Arc::new(Owners::new(connections.saturating_mul(workers)));
    let (seed, spare) = (Seed::default(), Spare::new());
    let senders = Arc::new([(); ROUNDS].map(|()| AtomicUsize::new(workers)));
    let both: Vec<_> = (0..workers).map(|_| inbox()).collect::<io::Result<_>>()?;
    let doors: Vec<_> = both.iter().map(|(_, door)| door.clone()).collect();
    let part = |(number, (inbox, door)): (usize, (Inbox, ring::Door))| {
        Some(Part {
            me: Member::new(number)?,
            owners: Arc::clone(&owners),
            seed: seed.clone(),
            bell: Arc::clone(door.bell()),
            inbox,
            outboxes: doors.iter().map(|door| Outbox::new(door.clone(), spare.clone())).collect(),
            spare: spare.clone(),
            fragments: Fragments::default(),
            owned: Vec::new(),
            current: None,
            unused: false,
            senders: Arc::clone(&senders),
            over: 0,
        })
    };
    Ok(both.into_iter().enumerate().filter_map(part).collect())
}

impl Part {
    pub(crate) fn seed(&self) -> Seed {
        self.seed.clone()
    }

    /// It rings when there is something from another worker.
    pub(crate) const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Whose connection it is that this worker does not know: another's, or from now on its own.
    pub(crate) fn whose(&mut self, hash: u64) -> Option<Member> {
        let claim = self.owners.claim(hash, self.me);
        self.unused = claim == Claim::New;
        match claim {
            Claim::New | Claim::Mine => None,
            Claim::Theirs(other) => Some(other),
            // All agree on somebody without asking.
            Claim::NoRoom => {
                let number = hash.checked_rem(self.outboxes.len() as u64).unwrap_or_default();
                Member::new(number as usize).filter(|other| *other != self.me)
            }
        }
    }

    /// The same for a packet of which not all has come; and whether it was claimed for it.
    pub(crate) fn whose_packet(&mut self, hash: u64) -> (Option<Member>, bool) {
        let owner = self.whose(hash);
        (owner, std::mem::take(&mut self.unused))
    }

    /// A frame of this connection is about to be taken, whether it was claimed or not.
    pub(crate) const fn begin(&mut self, hash: u64) {
        self.current = Some(hash);
    }

    /// That frame is taken.
    pub(crate) fn end(&mut self) {
        if let Some(hash) = self.current.take()
            && std::mem::take(&mut self.unused)
        {
            self.owners.release(hash, self.me);
        }
    }

    /// A connection begins.
    pub(crate) fn opened(&mut self, slot: Slot) {
        let Some(hash) = self.current else { return };
        let at = slot.0 as usize;
        if self.owned.len() <= at {
            self.owned.resize(at + 1, 0);
        }
        if let Some(owned) = self.owned.get_mut(at) {
            *owned = hash;
        }
        self.unused = false;
    }

    /// A connection is over. When another one of the same addresses takes its place at once, it stays this worker's.
    pub(crate) fn closed(&mut self, slot: Slot) {
        let Some(hash) = self.owned.get(slot.0 as usize).copied() else { return };
        if self.current != Some(hash) {
            self.owners.release(hash, self.me);
        }
    }

    /// Nothing came of a claim.
    pub(crate) fn give_back(&self, hash: u64) {
        self.owners.release(hash, self.me);
    }

    /// Hands a frame to another worker, to keep it, or, of a fragment, to find out whose it is, as its packet's meet there; false when
    /// that one is too far behind, and the frame is let go.
    pub(crate) fn hand(&mut self, to: Member, frame: &Frame<'_>, met: Option<Met>) -> bool {
        self.outboxes.get_mut(to.number()).is_some_and(|outbox| outbox.push(frame, met))
    }

    /// Where the fragments of a packet meet: those of all between two addresses do with one worker, so that they stay in their order.
    /// Those that are in no tunnel come to one worker anyway, if they come by one interface.
    pub(crate) fn meet(&self, packet: &PacketName) -> Member {
        if !packet.is_tunnelled() {
            return self.me;
        }
        let number = self.seed.number(&packet.between()).checked_rem(self.outboxes.len() as u64).unwrap_or_default();
        Member::new(number as usize).unwrap_or(self.me)
    }

    /// Which of them this one is.
    pub(crate) const fn me(&self) -> Member {
        self.me
    }

    /// Whether this worker still hands something over.
    pub(crate) const fn sends(&self) -> bool {
        self.over < ROUNDS
    }

    /// Tells the others what was let go that was for them, since this was last done: it stands beside their streams, in which it is
    /// missing, unless it was for them to hand on.
    pub(crate) fn tell_shed(&mut self) {
        self.outboxes.iter_mut().for_each(Outbox::tell_shed);
    }

    /// What others let go that was for this one, since this was last asked.
    pub(crate) fn take_shed(&self) -> Option<Loss> {
        self.inbox.take_shed()
    }

    /// Sends what was collected for others; false when not all of it could be.
    pub(crate) fn send(&mut self) -> bool {
        // Each of them, whatever became of the ones before.
        self.outboxes.iter_mut().map(Outbox::send).filter(|sent| !sent).count() == 0
    }

    /// Lets go what could not be sent, and says how many frames that are.
    pub(crate) fn give_up(&mut self) -> u64 {
        self.outboxes.iter_mut().map(Outbox::give_up).sum()
    }

    /// The next batch from others.
    pub(crate) fn next_batch(&self) -> Option<Batch> {
        self.inbox.next()
    }

    /// How many batches from others there are.
    pub(crate) fn batches(&self) -> usize {
        self.inbox.len()
    }

    /// Nothing comes from others any more: what they still have for this worker they let go, and count.
    pub(crate) fn close(&self) {
        self.inbox.close();
    }

    pub(crate) fn give_batch_back(&self, batch: Batch) {
        self.spare.give(batch);
    }

    /// This worker sends nothing more in a round; whether that was the last one.
    pub(crate) fn ends_round(&mut self) -> bool {
        self.tell_shed();
        if let Some(senders) = self.senders.get(self.over) {
            self.over += 1;
            if senders.fetch_sub(1, Ordering::AcqRel) == 1 {
                // It was the last.
                self.outboxes.iter().for_each(Outbox::ring);
            }
        }
        !self.sends()
    }

    /// Whether this worker has one round before it, and no more.
    pub(crate) const fn is_last_round(&self) -> bool {
        self.over + 1 == ROUNDS
    }

    /// Whether another worker may still send something in the round that is over for this one.
    pub(crate) fn others_send(&self) -> bool {
        let round = self.over.checked_sub(1).and_then(|round| self.senders.get(round));
        round.is_none_or(|senders| senders.load(Ordering::Acquire) > 0)
    }
}

impl Drop for Part {
    /// However a worker ends, nobody waits for it.
    fn drop(&mut self) {
        while !self.ends_round() {}
    }
}
