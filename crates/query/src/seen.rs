//! A content known once: when it was seen, how often, between whom, and under which names. Its bytes stay in the buckets.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::ControlFlow;

use streamdb_derive::{Error, Rows};
use streamdb_storage::Store;
use streamdb_types::{ObjectRow, Oid, Timestamp};

use crate::filter::{Filter, Order};
use crate::find::{Looked, Looking, Tally, find_objects};
use crate::set::Set;
use crate::troubles::Troubles;

/// Most names of one kind, and most pairs that are told.
pub const TOLD: usize = 100;
/// Most pairs that are counted.
const PAIRS: usize = 10_000;

/// Different names, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// So many as there is room for.
    pub values: BTreeSet<String>,
    /// Whether there are others.
    pub more: bool,
}

impl Names {
    fn add(&mut self, name: Option<&str>) {
        let Some(name) = name.filter(|name| !self.values.contains(*name)) else { return };
        if self.values.len() < TOLD {
            self.values.insert(name.to_owned());
        } else {
            self.more = true;
        }
    }
}

/// A client and a server between whom a content went, whichever way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Who opened the connections.
    pub client: IpAddr,
    /// The other side.
    pub server: IpAddr,
}

/// What is gathered of the objects that have a content, given newest first.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often, and when the streams began that had it.
    pub tally: Tally,
    /// Names that its senders gave it.
    pub filenames: Names,
    /// Hosts that it was asked of.
    pub hosts: Names,
    /// Who opened the connections.
    pub sources: Names,
    /// The other sides of them.
    pub destinations: Names,
    /// The first that was given.
    pub newest: Option<ObjectRow>,
    /// The first that is complete: to fetch it by.
    pub whole: Option<Oid>,
    digest: [u8; 32],
    pairs: HashMap<Pair, u64>,
    /// Whether pairs were left out.
    uncounted: bool,
}

impl Seen {
    /// Nothing yet of the content with this SHA-256: as long as nothing is left out, that is all.
    pub fn new(digest: [u8; 32]) -> Self {
        Self { digest, tally: Tally { exact: true, ..Tally::default() }, ..Self::default() }
    }

    /// One more; whether there was room for it. Where there is none, what is counted is not all.
    pub fn add(&mut self, row: &ObjectRow) -> bool {
        if self.tally.found == Tally::MOST {
            self.tally.exact = false;
            return false;
        }
        self.tally.add(row.start);
        self.newest.get_or_insert_with(|| row.clone());
        // Not of the bytes as they were sent: it is handed out decoded.
        let is_it = row.complete && row.digests.is_some_and(|digests| digests.sha256 == self.digest);
        self.whole = self.whole.or(Some(row.oid).filter(|_| is_it));
        self.filenames.add(row.filename.as_deref());
        self.hosts.add(row.host.as_deref());
        let pair = Pair { client: row.tuple.client.addr, server: row.tuple.server.addr };
        self.sources.add(Some(&pair.client.to_string()));
        self.destinations.add(Some(&pair.server.to_string()));
        if self.pairs.len() < PAIRS || self.pairs.contains_key(&pair) {
            *self.pairs.entry(pair).or_default() += 1;
        } else {
            self.uncounted = true;
        }
        true
    }

    /// Who had it from whom, the most frequent first, and how often; and whether there are others.
    pub fn pairs(&self) -> (Vec<(Pair, u64)>, bool) {
        let mut pairs: Vec<(Pair, u64)> = self.pairs.iter().map(|(pair, count)| (*pair, *count)).collect();
        pairs.sort_by_key(|(pair, count)| (std::cmp::Reverse(*count), *pair));
        let more = self.uncounted || pairs.len() > TOLD;
        pairs.truncate(TOLD);
        (pairs, more)
    }

    /// The stream that began first began then, when that is known otherwise than by what was counted.
    pub fn began(&mut self, first: Timestamp) {
        if let Some((began, _)) = &mut self.tally.times {
            *began = first.min(*began);
        }
    }
}

/// The filter for what has this SHA-256, newest first.
pub fn sightings(digest: [u8; 32]) -> Filter {
    let mut filter = Filter { order: Order::NewestFirst, ..Filter::default() };
    filter.objects.sha256 = Some(Set { values: vec![digest], negated: false });
    filter
}

