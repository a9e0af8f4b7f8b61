//! Reassembly against a slow twin that looks at single bytes; and against chaos, where only the contract must hold.
//! `STREAMDB_SOAK=1` makes it long.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{ACK, FIN, Fate, Frame, Keeper, SYN, Wire, frame, host};
use proptest::prelude::*;
use streamdb_decode::{TcpFlags, TcpSegment, UdpDatagram};
use streamdb_reassembly::{Config, FlowTable, FrameTag, Keep, OverlapPolicy};
use streamdb_types::{Direction::ToServer, GapKind, Hop, HopKind, Marks, Path, SeqNum, Timestamp};

fn config(cases: u32) -> ProptestConfig {
    let soak = std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1");
    ProptestConfig { cases: if soak { cases * 50 } else { cases }, failure_persistence: None, ..Default::default() }
}

/// One thing that happens to the client's stream. Offsets are from the byte after its SYN.
#[derive(Clone, Debug)]
enum Step {
    Segment { at: i64, len: usize, cut: u32, wrong: Option<usize>, fin: bool },
    Again(usize),
    Ack(i64),
    Syn,
    Flush,
}

fn step(lowest: i64) -> impl Strategy<Value = Step> {
    let wrong = prop_oneof![4 => Just(None), 1 => (0_usize..40).prop_map(Some)];
    let cut = prop_oneof![5 => Just(0_u32), 1 => 1_u32..20];
    let fin = prop_oneof![30 => Just(false), 1 => Just(true)];
    let len = prop_oneof![3 => 0_usize..30, 1 => Just(1_usize)];
    prop_oneof![
        12 => (lowest..150_i64, len, cut, wrong, fin)
            .prop_map(|(at, len, cut, wrong, fin)| Step::Segment { at, len, cut, wrong, fin }),
        2 => (0_usize..60).prop_map(Step::Again),
        1 => (0_i64..200).prop_map(Step::Ack),
        1 => Just(Step::Syn),
        2 => Just(Step::Flush),
    ]
}

/// In order mostly, so that something but holes comes of it.
fn tidy(steps: &mut [Step]) {
    let mut next = 0;
    for (i, step) in steps.iter_mut().enumerate() {
        if let Step::Segment { at, len, cut, .. } = step
            && i % 3 != 0
        {
            *at = (next + *at % 7 - 3).max(0);
            next = (*at + *len as i64 + i64::from(*cut)).max(next);
        }
    }
}

#[derive(Clone)]
struct Pending {
    tag: u64,
    at: i64,
    bytes: Vec<u8>,
    wire_end: i64,
}

/// What reassembly should make of it, byte by byte.
#[derive(Default)]
struct Twin {
    policy: OverlapPolicy,
    /// So many bytes are kept.
    first: i64,
    /// The offset, in the script's terms, of the stream's first byte.
    base: Option<i64>,
    /// Whether that is by what came, and not by a SYN.
    midstream: bool,
    given: BTreeMap<i64, u8>,
    cut: BTreeSet<i64>,
    next: i64,
    fin: Option<i64>,
    later_fin: Option<i64>,
    acked: i64,
    /// Whether the other side was seen, and acknowledged something.
    answered: bool,
    heard: bool,
    /// Where a segment ended that lies before the stream.
    behind: Option<i64>,
    pending: Vec<Pending>,
    /// Keep-alives for whose byte there was none to compare it with, and what lay behind a FIN that was believed then.
    garbage: BTreeSet<u64>,
    outside: u64,
    not_kept: u64,
    stored: u64,
    conflict: bool,
}

