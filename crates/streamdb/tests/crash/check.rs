//! Holds what a crash left against what was promised, by starting on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use streamdb_derive::{Deriver, Rows};
use streamdb_query::{Filter, Looking, Position, Troubles, find_streams};
use streamdb_storage::{
    Error, Event, FrameFilter, Limits, Read, Retained, Retention, Store, StreamInfo, Verify, Volume, WriteFolder,
    Writer, WriterConfig,
};
use streamdb_testkit::{FaultVolume, QuickVolume};
use streamdb_types::{BlockPlace, BucketId, GapKind, Oid, StreamOffset, Timestamp};

use crate::common::worker;
use crate::run::{Promise, Run, What, Wire, contains, frame, ids_used, oid_in};

/// Why it is not as it must be.
pub type Verdict<T> = Result<T, String>;

/// What is known of the run.
pub struct Expected {
    wire: Wire,
    later: Wire,
}

/// What is due.
pub struct Due<'p> {
    pub promises: Vec<&'p What>,
    /// Ids that were used: never again.
    pub ids: BTreeSet<BucketId>,
    /// Frames that the run said were lost.
    pub lost: u64,
    /// Nothing failed in it.
    pub healthy: bool,
}

impl<'p> Due<'p> {
    /// Before an operation of a run, when the power goes or, `killed`, the process alone is gone.
    pub fn of(run: &'p Run, operation: usize, killed: bool) -> Self {
        let due = |promise: &&Promise| promise.is_due(operation) && (killed || promise.what.is_durable());
        let promises = run.promises.iter().filter(due).map(|promise| &promise.what).collect();
        let ids = ids_used(&run.volume, operation).into_iter().collect();
        Self { promises, ids, lost: run.lost, healthy: run.healthy }
    }
}

impl What {
    const fn is_durable(&self) -> bool {
        !matches!(self, Self::Published(..))
    }
}

