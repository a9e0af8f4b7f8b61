//! How the rows of one index file are found that a filter may want: by the lists of the term that has the fewest, and what is
//! tested of each row before it is looked at whole.
//!
//! A plan may let through rows that are not wanted, and never leaves out one that is: whoever goes by it asks the filter of
//! every row that it gives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use streamdb_storage::index::{Bad, Class, Lexicon, Order as Keys, Reading, Table, object as o, of_time, stream as s};
use streamdb_types::{ObjectKind, Reason};

use crate::address::{AddressSet, Network};
use crate::community::digest_of;
use crate::filter::Filter;
use crate::object::{ObjectFilter, Wording, meta_of};
use crate::pattern::Expression;
use crate::scan::{Rank, Start};
use crate::set::Set;
use crate::walk::{Lists, Walk, gathered, some};

/// Up to so many rows are gathered from their lists and sorted.
const GATHERED: u64 = 100_000;
/// Up to so many lists are gone through together.
const LISTS: usize = 64;
/// Looking at a distinct string or class costs about so many times less than looking at a row.
const STRINGS_A_ROW: u64 = 4;

/// What is tested of a row by one of its columns.
struct Test {
    column: usize,
    /// Sorted, apart from each other.
    keys: Vec<Range<u32>>,
    keep: Keep,
}

/// Which rows pass.
enum Keep {
    /// Those with one of the keys in this column, or in the other one.
    Either(Option<usize>),
    /// Those with none of them.
    Neither(Option<usize>),
}

/// How to find rows.
pub(crate) struct Plan<'r> {
    pub(crate) walk: Walk<'r>,
    tests: Vec<Test>,
    table: Table,
}

/// Rows by one term: the lists of these keys.
struct Way {
    parts: Vec<(Keys, Vec<Range<u32>>)>,
    rows: u64,
}

