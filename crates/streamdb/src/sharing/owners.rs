//! Which worker has which connection: a table that all workers share, without a lock.
//!
//! A connection is known here by its hash alone, which is keyed, and of which all bits but one count: those that the entry does not
//! hold say where it is. Its entry may be in any of the places of two sets. To claim a connection is two steps, as two workers may do
//! it at once in different places:
//!
//! ```text
//!          CAS                      CAS, unless another was seen
//! (free) ───────► (claiming, me) ─────────────────────────────► (owned, me) ───► (free)
//!                     │     ▲                                        release
//!                     └─────┘ CAS to free, by whoever claims the same in an earlier place
//! ```
//!
//! Between the steps a worker looks through all places. Of two that claim, the one that wrote later sees the other. If that one
//! owns it, the later gives up; if it is claiming still, the one in the later place gives way: by itself, or as the other takes its
//! entry away, so that its second step fails. So nobody waits for anybody, and one at most comes to own a connection.

use std::sync::atomic::{AtomicU64, Ordering};

/// Places of a set: as many as lie in one line of the processor's cache.
const WAYS: usize = 8;
/// How often a claim is begun anew. Each time somebody else was further; who is that for so long was put to sleep between its two
/// steps, and will have it.
const TRIES: usize = 64;

/// The lowest bits of an entry: who, and how far.
const WHO: u64 = 0x3f;
const CLAIMING: u64 = 0x40;
const OWNED: u64 = 0x80;
/// The other bits of an entry are those of the hash.
const TAG: u64 = !0xff;

/// The number of a worker among those who share a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member(u8);

impl Member {
    /// The most there can be.
    pub const MOST: usize = WHO as usize + 1;

