//! A filter run over a store.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use streamdb_storage::{Error, Store, StreamInfo};
use streamdb_types::{BucketId, Oid, Timestamp};

use crate::filter::{Filter, Order};

/// Some of the streams that a filter finds, and how many there are in all.
#[derive(Debug, Default)]
pub struct Page {
    /// Streams found, shown or not.
    pub found: u64,
    /// When the first and the last of them began.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Those from `offset` on, at most `limit`.
    pub streams: Vec<StreamInfo>,
    /// What could not be read on the way.
    pub damaged: Vec<Error>,
}

/// Hands out each stream that the filter wants, after the first `offset` and at most `limit`, until `visit` breaks off.
/// What cannot be read is told to `damaged`, and the rest goes on. In the order of the store nothing is held in memory;
/// newest first, as much as `offset` and `limit` ask for, or everything when there is no limit.
///
/// # Errors
/// When the store cannot be listed.
pub fn rows(
    store: &Store,
    filter: &Filter,
    visit: &mut dyn FnMut(&StreamInfo) -> ControlFlow<()>,
    damaged: &mut dyn FnMut(Error),
) -> Result<(), Error> {
    if filter.limit == Some(0) {
        return Ok(());
    }
    match filter.order {
        Order::Stored => {
            let mut counted = 0u64;
            let last = filter.limit.map(|limit| filter.offset.saturating_add(limit));
            walk(
                store,
                filter,
                &mut |stream| {
                    counted += 1;
                    if counted <= filter.offset {
                        return ControlFlow::Continue(());
                    }
                    visit(&stream)?;
                    if last.is_some_and(|last| counted >= last) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                },
                damaged,
            )
        }
        Order::NewestFirst => {
            let mut newest = Newest::new(filter);
            walk(
                store,
                filter,
                &mut |stream| {
                    newest.push(stream);
                    ControlFlow::Continue(())
                },
                damaged,
            )?;
            // Whether all were visited is the visitor's affair.
            let _ = newest.page(filter).iter().try_for_each(visit);
            Ok(())
        }
    }
}

/// The streams from `offset` on, at most `limit` and at most `most`, and how many are found in all.
///
/// # Errors
/// When the store cannot be listed.
pub fn page(store: &Store, filter: &Filter, most: u64) -> Result<Page, Error> {
    let filter = &Filter { limit: Some(filter.limit.unwrap_or(most).min(most)), ..filter.clone() };
    let limit = filter.limit.unwrap_or(most);
    let mut page = Page::default();
    let mut damaged = Vec::new();
    let mut newest = Newest::new(filter);
    walk(
        store,
        filter,
        &mut |stream| {
            page.found += 1;
            let (first, last) = page.times.unwrap_or((stream.first, stream.first));
            page.times = Some((first.min(stream.first), last.max(stream.first)));
            match filter.order {
                Order::Stored => {
                    if page.found > filter.offset && (page.streams.len() as u64) < limit {
                        page.streams.push(stream);
                    }
                }
                Order::NewestFirst => newest.push(stream),
            }
            ControlFlow::Continue(())
        },
        &mut |error| damaged.push(error),
    )?;
    if filter.order == Order::NewestFirst {
        page.streams = newest.page(filter);
    }
    page.damaged = damaged;
    Ok(page)
}

/// Every stream that the filter wants, in the order of the store, until `visit` breaks off.
fn walk(
    store: &Store,
    filter: &Filter,
    visit: &mut dyn FnMut(StreamInfo) -> ControlFlow<()>,
    damaged: &mut dyn FnMut(Error),
) -> Result<(), Error> {
    let mut stopped = false;
    let result = store.streams(
        &mut |stream| {
            if filter.matches(&stream) && visit(stream).is_break() {
                stopped = true;
                // The store's way to be told to stop is an error; this one goes no further than here.
                return Err(Error::NoBucket(BucketId::default()));
            }
            Ok(())
        },
        damaged,
    );
    if stopped { Ok(()) } else { result }
}

/// The newest streams so far, as many as can be asked for.
struct Newest {
    most: usize,
    heap: BinaryHeap<Reverse<ByStart>>,
}

impl Newest {
    fn new(filter: &Filter) -> Self {
        let most = filter.limit.map_or(u64::MAX, |limit| filter.offset.saturating_add(limit));
        Self { most: usize::try_from(most).unwrap_or(usize::MAX), heap: BinaryHeap::new() }
    }

    fn push(&mut self, stream: StreamInfo) {
        self.heap.push(Reverse(ByStart(stream)));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// The newest first, without the first `offset` of them.
    fn page(self, filter: &Filter) -> Vec<StreamInfo> {
        let skipped = usize::try_from(filter.offset).unwrap_or(usize::MAX);
        // Ascending by what is reversed: the newest first.
        self.heap.into_sorted_vec().into_iter().skip(skipped).map(|Reverse(ByStart(stream))| stream).collect()
    }
}

/// A stream, ordered by when it began; the name decides between equals, so that pages do not overlap.
struct ByStart(StreamInfo);

impl ByStart {
    const fn key(&self) -> (Timestamp, Oid) {
        (self.0.first, self.0.oid)
    }
}

impl PartialEq for ByStart {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ByStart {}

impl PartialOrd for ByStart {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByStart {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::stream;

    #[test]
    fn the_newest_are_kept() {
        let filter = Filter { offset: 1, limit: Some(2), order: Order::NewestFirst, ..Filter::default() };
        let mut newest = Newest::new(&filter);
        for second in [5, 9, 1, 7, 3, 8] {
            newest.push(StreamInfo { first: Timestamp::new(second, 0), ..stream() });
            assert!(newest.heap.len() <= 3);
        }
        let seconds: Vec<i64> = newest.page(&filter).iter().map(|s| s.first.seconds()).collect();
        assert_eq!(seconds, [8, 7]);
    }
}
