//! A worker among others: what it hands over, and what it is handed.

use std::sync::Arc;

use streamdb_capture::{Bell, Frame};
use streamdb_decode::{Carried, Ends, Fragment};
use streamdb_reassembly::Place;
use streamdb_storage::Result;
use streamdb_types::{Counters, Timestamp};

use super::Worker;
use crate::sharing::{Member, Met, Over, Part, Route, Told};

/// Whose a frame is that comes to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This one's: nobody is asked.
    Mine,
    /// Perhaps another's; and where its packet's fragments met, if it is one.
    Anybodys(Met),
}

/// Whether a frame of the connection in this place stays here. If it is another worker's, it is handed over; unless it has to
/// stay, as it came from another one already, or frames stayed before to which it belongs.
#[inline]
pub(super) fn stays(
    part: Option<&mut Part>,
    counted: &mut Counters,
    place: &Place,
    frame: &Frame<'_>,
    whose: Whose,
) -> bool {
    let Some(part) = part else { return true };
    if place.is_new()
        && let Some(owner) = part.whose(place.hash())
        && whose != Whose::Mine
    {
        hand(part, counted, owner, frame, None);
        return false;
    }
    part.begin(place.hash());
    true
}

fn hand(part: &mut Part, counted: &mut Counters, to: Member, frame: &Frame<'_>, met: Option<Met>) {
    let taken = part.hand(to, frame, met);
    counted.handed_frames += u64::from(taken);
    counted.shed_frames += u64::from(!taken);
}

impl Worker {
    /// What rings when another worker has handed something over.
    pub fn bell(&self) -> Option<&Arc<Bell>> {
        self.part.as_ref().map(|part| part.bell())
    }