    /// The member of this number; numbers from [`MOST`](Self::MOST) on are no members.
    pub const fn new(number: usize) -> Option<Self> {
        if number < Self::MOST { Some(Self(number as u8)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> usize {
        self.0 as usize
    }
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the claimer's now.
    New,
    /// It was the claimer's before.
    Mine,
    /// It is another's.
    Theirs(Member),
    /// Nobody has it, and there is no room to say that somebody does.
    NoRoom,
}

/// The table.
#[derive(Debug)]
pub struct Owners {
    entries: Box<[AtomicU64]>,
    /// Sets, less one: their number is a power of two, so that these bits choose one.
    mask: usize,
}

impl Owners {
    /// A table with room for so many connections, which is then half full at most.
    pub fn new(connections: usize) -> Self {
        // The tag lacks the lowest 8 bits of the hash, so they have to choose the set.
        let sets = (connections.saturating_mul(2) / WAYS).clamp(256, 1 << 32).next_power_of_two();
        Self { entries: (0..sets * WAYS).map(|_| AtomicU64::new(0)).collect(), mask: sets - 1 }
    }

    /// Whose connection it is.
    pub fn owner(&self, hash: u64) -> Option<Member> {
        let found = self.places(hash).map(|(_, place)| place.load(Ordering::SeqCst)).find(|entry| owned(*entry, hash));
        found.map(who)
    }

    /// Makes it this worker's, if it is nobody's.
    pub fn claim(&self, hash: u64, me: Member) -> Claim {
        let (claiming, owns) = (entry(hash, me, CLAIMING), entry(hash, me, OWNED));
        let mut further = None;
        for _ in 0..TRIES {
            let mut free = None;
            for (number, place) in self.places(hash) {
                match place.load(Ordering::SeqCst) {
                    0 if free.is_none() => free = Some((number, place)),
                    found if owned(found, hash) => {
                        return if found == owns { Claim::Mine } else { Claim::Theirs(who(found)) };
                    }
                    _ => {}
                }
            }
            let Some((mine, place)) = free else { return Claim::NoRoom };
            if place.compare_exchange(0, claiming, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                continue;
            }
            match self.contend(hash, mine) {
                Contest::Alone => {
                    if place.compare_exchange(claiming, owns, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                        return Claim::New;
                    }
                }
                outcome => {
                    // Unless somebody took it away already.
                    _ = place.compare_exchange(claiming, 0, Ordering::SeqCst, Ordering::SeqCst);
                    match outcome {
                        Contest::Owned(other) => return Claim::Theirs(other),
                        Contest::Claimed(other) => further = Some(other),
                        Contest::Alone => {}
                    }
                    std::hint::spin_loop();
                }
            }
        }
        further.map_or(Claim::NoRoom, Claim::Theirs)
    }

    /// It is nobody's any more, if it was this worker's.
    pub fn release(&self, hash: u64, me: Member) {
        let owns = entry(hash, me, OWNED);
        for (_, place) in self.places(hash) {
            if place.load(Ordering::SeqCst) == owns {
                _ = place.compare_exchange(owns, 0, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
    }

    /// Looks who else claims or owns it, with a claim in this place.
    fn contend(&self, hash: u64, mine: usize) -> Contest {
        for (number, place) in self.places(hash) {
            let found = place.load(Ordering::SeqCst);
            if number == mine || found & TAG != hash & TAG || found == 0 {
                continue;
            }
            if owned(found, hash) {
                return Contest::Owned(who(found));
            }
            if number < mine {
                return Contest::Claimed(who(found));
            }
            match place.compare_exchange(found, 0, Ordering::SeqCst, Ordering::SeqCst) {
                Err(now) if owned(now, hash) => return Contest::Owned(who(now)),
                _ => {}
            }
        }
        Contest::Alone
    }

    /// The places that its entry may be in, numbered, in the order in which they are tried.
    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, &AtomicU64)> {
        let first = hash as usize & self.mask;
        // Another one, whatever the hash is.
        let second = first ^ ((hash >> 32) as usize & self.mask | 1);
        [first, second].into_iter().flat_map(|set| self.entries.chunks_exact(WAYS).nth(set)).flatten().enumerate()
    }
}

/// What a claimer sees of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contest {
    Alone,
    Owned(Member),
    /// In an earlier place.
    Claimed(Member),
}

const fn entry(hash: u64, who: Member, state: u64) -> u64 {
    hash & TAG | state | who.0 as u64
}

const fn owned(entry: u64, hash: u64) -> bool {
    entry & (TAG | OWNED) == hash & TAG | OWNED
}

const fn who(entry: u64) -> Member {
    Member((entry & WHO) as u8)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Barrier;

    use proptest::prelude::*;

    use super::*;

    fn member(number: usize) -> Member {
        Member::new(number).unwrap()
    }

    /// Hashes of which many are for the same two sets, or for one that is the same.
    fn hash(n: u64) -> u64 {
        let set = n >> 7 & 3;
        (n & 0x1f) << 40 | (n >> 5 & 3) << 32 | set << 50 | set
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// One after the other, beside a map.
        #[test]
        fn it_says_what_a_map_says(steps in prop::collection::vec((0..4u8, 0..512u64, 0..5usize), 0..400)) {
            let owners = Owners::new(1);
            let mut twin: HashMap<u64, Member> = HashMap::new();
            for (step, n, who) in steps {
                let (hash, me) = (hash(n), member(who));
                if step < 3 {
                    let known = twin.get(&hash).copied();
                    match (owners.claim(hash, me), known) {
                        (Claim::NoRoom, None) => {
                            let beside = twin.keys().filter(|other| {
                                let of = |hash| owners.places(hash).map(|(_, place)| std::ptr::from_ref(place)).collect::<Vec<_>>();
                                let ours = of(hash);
                                of(**other).iter().any(|place| ours.contains(place))
                            });
                            prop_assert!(beside.count() >= 2 * WAYS, "there was room");
                        }
                        (Claim::New, None) => drop(twin.insert(hash, me)),
                        (claim, known) => {
                            let wanted = known.map(|owner| if owner == me { Claim::Mine } else { Claim::Theirs(owner) });
                            prop_assert_eq!(Some(claim), wanted);
                        }
                    }
                } else {
                    owners.release(hash, me);
                    if twin.get(&hash) == Some(&me) {
                        twin.remove(&hash);
                    }
                }
                prop_assert_eq!(owners.owner(hash), twin.get(&hash).copied());
            }
            for (hash, owner) in &twin {
                prop_assert_eq!(owners.owner(*hash), Some(*owner));
            }
            let taken = owners.entries.iter().filter(|entry| entry.load(Ordering::SeqCst) != 0).count();
            prop_assert_eq!(taken, twin.len(), "nothing is left over");
        }
    }

    /// All at once, and others come and go in the same sets, so that which place is free changes all the time.
    #[test]
    fn of_many_that_claim_at_once_one_has_it() {
        const MEMBERS: usize = 4;
        let rounds = if std::env::var_os("STREAMDB_SOAK").is_some() { 300_000 } else { 20_000 };
        let owners = Owners::new(1);
        let barrier = Barrier::new(MEMBERS);
        let round = |n: u64, number: usize| {
            let me = member(number);
            let other = hash((n & 3) << 5) | (1 + n * 7 + number as u64) << 45;
            owners.claim(other, me);
            barrier.wait();
            let (shared, mut claim) = (hash(n & 0x1f), Claim::NoRoom);
            for turn in 0..3 {
                if turn as usize == number % 3 {
                    owners.release(other, me);
                }
                claim = owners.claim(shared, me);
            }
            barrier.wait();
            let owner = owners.owner(shared);
            barrier.wait();
            owners.release(shared, me);
            owners.release(other, me);
            (claim, owner)
        };
        let mut seen: Vec<Vec<(Claim, Option<Member>)>> = Vec::new();
        std::thread::scope(|scope| {
            let run = |number| (0..rounds).map(|n| round(n, number)).collect();
            let threads: Vec<_> = (0..MEMBERS).map(|number| scope.spawn(move || run(number))).collect();
            seen.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        });
        for n in 0..rounds as usize {
            let owner = seen[0][n].1;
            assert!(owner.is_some(), "round {n}: nobody has it");
            for (number, seen) in seen.iter().enumerate() {
                let mine = seen[n].0 == Claim::New || seen[n].0 == Claim::Mine;
                assert_eq!(seen[n].1, owner, "round {n}");
                assert_eq!(
                    mine,
                    owner == Some(member(number)),
                    "round {n}: {number} was told {:?} of {owner:?}",
                    seen[n].0
                );
            }
        }
        assert!(owners.entries.iter().all(|entry| entry.load(Ordering::SeqCst) == 0), "nothing is left over");
    }
}