impl Twin {
    fn segment(&mut self, tag: u64, at: i64, bytes: &[u8], cut: u32, fin: bool) {
        let at = at - self.base.unwrap_or(0);
        let wire_end = at + bytes.len() as i64 + i64::from(cut);
        let possible = self.base.is_none_or(|_| wire_end >= self.next.max(self.acked - 1));
        if fin && possible && self.pending.iter().all(|pending| wire_end >= pending.wire_end) {
            match self.fin {
                None => self.fin = Some(wire_end),
                Some(fin) if fin == wire_end || self.has_fin() => {}
                Some(fin) => {
                    (self.fin, self.later_fin) = (Some(fin.min(wire_end)), Some(fin.max(wire_end)));
                    self.conflict = true;
                }
            }
        }
        if wire_end == at {
            return;
        }
        if self.fin.is_some_and(|fin| wire_end > fin) && !self.has_fin() {
            self.no_fin(wire_end);
        }
        let all = !self.heard || self.acked >= self.next;
        let keep_alive = self.base.is_some() && wire_end == at + 1 && wire_end == self.next && all;
        if keep_alive {
            if !bytes.is_empty() && at >= self.first {
                self.not_kept += 1;
            } else if !bytes.is_empty() && !self.given.contains_key(&at) {
                self.outside += 1;
                self.garbage.insert(tag);
            }
            return;
        }
        if self.base.is_some() && self.fin.is_some_and(|fin| at >= fin) {
            let kept = usize::try_from(self.first.saturating_sub(at)).unwrap_or(0).min(bytes.len()) as u64;
            self.outside += kept;
            self.garbage.insert(tag);
            self.not_kept += bytes.len() as u64 - kept;
            self.release(false);
            return;
        }
        self.pending.push(Pending { tag, at, bytes: bytes.to_vec(), wire_end });
        let payload: usize = self.pending.iter().map(|pending| pending.bytes.len()).sum();
        if self.base.is_none() && (self.pending.len() >= 16 || payload >= 65_536) {
            self.pick_up();
        }
        if self.base.is_some() {
            self.release(false);
        }
    }

    /// Whether the other side has the FIN.
    fn has_fin(&self) -> bool {
        self.base.is_some() && self.fin.is_some_and(|fin| self.acked > fin)
    }

    /// The stream goes on, so that it was none.
    fn no_fin(&mut self, to: i64) {
        self.fin = self.later_fin.take().filter(|&fin| fin >= to);
        self.conflict = true;
    }

    fn acknowledged(&mut self, at: i64) {
        let Some(base) = self.base else { return };
        let top = self.pending.iter().map(|pending| pending.wire_end).chain([self.next]).max();
        self.heard |= (0..=top.unwrap()).contains(&(at - base));
        if at - base > self.acked {
            self.acked = at - base;
            if self.fin.is_some_and(|fin| self.acked > fin + 1) {
                self.no_fin(self.acked - 1);
            }
        }
    }

    /// Whether two in a row lie before the stream, of which the other side says nothing: then they are of another.
    fn is_elsewhere(&mut self, at: i64, taken: i64) -> bool {
        let at = at - self.base.unwrap_or(0);
        if self.base.is_none() || self.midstream || taken == 0 || at + taken >= 0 {
            return false;
        }
        let elsewhere = self.behind == Some(at) && !self.answered;
        self.behind = Some(at + taken);
        elsewhere
    }

    fn pick_up(&mut self) {
        let lowest = self.pending.iter().map(|pending| pending.at).chain(self.fin).min();
        if let (None, Some(lowest)) = (self.base, lowest) {
            self.fix(lowest);
            self.midstream = true;
        }
    }

    fn fix(&mut self, base: i64) {
        self.base = Some(base);
        self.fin = self.fin.map(|fin| fin - base);
        self.later_fin = self.later_fin.map(|fin| fin - base);
        for pending in &mut self.pending {
            pending.at -= base;
            pending.wire_end -= base;
        }
    }

    fn flush(&mut self) {
        self.pick_up();
        if self.base.is_some() {
            self.release(true);
        }
    }

