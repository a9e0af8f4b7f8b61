//! Where fragments go, and when, beside what they are of.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use streamdb_decode::{Config, Decoder, Look};
use streamdb_types::LinkType;

use super::*;

const SECOND: i64 = 1_000_000_000;

/// A frame with a fragment of a packet of this number: the n-th of four.
fn frame(id: u16, n: u16, mark: u32) -> Vec<u8> {
    part(id, n * 16, 16, n < 3, mark)
}

/// A frame with so many bytes of a packet of this number.
fn part(id: u16, offset: u16, len: u8, more: bool, mark: u32) -> Vec<u8> {
    let mut frame = vec![0x45, 0, 0, 20 + len];
    frame.extend(id.to_be_bytes());
    frame.extend(((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
    frame.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    // Ports, if it is the first.
    frame.extend([5, 6, 7, 8, 0, 64, 0, 0, 0, 0, 0, 0].iter().take(usize::from(len) - 4));
    frame.extend(mark.to_be_bytes());
    frame
}

fn look(frame: &[u8]) -> (Fragment, Carried) {
    match Decoder::new(Config::default()).look(LinkType::RAW, frame, frame.len() as u32) {
        Look::Fragment(fragment, carried) => (fragment, carried),
        Look::Decoded(decoded) => panic!("{decoded:?}"),
    }
}

/// What a worker does with it; where every frame went, by its mark.
#[derive(Default)]
struct Bench {
    fragments: Fragments,
    went: Vec<(u32, Route)>,
    claims: usize,
}

fn mark(frame: &Frame<'_>) -> u32 {
    u32::from_be_bytes(*frame.data.last_chunk().unwrap())
}

impl Bench {
    fn over(&mut self, over: Over) {
        self.went.extend(over.frames.iter().map(|kept| (mark(&kept.frame()), Route::Here)));
        self.claims += over.claims.len();
    }

    fn take(&mut self, data: &[u8], time: i64, of: impl Fn(&Ends) -> Route) {
        self.fragment(data, time, &of, Met::Nowhere);
    }

    fn fragment(&mut self, data: &[u8], time: i64, of: &dyn Fn(&Ends) -> Route, met: Met) {
        let time = Timestamp(time);
        let frame = Frame { time, interface: 3, wire_len: data.len() as u32, data };
        let (fragment, carried) = look(data);
        let route = match self.fragments.told(&fragment, &carried, met, time, |_| Member::new(0).unwrap()) {
            Told::Goes(route) => route,
            Told::Between(ends) => of(&ends),
            Told::Waits => {
                let over = self.fragments.wait(&fragment, &carried, met, &frame, time);
                return self.over(over);
            }
        };
        let (waited, over) = self.fragments.goes(&fragment, &carried, met, time, time, route);
        self.over(over);
        for (kept, route) in &waited {
            self.follow(&kept.frame(), *route, of);
        }
        self.follow(&frame, route, of);
        let over = self.fragments.went(&fragment.packet, met, time);
        self.over(over);
    }

    fn follow(&mut self, frame: &Frame<'_>, route: Route, of: &dyn Fn(&Ends) -> Route) {
        match route {
            Route::Meet(_) => self.fragment(frame.data, frame.time.0, of, Met::Inside),
            route => self.went.push((mark(frame), route)),
        }
    }
}

fn there(_: &Ends) -> Route {
    Route::There(Member::new(1).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Fragments of packets whose numbers are used again, in any order, some twice, some never: the twin keeps every frame
    /// of a packet until its first fragment is there.
    #[test]
    fn every_frame_goes_where_its_packet_goes(steps in prop::collection::vec((0..5u16, 0..4u16), 0..200)) {
        let mut bench = Bench::default();
        let mut twin: BTreeMap<u16, (bool, Vec<u32>, [u32; 4])> = BTreeMap::new();
        let mut past: BTreeSet<u16> = BTreeSet::new();
        let mut wanted: Vec<(u32, Route)> = Vec::new();
        let to = Route::There(Member::new(1).unwrap());
        for ((id, n), number) in steps.iter().copied().zip(0..) {
            bench.take(&frame(id, n, number), i64::from(number), there);
            // A copy of one of a packet of which all came.
            if n > 0 && past.contains(&id) && !twin.contains_key(&id) {
                wanted.push((number, to));
                prop_assert_eq!(&bench.went, &wanted);
                continue;
            }
            let (known, waiting, came) = twin.entry(id).or_default();
            *known |= n == 0;
            waiting.push(number);
            came[usize::from(n)] += 1;
            if *known {
                wanted.extend(waiting.drain(..).map(|number| (number, to)));
                if came.iter().all(|came| *came > 0) {
                    if came.iter().any(|came| *came > 1) {
                        past.insert(id);
                    }
                    twin.remove(&id);
                }
            }
            prop_assert_eq!(&bench.went, &wanted);
            let waits: usize = twin.values().map(|(_, waiting, _)| waiting.len() * (size_of::<Kept>() + 36)).sum();
            prop_assert_eq!(bench.fragments.bytes, waits);
        }
        let over = bench.fragments.finish();
        bench.over(over);
        wanted.extend(twin.values().flat_map(|(_, waiting, _)| waiting).map(|number| (*number, Route::Here)));
        wanted.sort_by_key(|(number, _)| *number);
        bench.went.sort_by_key(|(number, _)| *number);
        prop_assert_eq!(&bench.went, &wanted);
        prop_assert_eq!((bench.fragments.bytes, bench.fragments.packets.len()), (0, 0));
    }
}

/// The frames of a packet in four fragments in a tunnel, some of which come in two fragments again, as this says. Its number is the
/// port of who sends it.
fn in_tunnel(id: u16, split: [bool; 4], marks: &mut std::ops::RangeFrom<u32>) -> Vec<Vec<u8>> {
    let mut outer = |id: u16, offset: u16, more: bool, payload: &[u8]| {
        let mut frame = vec![0x45, 0, 0, 20 + payload.len() as u8];
        frame.extend(id.to_be_bytes());
        frame.extend(((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
        frame.extend([64, 4, 0, 0, 172, 16, 0, 1, 172, 16, 0, 2]);
        frame.extend(payload);
        // Behind the packet, where there may be anything.
        frame.extend(marks.next().unwrap().to_be_bytes());
        frame
    };
    let frames = (0..4).zip(split).flat_map(|(n, split)| {
        let mut inner = frame(id, n, 0);
        if n == 0 {
            inner[20..22].copy_from_slice(&id.to_be_bytes());
        }
        let number = id * 4 + n;
        if split {
            vec![outer(number, 0, true, &inner[..24]), outer(number, 24, false, &inner[24..])]
        } else {
            vec![outer(number, 0, false, &inner)]
        }
    });
    frames.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// In any order, some twice: each with the packet that it is of, and not before it is known where that goes.
    #[test]
    fn fragments_in_fragments_go_with_the_packet_that_they_are_of(
        splits in prop::collection::vec(any::<[bool; 4]>(), 1..4),
        order in any::<Vec<prop::sample::Index>>(),
        twice in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        claims in any::<bool>(),
    ) {
        let (mut marks, mut all) = (0.., Vec::new());
        for (split, id) in splits.iter().zip(1..) {
            all.extend(in_tunnel(id, *split, &mut marks).into_iter().map(|frame| (frame, id)));
        }
        let count = all.len();
        all.extend(twice.iter().map(|n| all[n.index(count)].clone()).collect::<Vec<_>>());
        for (n, index) in order.iter().enumerate().take(all.len()) {
            let other = index.index(all.len());
            all.swap(n, other);
        }
        let mut bench = Bench::default();
        let to = |id: u16| Route::There(Member::new(id.into()).unwrap());
        let of = |ends: &Ends| if claims { Route::Claimed(*ends) } else { to(ends.src.port) };
        let (mut shown, mut ids) = (BTreeSet::new(), BTreeMap::new());
        for ((data, id), time) in all.iter().zip(0..) {
            ids.insert(mark(&Frame { time: Timestamp(0), interface: 0, wire_len: 0, data }), *id);
            if look(data).1.ends.is_some() {
                shown.insert(*id);
            }
            bench.take(data, time, of);
            for (mark, route) in &bench.went {
                prop_assert!(shown.contains(&ids[mark]), "nobody knew where it goes");
                match route {
                    Route::Claimed(ends) => prop_assert_eq!(ends.src.port, ids[mark]),
                    Route::Here => prop_assert!(claims),
                    route => prop_assert_eq!(*route, to(ids[mark])),
                }
            }
        }
        if twice.is_empty() {
            prop_assert_eq!((bench.went.len(), bench.fragments.bytes, bench.fragments.packets.len()), (count, 0, 0));
            prop_assert_eq!(bench.claims, if claims { splits.len() } else { 0 });
        }
        let over = bench.fragments.finish();
        bench.over(over);
        prop_assert_eq!((bench.went.len(), bench.fragments.bytes), (all.len(), 0));
    }
}

/// A carrier of which a later fragment came in vain a while ago, and another of the same number since.
#[test]
fn a_carrier_does_not_go_where_one_of_its_number_went() {
    let mut bench = Bench::default();
    let frames = in_tunnel(1, [false, true, false, false], &mut (0..));
    let [first, carrier, rest] = [&frames[0], &frames[1], &frames[2]];
    bench.fragment(rest, 0, &there, Met::Inside);
    let over = bench.fragments.tick(Timestamp(SECOND + 1));
    bench.over(over);
    for (n, frame) in [carrier, rest, first].into_iter().enumerate() {
        let met = if n == 2 { Met::Outside } else { Met::Inside };
        bench.fragment(frame, 2 * SECOND, &there, met);
    }
    let to = there(&look(&frame(1, 0, 0)).1.ends.unwrap());
    assert_eq!(bench.went.remove(0).1, Route::Here, "in vain");
    assert!(bench.went.len() == 3 && bench.went.iter().all(|(_, route)| *route == to), "{:?}", bench.went);
}

/// What is carried by what is carried in fragments is let be, and so is what only looks so.
#[test]
fn what_carries_itself_is_over_some_time() {
    // A fragment header of IPv6 behind another one, once with the same number.
    for numbers in [[7, 7], [7, 8], [8, 7]] {
        let mut data = vec![0x60, 0, 0, 0, 0, 24, 44, 64];
        data.extend([0xfd; 32]);
        data.extend([44, 0, 0, 1, 0, 0, 0, numbers[0]]);
        data.extend([58, 0, 0, 1, 0, 0, 0, numbers[1]]);
        data.extend([0; 8]);
        assert_eq!(look(&data).1, Carried::default());
    }
    // One packet of a tunnel carries a fragment of another that carries one of a third.
    let wrapped = |id: u16, inner: &[u8]| {
        let mut frame = vec![0x45, 0, 0, 20 + inner.len() as u8];
        frame.extend(id.to_be_bytes());
        frame.extend([0x20, 0, 64, 4, 0, 0, 172, 16, 0, 1, 172, 16, 0, 2]);
        [&frame, inner].concat()
    };
    let deep = wrapped(1, &wrapped(2, &wrapped(3, &frame(4, 0, 0))));
    let (_, carried) = look(&deep);
    assert!(carried.ends.is_none() && carried.inside.is_some_and(|inside| inside.offset == 0));
}

#[test]
fn what_waits_in_vain_stays_here_and_so_does_the_rest() {
    let mut bench = Bench::default();
    bench.take(&frame(1, 2, 70), 0, there);
    let over = bench.fragments.tick(Timestamp(SECOND));
    bench.over(over);
    assert_eq!(bench.went, []);
    let over = bench.fragments.tick(Timestamp(SECOND + 1));
    bench.over(over);
    bench.take(&frame(1, 3, 71), SECOND + 2, there);
    assert_eq!(bench.went, [(70, Route::Here), (71, Route::Here)]);
    assert_eq!(bench.fragments.bytes, 0);
}

#[test]
fn what_overlaps_is_not_all_of_a_packet() {
    let mut bench = Bench::default();
    let parts = [(0, 16, true), (8, 16, true), (32, 8, false), (24, 8, true)];
    for (mark, (offset, len, more)) in (0..).zip(parts) {
        bench.take(&part(1, offset, len, more, mark), 0, there);
    }
    let over = bench.fragments.finish();
    bench.over(over);
    let to = Route::There(Member::new(1).unwrap());
    assert_eq!(bench.went, [(0, to), (1, to), (2, to), (3, to)]);
    // Of all but the last only units of 8 bytes count.
    let mut bench = Bench::default();
    for (mark, (offset, len, more)) in (0..).zip([(0, 16, true), (16, 15, true), (32, 8, false), (24, 8, true)]) {
        bench.take(&part(1, offset, len, more, mark), 0, there);
    }
    assert_eq!(bench.went, [(0, to), (1, to), (2, to), (3, to)]);
}

#[test]
fn copies_do_not_wait_for_a_first_one() {
    let mut bench = Bench::default();
    for n in 0..4 {
        bench.take(&frame(1, n, n.into()), 0, there);
        bench.take(&frame(1, n, n.into()), 0, there);
    }
    assert_eq!((bench.went.len(), bench.fragments.bytes), (8, 0));
    assert!(bench.went.iter().all(|(_, route)| *route == there(&look(&frame(1, 0, 0)).1.ends.unwrap())));
    // Not for long.
    bench.take(&frame(1, 3, 9), COPIES + 1, there);
    assert_eq!(bench.went.len(), 8);
    // Since all of them were there, however long that took.
    let mut bench = Bench::default();
    for n in 0..4 {
        bench.take(&frame(1, n, n.into()), i64::from(n) * COPIES, there);
        bench.take(&frame(1, n, n.into()), i64::from(n) * COPIES + 1, there);
    }
    bench.take(&frame(1, 2, 9), 4 * COPIES, there);
    assert_eq!((bench.went.len(), bench.fragments.bytes), (9, 0));
    for id in 0..2 * PAST as u16 {
        (0..4).for_each(|n| bench.take(&frame(id, n / 2, 0), 0, there));
        (2..4).for_each(|n| bench.take(&frame(id, n, 0), 0, there));
    }
    assert_eq!((bench.fragments.past.len(), bench.fragments.past_order.len()), (PAST, PAST));
}

/// As in a tunnel of many packets a second, whose senders use the numbers of packets again soon.
#[test]
fn a_number_that_is_used_again_is_another_packet() {
    let mut bench = Bench::default();
    (0..4).for_each(|n| bench.take(&frame(1, n, n.into()), 0, there));
    (0..4).rev().for_each(|n| bench.take(&frame(1, n, 4 + u32::from(n)), 1, |_| Route::Here));
    assert!(bench.went[4..].iter().all(|(mark, route)| *mark >= 4 && *route == Route::Here), "{:?}", bench.went);
    assert_eq!(bench.went.len(), 8);
}

#[test]
fn a_claim_is_given_back_once_the_packet_is_over() {
    let mut bench = Bench::default();
    let claimed = |ends: &Ends| Route::Claimed(*ends);
    (0..4).for_each(|n| bench.take(&frame(1, n, n.into()), 0, claimed));
    assert_eq!(bench.claims, 1, "it is complete");
    bench.take(&frame(2, 0, 8), 0, claimed);
    // The first one once more: by now it is known to be this worker's.
    bench.take(&frame(2, 0, 9), 0, |_| Route::Here);
    let over = bench.fragments.tick(Timestamp(30 * SECOND));
    bench.over(over);
    assert_eq!(bench.claims, 1);
    let over = bench.fragments.tick(Timestamp(30 * SECOND + 1));
    bench.over(over);
    assert_eq!((bench.claims, bench.fragments.packets.len(), bench.fragments.order.len()), (2, 0, 0));
}

#[test]
fn what_waits_is_bounded() {
    let mut bench = Bench::default();
    for id in 0..2 * PACKETS as u16 {
        bench.take(&frame(id, 1, id.into()), 0, there);
    }
    assert_eq!((bench.fragments.packets.len(), bench.went.len()), (PACKETS, PACKETS));
    assert_eq!(bench.went.first(), Some(&(0, Route::Here)), "the first one first");
    let mut bench = Bench::default();
    let large = [frame(1, 1, 0), vec![0; 60_000]].concat();
    for _ in 0..200 {
        bench.take(&large, 0, there);
    }
    assert!(bench.fragments.bytes <= BYTES && bench.went.len() > 100, "{}", bench.went.len());
}
