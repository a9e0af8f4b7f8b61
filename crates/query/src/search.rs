//! A filter run over a snapshot of a store: the index files are gone through side by side, and with them what no index has.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Display;
use std::ops::ControlFlow;

use streamdb_derive::Error;
use streamdb_storage::Store;
use streamdb_storage::index::{Listed, Reader, Table, Unread, of_time, time_of};
use streamdb_types::{ConnKey, ObjectRow};

use crate::contents::Candidate;
use crate::filter::{Filter, Order};
use crate::objects::Objects;
use crate::plan::{Plan, plan};
use crate::position::Position;
use crate::scan::{Rank, Start};
use crate::terms::Asked;
use crate::verdict::Said;

/// What is looked for, and by what.
pub(crate) struct Search<'s> {
    pub(crate) store: &'s Store,
    pub(crate) filter: &'s Filter,
    /// The contents with the verdicts that are asked for, if any are.
    pub(crate) said: Option<&'s Said>,
    /// Where in the order of streams to begin.
    pub(crate) from: Option<Start>,
    /// Whether objects are looked for; then no stream is handed out without one.
    pub(crate) objects: bool,
    /// Only objects after this one.
    pub(crate) after: Option<Rank>,
    pub(crate) go_on: &'s dyn Fn() -> bool,
}

/// Who is told of what is found, and of what cannot be read; it breaks off when it has enough.
pub(crate) struct Told<'t> {
    pub(crate) looked: &'t mut u64,
    pub(crate) trouble: &'t mut dyn FnMut(&dyn Display),
    pub(crate) take: &'t mut dyn FnMut(Candidate) -> ControlFlow<()>,
}

/// A candidate by its stream's place in the order.
struct Head {
    rank: Rank,
    source: usize,
    candidate: Option<Candidate>,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.rank, self.source).cmp(&(other.rank, other.source))
    }
}