    fn release(&mut self, all: bool) {
        let limit = self.fin.unwrap_or(i64::MAX);
        let mut chosen: Vec<(usize, Pending)> = Vec::new();
        let mut reach = self.next;
        let mut rest: Vec<(usize, Pending)> = std::mem::take(&mut self.pending).into_iter().enumerate().collect();
        while let Some(i) = rest.iter().position(|(_, pending)| all || pending.at <= reach || reach >= self.first) {
            let taken = rest.remove(i);
            reach = reach.max(taken.1.wire_end.min(limit));
            chosen.push(taken);
        }
        self.pending = rest.into_iter().map(|(_, pending)| pending).collect();
        chosen.sort_by_key(|(order, pending)| match self.policy {
            OverlapPolicy::First => (0, 0, *order as i64),
            OverlapPolicy::Last => (0, 0, -(*order as i64)),
            OverlapPolicy::Windows => (pending.at, 0, *order as i64),
            OverlapPolicy::Linux => (pending.at, -pending.wire_end, *order as i64),
        });
        for (_, pending) in &chosen {
            for (at, &byte) in (pending.at..).zip(&pending.bytes) {
                if at >= self.first {
                    self.not_kept += 1;
                } else if at < 0 || at >= limit {
                    self.outside += 1;
                    self.garbage.insert(pending.tag);
                } else if let Some(&given) = self.given.get(&at) {
                    self.conflict |= given != byte;
                } else {
                    self.given.insert(at, byte);
                    self.stored += 1;
                }
            }
        }
        for (_, pending) in &chosen {
            let captured = pending.at + pending.bytes.len() as i64;
            self.cut.extend((captured..pending.wire_end).filter(|&at| at >= 0 && at < limit));
            // Bytes that lie wholly behind the FIN say nothing of those before it.
            if pending.at < limit {
                self.next = self.next.max(pending.wire_end.min(limit));
            }
        }
    }

    fn gaps(&self, length: i64) -> Vec<(u64, u64, GapKind)> {
        let mut gaps: Vec<(u64, u64, GapKind)> = Vec::new();
        for at in (0..length).filter(|at| !self.given.contains_key(at)) {
            let kind = if at >= self.first {
                GapKind::Cutoff
            } else if self.cut.contains(&at) {
                GapKind::SnapLength
            } else {
                GapKind::Missing
            };
            match gaps.last_mut() {
                Some(last) if last.0 + last.1 == at as u64 && last.2 == kind => last.1 += 1,
                _ => gaps.push((at as u64, 1, kind)),
            }
        }
        gaps
    }

    fn length(&self, is_over: bool) -> i64 {
        if self.base.is_none() {
            return 0;
        }
        self.next.max(self.fin.unwrap_or(if is_over { self.acked } else { self.acked - 1 }))
    }
}