impl Plan<'_> {
    /// Whether a row may be wanted.
    pub(crate) fn passes(&self, reading: &Reading<'_>, row: u32) -> Result<bool, Bad> {
        for test in &self.tests {
            if !test.passes(reading, self.table, row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Test {
    fn passes(&self, reading: &Reading<'_>, table: Table, row: u32) -> Result<bool, Bad> {
        let has = |column: usize| -> Result<bool, Bad> {
            let value = reading.value(table, row, column)? as u32;
            let at = self.keys.partition_point(|keys| keys.end <= value);
            Ok(self.keys.get(at).is_some_and(|keys| keys.contains(&value)))
        };
        Ok(match self.keep {
            Keep::Either(other) => has(self.column)? || other.map(has).transpose()?.unwrap_or(false),
            Keep::Neither(other) => !has(self.column)? && !other.map(has).transpose()?.unwrap_or(false),
        })
    }
}

/// Plans for one table of one file.
struct Planner<'r, 'f> {
    reading: &'r Reading<'r>,
    table: Table,
    filter: &'f Filter,
    ways: Vec<Way>,
    tests: Vec<Test>,
}

/// A plan for the rows of a table that stand in the order at `from` or behind it.
pub(crate) fn plan<'r>(
    reading: &'r Reading<'r>,
    table: Table,
    filter: &Filter,
    from: Option<Start>,
) -> Result<Plan<'r>, Bad> {
    let range = range(reading, table, filter, from)?;
    let mut planner = Planner { reading, table, filter, ways: Vec::new(), tests: Vec::new() };
    let mut walk = Walk::All(range.clone(), filter.order);
    if !range.is_empty() {
        let communities = planner.communities()?;
        planner.connection()?;
        if table == Table::Streams {
            planner.stream()?;
        } else {
            planner.object(&filter.objects)?;
        }
        walk = match communities {
            Some(rows) => some(rows.into_iter().filter(|row| range.contains(row)).collect(), filter.order),
            None => planner.walk(&range)?,
        };
    }
    Ok(Plan { walk, tests: planner.tests, table })
}

/// The rows that the time and the position leave.
fn range(reading: &Reading<'_>, table: Table, filter: &Filter, from: Option<Start>) -> Result<Range<u32>, Bad> {
    let first = filter.start.map_or(0, of_time);
    let last = filter.end.map_or(u64::MAX, of_time);
    let mut range = match (filter.start, filter.end) {
        (None, None) => 0..reading.segment.rows(table),
        _ => reading.between(table, first, last)?,
    };
    match from.map(|from| from.rank) {
        None => {}
        Some(Rank::Ascending(position)) => {
            let rank =
                [of_time(position.time), position.key.bucket.0, position.key.number.into(), position.direction as u64];
            range.start = range.start.max(reading.row_of(table, &rank)?);
        }
        Some(Rank::Descending(std::cmp::Reverse(position))) => {
            let after = position.direction as u64 + 1;
            let rank = [of_time(position.time), position.key.bucket.0, position.key.number.into(), after];
            range.end = range.end.min(reading.row_of(table, &rank)?);
        }
    }
    Ok(range.start..range.end.max(range.start))
}

impl<'r> Planner<'r, '_> {
    fn order(&self, column: usize) -> Option<Keys> {
        self.table.order_of(column)
    }

    /// A term that has to be true of one column, or of one of two.
    fn term(
        &mut self,
        column: usize,
        other: Option<usize>,
        mut keys: Vec<Range<u32>>,
        negated: bool,
    ) -> Result<(), Bad> {
        keys.retain(|keys| !keys.is_empty());
        keys.sort_unstable_by_key(|keys| keys.start);
        let mut apart: Vec<Range<u32>> = Vec::with_capacity(keys.len());
        for keys in keys {
            match apart.last_mut() {
                Some(last) if keys.start <= last.end => last.end = last.end.max(keys.end),
                _ => apart.push(keys),
            }
        }
        if !negated {
            let mut way = Way { parts: Vec::new(), rows: 0 };
            for column in std::iter::once(column).chain(other) {
                let Some(order) = self.order(column) else { continue };
                for keys in &apart {
                    way.rows = way.rows.saturating_add(self.reading.count(self.table, order, keys.clone())?);
                }
                way.parts.push((order, apart.clone()));
            }
            if way.parts.len() == 1 + usize::from(other.is_some()) {
                self.ways.push(way);
            }
        }
        let keep = if negated { Keep::Neither(other) } else { Keep::Either(other) };
        self.tests.push(Test { column, keys: apart, keep });
        Ok(())
    }

    /// The rows of connections with these community ids, if some are asked for.
    fn communities(&self) -> Result<Option<Vec<u32>>, Bad> {
        let Some(set) = self.filter.community.as_ref().filter(|set| !set.negated) else { return Ok(None) };
        let mut rows = Vec::new();
        for id in &set.values {
            if let Some(digest) = digest_of(id) {
                rows.extend(self.reading.by_community(self.table, &digest)?);
            }
        }
        Ok(Some(rows))
    }

    /// What is wanted of both ends and of the protocol.
    fn connection(&mut self) -> Result<(), Bad> {
        let filter = self.filter;
        for (set, column, other) in [
            (&filter.src.addr, s::CLIENT, None),
            (&filter.dst.addr, s::SERVER, None),
            (&filter.ip, s::CLIENT, Some(s::SERVER)),
        ] {
            if let Some(set) = set {
                let keys = self.addresses(set)?;
                self.term(column, other, keys, set.negated)?;
            }
        }
        let one = |n: u32| n..n.saturating_add(1);
        for (set, column, other) in [
            (&filter.src.port, s::CLIENT_PORT, None),
            (&filter.dst.port, s::SERVER_PORT, None),
            (&filter.port, s::CLIENT_PORT, Some(s::SERVER_PORT)),
        ] {
            if let Some(set) = set {
                self.term(column, other, set.values.iter().map(|port| one((*port).into())).collect(), set.negated)?;
            }
        }
        if let Some(set) = &filter.protocol {
            let keys = set.values.iter().map(|protocol| one(protocol.0.into())).collect();
            self.term(s::PROTOCOL, None, keys, set.negated)?;
        }
        if let Some(direction) = filter.direction {
            self.term(s::DIRECTION, None, vec![one(direction as u32)], false)?;
        }
        Ok(())
    }

    fn addresses(&self, set: &AddressSet) -> Result<Vec<Range<u32>>, Bad> {
        // Where IPv4 addresses stand among IPv6 ones, of which they are none.
        let four = self.reading.addresses_between(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())?;
        let mut keys = Vec::new();
        for network in &set.values {
            let (first, last) = network.ends();
            let all = self.reading.addresses_between(first, last)?;
            if first.is_ipv4() {
                keys.push(all);
            } else {
                keys.push(all.start..all.end.min(four.start));
                keys.push(all.start.max(four.end)..all.end);
            }
        }
        Ok(keys)
    }

    /// What is wanted of streams alone.
    fn stream(&mut self) -> Result<(), Bad> {
        if let Some(set) = &self.filter.reason {
            // Why those ended that were to go on is known when all is looked at.
            let wanted = Reason::ALL.into_iter().filter(|reason| set.wants(|wanted| *wanted == Some(*reason)));
            let letters = wanted.map(|reason| reason.letter() as u32);
            let keys = std::iter::once(0).chain(letters).map(|n| n..n + 1).collect();
            self.term(s::REASON, None, keys, false)?;
        }
        if let Some(length) = &self.filter.length {
            self.by_width(s::LENGTH, *length.start(), *length.end())?;
        }
        Ok(())
    }

    /// A range of numbers, by how many binary digits they have.
    fn by_width(&mut self, column: usize, least: u64, most: u64) -> Result<(), Bad> {
        let width = |n: u64| 64 - n.leading_zeros();
        let keys = width(least)..width(most) + 1;
        if let Some(order) = self.order(column) {
            let rows = self.reading.count(self.table, order, keys.clone())?;
            self.ways.push(Way { parts: vec![(order, vec![keys])], rows });
        }
        Ok(())
    }

    /// What is wanted of objects.
    fn object(&mut self, wanted: &ObjectFilter) -> Result<(), Bad> {
        if let Some(size) = &wanted.size {
            self.by_width(o::SIZE, *size.start(), *size.end())?;
        }
        self.digests(wanted)?;
        self.classes(wanted)?;
        if let Some(set) = wanted.method.as_ref().filter(|set| !set.negated) {
            let mut keys = Vec::new();
            for method in &set.values {
                let range = self.reading.texts_with_prefix(method.to_ascii_lowercase().as_bytes())?;
                keys.extend(self.keys_of_texts(range, |text| text == method)?);
            }
            self.term(o::METHOD, None, keys, false)?;
        }
        for (set, column) in [(&wanted.host, o::HOST), (&wanted.name, o::FILENAME), (&wanted.uri, o::URI)] {
            if let Some(set) = set.as_ref().filter(|set| !set.negated) {
                self.texts(set, column)?;
            }
        }
        Ok(())
    }

    fn digests(&mut self, wanted: &ObjectFilter) -> Result<(), Bad> {
        let one = |n: u32| n.saturating_add(1)..n.saturating_add(2);
        if let Some(set) = wanted.sha256.as_ref().filter(|set| !set.negated) {
            let mut keys = Vec::new();
            for sha256 in &set.values {
                keys.extend(self.reading.by_sha256(sha256)?.map(one));
            }
            self.term(o::DIGESTS, Some(o::DIGESTS_ENCODED), keys, false)?;
        }
        if let Some(set) = wanted.sha1.as_ref().filter(|set| !set.negated) {
            let mut keys = Vec::new();
            for sha1 in &set.values {
                keys.extend(self.reading.by_sha1(sha1)?.into_iter().map(one));
            }
            self.term(o::DIGESTS, Some(o::DIGESTS_ENCODED), keys, false)?;
        }
        if let Some(set) = wanted.md5.as_ref().filter(|set| !set.negated) {
            let mut keys = Vec::new();
            for md5 in &set.values {
                keys.extend(self.reading.by_md5(md5)?.into_iter().map(one));
            }
            self.term(o::DIGESTS, Some(o::DIGESTS_ENCODED), keys, false)?;
        }
        Ok(())
    }

    /// So many rows are left by the best way until now.
    fn best(&self) -> u64 {
        let rows = u64::from(self.reading.segment.rows(self.table));
        self.ways.iter().map(|way| way.rows).min().unwrap_or(rows)
    }

    /// What few distinct objects are.
    fn classes(&mut self, wanted: &ObjectFilter) -> Result<(), Bad> {
        let count = self.reading.strings(Lexicon::Classes);
        if !wanted.is_of_class() || u64::from(count) > self.best().saturating_mul(STRINGS_A_ROW) {
            return Ok(());
        }
        let mut keys = Vec::new();
        for n in 0..count {
            if class_may_match(wanted, &self.reading.class(n)?) {
                keys.push(n + 1..n + 2);
            }
        }
        self.term(o::CLASS, None, keys, false)
    }

    /// Texts that have one of these expressions in them.
    fn texts(&mut self, set: &Set<Expression>, column: usize) -> Result<(), Bad> {
        let ranges: Result<Vec<Range<u32>>, Bad> =
            set.values.iter().map(|e| self.reading.texts_with_prefix(e.prefix())).collect();
        let ranges = ranges?;
        let Some(order) = self.order(column) else { return Ok(()) };
        let mut texts = 0u64;
        for range in &ranges {
            texts =
                texts.saturating_add(self.reading.keys_between(self.table, order, range.start + 1..range.end + 1)?);
        }
        if texts > self.best().saturating_mul(STRINGS_A_ROW) {
            return Ok(());
        }
        let mut keys = Vec::new();
        for (range, expression) in ranges.into_iter().zip(&set.values) {
            let is_host = column == o::HOST;
            self.reading.each_key(self.table, order, range.start + 1..range.end + 1, &mut |key| {
                let text = String::from_utf8_lossy(self.reading.string(Lexicon::Texts, key - 1)?);
                let matches = if is_host { crate::object::is_host(expression, &text) } else { expression.is_in(&text) };
                if matches {
                    keys.push(key..key + 1);
                }
                Ok(())
            })?;
        }
        self.term(column, None, keys, false)
    }

    /// The keys of those texts of a range for which `is` says so.
    fn keys_of_texts(&self, range: Range<u32>, is: impl Fn(&str) -> bool) -> Result<Vec<Range<u32>>, Bad> {
        let mut keys = Vec::new();
        for n in range {
            if std::str::from_utf8(self.reading.string(Lexicon::Texts, n)?).is_ok_and(&is) {
                keys.push(n + 1..n + 2);
            }
        }
        Ok(keys)
    }

    /// By the way with the fewest rows, or by all rows when there are fewer of those.
    fn walk(&mut self, range: &Range<u32>) -> Result<Walk<'r>, Bad> {
        let all = u64::from(range.end - range.start);
        let best = (0..self.ways.len()).min_by_key(|at| self.ways.get(*at).map(|way| way.rows));
        let Some(way) = best.map(|at| self.ways.swap_remove(at)) else {
            return Ok(Walk::All(range.clone(), self.filter.order));
        };
        // Of a file's rows the time leaves a part, of the lists' likely as large a one; that is found by their runs.
        let inside = u128::from(way.rows) * u128::from(all) / u128::from(self.reading.segment.rows(self.table).max(1));
        let mut lists = Vec::new();
        for (order, keys) in way.parts {
            for keys in keys {
                lists.extend(self.reading.lists(self.table, order, keys)?);
                // Each is a place to look at: with more of them, a quarter of all rows is looked at sooner.
                if lists.len() > LISTS && inside > u128::from(all / 4) {
                    return Ok(Walk::All(range.clone(), self.filter.order));
                }
            }
        }
        if lists.len() > LISTS || way.rows <= GATHERED {
            if way.rows > GATHERED && inside > u128::from(all / 8) {
                return Ok(Walk::All(range.clone(), self.filter.order));
            }
            let all = || Walk::All(range.clone(), self.filter.order);
            return Ok(gathered(&lists, range, self.filter.order)?.unwrap_or_else(all));
        }
        Ok(Walk::Lists(Lists::new(lists, range, self.filter.order)?))
    }
}

