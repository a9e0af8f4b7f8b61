//! A store at one moment: its index files, and the streams that none of them has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use streamdb_types::{BlockPlace, BucketId, ConnKey, Direction, Oid, Timestamp};

use super::bucket::Bucket;
use super::store::{Store, info_at, oid_of};
use super::stream::StreamInfo;
use crate::derived::Covered;
use crate::error::{Error, Result};
use crate::format::directory::{Directory, EndEntry};
use crate::format::record::Standing;
use crate::index::set::{Counting, Listing};
use crate::index::snapshot::{Fresh, Outcome, Reader, Snapshot, Tail};
use crate::index::{Coverage, Segment, Unread};
use crate::live::writer_alive;

/// Most connections that no index has and that are gathered all the same.
const MOST: usize = 1 << 18;

/// What was found out for the last snapshot, as most of it is so for the next one too.
#[derive(Default)]
pub(super) struct Remembered {
    /// For which index files and buckets.
    of: (Vec<Arc<Segment>>, Arc<Vec<BucketId>>),
    indexed: Indexed,
    /// What records said, by bucket.
    records: HashMap<BucketId, Records>,
}

/// What of the index files counts, and which buckets they do not cover wholly, or not with all objects; ascending.
#[derive(Clone, Default)]
pub(crate) struct Indexed {
    pub(crate) counting: Arc<Counting>,
    uncovered: Arc<Vec<BucketId>>,
    unsettled: Arc<Vec<BucketId>>,
}

/// Of the streams of a bucket that no index has: where the newest record is, and what it says.
type Records = HashMap<(ConnKey, Direction), (BlockPlace, Fresh)>;