/// Plays a script to both and compares after each flush. Returns what the sink heard.
fn play(
    isn: u32,
    syn_first: bool,
    policy: OverlapPolicy,
    first: Option<u8>,
    forgetful: u64,
    steps: &[Step],
) -> Vec<String> {
    let mut wire = Wire::new(Config { overlap: policy, ..Config::default() });
    wire.keeper.forgetful = forgetful;
    wire.keeper.keep = first.map_or(Keep::All, |first| Keep::First(first.into()));
    let mut twin = Twin { policy, first: first.map_or(i64::MAX, i64::from), ..Twin::default() };
    let mut payloads: Vec<(u64, i64, Vec<u8>)> = Vec::new();
    let mut sent: Vec<(i64, String, u32, bool)> = Vec::new();
    if syn_first {
        wire.c(frame(SYN, isn));
        twin.fix(0);
    }
    for step in steps.iter().chain([&Step::Flush]) {
        match step {
            Step::Segment { at, len, cut, wrong, fin } => {
                let mut text: Vec<u8> = (0..*len as i64).map(|i| b'a' + ((at + i) * 7).rem_euclid(26) as u8).collect();
                if let Some(i) = wrong
                    && let Some(byte) = text.get_mut(*i)
                {
                    *byte = b'A' + (*i % 26) as u8;
                }
                sent.push((*at, String::from_utf8(text).unwrap(), *cut, *fin));
            }
            Step::Again(i) => match sent.get(sent.len().wrapping_sub(1 + i % 8)) {
                Some(old) => sent.push(old.clone()),
                None => continue,
            },
            Step::Ack(at) => {
                let ack = isn.wrapping_add(1).wrapping_add(*at as u32);
                wire.s(Frame { ack, ..frame(ACK, 9) });
                twin.answered = true;
                twin.acknowledged(*at);
                continue;
            }
            Step::Syn => {
                wire.c(frame(SYN, isn));
                if twin.base.is_none() {
                    twin.fix(0);
                }
                continue;
            }
            Step::Flush => {
                wire.flush();
                twin.flush();
                check(&wire, &twin, &payloads, forgetful == 0);
                continue;
            }
        }
        let (at, text, cut, fin) = sent.last().unwrap();
        let seq = isn.wrapping_add(1).wrapping_add(*at as u32);
        let elsewhere = twin.is_elsewhere(*at, text.len() as i64 + i64::from(*cut) + i64::from(*fin));
        wire.c(Frame { text, cut: *cut, ..frame(if *fin { ACK | FIN } else { ACK }, seq) });
        if elsewhere {
            assert!(wire.keeper.seen.len() == 2 && wire.keeper.seen[0].closed);
            break;
        }
        if !text.is_empty() {
            payloads.push((wire.tag, *at, text.clone().into_bytes()));
        }
        twin.segment(wire.tag, *at, text.as_bytes(), *cut, *fin);
    }
    wire.finish();
    wire.keeper.log
}

fn check(wire: &Wire, twin: &Twin, payloads: &[(u64, i64, Vec<u8>)], remembers: bool) {
    let Some(seen) = wire.keeper.seen.first() else { return };
    assert_eq!(wire.keeper.seen.len(), 1);
    let bytes: BTreeMap<i64, u8> = seen.bytes[0].iter().map(|(&at, &byte)| (at as i64, byte)).collect();
    assert_eq!(bytes, twin.given);
    let state = &seen.states[0];
    let length = twin.length(seen.ended.is_some());
    assert_eq!(state.length.0 as i64, length);
    assert_eq!(seen.gaps(ToServer), twin.gaps(length));
    let counters = wire.table.counters();
    assert_eq!((counters.payload_stored, counters.payload_outside), (twin.stored, twin.outside));
    assert_eq!(counters.payload_not_kept, twin.not_kept);
    if remembers {
        assert_eq!(counters.payload_unchecked, 0);
        assert_eq!(state.marks.contains(Marks::CONFLICT), twin.conflict);
    }
    let mut told = 0;
    for (tag, at, payload) in payloads {
        let at = at - twin.base.unwrap_or(0);
        let room = usize::try_from(twin.first.saturating_sub(at)).unwrap_or(0);
        let payload = payload.get(..room).unwrap_or(payload);
        let cut = wire.keeper.cuts.get(&FrameTag(*tag));
        assert!(cut.map_or(payload.len() <= room, |left| left == payload), "frame {tag}");
        if payload.is_empty() {
            assert!(cut.is_some() && !wire.keeper.fates.contains_key(&FrameTag(*tag)));
            continue;
        }
        told += 1;
        let in_stream = (at..).zip(payload).all(|(at, byte)| twin.given.get(&at) == Some(byte));
        match &wire.keeper.fates[&FrameTag(*tag)] {
            Fate::Placed(ToServer, offset, len) => {
                assert!(in_stream);
                assert_eq!((*offset as i64, *len as usize), (at, payload.len()));
            }
            Fate::Placed(..) => panic!("placed in the other stream"),
            Fate::Kept(bytes) => {
                assert_eq!(bytes, payload);
                assert!(!in_stream || !remembers || twin.garbage.contains(tag), "frame {tag} is in the stream");
            }
        }
    }
    assert_eq!(wire.keeper.fates.len(), told, "each frame with payload that is kept is placed or kept");
}

