//! What the terms of a filter ask of the rows of one table of an index file: which lists have the rows that may hold each of
//! them, and what a row has to have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Range, RangeInclusive};

use streamdb_storage::index::{Bad, Class, Lexicon, Order as Keys, Reading, Table, object as o, step_of, stream as s};
use streamdb_types::{ObjectKind, Reason};

use crate::address::{AddressSet, Network};
use crate::community::digest_of;
use crate::filter::Filter;
use crate::object::{CONFLICT, INCOMPLETE, ObjectFilter, Wording, meta_of};
use crate::pattern::Expression;
use crate::required::Literals;
use crate::set::Set;
use crate::verdict::Said;

/// Looking at a distinct string or class costs about so many times less than looking at a row.
const STRINGS_A_ROW: u64 = 4;
/// Going through so many bytes of texts for a literal costs about as much as looking at a row.
const BYTES_A_ROW: u64 = 8192;
/// So few texts are looked at one by one.
const FEW_TEXTS: u64 = 256;
/// Most distinct texts that a term is looked up by.
const MOST_TEXTS: usize = 1 << 20;
/// Most separate ranges of keys whose lists are looked up.
const MOST_KEYS: usize = 1 << 14;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'f> {
    pub(crate) filter: &'f Filter,
    /// The contents with the verdicts that it names, if it names some.
    pub(crate) said: Option<&'f Said>,
}

/// All terms of a filter.
pub(crate) struct Terms {
    /// The rows of connections with these community ids, if some are asked for.
    pub(crate) communities: Option<Vec<u32>>,
    pub(crate) all: Vec<Term>,
}

/// One of them.
pub(crate) struct Term {
    /// Where the rows are for which it may hold; `None` where there are no such lists.
    pub(crate) lists: Option<Lists>,
    pub(crate) test: Test,
    /// Whether the rows of the lists are just those that pass the test.
    pub(crate) exact: bool,
}

/// The lists of these keys.
pub(crate) struct Lists {
    pub(crate) parts: Vec<(Keys, Vec<Range<u32>>)>,
    /// How many rows they have, together.
    pub(crate) rows: u64,
}

/// What is asked of a row.
pub(crate) enum Test {
    /// One of the keys in one of the columns, or, negated, in none; keys sorted and apart from each other.
    Keys { sides: Vec<(usize, Vec<Range<u32>>)>, negated: bool },
    /// A number of these.
    Number { column: usize, range: RangeInclusive<u64> },
}

impl Test {
    /// Whether a row passes.
    pub(crate) fn passes(&self, reading: &Reading<'_>, table: Table, row: u32) -> Result<bool, Bad> {
        match self {
            Self::Number { column, range } => Ok(range.contains(&reading.value(table, row, *column)?)),
            Self::Keys { sides, negated } => {
                for (column, keys) in sides {
                    let value = reading.value(table, row, *column)? as u32;
                    let at = keys.partition_point(|keys| keys.end <= value);
                    if keys.get(at).is_some_and(|keys| keys.contains(&value)) {
                        return Ok(!negated);
                    }
                }
                Ok(*negated)
            }
        }
    }
}

/// Gathers the terms for one table of one file.
struct Gatherer<'r, 'f> {
    reading: &'r Reading<'r>,
    table: Table,
    filter: &'f Filter,
    said: Option<&'f Said>,
    /// So many rows there are to be looked at, when no term has lists.
    rows: u64,
    go_on: &'f dyn Fn() -> bool,
    terms: Vec<Term>,
}

impl Terms {
    /// What a filter asks for of the rows of a range; when `go_on` says no before that is known, something else.
    pub(crate) fn of(
        reading: &Reading<'_>,
        table: Table,
        asked: Asked<'_>,
        range: &Range<u32>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self, Bad> {
        let rows = u64::from(range.end - range.start);
        let Asked { filter, said } = asked;
        let mut gatherer = Gatherer { reading, table, filter, said, rows, go_on, terms: Vec::new() };
        let communities = gatherer.communities()?;
        gatherer.rows = communities.as_ref().map_or(rows, |found| rows.min(found.len() as u64));
        gatherer.connection()?;
        match table {
            Table::Streams => gatherer.stream()?,
            Table::Objects => gatherer.object(&filter.objects)?,
        }
        Ok(Self { communities, all: gatherer.terms })
    }
}

/// Sorted, and those together that touch each other.
fn apart(mut keys: Vec<Range<u32>>) -> Vec<Range<u32>> {
    keys.retain(|keys| !keys.is_empty());
    keys.sort_unstable_by_key(|keys| keys.start);
    let mut apart: Vec<Range<u32>> = Vec::with_capacity(keys.len());
    for keys in keys {
        match apart.last_mut() {
            Some(last) if keys.start <= last.end => last.end = last.end.max(keys.end),
            _ => apart.push(keys),
        }
    }
    apart
}

const fn one(n: u32) -> Range<u32> {
    n..n.saturating_add(1)
}

impl Gatherer<'_, '_> {
    /// A term that has to be true of one of these columns.
    fn term(&mut self, sides: Vec<(usize, Vec<Range<u32>>)>, negated: bool) -> Result<(), Bad> {
        let sides: Vec<_> = sides.into_iter().map(|(column, keys)| (column, apart(keys))).collect();
        let lists = if negated { None } else { self.lists(&sides)? };
        self.terms.push(Term { lists, test: Test::Keys { sides, negated }, exact: true });
        Ok(())
    }

