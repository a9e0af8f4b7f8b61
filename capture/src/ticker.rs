//! Ticks of packet time: the data path reads no clock, so whoever feeds it says when a second is over.

use std::num::NonZeroU32;

use streamdb_types::Timestamp;

const SECOND: i64 = 1_000_000_000;
/// A frame this much older than the clock sets the clock back; less is the disorder of a capture.
const BACK: i64 = 10_000_000_000;

/// What is due before the frame that was just announced is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The packets' clock has entered the second that begins at this moment. Seconds without a frame are passed over.
    Tick(Timestamp),
    /// The packets' clock has entered another part of the second in which it was: only of a ticker that is to say so.
    Part(Timestamp),
    /// The clock was set back to this moment: another capture was joined on, or the capturing machine's clock was set.
    Back(Timestamp),
}

/// The packets' clock: the latest time of all frames so far, but for steps back of more than ten seconds.
#[derive(Clone, Copy, Debug)]
pub struct Ticker {
    clock: Option<Timestamp>,
    /// Nanoseconds of a part.
    part: i64,
}

impl Default for Ticker {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticker {
    /// A clock that the first frame sets.
    pub const fn new() -> Self {
        Self { clock: None, part: SECOND }
    }

    /// One that also says when a part of a second is over; `parts` of them make a second.
    pub const fn with_parts(parts: NonZeroU32) -> Self {
        Self { clock: None, part: SECOND / parts.get() as i64 }
    }

    /// The clock after the last frame; `None` before the first.
    pub const fn clock(&self) -> Option<Timestamp> {
        self.clock
    }

    /// Announces the next frame's time, and says what is due before that frame. The first frame only sets the clock.
    pub fn advance(&mut self, time: Timestamp) -> Option<Step> {
        let Some(clock) = self.clock else {
            self.clock = Some(time);
            return None;
        };
        if time > clock {
            self.clock = Some(time);
            let second = time.seconds();
            if second > clock.seconds() {
                return Some(Step::Tick(Timestamp::new(second, 0)));
            }
            let part = |time: Timestamp| time.0.div_euclid(self.part.max(1));
            (part(time) > part(clock)).then_some(Step::Part(time))
        } else if clock.since(time) > BACK {
            self.clock = Some(time);
            Some(Step::Back(time))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_second_are_told_where_they_are_wanted() {
        let mut ticker = Ticker::with_parts(NonZeroU32::new(4).unwrap());
        let mut at = |hundredths: i64| ticker.advance(Timestamp(hundredths * SECOND / 100));
        let part = |hundredths: i64| Some(Step::Part(Timestamp(hundredths * SECOND / 100)));
        assert_eq!(at(1010), None);
        assert_eq!(at(1024), None);
        assert_eq!(at(1026), part(1026));
        assert_eq!(at(1020), None, "a little disorder moves nothing");
        assert_eq!(at(1030), None);
        assert_eq!(at(1080), part(1080));
        assert_eq!(at(1101), Some(Step::Tick(Timestamp(11 * SECOND))), "a second says it all");
        assert_eq!(at(1124), None);
        assert_eq!(at(1125), part(1125));
        assert_eq!(at(-5), Some(Step::Back(Timestamp(-SECOND / 20))));
        assert_eq!(at(-1), None);
        assert_eq!(at(0), Some(Step::Tick(Timestamp(0))));
    }

    #[test]
    fn a_tick_is_due_at_each_new_second_and_only_one_after_a_jump() {
        let mut ticker = Ticker::new();
        let mut at = |tenths: i64| ticker.advance(Timestamp(tenths * SECOND / 10));
        let tick = |second: i64| Some(Step::Tick(Timestamp(second * SECOND)));
        assert_eq!(at(105), None);
        assert_eq!(at(109), None);
        assert_eq!(at(110), tick(11));
        assert_eq!(at(110), None);
        assert_eq!(at(119), None);
        assert_eq!(at(123), tick(12));
        assert_eq!(at(115), None, "a little disorder moves nothing");
        assert_eq!(at(124), None, "and the second is not announced again");
        assert_eq!(at(1_000_005), tick(100_000));
    }

    #[test]
    fn a_step_back_of_more_than_ten_seconds_sets_the_clock() {
        let mut ticker = Ticker::new();
        ticker.advance(Timestamp(100 * SECOND));
        assert_eq!(ticker.advance(Timestamp(90 * SECOND)), None);
        assert_eq!(ticker.clock(), Some(Timestamp(100 * SECOND)));
        let back = Timestamp(90 * SECOND - 1);
        assert_eq!(ticker.advance(back), Some(Step::Back(back)));
        assert_eq!(ticker.advance(Timestamp(90 * SECOND)), Some(Step::Tick(Timestamp(90 * SECOND))));
    }

    #[test]
    fn the_ends_of_time_are_times_too() {
        let mut ticker = Ticker::new();
        assert_eq!(ticker.advance(Timestamp(i64::MAX)), None);
        assert_eq!(ticker.advance(Timestamp(i64::MIN)), Some(Step::Back(Timestamp(i64::MIN))));
        assert_eq!(ticker.advance(Timestamp(-1)), Some(Step::Tick(Timestamp(-SECOND))));
        assert!(ticker.advance(Timestamp(i64::MAX)).is_some());
    }
}