fn policy() -> impl Strategy<Value = OverlapPolicy> {
    prop_oneof![
        Just(OverlapPolicy::First),
        Just(OverlapPolicy::Last),
        Just(OverlapPolicy::Linux),
        Just(OverlapPolicy::Windows)
    ]
}

fn isn() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), u32::MAX - 100..=u32::MAX, (1_u32 << 31) - 100..1 << 31]
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn equals_its_twin(
        isn in isn(),
        syn_first in any::<bool>(),
        policy in policy(),
        first in prop::option::of(0_u8..150),
        forgetful in prop_oneof![2 => Just(0_u64), 1 => any::<u64>()],
        mut steps in prop::collection::vec(step(-5), 1..60),
        orderly in any::<bool>(),
    ) {
        if orderly {
            tidy(&mut steps);
        }
        if !syn_first {
            // A SYN among frames that lie before it would be another connection's.
            for step in &mut steps {
                if let Step::Segment { at, .. } = step {
                    *at = (*at).max(0);
                }
            }
        }
        let once = play(isn, syn_first, policy, first, forgetful, &steps);
        let twice = play(isn, syn_first, policy, first, forgetful, &steps);
        prop_assert_eq!(once, twice);
    }
}

/// A frame of the chaos: anything.
#[derive(Clone, Debug)]
struct Any {
    ends: (u8, u8),
    vlan: bool,
    udp: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    scale: Option<u8>,
    len: usize,
    cut: u32,
    checksum_ok: Option<bool>,
    /// Nanoseconds that pass before, perhaps backwards, and whether a tick or a flush comes.
    passes: i64,
    tick: bool,
    flush: bool,
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0_u32..300, 1 => any::<u32>(), 1 => (0_u32..300).prop_map(|n| n.wrapping_sub(150)),
        1 => (0_u32..300).prop_map(|n| n << 22)]
}

fn anything() -> impl Strategy<Value = Any> {
    let flags = prop_oneof![
        10 => Just(ACK), 2 => Just(SYN), 2 => Just(SYN | ACK), 2 => Just(ACK | FIN), 1 => Just(common::RST), 1 => any::<u8>()
    ];
    let who = ((0_u8..4, 0_u8..4), any::<bool>(), prop::bool::weighted(0.1), flags, number(), number());
    let what =
        (any::<u16>(), prop::option::of(any::<u8>()), 0_usize..60, prop_oneof![5 => Just(0_u32), 1 => 0_u32..40]);
    let when = (
        prop::option::weighted(0.1, any::<bool>()),
        prop_oneof![8 => 0_i64..1_000_000, 1 => -100_000_000_000_i64..100_000_000_000, 1 => any::<i64>()],
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    );
    (who, what, when).prop_map(
        |((ends, vlan, udp, flags, seq, ack), (window, scale, len, cut), (checksum_ok, passes, tick, flush))| Any {
            ends,
            vlan,
            udp,
            flags,
            seq,
            ack,
            window,
            scale,
            len,
            cut,
            checksum_ok,
            passes,
            tick,
            flush,
        },
    )
}

