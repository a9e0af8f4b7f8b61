//! The store thread and the way to it: blocks go over a bounded channel, empty buffers come back, and so does word of what
//! went wrong.
//!
//! After a failed write or sync nothing more goes into that bucket: it is cut where it is known to be on disk, and the
//! thread waits for the worker to begin another one.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use streamdb_types::{BucketId, Timestamp};

use super::bucket_file::{BucketFile, Compression, CutBlock, Seal, file_name};
use super::buffer::body_max;
use super::facts::{Stalls, WriterSummary};
use super::pool::Pool;
use super::syncer::Syncer;
use super::trouble::Held;
use crate::error::{Error, Result};
use crate::folder::WriteFolder;
use crate::format::superblock::{SUPERBLOCK_LEN, Superblock};
use crate::ledger;
use crate::live::Mark;

/// Blocks between the worker and the store thread: at most 32 MiB.
const IN_FLIGHT: usize = 32;

enum Message {
    /// And whether it is to be told when something was published in it.
    Begin(Superblock, bool),
    Block(CutBlock),
    Publish(Held, Timestamp),
    Seal(Box<Seal>),
    /// All that came before is done: here goes what was written since this was asked last.
    Account(Sender<WriterSummary>),
}

/// What the store thread has to tell. Nothing, as long as nothing fails.
pub(super) enum Event {
    /// This bucket is over, with this in it.
    Failed { id: BucketId, held: Held, error: Error },
    /// The first word after that: something was published again.
    Resumed,
    /// A bucket is sealed, and the ledger could not be told; the next start does that.
    Unnoted(Error),
}

/// The worker's end.
pub(crate) struct Pipeline {
    to_store: Option<Sender<Message>>,
    pool: Pool,
    /// Holds at most two events a bucket.
    events: Receiver<Event>,
    thread: Option<JoinHandle<WriterSummary>>,
    folder: Arc<WriteFolder>,
    stalls: Stalls,
}

impl Pipeline {
    pub(super) fn start(folder: Arc<WriteFolder>, worker: u16, compression: Compression) -> Result<Self> {
        let (to_store, from_worker) = bounded(IN_FLIGHT);
        let pool = Pool::new(body_max(compression));
        // The worker may wait for the store thread, so that one must not wait for the worker.
        let (to_worker, events) = unbounded();
        let syncer = Syncer::start(Arc::clone(folder.live()), worker.into())
            .map_err(Error::io(folder.path(), "start the sync thread"))?;
        let store = Store {
            folder: Arc::clone(&folder),
            worker,
            compression,
            syncer,
            pool: pool.clone(),
            to_worker,
            open: None,
            marks: VecDeque::new(),
            failed: false,
            told: WriterSummary::default(),
            summary: WriterSummary::default(),
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || store.run(&from_worker));
        let thread = thread.map_err(Error::io(folder.path(), "start the store thread"))?;
        Ok(Self { to_store: Some(to_store), pool, events, thread: Some(thread), folder, stalls: Stalls::default() })
    }

    /// Begins a bucket. `resumes`: something failed before, so it is told when something was published again.
    pub(super) fn begin(&mut self, superblock: Superblock, resumes: bool) -> Result<()> {
        self.send(Message::Begin(superblock, resumes))
    }

    pub(super) fn block(&mut self, block: CutBlock) -> Result<()> {
        self.send(Message::Block(block))
    }

    /// All that was sent so far may be read; `held` is what the bucket has by that.
    pub(super) fn publish(&mut self, held: Held, last: Timestamp) -> Result<()> {
        self.send(Message::Publish(held, last))
    }

    pub(super) fn seal(&mut self, seal: Seal) -> Result<()> {
        self.send(Message::Seal(Box::new(seal)))
    }

    /// Waits until all that was sent is done; what was written since this was asked before.
    pub(super) fn account(&mut self) -> Result<WriterSummary> {
        let (said, answer) = bounded(1);
        self.send(Message::Account(said))?;
        answer.recv().map_err(|_| self.gone())
    }

    /// Whether the store thread has something to tell.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn next_event(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// The buffers that can become long blocks.
    pub(super) const fn large_buffers(&self) -> &Pool {
        &self.pool
    }

    /// A buffer that is not needed any more.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        self.pool.put(buffer);
    }

    /// Waits until all that was sent is done.
    pub(super) fn finish(&mut self) -> Result<WriterSummary> {
        self.to_store = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(summary)) => Ok(summary),
            _ => Err(self.gone()),
        }
    }

    fn gone(&self) -> Error {
        Error::io(self.folder.path(), "write any more")(std::io::Error::other("the store thread has ended"))
    }

    fn send(&mut self, message: Message) -> Result<()> {
        let Some(to_store) = &self.to_store else { return Err(self.gone()) };
        let sent = match to_store.try_send(message) {
            Ok(()) => true,
            Err(TrySendError::Disconnected(_)) => false,
            Err(TrySendError::Full(message)) => {
                let begun = Instant::now();
                let sent = to_store.send(message).is_ok();
                self.stalls.times += 1;
                self.stalls.waited += begun.elapsed();
                sent
            }
        };
        if sent { Ok(()) } else { Err(self.gone()) }
    }

    pub(super) const fn stalls(&self) -> Stalls {
        self.stalls
    }
}

/// The store thread's own.
struct Store {
    folder: Arc<WriteFolder>,
    worker: u16,
    compression: Compression,
    syncer: Syncer,
    pool: Pool,
    to_worker: Sender<Event>,
    open: Option<BucketFile>,
    /// Where the open bucket was published, and what it had by then: from the last place known to be durable on.
    marks: VecDeque<(u64, Held)>,
    /// Something failed, and nothing was published since.
    failed: bool,
    /// What was written and is told.
    told: WriterSummary,
    /// What was written since.
    summary: WriterSummary,
}

