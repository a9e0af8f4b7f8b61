//! What a filter finds: streams and objects, in their order, by their rows and by what is in them.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use streamdb_derive::{Error, Rows};
use streamdb_storage::index::{Listed, Unread};
use streamdb_storage::{Error as StoreError, Store, StreamInfo};
use streamdb_types::{ObjectRow, StreamOffset, Timestamp};

use crate::contents::{self, Candidate, Searched, Taker};
use crate::filter::{Filter, Order};
use crate::objects::Objects;
use crate::position::Position;
use crate::scan::{Rank, Start, scan};
use crate::search::{Search, Told};
use crate::troubles::Troubles;
use crate::verdict::Said;

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());
const BREAK: ControlFlow<()> = ControlFlow::Break(());

/// What a search goes by, besides a store and a filter.
pub struct Looking<'l> {
    /// Makes the rows that are not kept.
    pub made: Rows,
    /// Asked before each stream, and within contents after each KiB, whether to go on.
    pub go_on: &'l (dyn Fn() -> bool + Sync),
    /// Told what cannot be read; the rest goes on.
    pub troubles: &'l mut Troubles,
}

/// How far a search went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Streams that were looked at, or, of an index, rows that might have been wanted.
    pub streams: u64,
    /// Whether it was told not to go on before it was done.
    pub stopped: bool,
    /// What was looked into, where the filter asks for contents.
    pub searched: Searched,
    /// Where a search in contents goes on when it was told to stop: all up to there were looked into.
    pub until: Option<Position>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// So many were counted.
    pub found: u64,
    /// When the first and the last of them began.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Whether that is all of them. Where it is not, there are at least so many.
    pub exact: bool,
}

impl Tally {
    /// So many are counted besides those that are shown: as many as take no time that anybody notices.
    pub const MOST: u64 = 10_000;

    /// One more.
    pub fn add(&mut self, began: Timestamp) {
        self.found += 1;
        let (first, last) = self.times.unwrap_or((began, began));
        self.times = Some((first.min(began), last.max(began)));
    }
}

/// Hands out each stream that the filter wants, with those of its objects that are wanted, after the first `offset` and at
/// most `limit` streams, until `visit` breaks off. Where the filter says nothing of objects, none are looked for.
///
/// # Errors
/// When the store cannot be listed.
pub fn find_streams(
    store: &Store,
    filter: &Filter,
    looking: Looking<'_>,
    visit: &mut dyn FnMut(&StreamInfo, Vec<ObjectRow>) -> ControlFlow<()>,
) -> Result<Looked, Error> {
    let mut window = Window::of(filter);
    let from = filter.after.map(|after| Start { rank: Rank::of(after, filter.order), itself: false });
    let finder = Finder { store, filter, from, objects: !filter.objects.is_empty(), after: None };
    finder.candidates(looking, window.most(), &mut |Candidate { stream, rows }| {
        if window.takes_one() {
            visit(&stream, rows)?;
        }
        if window.is_full() { BREAK } else { CONTINUE }
    })
}

/// Hands out each object that the filter wants, after the first `offset` and at most `limit` objects, until `visit` breaks
/// off. An object is wanted when its stream is, and the terms about objects hold.
///
/// # Errors
/// When the store cannot be listed.
pub fn find_objects(
    store: &Store,
    filter: &Filter,
    looking: Looking<'_>,
    visit: &mut dyn FnMut(&ObjectRow) -> ControlFlow<()>,
) -> Result<Looked, Error> {
    let mut window = Window::of(filter);
    let after = filter.after.map(|after| Rank::of(after, filter.order));
    // The stream with the object that was last may have more.
    let stream = |after: Position| Position { begins: StreamOffset(0), index: 0, ..after };
    let from = filter.after.map(|after| Start { rank: Rank::of(stream(after), filter.order), itself: true });
    let finder = Finder { store, filter, from, objects: true, after };
    finder.candidates(looking, window.most(), &mut |Candidate { rows, .. }| {
        for row in rows {
            if window.takes_one() {
                visit(&row)?;
            }
            if window.is_full() {
                return BREAK;
            }
        }
        CONTINUE
    })
}

/// Finds streams, and the objects in them.
struct Finder<'f> {
    store: &'f Store,
    filter: &'f Filter,
    /// Where in the order of streams to begin.
    from: Option<Start>,
    /// Whether objects are looked for; then no stream is handed out without one.
    objects: bool,
    /// Only objects after this one.
    after: Option<Rank>,
}