fn survive(config: &Config, frames: &[Any], keep: (Keep, usize), forgetful: u64) -> Vec<String> {
    let mut table = FlowTable::new(config.clone());
    let mut keeper = Keeper::default();
    keeper.forgetful = forgetful;
    (keeper.keep, keeper.looks) = keep;
    let (mut time, mut captured, mut loaded) = (0_i64, 0, 0);
    let mut vlan = Path::EMPTY;
    assert!(vlan.push(Hop { kind: HopKind::Vlan, id: 3 }));
    for (tag, any) in frames.iter().enumerate() {
        time = time.saturating_add(any.passes);
        if any.tick {
            table.tick(Timestamp(time), &mut keeper);
        }
        if any.flush {
            table.flush(&mut keeper);
            assert_eq!(table.counters().unaccounted(), 0);
            assert_eq!((table.counters().payload_captured, table.held_bytes()), (captured, 0));
            assert_eq!(keeper.fates.len() + gone(&keeper), loaded);
        }
        let (src, dst) =
            (host(any.ends.0 & 1, 80 + u16::from(any.ends.0)), host(any.ends.1 & 1, 80 + u16::from(any.ends.1)));
        let text: Vec<u8> = (0..any.len as u32).map(|i| (any.seq.wrapping_add(i) % 7) as u8).collect();
        let (payload, wire_len) = (&text[..], any.len as u32 + any.cut);
        let path = if any.vlan { &vlan } else { &Path::EMPTY };
        let (tag, at) = (FrameTag(tag as u64), Timestamp(time));
        let taken = if any.udp {
            let datagram = UdpDatagram { src, dst, payload, wire_len, checksum_ok: any.checksum_ok, id: 0 };
            table.udp(tag, at, path, &datagram, &mut keeper)
        } else {
            let segment = TcpSegment {
                src,
                dst,
                seq: SeqNum(any.seq),
                ack: SeqNum(any.ack),
                flags: TcpFlags(any.flags),
                window: any.window,
                window_scale: any.scale,
                payload,
                wire_len,
                checksum_ok: any.checksum_ok,
            };
            table.tcp(tag, at, path, &segment, &mut keeper)
        };
        assert_eq!(taken.is_none(), config.reject_bad_checksums && any.checksum_ok == Some(false));
        if taken.is_some() {
            captured += any.len as u64;
            loaded += usize::from(any.len > 0);
        }
        assert!(table.open_connections() <= config.max_connections.max(1));
        assert!(table.held_bytes() <= config.max_held);
    }
    table.finish(&mut keeper);
    let counters = table.counters();
    assert_eq!((counters.unaccounted(), counters.payload_captured), (0, captured));
    assert_eq!(keeper.fates.len() + gone(&keeper), loaded);
    assert_eq!((table.open_connections(), table.held_bytes()), (0, 0));
    assert!(keeper.seen.iter().all(|seen| seen.closed));
    assert_eq!(counters.connections, keeper.seen.len() as u64);
    let gaps: u64 = keeper
        .seen
        .iter()
        .flat_map(|seen| &seen.states)
        .map(|state| state.closed_gaps + state.gaps.iter().map(|gap| gap.length).sum::<u64>())
        .sum();
    assert_eq!(counters.gap_missing + counters.gap_snaplen + counters.gap_cutoff, gaps);
    let bytes: usize = keeper.seen.iter().flat_map(|seen| &seen.bytes).map(BTreeMap::len).sum();
    assert_eq!(counters.payload_stored, bytes as u64);
    keeper.log
}

/// Payloads of which nothing is left.
fn gone(keeper: &Keeper) -> usize {
    keeper.cuts.values().filter(|left| left.is_empty()).count()
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn survives_anything(
        frames in prop::collection::vec(anything(), 1..200),
        policy in policy(),
        reject in any::<bool>(),
        connections in 0_usize..8,
        held in prop_oneof![Just(0_usize), 100_usize..2000, Just(1 << 20)],
        gaps in prop_oneof![0_usize..5, Just(4096)],
        keep in (prop_oneof![Just(Keep::All), (0_u64..300).prop_map(Keep::First)], 0_usize..20),
        forgetful in any::<u64>(),
    ) {
        let config = Config {
            overlap: policy,
            reject_bad_checksums: reject,
            max_connections: connections,
            max_held_per_stream: held,
            max_held: held * 2,
            max_gaps_per_stream: gaps,
            ..Config::default()
        };
        prop_assert_eq!(survive(&config, &frames, keep, forgetful), survive(&config, &frames, keep, forgetful));
    }
}
