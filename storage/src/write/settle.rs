//! The worker's side of a failure: what the bucket had that is not on disk is counted as lost, and its streams go on in the
//! next one.

use streamdb_types::Counters;

use super::cut::NO_SPAN;
use super::pipeline::Event;
use super::shared_block::SharedBlock;
use super::trouble::{Held, Trouble};
use super::window::OpenBucket;
use super::writer::Writer;

impl Writer {
    /// Counters of the whole run, as decoding and reassembly have them, corrected by what the writer knows: what was lost,
    /// and which buckets were full.
    pub fn corrected(&self, counters: &Counters) -> Counters {
        let full_buckets = counters.full_buckets + self.full_buckets;
        Counters { full_buckets, ..self.losses.total.lost_from(counters) }
    }

    /// Whether something failed, or works again: what is held back has to be given, and [`settle`](Self::settle) called.
    pub fn has_news(&self) -> bool {
        self.pipeline.has_events()
    }

    /// Takes in what failed. What the bucket had after it was last durable is lost and counted; its streams go on in the
    /// next bucket.
    pub fn settle(&mut self) {
        while let Some(event) = self.pipeline.next_event() {
            match event {
                Event::Failed { id, held, error } => {
                    self.losses.failed(&error);
                    match self.bucket.take_if(|bucket| bucket.id == id) {
                        Some(bucket) => self.abandon(&bucket, held),
                        None => {
                            let given = self.losses.given_to(id);
                            self.losses.total.add(given.held.less(held));
                            // It has no counters: the next one says what this one was to say, but for the frames that it has.
                            self.sealed_counters = held.beside(&self.sealed_counters.since(&given.counters));
                        }
                    }
                }
                Event::Resumed => self.losses.resumed(),
                Event::Unnoted(error) => self.losses.troubles.push(Trouble::Unnoted { error: error.to_string() }),
            }
        }
    }

    /// The bucket is over, and `held` is what it has; the rest of what was given to it is lost.
    fn abandon(&mut self, bucket: &OpenBucket, held: Held) {
        let frames = bucket.frames + self.rows.len() as u64;
        self.losses.total.add(Held { frames, payload: bucket.payload }.less(held));
        self.losses.waiting = true;
        // It has no counters: those of the next one are of its time, too, but for the frames that it has.
        self.sealed_counters = held.beside(&self.sealed_counters);
        self.shared = SharedBlock::default();
        self.first_row += self.rows.len() as u64;
        self.rows.clear();
        self.unflushed = 0;
        self.span = NO_SPAN;
        for stream in self.conns.iter_mut().flatten().filter(|c| c.bucket == bucket.id).flat_map(|c| &mut c.streams) {
            stream.forget_all(stream.buffer.end());
        }
    }

    /// A tick: a bucket that could not be begun is tried again with the next frame.
    pub const fn tick(&mut self) {
        self.losses.waiting = false;
    }

    /// What went wrong since the last call, for the operator.
    pub fn take_troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.losses.troubles)
    }
}
