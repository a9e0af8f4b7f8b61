//! The way of frames from one worker to another: bounded, and nobody waits. Frames are collected in batches, whose memory comes
//! back, so that a frame costs a copy and nothing is allocated for it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use streamdb_capture::{Bell, Frame};
use streamdb_storage::Loss;
use streamdb_types::Timestamp;

use super::fragments::Met;

/// A batch with more bytes than this is sent at once, or takes no more.
const FULL: usize = 256 << 10;
/// And one with more frames than this.
const MANY: usize = 4096;
/// How many batches wait for a worker at most: 16 MiB of frames.
const WAITING: usize = 64;
/// How many empty ones are kept for later.
const SPARE: usize = 64;

/// Some frames, copied.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    heads: Vec<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    time: Timestamp,
    interface: u32,
    wire_len: u32,
    /// Where its bytes end.
    end: usize,
    /// Of a fragment of which it is to be found out whose it is.
    met: Option<Met>,
}

impl Batch {
    fn push(&mut self, frame: &Frame<'_>, met: Option<Met>) {
        self.bytes.extend_from_slice(frame.data);
        let Frame { time, interface, wire_len, .. } = *frame;
        self.heads.push(Head { time, interface, wire_len, end: self.bytes.len(), met });
    }

    /// The frames, in the order in which they came; and, of fragments of which it is to be found out whose they are, where they met.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (Frame<'_>, Option<Met>)> {
        let mut begin = 0;
        self.heads.iter().map(move |head| {
            let data = self.bytes.get(begin..head.end).unwrap_or(&[]);
            begin = head.end;
            (Frame { time: head.time, interface: head.interface, wire_len: head.wire_len, data }, head.met)
        })
    }
}

/// Empty batches.
#[derive(Clone, Debug)]
pub(crate) struct Spare(Sender<Batch>, Receiver<Batch>);

impl Spare {
    pub(crate) fn new() -> Self {
        let (give, take) = bounded(SPARE);
        Self(give, take)
    }

    fn take(&self) -> Batch {
        self.1.try_recv().unwrap_or_default()
    }

    /// It is not needed any more.
    pub(crate) fn give(&self, mut batch: Batch) {
        batch.bytes.clear();
        batch.heads.clear();
        // One that holds a frame of the largest kind needs more; it is not kept for all time.
        if batch.bytes.capacity() <= 2 * FULL {
            _ = self.0.try_send(batch);
        }
    }
}

/// Where a worker finds what others have for it.
#[derive(Debug)]
pub(crate) struct Inbox {
    batches: Receiver<Batch>,
    shed: Arc<Mutex<Option<Loss>>>,
    threshold: Arc<Threshold>,
}

/// What keeps a batch from being sent to somebody who looks no more.
#[derive(Debug, Default)]
struct Threshold {
    closed: AtomicBool,
    /// Those who saw it open, and have not sent yet.
    passing: AtomicUsize,
}

/// How others get there.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    batches: Sender<Batch>,
    /// What was let go on the way in.
    shed: Arc<Mutex<Option<Loss>>>,
    bell: Arc<Bell>,
    threshold: Arc<Threshold>,
}

/// An inbox, and the way to it; the bell rings whenever there is something in it.
pub(crate) fn inbox() -> io::Result<(Inbox, Door)> {
    let (sender, receiver) = bounded(WAITING);
    let (shed, threshold) = (Arc::default(), Arc::<Threshold>::default());
    let bell = Arc::new(Bell::new()?);
    let door = Door { batches: sender, shed: Arc::clone(&shed), bell, threshold: Arc::clone(&threshold) };
    Ok((Inbox { batches: receiver, shed, threshold }, door))
}

impl Door {
    /// Sends a batch, or gives it back, when there is no room or nobody takes any more.
    fn send(&self, batch: Batch) -> Result<(), Batch> {
        let Threshold { closed, passing } = &*self.threshold;
        // Whoever closes it waits for those who were counted before they could see that it is closed.
        passing.fetch_add(1, Ordering::SeqCst);
        let sent = if closed.load(Ordering::SeqCst) { Err(batch) } else { self.try_send(batch) };
        passing.fetch_sub(1, Ordering::SeqCst);
        sent
    }

    fn try_send(&self, batch: Batch) -> Result<(), Batch> {
        match self.batches.try_send(batch) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => Err(batch),
        }
    }

    pub(crate) const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}

impl Inbox {
    /// The next batch, if there is one.
    pub(crate) fn next(&self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }

    /// From now on nothing comes any more: what is not in it is refused to who sends it.
    pub(crate) fn close(&self) {
        let Threshold { closed, passing } = &*self.threshold;
        closed.store(true, Ordering::SeqCst);
        // Each needs the time of one try.
        while passing.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    }

    /// What others let go since this was last asked.
    pub(crate) fn take_shed(&self) -> Option<Loss> {
        self.shed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How many there are now.
    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }
}

/// What one worker has for another.
#[derive(Debug)]
pub(crate) struct Outbox {
    door: Door,
    spare: Spare,
    batch: Batch,
    /// What was let go, and the other one does not know of.
    shed: Option<Loss>,
}

impl Outbox {
    pub(crate) const fn new(door: Door, spare: Spare) -> Self {
        Self { door, spare, batch: Batch { bytes: Vec::new(), heads: Vec::new() }, shed: None }
    }