fn said<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Expected {
    pub fn new() -> Self {
        Self { wire: Wire::new(), later: Wire::later() }
    }

    /// Starts in the folder, as the next process would, and looks at everything; then retention comes to its turn. Returns
    /// what that start promises.
    pub fn start(&self, data: &Path, volume: &FaultVolume, due: &Due<'_>) -> Verdict<Vec<Promise>> {
        for id in due.promises.iter().filter_map(|what| if let What::Removed(id) = what { Some(id) } else { None }) {
            must(!bucket(data, *id).exists(), || format!("bucket {id} was dropped and removed, and can be read"))?;
        }
        let write = WriteFolder::open(data, Box::new(volume.clone())).map_err(said("the start fails"))?;
        let from = volume.operations();
        must(write.not_recovered().is_empty(), || format!("not recovered: {:?}", write.not_recovered()))?;
        let store = Store::open(data).map_err(said("reading fails"))?;
        due.promises.iter().try_for_each(|what| kept(data, &store, what))?;
        let held = due.promises.iter().filter_map(|what| if let What::Held(_, ids) = what { Some(ids) } else { None });
        for id in held.flatten() {
            // One of which nothing was durable goes with a disk that fails.
            let lasts = |what: &&What| what.is_durable() && what.bucket() == Some(*id);
            let may_go = !due.healthy && !due.promises.iter().any(lasts);
            must(may_go || bucket(data, *id).exists(), || format!("bucket {id} is held, and is gone"))?;
        }
        let dropped = self.dropped(data, &store)?;
        let frames = self.whole(&store, None, due.healthy)? + dropped.values().sum::<usize>();
        let wanted = self.wire.frames.len() - due.lost as usize;
        if due.promises.iter().any(|what| matches!(what, What::Done)) {
            must(frames == wanted, || format!("{frames} frames are there or dropped, and not {wanted}"))?;
        }
        // Who looks at the ledger for what was ingested finds all of it in the store, or that it was dropped.
        if std::fs::read(data.join("ledger")).is_ok_and(|lines| contains(&lines, b" ingested ")) {
            must(frames >= wanted, || format!("ingested, says the ledger, and {frames} of {wanted} frames are there"))?;
        }
        found(&store)?;
        derived(&store, volume)?;
        found(&store)?;
        let ids = store.bucket_ids().map_err(said("listing"))?;
        let sealed = |id: &BucketId| What::Sealed(*id, std::fs::read(bucket(data, *id)).unwrap_or_default());
        let mut promises: Vec<Promise> = ids.iter().map(sealed).map(|what| Promise::new(from, what)).collect();
        promises.extend(dropped.keys().map(|id| Promise::new(from, What::Removed(*id))));
        promises.push(Promise::new(from, What::Ledger(std::fs::read(data.join("ledger")).map_err(said("ledger"))?)));
        let by_retention = self.drop_one(data, &store, &write, volume, &mut promises)?;
        promises.extend(by_retention);
        drop(write);
        let again = WriteFolder::open(data, Box::new(QuickVolume)).map_err(said("the second start fails"))?;
        must(again.recovered().is_empty(), || "recovery is not done when it is done".to_owned())?;
        Ok(promises)
    }

    /// Retention takes the oldest bucket that is not held. What that promises.
    fn drop_one(
        &self,
        data: &Path,
        store: &Store,
        write: &WriteFolder,
        volume: &FaultVolume,
        promises: &mut [Promise],
    ) -> Verdict<Vec<Promise>> {
        let ids = store.bucket_ids().map_err(said("listing"))?;
        let bytes: u64 = ids.iter().map(|id| std::fs::metadata(bucket(data, *id)).map_or(0, |about| about.len())).sum();
        let begun = volume.operations();
        let dropped = retain(write, bytes.saturating_sub(1))?.dropped;
        let now = volume.operations();
        promises.iter_mut().for_each(|promise| promise.end_with_line(volume, begun));
        let (held, holds) = (store.held().map_err(said("holds"))?, store.holds().map_err(said("holds"))?);
        let expected: Vec<BucketId> = ids.into_iter().filter(|id| !held.contains(id)).take(1).collect();
        let ids: Vec<BucketId> = dropped.iter().map(|dropped| dropped.id).collect();
        must(ids == expected, || format!("retention takes {ids:?}, and not {expected:?}"))?;
        self.dropped(data, store)?;
        let told = dropped.iter().flat_map(|d| [What::Dropped(oid_in(d.id), d.time), What::Removed(d.id)]);
        let held = holds.into_iter().map(|(number, hold)| What::Held(number, hold.buckets));
        Ok(told.chain(held).map(|what| Promise::new(now, what)).collect())
    }

    /// Stores something more in what [`start`](Self::start) has looked at.
    pub fn go_on(&self, data: &Path, due: &Due<'_>) -> Verdict<()> {
        let store = Store::open(data).map_err(said("reading fails"))?;
        let before: BTreeSet<BucketId> = store.bucket_ids().map_err(said("listing"))?.into_iter().collect();
        let count = |store: &Store| -> Verdict<u64> {
            Ok(store.verify(Verify::Quick, &mut |_, _| {}).map_err(said("verify"))?.frames)
        };
        let had = count(&store)?;
        let write = WriteFolder::open(data, Box::new(QuickVolume)).map_err(said("the next start fails"))?;
        let write = Arc::new(write);
        let writer = Writer::new(Arc::clone(&write), 0, WriterConfig::default()).map_err(said("no writer"))?;
        let mut worker = worker(writer);
        for (time, bytes) in &self.later.frames {
            worker.frame(&frame(*time, bytes)).map_err(said("storing fails"))?;
        }
        let (_, summary) = worker.finish().map_err(said("storing fails"))?;
        must(summary.lost.frames == 0, || format!("what comes after is lost: {:?}", summary.troubles))?;
        let after: BTreeSet<BucketId> = store.bucket_ids().map_err(said("listing"))?.into_iter().collect();
        let new: Vec<&BucketId> = after.difference(&before).collect();
        must(new.len() == 1, || format!("new buckets: {new:?}"))?;
        for id in new {
            must(!due.ids.contains(id), || format!("bucket id {id} is given a second time"))?;
        }
        let store = Store::open(data).map_err(said("reading fails"))?;
        let frames = self.whole(&store, Some(&self.later), due.healthy)?;
        must(frames as u64 == had + self.later.frames.len() as u64, || format!("{frames} frames after {had}"))?;
        derived(&store, &QuickVolume)?;
        found(&store)?;
        // However little there may be, what is held stays.
        let held = store.held().map_err(said("holds"))?;
        let expected: BTreeSet<BucketId> = after.into_iter().filter(|id| held.contains(id)).collect();
        retain(&write, 1)?;
        let left: BTreeSet<BucketId> = store.bucket_ids().map_err(said("listing"))?.into_iter().collect();
        must(left == expected, || format!("{left:?} are there after retention, and not {expected:?}"))?;
        self.dropped(data, &store).map(|_| ())
    }

    /// The buckets that were dropped, and how many frames each of them had. They are gone, with their rows, and say so.
    fn dropped(&self, data: &Path, store: &Store) -> Verdict<BTreeMap<BucketId, usize>> {
        let mut frames = BTreeMap::new();
        let tombstones = store.dropped();
        if tombstones.is_empty() {
            return Ok(frames);
        }
        for entry in store.ledger().map_err(said("ledger"))? {
            if let Event::Sealed { id, frames: count, .. } = entry.event {
                frames.insert(id, count as usize);
            }
        }
        let held = store.held().map_err(said("holds"))?;
        for (id, time) in &tombstones {
            must(!bucket(data, *id).exists(), || format!("bucket {id} was dropped, and is there"))?;
            must(!store.derived_path(*id).exists(), || format!("bucket {id} was dropped, and its rows are there"))?;
            must(frames.contains_key(id), || format!("bucket {id} was dropped, and never sealed"))?;
            must(!held.contains(id), || format!("bucket {id} was dropped, and is held"))?;
            is_gone(store, oid_in(*id), *time)?;
        }
        frames.retain(|id, _| tombstones.iter().any(|(dropped, _)| dropped == id));
        Ok(frames)
    }

    /// Nothing wrong is served, and nothing is found wrong; how many frames there are. When the run was `healthy`, nothing is
    /// missing before what is there but what was dropped.
    fn whole(&self, store: &Store, later: Option<&Wire>, healthy: bool) -> Verdict<usize> {
        let verified = store.verify(Verify::Deep, &mut |_, _| {}).map_err(said("verify"))?;
        must(verified.findings.is_empty(), || format!("verify: {:?}", verified.findings))?;
        must(verified.unsealed == 0, || "a bucket is not sealed".to_owned())?;
        let wires = [Some(&self.wire), later];
        let all: Vec<&(i64, Vec<u8>)> = wires.iter().flatten().flat_map(|wire| &wire.frames).collect();
        let buckets = store.buckets().map_err(said("listing"))?;
        let mut counts = Vec::new();
        for info in buckets {
            let info = info.map_err(said("bucket"))?;
            counts.push((info.superblock.id, info.frames as usize));
        }
        let dropped = self.dropped(store.path(), store)?;
        let mut places = Vec::new();
        let each = &mut |stored: &streamdb_storage::StoredFrame<'_>| {
            let at = all.iter().position(|(time, bytes)| *time == stored.time.0 && bytes == stored.data);
            places.push(at);
            Ok(())
        };
        store.frames(&FrameFilter::default(), each).map_err(said("frames"))?;
        let places: Option<Vec<usize>> = places.into_iter().collect();
        let places = places.ok_or("a frame is served that never was")?;
        must(places.is_sorted_by(|a, b| a < b), || "frames are out of order".to_owned())?;
        let counted = counts.iter().map(|(_, count)| count).sum::<usize>();
        must(places.len() == counted, || "frames are counted wrongly".to_owned())?;
        let mut rest = &places[..];
        for (id, count) in &counts {
            let (own, others) = rest.split_at(*count);
            // Of each bucket, what is left is without a hole.
            let whole = own.windows(2).all(|two| two[0] + 1 == two[1]);
            must(whole, || "a bucket has a hole in its frames".to_owned())?;
            let all = counts.iter().map(|(id, count)| (id, count)).chain(&dropped);
            let before: usize = all.filter(|(other, _)| *other < id).map(|(_, count)| count).sum();
            if let Some(first) = own.first().filter(|first| healthy && **first < self.wire.frames.len()) {
                must(*first == before, || format!("bucket {id} begins with frame {first} after {before} others"))?;
            }
            rest = others;
        }
        for info in streams(store)? {
            let key = (info.tuple.client.port, info.direction);
            let said = wires.iter().flatten().find_map(|wire| wire.said.get(&key)).map_or(&[][..], Vec::as_slice);
            let lost = self.stream(store, &info, said)?;
            let gone = self.wire.told.get(&key).map(|told| missing(told, &dropped, info.length.0 as usize));
            must(!healthy || gone.is_none_or(|gone| gone == lost), || {
                format!("{key:?}: {lost:?} are lost, and {dropped:?} are dropped")
            })?;
        }
        Ok(places.len())
    }

    /// What is lost of a stream; all else is there.
    fn stream(&self, store: &Store, info: &StreamInfo, wanted: &[u8]) -> Verdict<Vec<Range<usize>>> {
        let stream = store.stream(info.oid).map_err(said("stream"))?;
        let who = || format!("{} {:?}", info.tuple.client.port, info.direction);
        let mut buffer = vec![0; 1 << 16];
        let (mut at, mut lost) = (0, Vec::new());
        loop {
            match stream.read_at(StreamOffset(at as u64), &mut buffer).map_err(said("stream"))? {
                Read::Bytes(n) => {
                    let same = wanted.get(at..at + n) == Some(&buffer[..n]);
                    must(same, || format!("{}: wrong bytes from {at} on", who()))?;
                    at += n;
                }
                Read::Gap(length, kind) => {
                    must(kind == GapKind::Lost, || format!("{}: a gap of kind {kind:?} at {at}", who()))?;
                    lost.push(at..at + length as usize);
                    at += length as usize;
                }
                Read::End => return must(at <= wanted.len(), || format!("{}: too long", who())).map(|()| lost),
            }
        }
    }
}