impl Store {
    fn run(mut self, from_worker: &Receiver<Message>) -> WriterSummary {
        for message in from_worker {
            let result = match message {
                Message::Begin(superblock, resumes) => {
                    self.failed |= resumes;
                    let begun = self.begin(&superblock);
                    if let Err(error) = begun {
                        self.failed = true;
                        self.tell(Event::Failed { id: superblock.id, held: Held::default(), error });
                    }
                    Ok(())
                }
                Message::Block(mut block) => {
                    let result = self.open.as_mut().map_or(Ok(()), |bucket| bucket.write(&mut block));
                    self.pool.put(block.bytes);
                    result
                }
                Message::Publish(held, last) => self.publish(held, last),
                Message::Seal(seal) => self.seal(*seal),
                Message::Account(said) => {
                    let summary = std::mem::take(&mut self.summary);
                    self.told.add(&summary);
                    // Who asked may have gone.
                    let _ = said.send(summary);
                    Ok(())
                }
            };
            if let Err(error) = result {
                self.fail(error);
            }
        }
        self.told.add(&self.summary);
        self.told
    }

    fn tell(&self, event: Event) {
        // A worker that went away has nothing to know.
        let _ = self.to_worker.send(event);
    }

    fn begin(&mut self, superblock: &Superblock) -> Result<()> {
        let folder = &self.folder;
        let bucket = BucketFile::create(folder.volume(), &folder.buckets(), superblock, self.compression)?;
        let (published, durable) = (bucket.position, bucket.position);
        let last_time = superblock.window_start;
        let mark = Mark { bucket: bucket.id(), published, durable, frames: 0, last_time };
        self.folder.live().begin(self.worker.into(), &mark);
        self.marks = VecDeque::from([(published, Held::default())]);
        self.open = Some(bucket);
        Ok(())
    }

    /// Readers may look at what was written so far.
    fn publish(&mut self, held: Held, last: Timestamp) -> Result<()> {
        let Some(bucket) = &mut self.open else { return Ok(()) };
        self.folder.live().publish(self.worker.into(), bucket.position, held.frames, last);
        self.marks.push_back((bucket.position, held));
        let result = self.syncer.published(bucket.id(), &bucket.file, bucket.position);
        bucket.sync_failed |= result.is_err();
        let durable = result.map_err(Error::io(&self.folder.buckets(), "sync the open bucket"))?;
        while self.marks.get(1).is_some_and(|(position, _)| *position <= durable) {
            self.marks.pop_front();
        }
        if std::mem::take(&mut self.failed) {
            self.tell(Event::Resumed);
        }
        Ok(())
    }

    fn seal(&mut self, seal: Seal) -> Result<()> {
        let Some(bucket) = &mut self.open else { return Ok(()) };
        let (id, frames) = (bucket.id(), seal.frames);
        let folder = self.folder.buckets();
        if let Err(error) = self.syncer.before_seal() {
            bucket.sync_failed = true;
            return Err(Error::io(&folder, "sync the open bucket")(error));
        }
        let bytes = bucket.seal(seal)?;
        self.open = None;
        self.folder.live().end(self.worker.into());
        self.summary.buckets += 1;
        self.summary.bytes += bytes;
        self.summary.first_bucket.get_or_insert(id);
        self.summary.last_bucket = Some(id);
        let event = ledger::Event::Sealed { id, bytes, frames };
        let mut ledger = self.folder.ledger().lock().unwrap_or_else(PoisonError::into_inner);
        let noted = ledger.append(crate::folder::now(), &event);
        drop(ledger);
        if let Err(error) = noted {
            self.tell(Event::Unnoted(error));
        }
        Ok(())
    }

    /// The open bucket is over. If only a write failed, all that was published can still be made durable, and stays; after
    /// a failed sync nothing is believed but what an earlier one had made durable. It is left without a trailer: readers
    /// scan it, and the next start seals it.
    fn fail(&mut self, error: Error) {
        let Some(bucket) = self.open.take() else { return };
        let id = bucket.id();
        // The sync thread lets go of the file first; its own error may come only now.
        let synced = self.syncer.before_seal().is_ok() && !bucket.sync_failed;
        let cut = |end: u64| bucket.file.truncate(end).and_then(|()| bucket.file.sync_data());
        // A trailer that was written goes before what it vouches for: of a cut the zeros behind the end can reach the disk, and
        // the new length not.
        let has_no_trailer = bucket.trailer.is_none_or(|trailer| cut(trailer).is_ok());
        let (mut end, mut held) = self.marks.back().copied().unwrap_or_default();
        if !(synced && has_no_trailer && cut(end).is_ok()) {
            let durable = self.syncer.durable(id).max(bucket.synced);
            let mark = self.marks.iter().rev().find(|(position, _)| *position <= durable);
            (end, held) = mark.copied().unwrap_or((SUPERBLOCK_LEN as u64, Held::default()));
            // Should this fail too, the checksums of the blocks say at the next start what is there.
            if has_no_trailer {
                let _ = cut(end);
            }
        }
        self.marks.clear();
        self.folder.live().end(self.worker.into());
        if end <= SUPERBLOCK_LEN as u64 {
            // Nothing is in it. Should it stay, the next start seals it as an empty one.
            let _ = self.folder.volume().unlink(&self.folder.buckets().join(file_name(id)));
        } else {
            self.summary.first_bucket.get_or_insert(id);
            self.summary.last_bucket = Some(id);
        }
        self.failed = true;
        self.tell(Event::Failed { id, held, error });
    }
}