    /// Takes a frame; false when there is no room, as the other one is too far behind.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, met: Option<Met>) -> bool {
        let is_full = self.batch.bytes.len() + frame.data.len() > FULL || self.batch.heads.len() >= MANY;
        if is_full && !self.send() {
            add_shed(&mut self.shed, frame.time, frame.time, 1);
            return false;
        }
        self.batch.push(frame, met);
        true
    }

    /// Sends what there is; false when there is no room for it, and it stays.
    pub(crate) fn send(&mut self) -> bool {
        if self.batch.heads.is_empty() {
            return true;
        }
        match self.door.send(std::mem::take(&mut self.batch)) {
            Ok(()) => {
                self.batch = self.spare.take();
                self.door.bell.ring();
                true
            }
            Err(batch) => {
                self.batch = batch;
                false
            }
        }
    }

    /// Wakes the other one, for nothing that is in here.
    pub(crate) fn ring(&self) {
        self.door.bell.ring();
    }

    /// Gives up what could not be sent, and says how many frames that are.
    pub(crate) fn give_up(&mut self) -> u64 {
        let heads = std::mem::take(&mut self.batch).heads;
        heads.iter().for_each(|head| add_shed(&mut self.shed, head.time, head.time, 1));
        heads.len() as u64
    }

    /// Tells the other one what was let go since this was last done.
    pub(crate) fn tell_shed(&mut self) {
        if let Some(Loss { from, to, shed, .. }) = self.shed.take() {
            add_shed(&mut self.door.shed.lock().unwrap_or_else(PoisonError::into_inner), from, to, shed);
        }
    }
}

fn add_shed(all: &mut Option<Loss>, from: Timestamp, to: Timestamp, frames: u64) {
    let all = all.get_or_insert(Loss { from, to, kernel: 0, interface: 0, shed: 0 });
    (all.from, all.to) = (all.from.min(from), all.to.max(to));
    all.shed = all.shed.saturating_add(frames);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u32, data: &[u8]) -> Frame<'_> {
        Frame { time: Timestamp(n.into()), interface: n % 3, wire_len: data.len() as u32 + n, data }
    }

    fn met_of(n: u32) -> Option<Met> {
        [None, Some(Met::Outside), Some(Met::Inside)][n as usize % 3]
    }

    fn taken(inbox: &Inbox, spare: &Spare) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(batch) = inbox.next() {
            for ((frame, met), n) in batch.frames().zip(all.len() as u32..) {
                assert_eq!(met, met_of(frame.time.0 as u32), "{n}");
                assert_eq!((frame.interface, frame.time.0), (frame.time.0 as u32 % 3, frame.time.0), "{n}");
                all.push((frame.time.0 as u32, frame.data.to_vec()));
            }
            spare.give(batch);
        }
        all
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let (inbox, door) = inbox().unwrap();
        let spare = Spare::new();
        let mut outbox = Outbox::new(door, spare.clone());
        for round in 0..3 {
            let data: Vec<Vec<u8>> = (0..50usize).map(|n| vec![n as u8; n * 7 + round]).collect();
            for (n, data) in (0..).zip(&data) {
                assert!(outbox.push(&frame(n, data), met_of(n)));
            }
            assert!(outbox.send() && outbox.send());
            let wanted: Vec<_> = (0..).zip(data).collect();
            assert_eq!(taken(&inbox, &spare), wanted);
        }
    }

    #[test]
    fn what_is_sent_is_taken_or_refused_whenever_the_other_one_leaves() {
        for round in 0..200 {
            let (inbox, door) = inbox().unwrap();
            let sent = std::thread::scope(|scope| {
                let sending = scope.spawn(move || {
                    let mut outbox = Outbox::new(door, Spare::new());
                    (0..1000)
                        .map(|n| outbox.push(&frame(n, b"a"), None) && outbox.send())
                        .take_while(|sent| *sent)
                        .count()
                });
                let mut got = (0..round % 7).filter_map(|_| inbox.next()).count();
                inbox.close();
                got += std::iter::from_fn(|| inbox.next()).count();
                assert_eq!(sending.join().unwrap(), got);
                assert!(inbox.next().is_none());
                got
            });
            assert!(sent <= WAITING + 7, "{sent}");
        }
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_refused_is_not_there() {
        let (inbox, door) = inbox().unwrap();
        let mut outbox = Outbox::new(door, Spare::new());
        let large = vec![7; 60_000];
        let sent = (0..100_000).take_while(|n| outbox.push(&frame(*n, &large), met_of(*n))).count();
        assert!((14 << 20..18 << 20).contains(&(sent * large.len())), "{sent}");
        assert!(!outbox.push(&frame(0, &[0; 60_000]), None), "there is none for a large one");
        // Whose connection it is finds out, and nobody else, once it is told.
        assert_eq!(inbox.take_shed(), None);
        outbox.tell_shed();
        let shed = inbox.take_shed().unwrap();
        // The one that ended the first loop, and this one.
        assert_eq!((shed.from, shed.to, shed.shed), (Timestamp(0), Timestamp(sent as i64), 2));
        outbox.tell_shed();
        assert_eq!(inbox.take_shed(), None);
        assert_eq!(inbox.len(), WAITING);
        let next = inbox.next().unwrap();
        assert!(outbox.send(), "there is room again");
        let got = next.frames().count() + taken(&inbox, &Spare::new()).len();
        assert_eq!(got, sent);
        // One that is as large as can be has room in an empty one.
        assert!(outbox.push(&frame(1, &vec![1; FULL]), None) && outbox.send());
        assert!(outbox.push(&frame(1, &[]), None));
        assert_eq!(outbox.give_up(), 1);
    }
}
