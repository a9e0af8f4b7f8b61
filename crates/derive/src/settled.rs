//! How far something had come a while ago, by what was seen of it since: a bucket that is published, a stream that comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far it had come within the last moments, and when that was seen; and how far before them.
#[derive(Debug)]
pub(crate) struct Settled<T> {
    after: Duration,
    seen: VecDeque<(Instant, T)>,
    settled: T,
}

impl<T: Copy + Default + PartialOrd> Settled<T> {
    /// Settled is what has been known for so long.
    pub(crate) fn after(after: Duration) -> Self {
        Self { after, seen: VecDeque::new(), settled: T::default() }
    }

    /// It has come this far by now. Says how far is settled.
    pub(crate) fn up_to(&mut self, come: T) -> T {
        self.at(come, Instant::now())
    }

    fn at(&mut self, come: T, now: Instant) -> T {
        if self.seen.back().map_or(self.settled, |(_, known)| *known) < come {
            self.seen.push_back((now, come));
        }
        while let Some((_, known)) =
            self.seen.pop_front_if(|(since, _)| now.saturating_duration_since(*since) >= self.after)
        {
            self.settled = known;
        }
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use streamdb_types::BlockPlace;

    use super::*;

    #[test]
    fn what_was_seen_seconds_ago_is_settled() {
        let (mut settled, begun) = (Settled::after(Duration::from_secs(4)), Instant::now());
        let place = |n: u64| BlockPlace::new(n * 64, 8);
        let mut seen = |n, millis| settled.at(place(n), begun + Duration::from_millis(millis));
        assert_eq!(seen(1, 0), BlockPlace::NONE);
        assert_eq!(seen(2, 1000), BlockPlace::NONE);
        assert_eq!(seen(2, 3999), BlockPlace::NONE);
        assert_eq!(seen(2, 4000), place(1));
        assert_eq!(seen(2, 4999), place(1));
        assert_eq!(seen(3, 5000), place(2));
        assert_eq!(seen(3, 9000), place(3));
    }
}