    /// Takes what others have handed over by now, and says whether there was anything.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn take_handed(&mut self) -> Result<bool> {
        let batches = self.part.as_ref().map_or(0, |part| part.batches());
        // What comes meanwhile is for the next time: those who wait for frames of the interface are not to starve.
        for _ in 0..batches {
            let Some(batch) = self.part.as_ref().and_then(|part| part.next_batch()) else { break };
            let sends = self.part.as_ref().is_some_and(|part| part.sends());
            for (frame, met) in batch.frames() {
                self.before(&frame)?;
                // What comes at the very end to be handed on stays here.
                self.take(&frame, met.filter(|_| sends).map_or(Whose::Mine, Whose::Anybodys))?;
            }
            if let Some(part) = &self.part {
                part.give_batch_back(batch);
            }
        }
        Ok(batches > 0)
    }

    /// Takes all that others have handed over, and from then on nothing more.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub(super) fn take_last_handed(&mut self) -> Result<()> {
        while !self.ends_round()? {}
        if let Some(part) = &self.part {
            part.close();
        }
        while self.take_handed()? {}
        Ok(())
    }

    /// Sends what others are to have; false when there is no room for all of it now.
    pub fn send_handed(&mut self) -> bool {
        self.part.as_mut().is_none_or(|part| part.send())
    }

    /// The source has nothing more, and what it had is sent: a round of the end is over for this worker, and the next one begins when it
    /// is for all others, and what they sent is taken. Gives whether it was the last one: then what waited for fragments that did not
    /// come is taken, what could not be sent is let go, and this worker hands nothing over any more.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub fn ends_round(&mut self) -> Result<bool> {
        let Some(part) = &mut self.part else { return Ok(true) };
        if !part.is_last_round() {
            return Ok(part.ends_round());
        }
        // They were counted as handed over when they were collected.
        let frames = part.give_up();
        self.counted.shed_frames += frames;
        self.counted.handed_frames = self.counted.handed_frames.saturating_sub(frames);
        part.ends_round();
        let over = part.fragments.finish();
        self.settle_over(over)?;
        self.note_losses(self.ticker.clock().unwrap_or_default())?;
        Ok(true)
    }

    /// Notes what others let go of this worker's, and tells them what it let go of theirs.
    pub(super) fn note_losses(&mut self, now: Timestamp) -> Result<()> {
        let Some(part) = &mut self.part else { return Ok(()) };
        part.tell_shed();
        if let Some(shed) = part.take_shed() {
            self.sink.writer.loss(&shed)?;
        }
        // All frames of this worker may be others'.
        let is_counted = self.counted.shed_frames > std::mem::replace(&mut self.shed_before, self.counted.shed_frames);
        self.sink.writer.note_losses(now, is_counted)
    }

    /// Whether another worker may still hand something over in the round that is over for this one.
    pub fn others_send(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.others_send())
    }

    pub(super) fn tick_of_shared(&mut self, now: Timestamp) -> Result<()> {
        self.note_losses(now)?;
        let over = self.part.as_mut().map(|part| part.fragments.tick(now)).unwrap_or_default();
        self.settle_over(over)
    }

    /// A fragment, of which it is to be found out whose it is.
    pub(super) fn fragment(
        &mut self,
        frame: &Frame<'_>,
        fragment: &Fragment,
        carried: &Carried,
        met: Met,
    ) -> Result<()> {
        let Some(part) = &mut self.part else { return Ok(()) };
        let there = part.meet(&fragment.packet);
        if met == Met::Nowhere && there != part.me() {
            hand(part, &mut self.counted, there, frame, Some(Met::Outside));
            return Ok(());
        }
        let route = match part.fragments.told(fragment, carried, met, frame.time, |packet| part.meet(packet)) {
            Told::Goes(route) => Some(route),
            Told::Between(ends) => Some(self.route(&ends)),
            Told::Waits => None,
        };
        // What others hand over may be of a while ago.
        let now = self.ticker.clock().map_or(frame.time, |clock| clock.max(frame.time));
        let Some(part) = &mut self.part else { return Ok(()) };
        let Some(route) = route else {
            let over = part.fragments.wait(fragment, carried, met, frame, now);
            return self.settle_over(over);
        };
        let (waited, over) = part.fragments.goes(fragment, carried, met, frame.time, now, route);
        self.settle_over(over)?;
        for (kept, route) in &waited {
            self.follow(*route, &kept.frame())?;
        }
        self.follow(route, frame)?;
        let over =
            self.part.as_mut().map(|part| part.fragments.went(&fragment.packet, met, frame.time)).unwrap_or_default();
        self.settle_over(over)
    }

    /// Where the fragments of a packet between these ends belong.
    fn route(&mut self, ends: &Ends) -> Route {
        let place = self.flows.place(ends.protocol, &ends.path, ends.src, ends.dst);
        match &mut self.part {
            Some(part) if place.is_new() => match part.whose_packet(place.hash()) {
                (Some(owner), _) => Route::There(owner),
                (None, true) => Route::Claimed(*ends),
                (None, false) => Route::Here,
            },
            _ => Route::Here,
        }
    }

    fn follow(&mut self, route: Route, frame: &Frame<'_>) -> Result<()> {
        match (route, &mut self.part) {
            (Route::There(owner), Some(part)) => {
                hand(part, &mut self.counted, owner, frame, None);
                Ok(())
            }
            (Route::Meet(there), Some(part)) if there == part.me() => self.take(frame, Whose::Anybodys(Met::Inside)),
            (Route::Meet(there), Some(part)) => {
                hand(part, &mut self.counted, there, frame, Some(Met::Inside));
                Ok(())
            }
            _ => self.take(frame, Whose::Mine),
        }
    }

    /// What waited in vain is taken here, and what was claimed in vain is nobody's again.
    fn settle_over(&mut self, over: Over) -> Result<()> {
        for kept in &over.frames {
            self.take(&kept.frame(), Whose::Mine)?;
        }
        for ends in &over.claims {
            let place = self.flows.place(ends.protocol, &ends.path, ends.src, ends.dst);
            if let Some(part) = self.part.as_ref().filter(|_| place.is_new()) {
                part.give_back(place.hash());
            }
        }
        Ok(())
    }
}