    /// The lists of these keys, if each of the columns has some, and they are not too many.
    fn lists(&self, sides: &[(usize, Vec<Range<u32>>)]) -> Result<Option<Lists>, Bad> {
        if sides.iter().map(|(_, keys)| keys.len()).sum::<usize>() > MOST_KEYS {
            return Ok(None);
        }
        let mut lists = Lists { parts: Vec::new(), rows: 0 };
        for (column, keys) in sides {
            let Some(order) = self.table.order_of(*column) else { return Ok(None) };
            for keys in keys {
                lists.rows = lists.rows.saturating_add(self.reading.count(self.table, order, keys.clone())?);
            }
            lists.parts.push((order, keys.clone()));
        }
        Ok(Some(lists))
    }

    /// A range of numbers, by the steps on which they stand.
    fn numbers(&mut self, column: usize, range: &RangeInclusive<u64>) -> Result<(), Bad> {
        let keys = step_of(*range.start())..step_of(*range.end()).saturating_add(1);
        let lists = self.lists(&[(column, vec![keys])])?;
        self.terms.push(Term { lists, test: Test::Number { column, range: range.clone() }, exact: false });
        Ok(())
    }

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
        for (set, columns) in [
            (&filter.src.addr, &[s::CLIENT][..]),
            (&filter.dst.addr, &[s::SERVER]),
            (&filter.ip, &[s::CLIENT, s::SERVER]),
        ] {
            if let Some(set) = set {
                let keys = self.addresses(set)?;
                self.term(columns.iter().map(|column| (*column, keys.clone())).collect(), set.negated)?;
            }
        }
        for (set, columns) in [
            (&filter.src.port, &[s::CLIENT_PORT][..]),
            (&filter.dst.port, &[s::SERVER_PORT]),
            (&filter.port, &[s::CLIENT_PORT, s::SERVER_PORT]),
        ] {
            if let Some(set) = set {
                let keys: Vec<_> = set.values.iter().map(|port| one((*port).into())).collect();
                self.term(columns.iter().map(|column| (*column, keys.clone())).collect(), set.negated)?;
            }
        }
        if let Some(set) = &filter.protocol {
            let keys = set.values.iter().map(|protocol| one(protocol.0.into())).collect();
            self.term(vec![(s::PROTOCOL, keys)], set.negated)?;
        }
        if let Some(direction) = filter.direction {
            self.term(vec![(s::DIRECTION, vec![one(direction as u32)])], false)?;
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
            self.term(vec![(s::REASON, std::iter::once(0).chain(letters).map(one).collect())], false)?;
        }
        if let Some(length) = &self.filter.length {
            self.numbers(s::LENGTH, length)?;
        }
        Ok(())
    }

    /// What is wanted of objects.
    fn object(&mut self, wanted: &ObjectFilter) -> Result<(), Bad> {
        if let Some(size) = &wanted.size {
            self.numbers(o::SIZE, size)?;
        }
        self.digests(wanted)?;
        self.verdicts()?;
        if let Some(set) = wanted.method.as_ref().filter(|set| !set.negated) {
            let mut keys = Vec::new();
            for method in &set.values {
                let range = self.reading.texts_with_prefix(method.to_ascii_lowercase().as_bytes())?;
                self.each_text(o::METHOD, range, &mut |key, text| {
                    if text == *method {
                        keys.push(one(key));
                    }
                })?;
            }
            self.term(vec![(o::METHOD, keys)], false)?;
        }
        self.classes(wanted)?;
        for (set, column) in
            [(&wanted.host, o::HOST), (&wanted.name, o::FILENAME), (&wanted.uri, o::URI), (&wanted.fact, o::FACTS)]
        {
            if let Some(set) = set.as_ref().filter(|set| !set.negated) {
                self.texts(set, column)?;
            }
        }
        Ok(())
    }