/// What of a stream lies in buckets that were dropped, up to its length.
fn missing(told: &[(usize, BucketId)], dropped: &BTreeMap<BucketId, usize>, length: usize) -> Vec<Range<usize>> {
    let mut missing: Vec<Range<usize>> = Vec::new();
    let mut begin = 0;
    for (end, id) in told {
        let end = (*end).min(length);
        if dropped.contains_key(id) && begin < end {
            match missing.last_mut().filter(|last| last.end == begin) {
                Some(last) => last.end = end,
                None => missing.push(begin..end),
            }
        }
        begin = end;
    }
    missing
}

/// Lets retention look, with a limit of so many bytes.
fn retain(write: &WriteFolder, max_bytes: u64) -> Verdict<Retained> {
    let limits = Limits { max_bytes: Some(max_bytes), ..Limits::default() };
    let retained = Retention::new(limits).look(write, &mut |_| {}).map_err(said("retention"))?;
    must(retained.not_removed.is_empty(), || format!("not removed: {:?}", retained.not_removed))?;
    Ok(retained)
}

/// Who asks for a stream of a bucket that was dropped is told so, and when.
fn is_gone(store: &Store, oid: Oid, time: Timestamp) -> Verdict<()> {
    match store.stream(oid) {
        Err(Error::Gone { time: told, .. }) if told == time => Ok(()),
        Err(error) => Err(format!("dropped at {time}, and {error}")),
        Ok(_) => Err(format!("{oid} was dropped, and is served")),
    }
}