/// Whether objects of a class may be wanted.
fn class_may_match(wanted: &ObjectFilter, class: &Class) -> bool {
    let text =
        |set: &Option<Set<Expression>>, value: &str| set.as_ref().is_none_or(|set| set.wants(|e| e.is_in(value)));
    wanted.kind.as_ref().is_none_or(|set| set.wants(|kind| *kind == class.kind))
        && wanted.status.as_ref().is_none_or(|set| set.wants(|status| Some(*status) == class.status))
        && text(&wanted.mime, &class.mime)
        && wanted.incomplete.is_none_or(|incomplete| incomplete != class.complete)
        && wanted
            .mismatch
            .is_none_or(|mismatch| mismatch == crate::mismatch::of(class.declared_type.as_deref(), &class.mime))
        && wanted.filetype.as_ref().is_none_or(|set| {
            // The line of a request has its host and target, which its class has not.
            class.kind == ObjectKind::Request || {
                let (legacy, current) = (meta_of(class, Wording::Legacy), meta_of(class, Wording::Current));
                set.wants(|expression| expression.is_in(&legacy) || expression.is_in(&current))
            }
        })
}

impl Network {
    /// Its first and its last address.
    fn ends(&self) -> (IpAddr, IpAddr) {
        match self.base() {
            IpAddr::V4(addr) => {
                let rest = u32::MAX.checked_shr(self.bits()).unwrap_or(0);
                let first = addr.to_bits() & !rest;
                (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(first | rest).into())
            }
            IpAddr::V6(addr) => {
                let rest = u128::MAX.checked_shr(self.bits()).unwrap_or(0);
                let first = addr.to_bits() & !rest;
                (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(first | rest).into())
            }
        }
    }
}