impl Search<'_> {
    /// Hands out what is found, in order.
    ///
    /// # Errors
    /// When an index file is damaged: what was handed out until then is right, and the rest is found without that file.
    pub(crate) fn run(&self, reader: &Reader<'_>, made: &mut Objects, told: &mut Told<'_>) -> Result<(), Unread> {
        let fresh = self.fresh(reader)?;
        let mut files: Vec<File<'_>> =
            (0..reader.files.len()).map(|file| File { file, plan: None, next: None, fresh: &fresh.keys }).collect();
        let mut heads: BinaryHeap<Reverse<Head>> = BinaryHeap::new();
        // A file is not looked into before it can have the next one.
        for (source, file) in files.iter().enumerate() {
            heads.extend(self.bound(reader, file).map(|rank| Reverse(Head { rank, source, candidate: None })));
        }
        let mut streams = fresh.streams.into_iter();
        let of_fresh = files.len();
        let mut next_fresh = |told: &mut Told<'_>| -> Option<Reverse<Head>> {
            for listed in streams.by_ref() {
                if !(self.go_on)() {
                    return None;
                }
                *told.looked += 1;
                let rank = self.rank(&Position::of_stream(&listed.stream));
                if let Some(candidate) = self.candidate(made, listed, told.trouble) {
                    return Some(Reverse(Head { rank, source: of_fresh, candidate: Some(candidate) }));
                }
            }
            None
        };
        heads.extend(next_fresh(told));
        while let Some(Reverse(Head { source, candidate, .. })) = heads.pop() {
            // A source that was told to stop may have had what comes before this.
            if !(self.go_on)() {
                return Ok(());
            }
            if let Some(candidate) = candidate
                && (told.take)(candidate).is_break()
            {
                return Ok(());
            }
            let next = match files.get_mut(source) {
                Some(file) => file
                    .next(self, reader, told)?
                    .map(|(rank, candidate)| Reverse(Head { rank, source, candidate: Some(candidate) })),
                None => next_fresh(told),
            };
            heads.extend(next);
        }
        Ok(())
    }

    fn table(&self) -> Table {
        if self.objects { Table::Objects } else { Table::Streams }
    }

    const fn rank(&self, position: &Position) -> Rank {
        Rank::of(*position, self.filter.order)
    }

    /// Before which place in the order a file has nothing; `None` when it has nothing at all.
    fn bound(&self, reader: &Reader<'_>, file: &File<'_>) -> Option<Rank> {
        let segment = reader.files.get(file.file)?.segment;
        let (first, last) = segment.times(self.table());
        let outside = self.filter.start.is_some_and(|start| of_time(start) > last)
            || self.filter.end.is_some_and(|end| of_time(end) < first)
            || segment.rows(self.table()) == 0;
        let bound = match self.filter.order {
            Order::OldestFirst => Position { time: time_of(first), ..Position::LEAST },
            Order::NewestFirst => Position { time: time_of(last), ..Position::GREATEST },
        };
        (!outside).then(|| self.rank(&bound))
    }

    /// What no index has, as far as it may be wanted.
    fn fresh(&self, reader: &Reader<'_>) -> Result<Fresh, Unread> {
        let mut fresh = Fresh { streams: Vec::new(), keys: HashMap::new() };
        let wanted = |listed: &Listed| {
            let from = |from: Start| from.takes(self.rank(&Position::of_stream(&listed.stream)));
            self.filter.matches(&listed.stream) && self.from.is_none_or(from)
        };
        if self.objects {
            for (key, streams) in reader.unsettled(&|tuple| self.filter.matches_connection(tuple))? {
                fresh.keys.insert(key, ());
                fresh.streams.extend(streams.into_iter().filter(wanted));
            }
        } else {
            reader.fresh(&mut |listed| fresh.streams.extend(Some(listed).filter(wanted)))?;
        }
        fresh.streams.sort_by_cached_key(|listed| self.rank(&Position::of_stream(&listed.stream)));
        Ok(fresh)
    }

    /// A stream that is wanted, with its wanted objects: nothing when those are looked for, and there are none.
    pub(crate) fn candidate(
        &self,
        made: &mut Objects,
        listed: Listed,
        trouble: &mut dyn FnMut(&dyn Display),
    ) -> Option<Candidate> {
        if !self.objects {
            return Some(Candidate { stream: listed.stream, rows: Vec::new() });
        }
        match self.rows(made, &listed) {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => Some(Candidate { stream: listed.stream, rows }),
            Err(error) => {
                trouble(&error);
                None
            }
        }
    }

    /// The objects of a stream that are wanted by their rows, in order.
    fn rows(&self, made: &mut Objects, listed: &Listed) -> Result<Vec<ObjectRow>, Error> {
        let of_it = |row: &&ObjectRow| row.direction == listed.stream.direction && self.wants(row);
        let mut rows: Vec<ObjectRow> = made.of(self.store, listed)?.iter().filter(of_it).cloned().collect();
        rows.sort_by_key(|row| self.rank(&Position::of_object(row)));
        Ok(rows)
    }

    fn wants(&self, row: &ObjectRow) -> bool {
        let rank = || self.rank(&Position::of_object(row));
        self.filter.objects.matches(row)
            && self.said.is_none_or(|said| said.wants(row))
            && self.after.is_none_or(|after| rank() > after)
    }
}

/// What no index has.
struct Fresh {
    streams: Vec<Listed>,
    /// Connections of which rows in an index do not count.
    keys: HashMap<ConnKey, ()>,
}

/// An index file that is being gone through.
struct File<'r> {
    file: usize,
    plan: Option<Plan<'r>>,
    /// An object of the next stream, which was met when the one before ended.
    next: Option<ObjectRow>,
    fresh: &'r HashMap<ConnKey, ()>,
}

