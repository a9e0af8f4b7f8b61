//! The last hours, drawn: how many frames came, and how many of a hundred were lost, as each bucket says of its time.

use std::cell::Cell;

use streamdb_derive::{BucketInfo, BucketState, Error, Store};
use streamdb_query::Zone;
use streamdb_types::Timestamp;

use super::{digits, percent};

/// How long back, in nanoseconds.
pub(super) const SPAN: i64 = 6 * 3_600_000_000_000;
/// So long is one bar.
const SLOT: i64 = 300_000_000_000;
const SLOTS: usize = (SPAN / SLOT) as usize;
/// Most buckets that are looked at.
const BUCKETS: usize = 5000;
/// A bar is so wide, and at most so high.
pub(super) const WIDTH: usize = 10;
const HEIGHT: f64 = 100.0;
/// Most lines of times with losses.
const LISTED: usize = 12;

/// What came in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slot {
    frames: f64,
    lost: f64,
}

pub(super) struct Bar {
    pub(super) x: usize,
    pub(super) y: String,
    pub(super) height: String,
    /// Of its height, what was lost.
    pub(super) lost_height: String,
    pub(super) words: String,
}

/// Bars, and what there is to say of them.
#[derive(Default)]
pub(super) struct History {
    pub(super) bars: Vec<Bar>,
    pub(super) from: String,
    pub(super) to: String,
    /// The highest bar.
    pub(super) most: String,
    /// Times in which frames were lost, the newest first.
    pub(super) losses: Vec<String>,
    /// Whether buckets are not in it that are still being written, or whose counters are not known.
    pub(super) open: bool,
}

impl History {
    /// The last hours until `end`; without, until the last frame that is stored.
    pub(super) fn of(store: &Store, end: Option<Timestamp>, zone: &Zone) -> Result<Self, Error> {
        // Until the first bucket with frames says when the end is.
        let end: Cell<Option<Timestamp>> = Cell::new(end);
        let left = Cell::new(BUCKETS);
        let buckets = store.newest_buckets(&mut |bucket| {
            let Some((_, last)) = bucket.times else { return true };
            if end.get().is_none() {
                end.set(Some(last));
            }
            left.set(left.get().saturating_sub(1));
            left.get() > 0 && end.get().is_some_and(|end| end.since(last) < SPAN)
        })?;
        let Some(end) = end.get() else { return Ok(Self::default()) };
        // Whole slots, so that a bar stays the same bar.
        let end = Timestamp(end.0.div_euclid(SLOT).saturating_add(1).saturating_mul(SLOT));
        let open = buckets.iter().any(|bucket| bucket.state() != BucketState::Sealed);
        Ok(Self { open, ..Self::draw(&slots(&buckets, end), end.plus(-SPAN), zone) })
    }

    fn draw(slots: &[Slot], begin: Timestamp, zone: &Zone) -> Self {
        let most = slots.iter().map(|slot| slot.frames + slot.lost).fold(0.0, f64::max);
        let mut history = Self {
            from: zone.date(begin),
            to: zone.date(begin.plus(SPAN)),
            most: match most / (SLOT as f64 / 1e9) {
                few if few > 0.0 && few < 1.0 => "less than 1".to_owned(),
                rate => digits(rate.round() as u64),
            },
            ..Self::default()
        };
        for (at, slot) in slots.iter().enumerate() {
            let all = slot.frames + slot.lost;
            if all <= 0.0 {
                continue;
            }
            let time = zone.date(begin.plus(SLOT.saturating_mul(at as i64)));
            let (frames, lost) = (slot.frames.round() as u64, slot.lost.round() as u64);
            let mut words = format!("{time}: {} frames", digits(frames));
            if lost > 0 {
                words += &format!(", {} lost ({})", digits(lost), percent(lost, frames));
                history.losses.push(words.clone());
            }
            // What is there can be seen, and so can what was lost.
            let height = (HEIGHT * all / most).max(1.0);
            let lost_height = if lost > 0 { (height * slot.lost / all).max(2.0) } else { 0.0 };
            history.bars.push(Bar {
                x: at * WIDTH,
                y: format!("{:.1}", HEIGHT - height),
                height: format!("{height:.1}"),
                lost_height: format!("{lost_height:.1}"),
                words,
            });
        }
        history.losses.reverse();
        history.losses.truncate(LISTED);
        history
    }
}

/// What these buckets counted, spread evenly over their time.
fn slots(buckets: &[BucketInfo], end: Timestamp) -> Vec<Slot> {
    let begin = end.plus(-SPAN);
    let mut slots = vec![Slot::default(); SLOTS];
    for bucket in buckets {
        let Some((first, last)) = bucket.times else { continue };
        let counters = &bucket.counters;
        let lost = [counters.dropped_kernel, counters.dropped_interface, counters.lost_frames, counters.shed_frames];
        let lost = lost.into_iter().fold(0, u64::saturating_add);
        // What recovery sealed has no counters but for the frames. Those that the disk did not take were counted when they came.
        let frames = counters.frames.saturating_sub(counters.lost_frames).max(bucket.frames) as f64;
        let length = last.since(first).max(1);
        for (at, slot) in slots.iter_mut().enumerate() {
            let from = begin.plus(SLOT.saturating_mul(at as i64));
            let (start, stop) = (first.max(from), last.max(first.plus(1)).min(from.plus(SLOT)));
            let part = stop.since(start).max(0) as f64 / length as f64;
            slot.frames += frames * part;
            slot.lost += lost as f64 * part;
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_drawn_to_the_highest() {
        let mut slots = vec![Slot::default(); SLOTS];
        slots[0] = Slot { frames: 3000.0, lost: 0.0 };
        slots[71] = Slot { frames: 997.0, lost: 3.0 };
        let history = History::draw(&slots, Timestamp(0), &Zone::UTC);
        assert_eq!((history.bars.len(), history.most.as_str()), (2, "10"));
        assert_eq!((history.bars[0].x, history.bars[0].height.as_str()), (0, "100.0"));
        assert_eq!((history.bars[1].x, history.bars[1].lost_height.as_str()), (710, "2.0"));
        assert_eq!(history.losses, ["1970-01-01 05:55:00: 997 frames, 3 lost (0.3 %)"]);
    }
}
