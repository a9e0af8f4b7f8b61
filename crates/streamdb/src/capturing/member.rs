//! One of those who capture: takes what comes by its source and from the others, until it is told to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use streamdb_capture::{Batch, Bell, Frame, Item, Live};

use super::{Change, Done, Event};
use crate::commands::{Error, storing};
use crate::output::complain;
use crate::reporting::{Going, Seen};
use crate::worker::Worker;

/// How often it is told how things stand.
const SECOND: Duration = Duration::from_secs(1);
/// How long after its end a worker waits for others, and for room at others, at most, in each round.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long a worker reads on at most, after it was told to leave its interface.
const LEAVING: Duration = Duration::from_secs(2);

/// What a worker is told.
pub(super) enum Order {
    /// To go on by other rules.
    Change(Change),
    /// To take frames from here.
    Take(Box<Live>),
    /// To take none any more but those that have come, as the interface has failed.
    Leave,
}

/// How a worker is told something: what, and that there is something.
pub(super) type Orders = (Sender<Order>, Arc<Bell>);

/// A worker, its source, and who tells it what to do.
pub(super) struct Member {
    number: usize,
    /// The number of its interface among those of the capture.
    interface: u32,
    /// `None` when its interface has failed.
    live: Option<Live>,
    /// Until when what the kernel still has of a failed interface is taken at most.
    leaves_by: Option<Instant>,
    worker: Worker,
    bell: Arc<Bell>,
    orders: Receiver<Order>,
    events: Sender<Event>,
    ending: Arc<AtomicBool>,
    seen: Arc<Seen>,
    said: Instant,
}

impl Member {
    /// A worker, and how it is told something. Without a source it waits for one.
    pub(super) fn new(
        number: usize,
        interface: u32,
        live: Option<Live>,
        worker: Worker,
        events: Sender<Event>,
        ending: Arc<AtomicBool>,
    ) -> io::Result<(Self, Orders)> {
        let bell = match worker.bell() {
            Some(bell) => Arc::clone(bell),
            None => Arc::new(Bell::new()?),
        };
        let (order, orders) = unbounded();
        let mut member = Self {
            number,
            interface,
            live: None,
            leaves_by: None,
            worker,
            bell: Arc::clone(&bell),
            orders,
            events,
            ending,
            seen: Arc::default(),
            said: Instant::now(),
        };
        if let Some(live) = live {
            member.take_from(live);
        }
        Ok((member, (order, bell)))
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// Works until it is told to end, and seals what it has.
    pub(super) fn run(mut self) -> Result<Done, Error> {
        let mut ending = false;
        loop {
            self.take_orders();
            let batch = self.batch()?;
            self.worker.take_handed()?;
            self.worker.send_handed();
            storing::complain_of(&self.worker.take_troubles());
            match batch {
                Batch::Frames(_) => {}
                Batch::Idle(now) => self.worker.clock(now)?,
                Batch::End => break,
            }
            // Nothing more comes by it, when the kernel has handed over what it had.
            if self.leaves_by.is_some_and(|then| matches!(batch, Batch::Idle(_)) || Instant::now() >= then) {
                (self.live, self.leaves_by) = (None, None);
            }
            if ending && self.live.is_none() {
                break;
            }
            if !ending && self.ending.load(Ordering::Relaxed) {
                ending = true;
                if let Some(live) = &mut self.live {
                    live.stop();
                }
            }
            self.say_how_it_is();
        }
        // What it sees no more needs no room in the kernel, and no part of the frames.
        self.live = None;
        self.settle()?;
        let (counters, written) = self.worker.finish()?;
        self.seen.say(Going { counters, ..Going::default() });
        Ok(Done { counters, written })
    }

    /// Nothing more comes by the source: what others are to have, and what they have for this one, finds its way.
    fn settle(&mut self) -> Result<(), Error> {
        let worker = &mut self.worker;
        let mut is_last = false;
        while !is_last {
            let since = Instant::now();
            while !worker.send_handed() && since.elapsed() < PATIENCE {
                if !worker.take_handed()? {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            is_last = worker.ends_round()?;
            while worker.others_send() && since.elapsed() < PATIENCE {
                if !worker.take_handed()? {
                    self.bell.wait();
                }
                worker.send_handed();
            }
            // What was sent at the very end of the round.
            while worker.take_handed()? && since.elapsed() < PATIENCE {}
        }
        storing::complain_of(&worker.take_troubles());
        Ok(())
    }

    /// Takes what has come, or waits for something.
    fn batch(&mut self) -> Result<Batch, Error> {
        let Self { live, worker, interface, .. } = self;
        let Some(source) = live else { return Ok(self.bell.wait()) };
        let mut taken = Ok(());
        let batch = source.batch(|item| {
            // After an error the rest of the batch has no place to go.
            if taken.is_ok() {
                taken = take(worker, &item, *interface);
            }
        });
        taken?;
        batch.or_else(|error| {
            *live = None;
            _ = self.events.send(Event::Failed { worker: self.number, error });
            Ok(Batch::Frames(0))
        })
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Take(live) => self.take_from(*live),
                Order::Leave => self.leaves_by = Some(Instant::now() + LEAVING),
                Order::Change(Change { filter, cutoffs, taken }) => {
                    // It was tried before; only the system itself can still refuse it.
                    let filtered = match (&mut self.live, &filter) {
                        (Some(live), Some(filter)) => live.set_filter(filter.as_deref()).map_err(Error::from),
                        _ => Ok(()),
                    };
                    let cut = self.worker.set_cutoffs(cutoffs).map_err(Error::from);
                    // Who does not wait any more needs no answer.
                    _ = taken.send(filtered.is_ok() && cut.is_ok());
                    for error in [filtered, cut].into_iter().filter_map(Result::err) {
                        complain(&error.to_string());
                    }
                }
            }
        }
    }

    fn take_from(&mut self, mut live: Live) {
        live.listen_for(Arc::clone(&self.bell));
        if self.ending.load(Ordering::Relaxed) {
            // It was opened while all were told to end.
            live.stop();
        }
        (self.live, self.leaves_by) = (Some(live), None);
    }

    fn say_how_it_is(&mut self) {
        if self.said.elapsed() >= SECOND {
            self.said = Instant::now();
            let Self { worker, .. } = self;
            let (counters, open, held) = (worker.counters(), worker.open_connections(), worker.held_bytes());
            self.seen.say(Going { counters, open, held, ..Going::default() });
        }
    }
}

/// Gives an item to the worker. The interfaces it knows already, by their numbers in the whole capture.
fn take(worker: &mut Worker, item: &Item<'_>, interface: u32) -> Result<(), Error> {
    match item {
        Item::Frame(frame) => worker.frame(&Frame { interface, ..*frame })?,
        Item::Interface(..) => {}
        Item::Drops(drops) => worker.dropped(drops.by_kernel, drops.by_interface, drops.between)?,
        Item::Secrets { kind, data } => worker.attachment(Some(*kind), data)?,
        Item::Names(data) => worker.attachment(None, data)?,
    }
    Ok(())
}