impl Finder<'_> {
    /// Hands out what is wanted by rows and contents.
    fn candidates(&self, looking: Looking<'_>, most: u64, take: &mut Taker<'_>) -> Result<Looked, Error> {
        if most == 0 {
            return Ok(Looked::default());
        }
        // What comes while it is searched changes nothing.
        let said = Said::of(&self.filter.objects, self.store.verdicts());
        if said.as_ref().is_some_and(Said::is_nothing) {
            return Ok(Looked::default());
        }
        let said = said.as_ref();
        let Looking { made, go_on, troubles } = looking;
        // Several have something to tell.
        let troubles = RefCell::new(troubles);
        let mut made = Objects::new(made);
        let mut looked = 0;
        let told = AtomicBool::new(false);
        let go_on = &|| {
            let go_on = !told.load(Relaxed) && go_on();
            if !go_on {
                told.store(true, Relaxed);
            }
            go_on
        };
        let trouble = &mut |why: &dyn Display| troubles.borrow_mut().add(&why);
        let searched = match &self.filter.objects.pcre {
            None => {
                let told = &mut Told { looked: &mut looked, trouble, take };
                self.by_rows(said, &mut made, most, go_on, told)?;
                Searched::default()
            }
            Some(expression) => {
                let produce = &mut |go_on: &dyn Fn() -> bool, take: &mut Taker<'_>| {
                    let trouble = &mut |why: &dyn Display| troubles.borrow_mut().add(&why);
                    let told = &mut Told { looked: &mut looked, trouble, take };
                    self.by_rows(said, &mut made, u64::MAX, go_on, told)
                };
                contents::search(self.store, expression, go_on, produce, take, &mut |error| trouble(error))?
            }
        };
        let streams = looked.saturating_sub(searched.undecided);
        let until = searched.until.map(|stream| match self.filter.order {
            // Behind all of its objects.
            Order::OldestFirst => Position { begins: StreamOffset(u64::MAX), index: u64::MAX, ..stream },
            Order::NewestFirst => stream,
        });
        Ok(Looked { streams, stopped: told.into_inner(), searched, until })
    }

    /// Hands out what is wanted by rows, as far as `go_on` says.
    fn by_rows(
        &self,
        said: Option<&Said>,
        made: &mut Objects,
        most: u64,
        go_on: &dyn Fn() -> bool,
        told: &mut Told<'_>,
    ) -> Result<(), Error> {
        let Self { store, filter, objects, after, .. } = *self;
        let mut from = self.from;
        let mut told_of = false;
        loop {
            let search = Search { store, filter, said, from, objects, after, go_on };
            let snapshot = store.snapshot()?;
            if !told_of {
                snapshot.unread().for_each(|error| (told.trouble)(error));
                snapshot.damaged.iter().for_each(|why| (told.trouble)(why));
            }
            told_of = true;
            if snapshot.is_partial() {
                return self.by_walk(&search, made, most, told);
            }
            let mut last = None;
            let outcome = {
                let Told { looked, trouble, take } = &mut *told;
                let mut told = Told {
                    looked,
                    trouble,
                    take: &mut |candidate: Candidate| {
                        last = Some(Position::of_stream(&candidate.stream));
                        take(candidate)
                    },
                };
                search.run(&snapshot.read(), made, &mut told)
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(Unread::Other(error)) => return Err(error.into()),
                // It goes on without that file.
                Err(Unread::File(file, bad)) => {
                    if let Some(error) = snapshot.refuse(file, bad) {
                        (told.trouble)(&error);
                    }
                    let behind = |position| Start { rank: Rank::of(position, filter.order), itself: false };
                    from = last.map(behind).or(from);
                }
            }
        }
    }

    /// Likewise, through all buckets.
    fn by_walk(&self, search: &Search<'_>, made: &mut Objects, most: u64, told: &mut Told<'_>) -> Result<(), Error> {
        let Told { looked, trouble, take } = told;
        let trouble = RefCell::new(trouble);
        let visit = &mut |listed: &Listed| {
            if !(search.go_on)() {
                return BREAK;
            }
            **looked += 1;
            let candidate = search.candidate(made, listed.clone(), &mut |why| trouble.borrow_mut()(why));
            candidate.map_or(CONTINUE, &mut *take)
        };
        // Few streams may have what is wanted.
        let most = if self.objects { u64::MAX } else { most };
        let damaged = &mut |error: StoreError| trouble.borrow_mut()(&error);
        scan(self.store, self.filter, search.from, most, search.go_on, visit, damaged)?;
        Ok(())
    }
}

/// What is skipped of what is found, and how much of it there is room for.
struct Window {
    skip: u64,
    room: u64,
}

impl Window {
    fn of(filter: &Filter) -> Self {
        Self { skip: filter.offset, room: filter.limit.unwrap_or(u64::MAX) }
    }

    /// So many are found until it is full.
    const fn most(&self) -> u64 {
        if self.room == 0 { 0 } else { self.skip.saturating_add(self.room) }
    }

    /// Whether the next that is found is within it.
    const fn takes_one(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        true
    }

    const fn is_full(&self) -> bool {
        self.room == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_skips_takes_and_is_full() {
        let mut window = Window::of(&Filter { offset: 2, limit: Some(2), ..Filter::default() });
        assert_eq!(window.most(), 4);
        let taken: Vec<(bool, bool)> = (0..5).map(|_| (window.takes_one(), window.is_full())).collect();
        assert_eq!(taken, [(false, false), (false, false), (true, false), (true, true), (false, true)]);
    }
}
