//! The store thread and the way to it: blocks go over a bounded channel, empty buffers come back.

use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use streamdb_types::Timestamp;

use super::bucket_file::{BucketFile, Compression, CutBlock, Seal};
use super::syncer::Syncer;
use super::writer::{LARGE_BUFFER, WriterSummary};
use crate::error::{Error, Result};
use crate::folder::WriteFolder;
use crate::format::block::LONG_MAX;
use crate::format::superblock::Superblock;
use crate::ledger::Event;
use crate::live::Mark;

/// Blocks between the worker and the store thread: at most 32 MiB.
const IN_FLIGHT: usize = 32;
/// Large buffers that are kept for use again.
const POOL: usize = 64;

enum Message {
    Begin(Superblock),
    Block(CutBlock),
    Publish(u64, Timestamp),
    Seal(Box<Seal>),
}

/// The worker's end.
pub(crate) struct Pipeline {
    to_store: Option<Sender<Message>>,
    pool: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<Result<WriterSummary>>>,
    folder: Arc<WriteFolder>,
}

impl Pipeline {
    pub(super) fn start(folder: Arc<WriteFolder>, worker: u16, compression: Compression) -> Result<Self> {
        let (to_store, from_worker) = bounded(IN_FLIGHT);
        let (to_pool, pool) = bounded(POOL);
        let syncer = Syncer::start(Arc::clone(folder.live()), worker.into())
            .map_err(Error::io(folder.path(), "start the sync thread"))?;
        let theirs = Arc::clone(&folder);
        let run = move || Store { folder: theirs, worker, compression, syncer, to_pool, open: None }.run(&from_worker);
        let thread = std::thread::Builder::new().name("store".into()).spawn(run);
        let thread = thread.map_err(Error::io(folder.path(), "start the store thread"))?;
        Ok(Self { to_store: Some(to_store), pool, thread: Some(thread), folder })
    }

    pub(super) fn begin(&mut self, superblock: Superblock) -> Result<()> {
        self.send(Message::Begin(superblock))
    }

    pub(super) fn block(&mut self, block: CutBlock) -> Result<()> {
        self.send(Message::Block(block))
    }

    pub(super) fn publish(&mut self, frames: u64, last: Timestamp) -> Result<()> {
        self.send(Message::Publish(frames, last))
    }

    pub(super) fn seal(&mut self, seal: Seal) -> Result<()> {
        self.send(Message::Seal(Box::new(seal)))
    }

    /// An empty buffer that can become a long block.
    pub(super) fn large_buffer(&self) -> Vec<u8> {
        self.pool.try_recv().unwrap_or_else(|_| Vec::with_capacity(LARGE_BUFFER))
    }

    pub(super) fn finish(&mut self) -> Result<WriterSummary> {
        self.to_store = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(Error::io(self.folder.path(), "write any more")(std::io::Error::other(
                "the store thread has ended",
            ))),
        }
    }

    fn send(&mut self, message: Message) -> Result<()> {
        if self.to_store.as_ref().is_some_and(|to_store| to_store.send(message).is_ok()) {
            return Ok(());
        }
        // The thread went away: its own error says why.
        self.finish().map(|_| ())
    }
}

/// The store thread's own.
struct Store {
    folder: Arc<WriteFolder>,
    worker: u16,
    compression: Compression,
    syncer: Syncer,
    to_pool: Sender<Vec<u8>>,
    open: Option<BucketFile>,
}

impl Store {
    fn run(mut self, from_worker: &Receiver<Message>) -> Result<WriterSummary> {
        let mut summary = WriterSummary::default();
        for message in from_worker {
            match message {
                Message::Begin(superblock) => {
                    let folder = &self.folder;
                    let bucket = BucketFile::create(folder.volume(), &folder.buckets(), &superblock, self.compression)?;
                    summary.first_bucket.get_or_insert(bucket.id());
                    summary.last_bucket = Some(bucket.id());
                    let (published, durable) = (bucket.position, bucket.position);
                    let last_time = superblock.window_start;
                    let mark = Mark { bucket: bucket.id(), published, durable, frames: 0, last_time };
                    self.folder.live().begin(self.worker.into(), &mark);
                    self.open = Some(bucket);
                }
                Message::Block(mut block) => {
                    if let Some(bucket) = &mut self.open {
                        bucket.write(&mut block)?;
                    }
                    if block.bytes.capacity() >= LONG_MAX {
                        // When the pool is full the buffer is freed.
                        let _ = self.to_pool.try_send(block.bytes);
                    }
                }
                Message::Publish(frames, last) => self.publish(frames, last)?,
                Message::Seal(seal) => {
                    let Some(bucket) = self.open.take() else { continue };
                    let id = bucket.id();
                    let frames = seal.frames;
                    let folder = self.folder.buckets();
                    self.syncer.before_seal().map_err(Error::io(&folder, "sync the open bucket"))?;
                    let bytes = bucket.seal(*seal)?;
                    let event = Event::Sealed { id, bytes, frames };
                    self.folder
                        .ledger()
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .append(crate::folder::now(), &event)?;
                    self.folder.live().end(self.worker.into());
                    summary.buckets += 1;
                    summary.bytes += bytes;
                }
            }
        }
        Ok(summary)
    }

    /// Readers may look at what was written so far.
    fn publish(&self, frames: u64, last: Timestamp) -> Result<()> {
        let Some(bucket) = &self.open else { return Ok(()) };
        self.folder.live().publish(self.worker.into(), bucket.position, frames, last);
        let result = self.syncer.published(bucket.id(), &bucket.file, bucket.position);
        result.map_err(Error::io(&self.folder.buckets(), "sync the open bucket"))
    }
}
