//! Which buckets have to go: a pure function of what is there.
//!
//! First those that were sealed too long ago; then, for bytes and for room, the ones whose ids were given first, until it is
//! enough. A bucket that is held, or not sealed, stays whatever the limits say, and counts all the same.

use streamdb_types::{BucketId, Timestamp};

use super::limits::Limits;
use crate::volume::Space;

/// A sealed bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: BucketId,
    /// When it was sealed.
    pub(crate) sealed: Timestamp,
    pub(crate) bytes: u64,
    pub(crate) held: bool,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The sealed buckets, ascending by id.
    pub(crate) sealed: Vec<Candidate>,
    /// Bytes of the others: those that are being written, and those that no writer could make whole.
    pub(crate) unsealed: u64,
    /// Dropped buckets whose files are still there.
    pub(crate) left_over: Vec<BucketId>,
    pub(crate) now: Timestamp,
    /// The room of the file system, if it was asked for.
    pub(crate) space: Option<Space>,
}

/// Which limit it is that drops a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// It was sealed too long ago.
    Age,
    /// The buckets have too many bytes.
    Bytes,
    /// Too little of the file system is free.
    Free,
}

impl Cause {
    /// As the ledger has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Age => "max-age",
            Self::Bytes => "max-bytes",
            Self::Free => "min-free",
        }
    }
}

/// A bucket that has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The bucket.
    pub id: BucketId,
    /// Bytes of its file.
    pub bytes: u64,
    /// Why.
    pub cause: Cause,
}

/// A limit that cannot be kept, as all that may be dropped is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Which.
    pub cause: Cause,
    /// What is asked for: bytes at most, or bytes free at least; nanoseconds of age.
    pub limit: u64,
    /// What there is: bytes of buckets, or bytes free; for age, buckets beyond it.
    pub found: u64,
    /// Bytes of buckets that are held.
    pub held: u64,
    /// Bytes of buckets that are not sealed.
    pub unsealed: u64,
}

/// What has to go, ascending by id, and what that does not achieve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The buckets.
    pub chosen: Vec<Chosen>,
    /// The limits that are not kept all the same.
    pub unmet: Vec<Unmet>,
}