    fn digests(&mut self, wanted: &ObjectFilter) -> Result<(), Bad> {
        let mut all = Vec::new();
        if let Some(set) = wanted.sha256.as_ref().filter(|set| !set.negated) {
            let mut found = Vec::new();
            for sha256 in &set.values {
                found.extend(self.reading.by_sha256(sha256)?);
            }
            all.push(found);
        }
        if let Some(set) = wanted.sha1.as_ref().filter(|set| !set.negated) {
            let mut found = Vec::new();
            for sha1 in &set.values {
                found.extend(self.reading.by_sha1(sha1)?);
            }
            all.push(found);
        }
        if let Some(set) = wanted.md5.as_ref().filter(|set| !set.negated) {
            let mut found = Vec::new();
            for md5 in &set.values {
                found.extend(self.reading.by_md5(md5)?);
            }
            all.push(found);
        }
        for found in all {
            let keys: Vec<_> = found.into_iter().map(|n| one(n.saturating_add(1))).collect();
            self.term(vec![(o::DIGESTS, keys.clone()), (o::DIGESTS_ENCODED, keys)], false)?;
        }
        Ok(())
    }

    /// Objects with contents of which a verdict is known.
    fn verdicts(&mut self) -> Result<(), Bad> {
        let Some(contents) = self.said.and_then(Said::contents) else { return Ok(()) };
        if contents.len() as u64 / STRINGS_A_ROW > self.best() {
            return Ok(());
        }
        let mut keys = Vec::new();
        for sha256 in contents {
            if !(self.go_on)() {
                break;
            }
            let found = self.reading.by_sha256(sha256)?;
            keys.push(found.start.saturating_add(1)..found.end.saturating_add(1));
        }
        self.term(vec![(o::DIGESTS, keys)], false)
    }

    /// So many rows are left by the best lists until now.
    fn best(&self) -> u64 {
        let of_lists = self.terms.iter().filter_map(|term| term.lists.as_ref()).map(|lists| lists.rows);
        of_lists.chain([self.rows]).min().unwrap_or_default()
    }

    /// What few distinct objects are.
    fn classes(&mut self, wanted: &ObjectFilter) -> Result<(), Bad> {
        let count = self.reading.strings(Lexicon::Classes);
        if !wanted.is_of_class() || u64::from(count) > self.best().saturating_mul(STRINGS_A_ROW) {
            return Ok(());
        }
        let (mut classes, mut requests) = (Vec::new(), Vec::new());
        for n in 0..count {
            if !(self.go_on)() {
                break;
            }
            match may_match(wanted, &self.reading.class(n)?) {
                MayMatch::Yes => classes.push(one(n + 1)),
                MayMatch::AsARequest => requests.push(one(n + 1)),
                MayMatch::No => {}
            }
        }
        if requests.is_empty() {
            return self.term(vec![(o::CLASS, classes)], false);
        }
        match self.lines_of_requests(wanted.filetype.as_ref())? {
            Some(texts) => {
                let lines = [o::METHOD, o::HOST, o::URI].map(|column| (column, texts.clone()));
                self.term(std::iter::once((o::CLASS, classes)).chain(lines).collect(), false)
            }
            None => self.term(vec![(o::CLASS, classes.into_iter().chain(requests).collect())], false),
        }
    }

    /// The keys of all texts that a request has to have so that its line has one of these expressions in it; `None` where that
    /// cannot be told, or takes longer than to look at the rows.
    fn lines_of_requests(&self, wanted: Option<&Set<Expression>>) -> Result<Option<Vec<Range<u32>>>, Bad> {
        let Some(set) = wanted.filter(|set| !set.negated) else { return Ok(None) };
        let texts = 0..self.reading.strings(Lexicon::Texts);
        let bytes = self.reading.text_bytes(texts.clone())?;
        if (bytes / BYTES_A_ROW).saturating_mul(set.values.len() as u64) > self.best() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for expression in &set.values {
            // Method, host and target stand in the line one behind the other, with nothing between them that is not one of
            // these, so that a piece without them is in one of the three, or in what is said of its completeness.
            let pieces = expression.hir().and_then(|hir| Literals::pieces_of(&hir, b" /", &[INCOMPLETE, CONFLICT]));
            let Some(pieces) = pieces else { return Ok(None) };
            let find = |bytes: &[u8], from: usize| pieces.find(bytes, from);
            self.reading.texts_with(texts.clone(), &find, self.go_on, &mut |n, _| {
                keys.push(one(n.saturating_add(1)));
                keys.len() <= MOST_TEXTS && (self.go_on)()
            })?;
            if keys.len() > MOST_TEXTS {
                return Ok(None);
            }
        }
        Ok(Some(keys))
    }

