//! Streams in order, found by looking at every one of a store: what no index knows.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use streamdb_storage::index::Listed;
use streamdb_storage::{Error, Store};
use streamdb_types::BucketId;

use crate::filter::{Filter, Order};
use crate::position::Position;

/// Most streams that are held in memory: the store is gone through once for each so many that are wanted.
const HELD: usize = 1 << 16;

/// Hands out each stream that the filter wants, in its order, until `visit` breaks off. What cannot be read is told to
/// `damaged`, and the rest goes on. `most` says how many are likely to be taken. The filter's own position is not looked at.
///
/// # Errors
/// When the store cannot be listed.
pub(crate) fn scan(
    store: &Store,
    filter: &Filter,
    mut from: Option<Start>,
    most: u64,
    go_on: &dyn Fn() -> bool,
    visit: &mut dyn FnMut(&Listed) -> ControlFlow<()>,
    damaged: &mut dyn FnMut(Error),
) -> Result<(), Error> {
    let most = usize::try_from(most).unwrap_or(HELD).min(HELD);
    let mut said = false;
    loop {
        let mut next = Next::new(filter.order, from, most.max(1));
        let stop = walk(store, filter, go_on, &mut next, &mut |error| {
            if !said {
                damaged(error)
            }
        })?;
        said = true;
        let page = next.page();
        let full = page.len() == most.max(1);
        for listed in &page {
            if visit(listed).is_break() {
                return Ok(());
            }
        }
        match page.last() {
            Some(last) if full && !stop => {
                from = Some(Start { rank: Rank::of(Position::of_stream(&last.stream), filter.order), itself: false });
            }
            _ => return Ok(()),
        }
    }
}

/// Goes through all streams once; whether it was told not to go on.
fn walk(
    store: &Store,
    filter: &Filter,
    go_on: &dyn Fn() -> bool,
    next: &mut Next,
    damaged: &mut dyn FnMut(Error),
) -> Result<bool, Error> {
    let mut stopped = false;
    let result = store.streams_of_connections(
        &mut |stream, newest| {
            if !go_on() {
                stopped = true;
                // The store's way to be told to stop is an error; this one goes no further than here.
                return Err(Error::NoBucket(BucketId::default()));
            }
            if filter.matches(&stream) {
                next.push(Listed { stream, newest });
            }
            Ok(())
        },
        damaged,
    );
    if stopped { Ok(true) } else { result.map(|()| false) }
}

/// Where in an order to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) rank: Rank,
    /// With what stands there, not behind it.
    pub(crate) itself: bool,
}

impl Start {
    pub(crate) fn takes(&self, rank: Rank) -> bool {
        rank > self.rank || self.itself && rank == self.rank
    }
}

/// The streams that come next after a position.
struct Next {
    order: Order,
    from: Option<Start>,
    most: usize,
    /// The last of them on top.
    heap: BinaryHeap<Ranked>,
}

struct Ranked {
    rank: Rank,
    listed: Listed,
}

/// A position by its order: what comes later is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Ascending(Position),
    Descending(std::cmp::Reverse<Position>),
}

impl Rank {
    pub(crate) const fn of(position: Position, order: Order) -> Self {
        match order {
            Order::OldestFirst => Self::Ascending(position),
            Order::NewestFirst => Self::Descending(std::cmp::Reverse(position)),
        }
    }
}

impl Order {
    /// Which of two positions comes later.
    pub fn later(self, one: Option<Position>, other: Option<Position>) -> Option<Position> {
        one.into_iter().chain(other).max_by_key(|position| Rank::of(*position, self))
    }
}

impl Next {
    const fn new(order: Order, from: Option<Start>, most: usize) -> Self {
        Self { order, from, most, heap: BinaryHeap::new() }
    }

    fn push(&mut self, listed: Listed) {
        let rank = Rank::of(Position::of_stream(&listed.stream), self.order);
        if self.from.is_some_and(|from| !from.takes(rank)) {
            return;
        }
        if self.heap.len() < self.most {
            self.heap.push(Ranked { rank, listed });
        } else if let Some(mut last) = self.heap.peek_mut()
            && rank < last.rank
        {
            *last = Ranked { rank, listed };
        }
    }

    fn page(self) -> Vec<Listed> {
        self.heap.into_sorted_vec().into_iter().map(|ranked| ranked.listed).collect()
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::stream;
    use streamdb_storage::StreamInfo;
    use streamdb_types::Timestamp;

    #[test]
    fn those_that_come_next_are_kept() {
        let at = |second| StreamInfo { first: Timestamp::new(second, 0), ..stream() };
        let seconds = |order, after: Option<i64>| {
            let from = |second| Start { rank: Rank::of(Position::of_stream(&at(second)), order), itself: false };
            let mut next = Next::new(order, after.map(from), 2);
            for second in [5, 9, 1, 7, 3, 8] {
                next.push(Listed { stream: at(second), newest: BucketId(1) });
                assert!(next.heap.len() <= 2);
            }
            next.page().iter().map(|listed| listed.stream.first.seconds()).collect::<Vec<i64>>()
        };
        assert_eq!(seconds(Order::NewestFirst, None), [9, 8]);
        assert_eq!(seconds(Order::NewestFirst, Some(8)), [7, 5]);
        assert_eq!(seconds(Order::OldestFirst, Some(1)), [3, 5]);
        assert_eq!(seconds(Order::OldestFirst, Some(9)), [0i64; 0]);
    }
}