fn bucket(data: &Path, id: BucketId) -> std::path::PathBuf {
    data.join("buckets").join(format!("{id}.sdb"))
}

/// Whether the folder has what was promised.
fn kept(data: &Path, store: &Store, what: &What) -> Verdict<()> {
    let read = |id: &BucketId| std::fs::read(bucket(data, *id)).map_err(said(&format!("bucket {id}")));
    match what {
        What::Ledger(lines) => {
            let now = std::fs::read(data.join("ledger")).map_err(said("ledger"))?;
            must(now.starts_with(lines), || "a line of the ledger is gone".to_owned())
        }
        What::Durable(id, bytes) => {
            let holds = read(id)?.starts_with(bytes);
            must(holds, || format!("bucket {id}: what was durable up to {} is gone", bytes.len()))
        }
        What::Published(id, bytes) => {
            let holds = read(id)?.starts_with(bytes);
            must(holds, || format!("bucket {id}: what was published up to {} is gone", bytes.len()))
        }
        What::Sealed(id, bytes) => {
            let holds = read(id)? == *bytes;
            must(holds, || format!("bucket {id} was sealed, and is another"))
        }
        What::Refused(file, line) => {
            let now = std::fs::read(data.join(file)).map_err(said(file))?;
            must(!contains(&now, line), || format!("a line that was taken back is in {file}"))
        }
        What::Held(number, ids) => {
            let holds = store.holds().map_err(said("holds"))?;
            let as_told = holds.get(number).is_some_and(|hold| hold.buckets == *ids);
            must(as_told, || format!("hold {number} is gone"))
        }
        What::Released(number) => {
            let holds = store.holds().map_err(said("holds"))?;
            must(!holds.contains_key(number), || format!("hold {number} was released, and holds"))
        }
        What::Dropped(oid, time) => is_gone(store, *oid, *time),
        // That was looked at before the start.
        What::Removed(_) => Ok(()),
        What::Done => Ok(()),
    }
}

/// The buckets of a folder, or none.
pub fn buckets(data: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(data.join("buckets")) else { return BTreeMap::new() };
    entries.map(Result::unwrap).map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap())).collect()
}