/// The newest object that is whole and has this content, not only its bytes as sent. What cannot be read is told to `troubles`.
///
/// # Errors
/// When the store cannot be listed.
pub fn whole_object(store: &Store, sha256: &[u8; 32], troubles: &mut Troubles) -> Result<Option<Oid>, Error> {
    let mut whole = None;
    let looking = Looking { made: Rows::new(), go_on: &|| true, troubles };
    find_objects(store, &sightings(*sha256), looking, &mut |row| {
        let is_it = row.complete && row.digests.is_some_and(|digests| digests.sha256 == *sha256);
        whole = Some(row.oid).filter(|_| is_it);
        if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(whole)
}

/// The filter for the first that had it.
pub fn first_sighting(digest: [u8; 32]) -> Filter {
    Filter { order: Order::OldestFirst, limit: Some(1), ..sightings(digest) }
}

/// Where the content with this SHA-256 was seen. `made` makes the rows that are not kept.
///
/// # Errors
/// When the store cannot be listed.
pub fn seen(
    store: &Store,
    digest: [u8; 32],
    made: &dyn Fn() -> streamdb_derive::Rows,
    go_on: &(dyn Fn() -> bool + Sync),
    troubles: &mut Troubles,
) -> Result<(Seen, Looked), Error> {
    let mut seen = Seen::new(digest);
    let looking = Looking { made: made(), go_on, troubles };
    let looked = find_objects(store, &sightings(digest), looking, &mut |row| match seen.add(row) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    })?;
    if !seen.tally.exact {
        let looking = Looking { made: made(), go_on, troubles };
        find_objects(store, &first_sighting(digest), looking, &mut |row| {
            seen.began(row.start);
            ControlFlow::Break(())
        })?;
    }
    seen.tally.exact &= !looked.stopped;
    Ok((seen, looked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use streamdb_types::{
        BlockPlace, BucketId, ConnKey, Digests, Direction, Endpoint, ObjectKind, Protocol, StreamOffset, Tuple,
    };

    fn row(client: u8, server: u8, name: Option<u8>, start: i64, complete: bool, n: u64) -> ObjectRow {
        ObjectRow {
            oid: Oid { bucket: BucketId(1), place: BlockPlace(n), length: 1, index: 0 },
            key: ConnKey { bucket: BucketId(1), number: 0 },
            direction: Direction::ToClient,
            begins: StreamOffset(0),
            tuple: Tuple {
                protocol: Protocol::TCP,
                client: Endpoint::new([10, 0, 0, client].into(), 1),
                server: Endpoint::new([203, 0, 113, server].into(), 80),
            },
            start: Timestamp(start),
            kind: ObjectKind::Response,
            protocol: String::new(),
            method: None,
            host: name.map(|name| format!("host-{name}.example")),
            uri: None,
            status: None,
            declared_type: None,
            mime: String::new(),
            description: String::new(),
            legacy: String::new(),
            facts: String::new(),
            xor_key: None,
            filename: name.map(|name| format!("name-{name}")),
            size: 0,
            encoded_size: 0,
            complete,
            missing_bytes: 0,
            reason: None,
            conflict: false,
            digests: Some(Digests { md5: [0; 16], sha1: [0; 20], sha256: [7; 32] }),
            digests_encoded: None,
        }
    }

    proptest! {
        /// Against the list of all of them.
        #[test]
        fn what_is_gathered_is_what_a_list_says(
            all in prop::collection::vec((0u8..20, 0u8..20, prop::option::of(any::<u8>()), 0i64..1000, any::<bool>()), 0..600),
        ) {
            let rows: Vec<ObjectRow> = (0..).zip(&all).map(|(n, (c, s, name, start, complete))| row(*c, *s, *name, *start, *complete, n)).collect();
            let mut seen = Seen::new([7; 32]);
            prop_assert!(rows.iter().all(|row| seen.add(row)));
            prop_assert_eq!((seen.tally.found, seen.tally.exact), (rows.len() as u64, true));
            let times = rows.iter().map(|row| row.start).min().zip(rows.iter().map(|row| row.start).max());
            prop_assert_eq!(seen.tally.times, times);
            prop_assert_eq!(seen.newest.as_ref(), rows.first());
            prop_assert_eq!(seen.whole, rows.iter().find(|row| row.complete).map(|row| row.oid));
            let names: BTreeSet<&String> = rows.iter().filter_map(|row| row.filename.as_ref()).collect();
            prop_assert_eq!(seen.filenames.values.len(), names.len().min(TOLD));
            prop_assert_eq!(seen.filenames.more, names.len() > TOLD);
            prop_assert!(seen.filenames.values.iter().all(|name| names.contains(name)));
            let mut counts: Vec<(Pair, u64)> = Vec::new();
            for row in &rows {
                let pair = Pair { client: row.tuple.client.addr, server: row.tuple.server.addr };
                match counts.iter_mut().find(|(known, _)| *known == pair) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((pair, 1)),
                }
            }
            let (pairs, more) = seen.pairs();
            prop_assert_eq!(more, counts.len() > TOLD);
            prop_assert_eq!(pairs.len(), counts.len().min(TOLD));
            prop_assert!(pairs.iter().all(|pair| counts.contains(pair)));
            prop_assert!(pairs.windows(2).all(|two| two[0].1 >= two[1].1));
            let least = pairs.last().map_or(0, |(_, count)| *count);
            prop_assert!(counts.iter().all(|pair| pairs.contains(pair) || pair.1 <= least));
        }
    }

    #[test]
    fn what_is_counted_is_bounded_and_said_to_be() {
        let mut seen = Seen::new([7; 32]);
        let one = row(1, 2, None, 50, true, 0);
        for _ in 0..Tally::MOST {
            assert!(seen.add(&one));
        }
        assert!(seen.tally.exact && !seen.add(&one));
        assert!(!seen.tally.exact && seen.tally.found == Tally::MOST);
        seen.began(Timestamp(7));
        assert_eq!(seen.tally.times, Some((Timestamp(7), Timestamp(50))));
    }
}