pub(crate) fn choose(limits: &Limits, survey: &Survey) -> Choice {
    let too_old = |bucket: &Candidate| limits.max_age.is_some_and(|most| survey.now.since(bucket.sealed) > most);
    let sum = |buckets: &mut dyn Iterator<Item = &Candidate>| buckets.map(|b| b.bytes).fold(0, u64::saturating_add);
    let held = sum(&mut survey.sealed.iter().filter(|bucket| bucket.held));
    let mut bytes = sum(&mut survey.sealed.iter()).saturating_add(survey.unsealed);
    let mut freed = 0_u64;
    let mut chosen = Vec::new();
    let mut take = |bucket: &Candidate, cause, bytes: &mut u64, freed: &mut u64| {
        *bytes = bytes.saturating_sub(bucket.bytes);
        *freed = freed.saturating_add(bucket.bytes);
        chosen.push(Chosen { id: bucket.id, bytes: bucket.bytes, cause });
    };
    let (old, young): (Vec<&Candidate>, Vec<&Candidate>) =
        survey.sealed.iter().filter(|bucket| !bucket.held).partition(|bucket| too_old(bucket));
    old.into_iter().for_each(|bucket| take(bucket, Cause::Age, &mut bytes, &mut freed));
    let wanted = limits.min_free.zip(survey.space).map(|(room, space)| (room.of(space), space.available));
    let mut young = young.into_iter();
    while limits.max_bytes.is_some_and(|most| bytes > most)
        && let Some(bucket) = young.next()
    {
        take(bucket, Cause::Bytes, &mut bytes, &mut freed);
    }
    while wanted.is_some_and(|(wanted, available)| available.saturating_add(freed) < wanted)
        && let Some(bucket) = young.next()
    {
        take(bucket, Cause::Free, &mut bytes, &mut freed);
    }
    chosen.sort_unstable_by_key(|chosen| chosen.id);

    let unmet = |cause, limit, found| Unmet { cause, limit, found, held, unsealed: survey.unsealed };
    let held_old = survey.sealed.iter().filter(|bucket| bucket.held && too_old(bucket)).count() as u64;
    let age = limits.max_age.filter(|_| held_old > 0);
    let age = age.map(|most| unmet(Cause::Age, most.unsigned_abs(), held_old));
    let most = limits.max_bytes.filter(|most| bytes > *most).map(|most| unmet(Cause::Bytes, most, bytes));
    let free = wanted.map(|(wanted, available)| (wanted, available.saturating_add(freed)));
    let free = free.filter(|(wanted, free)| free < wanted).map(|(wanted, free)| unmet(Cause::Free, wanted, free));
    Choice { chosen, unmet: [age, most, free].into_iter().flatten().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::Room;
    use proptest::prelude::*;

    fn bucket(id: u64, sealed: i64, bytes: u64) -> Candidate {
        Candidate { id: BucketId(id), sealed: Timestamp(sealed), bytes, held: false }
    }

    /// One bucket after the other, and all is looked at anew after each: the slow twin.
    fn one_by_one(limits: &Limits, survey: &Survey) -> (Vec<Chosen>, [bool; 3]) {
        let mut left = survey.sealed.clone();
        let mut gone: Vec<Chosen> = Vec::new();
        loop {
            let bytes = survey.unsealed + left.iter().map(|b| b.bytes).sum::<u64>();
            let freed: u64 = gone.iter().map(|b| b.bytes).sum();
            let short = |space: Space| match limits.min_free {
                None => false,
                Some(Room::Bytes(wanted)) => space.available + freed < wanted,
                Some(Room::Percent(n)) => space.available + freed < space.total * u64::from(n) / 100,
            };
            let is_old = |b: &Candidate| limits.max_age.is_some_and(|most| survey.now.0 - b.sealed.0 > most);
            let full = limits.max_bytes.is_some_and(|most| bytes > most);
            let short = survey.space.is_some_and(short);
            let next = if let Some(at) = left.iter().position(|b| !b.held && is_old(b)) {
                Some((at, Cause::Age))
            } else {
                let oldest = left.iter().position(|b| !b.held);
                let cause = if full { Some(Cause::Bytes) } else { short.then_some(Cause::Free) };
                oldest.zip(cause)
            };
            let Some((at, cause)) = next else {
                gone.sort_by_key(|b| b.id);
                return (gone, [left.iter().any(is_old), full, short]);
            };
            let bucket = left.remove(at);
            gone.push(Chosen { id: bucket.id, bytes: bucket.bytes, cause });
        }
    }

    fn surveys() -> impl Strategy<Value = Survey> {
        let bucket = (0..100_i64, 0..50_u64, proptest::bool::weighted(0.2));
        (
            proptest::collection::vec(bucket, 0..12),
            0..60_u64,
            0..120_i64,
            proptest::option::of((0..300_u64, 0..400_u64)),
        )
            .prop_map(|(buckets, unsealed, now, space)| Survey {
                sealed: (1..)
                    .zip(buckets)
                    .map(|(id, (sealed, bytes, held))| Candidate { held, ..self::bucket(id, sealed, bytes) })
                    .collect(),
                unsealed,
                left_over: Vec::new(),
                now: Timestamp(now),
                space: space.map(|(available, more)| Space { available, total: available + more }),
            })
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let room = prop_oneof![(0..400_u64).prop_map(Room::Bytes), (0..=100_u8).prop_map(Room::Percent)];
        let (bytes, age, room) =
            (proptest::option::of(0..400_u64), proptest::option::of(0..120_i64), proptest::option::of(room));
        (bytes, age, room).prop_map(|(max_bytes, max_age, min_free)| Limits { max_bytes, max_age, min_free })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

        #[test]
        fn all_at_once_is_one_by_one(limits in limits(), survey in surveys()) {
            let choice = choose(&limits, &survey);
            let (chosen, unmet) = one_by_one(&limits, &survey);
            prop_assert_eq!(&choice.chosen, &chosen);
            let is_unmet = |cause| choice.unmet.iter().any(|unmet| unmet.cause == cause);
            prop_assert_eq!([Cause::Age, Cause::Bytes, Cause::Free].map(is_unmet), unmet);
            prop_assert!(choice.chosen.iter().all(|c| survey.sealed.iter().any(|b| b.id == c.id && !b.held)));
        }
    }

    #[test]
    fn the_oldest_go_until_it_is_enough() {
        let sealed = (1..=5).map(|n| bucket(n, n as i64, 10)).collect();
        let mut survey = Survey { sealed, unsealed: 5, now: Timestamp(6), ..Survey::default() };
        let ids = |limits, survey: &Survey| -> Vec<(u64, Cause)> {
            choose(&limits, survey).chosen.into_iter().map(|c| (c.id.0, c.cause)).collect()
        };
        let none = Limits::default();
        assert_eq!(ids(none, &survey), []);
        assert_eq!(ids(Limits { max_bytes: Some(55), ..none }, &survey), []);
        assert_eq!(ids(Limits { max_bytes: Some(54), ..none }, &survey), [(1, Cause::Bytes)]);
        assert_eq!(ids(Limits { max_age: Some(4), ..none }, &survey), [(1, Cause::Age)]);
        survey.space = Some(Space { available: 10, total: 100 });
        let min_free = Some(Room::Percent(30));
        assert_eq!(ids(Limits { min_free, ..none }, &survey), [(1, Cause::Free), (2, Cause::Free)]);
        let all = Limits { max_bytes: Some(35), max_age: Some(4), min_free };
        assert_eq!(ids(all, &survey), [(1, Cause::Age), (2, Cause::Bytes)]);
        survey.sealed[0].held = true;
        assert_eq!(ids(all, &survey), [(2, Cause::Bytes), (3, Cause::Bytes)]);
    }

    #[test]
    fn what_holds_prevent_is_told() {
        let mut sealed: Vec<_> = (1..=3).map(|n| bucket(n, n as i64, 10)).collect();
        sealed[0].held = true;
        sealed[1].held = true;
        let space = Some(Space { available: 1, total: 100 });
        let survey = Survey { sealed, unsealed: 5, now: Timestamp(9), space, ..Survey::default() };
        let limits = Limits { max_bytes: Some(24), max_age: Some(7), min_free: Some(Room::Bytes(50)) };
        let choice = choose(&limits, &survey);
        assert_eq!(choice.chosen, [Chosen { id: BucketId(3), bytes: 10, cause: Cause::Bytes }]);
        let unmet = |cause, limit, found| Unmet { cause, limit, found, held: 20, unsealed: 5 };
        assert_eq!(choice.unmet, [unmet(Cause::Age, 7, 1), unmet(Cause::Bytes, 24, 25), unmet(Cause::Free, 50, 11)]);
    }

    #[test]
    fn a_clock_that_went_back_drops_nothing() {
        let survey = Survey { sealed: vec![bucket(1, i64::MAX, 10)], now: Timestamp(i64::MIN), ..Survey::default() };
        assert_eq!(choose(&Limits { max_age: Some(1), ..Limits::default() }, &survey), Choice::default());
    }
}