    /// Texts that have one of these expressions in them.
    fn texts(&mut self, set: &Set<Expression>, column: usize) -> Result<(), Bad> {
        let Some(order) = self.table.order_of(column) else { return Ok(()) };
        let is_host = column == o::HOST;
        let (mut keys, mut cost) = (Vec::new(), 0u64);
        for expression in &set.values {
            let matches = |text: &str| {
                if is_host { crate::object::is_host(expression, text) } else { expression.is_in(text) }
            };
            let range = self.reading.texts_with_prefix(expression.prefix())?;
            let texts = self.reading.keys_between(self.table, order, keys_of(&range))?;
            // Each of the column's own texts, or the bytes of all that lie between them.
            let (one_by_one, at_once) = (texts / STRINGS_A_ROW, self.reading.text_bytes(range.clone())? / BYTES_A_ROW);
            let literals = || expression.hir().as_ref().and_then(Literals::of);
            let literals = if texts > FEW_TEXTS && at_once < one_by_one { literals() } else { None };
            cost = cost.saturating_add(if literals.is_some() { at_once } else { one_by_one });
            if cost > self.best() {
                return Ok(());
            }
            match literals {
                Some(literals) => {
                    let mut of_column = Ok(());
                    let find = |bytes: &[u8], from: usize| literals.find(bytes, from);
                    self.reading.texts_with(range, &find, self.go_on, &mut |n, text| {
                        let key = one(n.saturating_add(1));
                        if matches(&String::from_utf8_lossy(text)) {
                            // It may be a text of other columns alone.
                            match self.reading.keys_between(self.table, order, key.clone()) {
                                Ok(0) => {}
                                Ok(_) => keys.push(key),
                                Err(bad) => of_column = Err(bad),
                            }
                        }
                        of_column.is_ok() && keys.len() <= MOST_TEXTS && (self.go_on)()
                    })?;
                    of_column?;
                }
                None => self.each_text(column, range, &mut |key, text| {
                    if matches(text) {
                        keys.push(one(key));
                    }
                })?,
            }
            if keys.len() > MOST_TEXTS {
                return Ok(());
            }
        }
        self.term(vec![(column, keys)], false)
    }

    /// Calls with the key of each text of a range that is one of a column, and the text.
    fn each_text(&self, column: usize, range: Range<u32>, each: &mut dyn FnMut(u32, &str)) -> Result<(), Bad> {
        let Some(order) = self.table.order_of(column) else { return Ok(()) };
        self.reading.each_key(self.table, order, keys_of(&range), self.go_on, &mut |key| {
            each(key, &String::from_utf8_lossy(self.reading.string(Lexicon::Texts, key.saturating_sub(1))?));
            Ok(())
        })
    }
}

/// The keys of the texts of a range.
const fn keys_of(texts: &Range<u32>) -> Range<u32> {
    texts.start.saturating_add(1)..texts.end.saturating_add(1)
}

/// Whether objects of a class may be wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MayMatch {
    Yes,
    No,
    /// That is for their line to say.
    AsARequest,
}

fn may_match(wanted: &ObjectFilter, class: &Class) -> MayMatch {
    let text =
        |set: &Option<Set<Expression>>, value: &str| set.as_ref().is_none_or(|set| set.wants(|e| e.is_in(value)));
    let may = wanted.kind.as_ref().is_none_or(|set| set.wants(|kind| *kind == class.kind))
        && wanted.status.as_ref().is_none_or(|set| set.wants(|status| Some(*status) == class.status))
        && text(&wanted.mime, &class.mime)
        && wanted.incomplete.is_none_or(|incomplete| incomplete != class.complete)
        && wanted
            .mismatch
            .is_none_or(|mismatch| mismatch == crate::mismatch::of(class.declared_type.as_deref(), &class.mime));
    match &wanted.filetype {
        _ if !may => MayMatch::No,
        None => MayMatch::Yes,
        // The line of a request has its host and target, which its class has not.
        Some(_) if class.kind == ObjectKind::Request => MayMatch::AsARequest,
        Some(set) => {
            let (legacy, current) = (meta_of(class, Wording::Legacy), meta_of(class, Wording::Current));
            let wants = set.wants(|expression| expression.is_in(&legacy) || expression.is_in(&current));
            if wants { MayMatch::Yes } else { MayMatch::No }
        }
    }
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