impl<'r> File<'r> {
    /// The next candidate.
    fn next(
        &mut self,
        search: &Search<'_>,
        reader: &'r Reader<'r>,
        told: &mut Told<'_>,
    ) -> Result<Option<(Rank, Candidate)>, Unread> {
        let Some(reading) = reader.files.get(self.file) else { return Ok(None) };
        if self.plan.is_none() {
            let made = plan(
                reading,
                search.table(),
                Asked { filter: search.filter, said: search.said },
                search.from,
                search.go_on,
            );
            self.plan = Some(made.map_err(|bad| Unread::File(self.file, bad))?);
        }
        if !search.objects {
            let Some(listed) = self.next_stream(search, reader, told)? else { return Ok(None) };
            let rank = search.rank(&Position::of_stream(&listed.stream));
            return Ok(Some((rank, Candidate { stream: listed.stream, rows: Vec::new() })));
        }
        while let Some(rows) = self.next_objects(search, reader, told)? {
            let Some(first) = rows.first() else { break };
            let position = Position::of_object(first);
            let (key, direction) = (position.key, position.direction as u64);
            let rank = [of_time(position.time), key.bucket.0, key.number.into(), direction];
            let Some(listed) = reader.find(self.file, rank)? else { continue };
            let rank = search.rank(&Position::of_stream(&listed.stream));
            if search.filter.matches(&listed.stream) && search.from.is_none_or(|from| from.takes(rank)) {
                return Ok(Some((rank, Candidate { stream: listed.stream, rows })));
            }
        }
        Ok(None)
    }

    fn next_stream(
        &mut self,
        search: &Search<'_>,
        reader: &Reader<'_>,
        told: &mut Told<'_>,
    ) -> Result<Option<Listed>, Unread> {
        let mut values = Vec::new();
        while self.next_row(search, reader, told, &mut values)? {
            let Some(listed) = reader.stream(self.file, &values)? else { continue };
            let takes = |from: Start| from.takes(search.rank(&Position::of_stream(&listed.stream)));
            if search.filter.matches(&listed.stream) && search.from.is_none_or(takes) {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    }

    /// All wanted objects of the next stream that has some.
    fn next_objects(
        &mut self,
        search: &Search<'_>,
        reader: &Reader<'_>,
        told: &mut Told<'_>,
    ) -> Result<Option<Vec<ObjectRow>>, Unread> {
        let mut rows: Vec<ObjectRow> = self.next.take().into_iter().collect();
        let mut values = Vec::new();
        while self.next_row(search, reader, told, &mut values)? {
            let Some(reading) = reader.files.get(self.file) else { break };
            if !reader.is_newest(self.file, &values)? {
                continue;
            }
            let row = reading.object(&values).map_err(|bad| Unread::File(self.file, bad))?;
            let wanted = !self.fresh.contains_key(&row.key)
                && search.filter.direction.is_none_or(|direction| direction == row.direction)
                && search.filter.matches_connection(&row.tuple)
                && search.wants(&row);
            if !wanted {
                continue;
            }
            let of_stream = |row: &ObjectRow| (row.start, row.key, row.direction);
            match rows.first() {
                Some(first) if of_stream(first) != of_stream(&row) => {
                    self.next = Some(row);
                    return Ok(Some(rows));
                }
                _ => rows.push(row),
            }
        }
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }

    /// The next row that may be wanted.
    fn next_row(
        &mut self,
        search: &Search<'_>,
        reader: &Reader<'_>,
        told: &mut Told<'_>,
        values: &mut Vec<u64>,
    ) -> Result<bool, Unread> {
        let (Some(reading), Some(plan)) = (reader.files.get(self.file), &mut self.plan) else { return Ok(false) };
        let refused = |bad| Unread::File(self.file, bad);
        while let Some(row) = plan.walk.next().map_err(refused)? {
            *told.looked += 1;
            if !(search.go_on)() {
                return Ok(false);
            }
            if plan.passes(reading, row).map_err(refused)? {
                reading.values(search.table(), row, values).map_err(refused)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}