impl Store {
    /// What is known of the store's streams now.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        // The index is looked at first: what leaves the tail after that is in the tail still.
        let (Listing { segments, damaged, .. }, Indexed { counting, uncovered, .. }) = self.indexed()?;
        let mut remembered = lock(&self.remembered);
        let mut tail = Tail::default();
        for id in uncovered.iter() {
            if tail.streams.len() > MOST {
                (tail.streams, tail.too_long) = (HashMap::new(), true);
                break;
            }
            let covered = counting.covered.get(id).copied().unwrap_or(BlockPlace::NONE);
            self.fresh(*id, covered, remembered.records.entry(*id).or_default(), &mut tail);
        }
        remembered.records.retain(|id, _| uncovered.binary_search(id).is_ok() && !tail.too_long);
        drop(remembered);
        let damaged = damaged.into_iter().map(|(_, why)| why).collect();
        Ok(Snapshot::new(self, segments, counting, tail, damaged))
    }

    /// The buckets that are not in the index with all their objects, the oldest first, and how far each of them is.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed.
    pub fn unsettled(&self) -> Result<Vec<(BucketId, BlockPlace)>> {
        let (_, Indexed { counting, unsettled, .. }) = self.indexed()?;
        let covered = |id: &BucketId| counting.covered.get(id).copied().unwrap_or(BlockPlace::NONE);
        Ok(unsettled.iter().map(|id| (*id, covered(id))).collect())
    }

    /// The index files, and what of them counts.
    pub(crate) fn indexed(&self) -> Result<(Listing, Indexed)> {
        let listing = self.index_files().list()?;
        let segments = &listing.segments;
        let ids = self.known_ids()?;
        let mut remembered = lock(&self.remembered);
        // By the files themselves: another one may have got the number of one that was removed.
        let same = remembered.of.0.len() == segments.len()
            && remembered.of.0.iter().zip(segments).all(|(old, new)| Arc::ptr_eq(old, new));
        if !same || !Arc::ptr_eq(&remembered.of.1, &ids) {
            let counting = Counting::of(segments, &|id| ids.binary_search(&id).is_ok());
            let not_to = |place: BlockPlace| {
                let before = |id: &BucketId| counting.covered.get(id).is_none_or(|to| *to < place);
                Arc::new(ids.iter().copied().filter(before).collect())
            };
            let (uncovered, unsettled) = (not_to(Coverage::WHOLE), not_to(Coverage::SETTLED));
            remembered.indexed = Indexed { counting: Arc::new(counting), uncovered, unsettled };
            remembered.of = (segments.clone(), ids);
        }
        Ok((listing, remembered.indexed.clone()))
    }

    /// The buckets that may have anything of a connection, the newest first: those that the index names, and those that it does
    /// not cover.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed.
    pub(crate) fn buckets_of(&self, key: ConnKey) -> Result<Vec<BucketId>> {
        let (mut ids, uncovered) = self.indexes(|reader| reader.buckets_of(key))?;
        ids.extend(uncovered.iter().copied().filter(|id| *id > key.bucket));
        ids.push(key.bucket);
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        Ok(ids)
    }

    /// What the index files say alone, and the buckets that they do not cover.
    fn indexes<T>(&self, ask: impl Fn(&Reader<'_>) -> Outcome<T>) -> Result<(T, Arc<Vec<BucketId>>)> {
        loop {
            let (Listing { segments, .. }, Indexed { counting, uncovered, .. }) = self.indexed()?;
            let snapshot = Snapshot::new(self, segments, counting, Tail::default(), Vec::new());
            match ask(&snapshot.read()) {
                Ok(answer) => return Ok((answer, uncovered)),
                // The next time it is without that file.
                Err(Unread::File(file, bad)) => _ = snapshot.refuse(file, bad),
                Err(Unread::Other(error)) => return Err(error),
            }
        }
    }

    /// Of what the index has: the streams to the server of the connections between two hosts, whichever opened them, that began
    /// within a time; the newest first, at most `most`.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed.
    pub fn between(
        &self,
        hosts: [IpAddr; 2],
        from: Timestamp,
        until: Timestamp,
        most: usize,
    ) -> Result<Vec<StreamInfo>> {
        Ok(self.indexes(|reader| reader.between(hosts, from, until, most))?.0)
    }

    /// The streams to the server that no index has; nothing when they are so many that they are not gathered. It takes as long as
    /// they are many.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed.
    pub fn unindexed_to_server(&self) -> Result<Option<Vec<StreamInfo>>> {
        let Tail { streams, too_long, .. } = self.snapshot()?.tail;
        let streams = streams.into_values().flatten().map(|fresh| fresh.stream);
        let to_server = streams.filter(|stream| stream.direction == Direction::ToServer);
        Ok((!too_long).then(|| to_server.collect()))
    }

    /// Adds the streams of a bucket that ended behind `covered`, or did not end.
    fn fresh(&self, id: BucketId, covered: BlockPlace, records: &mut Records, tail: &mut Tail) {
        let contents = self.bucket(id).and_then(|bucket| Ok((self.contents(&bucket)?, bucket)));
        let (contents, bucket) = match contents {
            Ok((contents, bucket)) => (contents, bucket),
            // Retention took it.
            Err(Error::NoBucket(_)) => return,
            Err(error) => return tail.damaged.push(error),
        };
        records.retain(|(key, direction), _| contents.find(*key, *direction).is_some());
        for end in &contents.ends {
            let id = (end.key, end.direction);
            if end.place <= covered && !bucket.is_open(end.key, end.direction) {
                records.remove(&id);
                continue;
            }
            let known = records.get(&id).filter(|(place, fresh)| {
                *place == end.place && fresh.continues == (bucket.is_sealed() && fresh.stream.goes_on)
            });
            let fresh = match known {
                // Its peer may have come later.
                Some((_, fresh)) => Fresh {
                    stream: StreamInfo { peer: peer(&bucket, &contents, end), ..fresh.stream.clone() },
                    ..*fresh
                },
                None => match info_at(&bucket, &contents, end) {
                    Ok((stream, standing)) => {
                        let continues = standing == Standing::Continues && bucket.is_sealed();
                        let fresh = Fresh { stream, continues };
                        records.insert(id, (end.place, fresh.clone()));
                        fresh
                    }
                    Err(error) => {
                        tail.damaged.push(error);
                        continue;
                    }
                },
            };
            let streams = tail.streams.entry(end.key).or_default();
            // Buckets come in the order of their ids: a later one has the later word.
            streams.retain(|known| known.stream.direction != end.direction);
            streams.push(fresh);
        }
    }

    /// What a bucket's newest record says of a stream, and whether it was to go on after that bucket; `None` when there is
    /// nothing of it, or no such bucket.
    pub(crate) fn record_in(
        &self,
        id: BucketId,
        key: ConnKey,
        direction: Direction,
    ) -> Result<Option<(StreamInfo, bool)>> {
        let bucket = match self.bucket(id) {
            Err(Error::NoBucket(_)) => return Ok(None),
            bucket => bucket?,
        };
        let contents = self.contents(&bucket)?;
        let Some(end) = contents.find(key, direction) else { return Ok(None) };
        let (stream, standing) = info_at(&bucket, &contents, end)?;
        Ok(Some((stream, standing == Standing::Continues && bucket.is_sealed())))
    }
}