/// Blocks that recovery had cut are never behind what it wrote: of the buckets as a crash left them, as recovery made them,
/// and as another crash left them in that.
pub fn stays_cut(
    left: &BTreeMap<OsString, Vec<u8>>,
    recovered: &BTreeMap<OsString, Vec<u8>>,
    again: &BTreeMap<OsString, Vec<u8>>,
) -> Verdict<()> {
    for (name, again) in again {
        let (Some(left), Some(recovered)) = (left.get(name), recovered.get(name)) else { continue };
        let Some(cut) = left.iter().zip(recovered).position(|(a, b)| a != b) else { continue };
        // Where the first block begins that is not as it was.
        let cut = cut / 64 * 64;
        let header =
            |bytes: &[u8], at: usize| bytes.get(at..at + 64).filter(|h| h.starts_with(b"SDBK")).map(<[u8]>::to_vec);
        if header(recovered, cut).is_none() || header(again, cut) != header(recovered, cut) {
            continue;
        }
        for at in (cut + 64..left.len()).step_by(64) {
            let Some(old) = header(left, at) else { continue };
            let is_new = header(recovered, at).as_ref() == Some(&old);
            let holds = is_new || header(again, at).as_ref() != Some(&old);
            must(holds, || format!("{}: what was cut at {cut} is there again at {at}", name.display()))?;
        }
    }
    Ok(())
}

fn streams(store: &Store) -> Verdict<Vec<StreamInfo>> {
    let (mut infos, mut errors) = (Vec::new(), Vec::new());
    let each = &mut |info| {
        infos.push(info);
        Ok(())
    };
    store.streams(each, &mut |error| errors.push(error)).map_err(said("streams"))?;
    errors.first().map_or(Ok(infos), |error| Err(format!("streams: {error}")))
}

/// A search finds the streams of the buckets, and nothing else: the index says nothing that is not so any more.
fn found(store: &Store) -> Verdict<()> {
    let mut wanted = streams(store)?;
    wanted.sort_by_key(Position::of_stream);
    let (mut found, mut troubles) = (Vec::new(), Troubles::default());
    let looking = Looking { made: Rows::new(), go_on: &|| true, troubles: &mut troubles };
    find_streams(store, &Filter::default(), looking, &mut |stream, _| {
        found.push(stream.clone());
        ControlFlow::Continue(())
    })
    .map_err(said("a search"))?;
    // A file that is damaged, as its last bytes were lost, is told of, and left out.
    must(found == wanted, || format!("a search finds {} streams, and the buckets have {}", found.len(), wanted.len()))
}

/// The rows that are kept are those of all that ended, as they are made anew.
fn derived(store: &Store, volume: &(impl Volume + Clone + 'static)) -> Verdict<()> {
    let mut deriver = Deriver::on(store, std::sync::Arc::new(volume.clone())).map_err(said("deriving"))?;
    let mut damaged = Vec::new();
    let noted = &mut |error: &streamdb_derive::Error| damaged.push(error.to_string());
    deriver.catch_up(store, &|| false, noted).map_err(said("deriving"))?;
    must(damaged.is_empty(), || format!("deriving: {damaged:?}"))?;
    drop(deriver);
    let mut rows = Rows::new();
    for id in store.bucket_ids().map_err(said("listing"))? {
        let covered = store.covered(id).map_err(said("rows"))?;
        must(covered.whole, || format!("bucket {id} is not covered by rows"))?;
        let mut ended = Vec::new();
        let each = &mut |info| {
            ended.push(info);
            Ok(())
        };
        store.ended_since(id, BlockPlace::NONE, each).map_err(said("ended"))?;
        let mut known: BTreeSet<_> = store.derived_connections(id).map_err(said("rows"))?.into_iter().collect();
        for info in ended {
            let kept = store.derived_rows(id, info.key).map_err(said("rows"))?;
            let anew = rows.of(store, &info).map_err(said("rows anew"))?;
            // Of what was dropped since they were made, rows stay that cannot be made again.
            must(kept.as_ref() == Some(&anew) || kept.is_some() && store.cut_at(&info).is_some(), || {
                format!("bucket {id}: the rows of {:?} are not its own", info.tuple)
            })?;
            known.remove(&info.key);
        }
        // What fell silent at the bucket's end has rows, too.
        let all = store.unindexed(id, BlockPlace::NONE, covered, usize::MAX).map_err(said("streams"))?;
        all.streams.iter().for_each(|info| _ = known.remove(&info.key));
        must(known.is_empty(), || format!("bucket {id} has rows of connections that are not in it"))?;
    }
    Ok(())
}
