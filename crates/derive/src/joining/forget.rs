//! What is forgotten: what is too old or too much, and what retention took.

use std::collections::BTreeSet;

use streamdb_storage::{JoinChange, JoinId, JoinsWriter, now};
use streamdb_types::{BucketId, Timestamp};

/// Most joins that are kept,
const JOINS: usize = 1 << 16;
/// most parts of all of them,
const PARTS: usize = 1 << 18;
/// and most bytes of memory that they take.
pub(super) const BYTES: usize = 64 << 20;
/// What is not all there after so much time of the capture is given up, in nanoseconds: a week.
const LASTS: i64 = 7 * 86_400 * 1_000_000_000;

/// Forgets what is too old or too much, and what is of buckets that are gone; whether there was anything.
pub(super) fn let_go(writer: &mut JoinsWriter, buckets: &[BucketId]) -> bool {
    let now = now();
    let known = writer.known();
    let is_there = |id: &BucketId| buckets.binary_search(id).is_ok();
    // What a capture says to be of the future makes nothing old.
    let times = known.all().filter_map(|join| join.times()).map(|(_, last)| last);
    let newest = times.filter(|last| *last <= now).max().map_or(i64::MIN, |last| last.0);
    let mut gone: Vec<JoinChange> =
        known.read().keys().filter(|id| !is_there(id)).map(|id| JoinChange::Forget(*id)).collect();
    // What was read of buckets that are gone is of no use; that their parts were there is, as long as others are.
    let used: BTreeSet<BucketId> = match gone.as_slice() {
        [] => BTreeSet::new(),
        _ => known.all().flat_map(|join| join.parts.iter().map(|part| part.oid.bucket)).collect(),
    };
    gone.retain(|change| !matches!(change, JoinChange::Forget(id) if used.contains(id)));
    let mut left: Vec<(i64, JoinId, usize, usize)> = Vec::new();
    for join in known.all() {
        let last = join.times().map_or(i64::MIN, |(_, Timestamp(last))| last);
        let over = join.made.is_none() && last < newest.saturating_sub(LASTS);
        if over || !join.parts.iter().any(|part| is_there(&part.oid.bucket)) {
            gone.push(JoinChange::Gone(join.id));
        } else {
            left.push((last, join.id, join.parts.len(), join.size()));
        }
    }
    let parts: usize = left.iter().map(|(_, _, parts, _)| parts).sum();
    let bytes: usize = left.iter().map(|(_, _, _, bytes)| bytes).sum();
    if left.len() > JOINS || parts > PARTS || bytes > BYTES {
        // An eighth of the oldest, so that it does not have to be done for each.
        left.sort_unstable();
        let most = JOINS - JOINS / 8;
        let (mut joins, mut parts, mut bytes) = (left.len(), parts, bytes);
        for (_, id, of_one, bytes_of_one) in left {
            if joins <= most && parts <= PARTS - PARTS / 8 && bytes <= BYTES - BYTES / 8 {
                break;
            }
            joins -= 1;
            parts -= of_one;
            bytes -= bytes_of_one;
            gone.push(JoinChange::Gone(id));
        }
    }
    let any = !gone.is_empty();
    gone.into_iter().for_each(|change| writer.change(change));
    any
}
