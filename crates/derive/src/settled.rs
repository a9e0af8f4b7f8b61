//! Since when it is known how far a bucket was published.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use streamdb_types::BlockPlace;

/// How long it is waited for what another connection may say: an FTP server's reply comes when the file is on its disk. What is said up to
/// a second before counts.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// How far a bucket was published in the last seconds, and when that was seen.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    seen: VecDeque<(Instant, BlockPlace)>,
    settled: BlockPlace,
}

impl Settled {
    /// It is published up to here now. Says how far it was before those seconds.
    pub(crate) fn up_to(&mut self, published: BlockPlace) -> BlockPlace {
        self.at(published, Instant::now())
    }

    fn at(&mut self, published: BlockPlace, now: Instant) -> BlockPlace {
        if self.seen.back().map_or(self.settled, |(_, known)| *known) < published {
            self.seen.push_back((now, published));
        }
        while let Some((_, place)) =
            self.seen.pop_front_if(|(since, _)| now.saturating_duration_since(*since) >= PATIENCE)
        {
            self.settled = place;
        }
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_seconds_ago_is_settled() {
        let (mut settled, begun) = (Settled::default(), Instant::now());
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