/// What of a bucket is not in the index yet, and can be.
#[derive(Debug)]
pub struct Unindexed {
    /// Streams that ended, or were to go on after the bucket.
    pub streams: Vec<StreamInfo>,
    /// Of each connection that is over, as far as this bucket tells, the stream with its last record.
    pub ended: Vec<StreamInfo>,
    /// How far that goes.
    pub to: BlockPlace,
    /// Bytes of the bucket from what is in the index to there.
    pub bytes: u64,
}

impl Store {
    /// What of a bucket is not in the index, behind `after`, as far as its objects are `derived`; of at most `most` streams.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub fn unindexed(&self, id: BucketId, after: BlockPlace, derived: Covered, most: usize) -> Result<Unindexed> {
        let bucket = self.bucket(id)?;
        let contents = self.contents(&bucket)?;
        let mut ends: Vec<_> = contents.ends.iter().filter(|end| end.place > after).collect();
        ends.sort_by_key(|end| end.place);
        let all = derived.whole && ends.len() <= most;
        if !derived.whole {
            ends.retain(|end| end.place <= derived.to);
        }
        ends.truncate(most);
        let last = ends.last().map_or(after, |end| end.place);
        let mut found = Unindexed {
            streams: Vec::with_capacity(ends.len()),
            ended: Vec::new(),
            to: if all { Coverage::WHOLE } else { last },
            bytes: last.position().saturating_sub(after.position()),
        };
        for end in ends {
            if !derived.whole && bucket.is_open(end.key, end.direction) {
                continue;
            }
            // Damage is told of when the stream is asked for; it is in no index.
            let Ok((stream, standing)) = info_at(&bucket, &contents, end) else { continue };
            let is_over = matches!(standing, Standing::Ended(_));
            if is_over && self.is_last(&bucket, &contents, end) {
                found.ended.push(stream.clone());
            }
            if is_over || derived.whole {
                found.streams.push(stream);
            }
        }
        Ok(found)
    }

    /// Whether a stream that ended is the last one of its connection in the bucket: the other one is over too, earlier.
    fn is_last(&self, bucket: &Bucket, contents: &Directory, end: &EndEntry) -> bool {
        let Some(peer) = contents.find(end.key, end.direction.flip()) else { return true };
        peer.place < end.place
            && info_at(bucket, contents, peer).is_ok_and(|(_, standing)| matches!(standing, Standing::Ended(_)))
    }

    /// Of each connection that was to go on after a sealed bucket, and did not, the stream with its last record; `None` as
    /// long as they still may.
    ///
    /// # Errors
    /// When the bucket or the index cannot be read.
    pub fn fallen_silent(&self, id: BucketId) -> Result<Option<Vec<StreamInfo>>> {
        if self.sealed_lately(id) && writer_alive(self.path()).unwrap_or(false) {
            return Ok(None);
        }
        let bucket = self.bucket(id)?;
        let contents = self.contents(&bucket)?;
        let mut silent = Vec::new();
        for end in &contents.ends {
            let last = contents.find(end.key, end.direction.flip()).is_none_or(|peer| peer.place < end.place);
            if !last || self.is_over(&bucket, &contents, end) {
                continue;
            }
            if let Ok((stream, _)) = info_at(&bucket, &contents, end) {
                silent.push(stream);
            }
        }
        if silent.is_empty() {
            return Ok(Some(silent));
        }
        let snapshot = self.snapshot()?;
        if snapshot.is_partial() {
            // What went on is not known before more of it is in the index.
            return Ok(None);
        }
        let reader = snapshot.read();
        let mut went_on = Vec::with_capacity(silent.len());
        for stream in &silent {
            match reader.went_on(stream.key, id) {
                Ok(it) => went_on.push(it),
                Err(Unread::File(file, bad)) => return Err(snapshot.refuse(file, bad).unwrap_or(Error::NoBucket(id))),
                Err(Unread::Other(error)) => return Err(error),
            }
        }
        let mut went_on = went_on.into_iter();
        silent.retain(|_| went_on.next() == Some(false));
        Ok(Some(silent))
    }

    /// Whether both streams of a connection ended in the bucket, as far as they have anything in it.
    fn is_over(&self, bucket: &Bucket, contents: &Directory, end: &EndEntry) -> bool {
        let ended = |end: &EndEntry| {
            info_at(bucket, contents, end).is_ok_and(|(_, standing)| matches!(standing, Standing::Ended(_)))
        };
        ended(end) && contents.find(end.key, end.direction.flip()).is_none_or(ended)
    }
}

fn peer(bucket: &Bucket, contents: &Directory, end: &EndEntry) -> Option<Oid> {
    contents.find(end.key, end.direction.flip()).map(|peer| oid_of(bucket.id(), peer))
}

fn lock(remembered: &Mutex<Remembered>) -> std::sync::MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}
