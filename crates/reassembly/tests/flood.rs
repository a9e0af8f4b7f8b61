//! Floods: what goes first, what stays, and what it costs.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::net::{IpAddr, Ipv4Addr};

use common::{ACK, FIN, Frame, SECOND, SYN, data, frame, host};
use streamdb_decode::{TcpFlags, TcpSegment, UdpDatagram};
use streamdb_reassembly::{Comparison, Config, FlowTable, FrameTag, Opened, Sink, Slot, StreamState};
use streamdb_types::{Direction, Endpoint, Path, Reason, SeqNum, StreamOffset, Timestamp};

/// Keeps the bytes of connections to port 80, and of the others nothing.
#[derive(Default)]
struct Watch {
    slots: Vec<Option<Watched>>,
    /// Those that were closed.
    closed: Vec<(Watched, Option<Reason>)>,
    ended: Option<Reason>,
}

#[derive(Clone, Debug)]
struct Watched {
    client: Endpoint,
    bytes: [Vec<u8>; 2],
    whole: bool,
}

impl Watch {
    fn at(&mut self, slot: Slot) -> Option<&mut Watched> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }
}

impl Sink for Watch {
    fn opened(&mut self, slot: Slot, opened: &Opened) {
        let at = slot.0 as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        let watched = Watched { client: opened.tuple.client, bytes: Default::default(), whole: true };
        self.slots[at] = (opened.tuple.server.port == 80).then_some(watched);
    }

    fn data(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) {
        if let Some(watched) = self.at(slot) {
            let stream = &mut watched.bytes[direction.index()];
            watched.whole &= offset.0 == stream.len() as u64;
            stream.extend_from_slice(bytes);
        }
    }

    fn datagram(&mut self, _: Slot, _: Direction, _: StreamOffset, _: &[u8], _: u32, _: Timestamp) {}

    fn compare(&mut self, _: Slot, _: Direction, _: StreamOffset, _: &[u8]) -> Comparison {
        Comparison::Unknown
    }

    fn placed(&mut self, _: FrameTag, _: Slot, _: Direction, _: StreamOffset, _: u32) {}

    fn kept(&mut self, _: FrameTag, _: &[u8]) {}

    fn checkpoint(&mut self, _: Slot, _: &[StreamState; 2], ended: Option<Reason>) {
        self.ended = ended;
    }

    fn closed(&mut self, slot: Slot) {
        if let Some(watched) = self.slots[slot.0 as usize].take() {
            self.closed.push((watched, self.ended));
        }
    }
}

/// A table at work, by its own clock.
struct Flooded {
    table: FlowTable,
    watch: Watch,
    tag: u64,
    now: i64,
    next_tick: i64,
    most: usize,
}

impl Flooded {
    fn new(config: Config) -> Self {
        Self {
            table: FlowTable::new(config),
            watch: Watch::default(),
            tag: 0,
            now: SECOND,
            next_tick: 2 * SECOND,
            most: 0,
        }
    }

    /// So much later.
    fn pass(&mut self, nanos: i64) {
        self.now += nanos;
        while self.now >= self.next_tick {
            self.table.tick(Timestamp(self.next_tick), &mut self.watch);
            self.table.flush(&mut self.watch);
            self.next_tick += SECOND;
            self.most = self.most.max(self.table.open_connections());
        }
    }

    fn tcp(&mut self, src: Endpoint, dst: Endpoint, frame: Frame<'_>) {
        let segment = TcpSegment {
            src,
            dst,
            seq: SeqNum(frame.seq),
            ack: SeqNum(frame.ack),
            flags: TcpFlags(frame.flags),
            window: 10_000,
            window_scale: None,
            payload: frame.text.as_bytes(),
            wire_len: frame.text.len() as u32,
            checksum_ok: None,
        };
        self.tag += 1;
        self.table.tcp(FrameTag(self.tag), Timestamp(self.now), &Path::EMPTY, &segment, &mut self.watch);
    }

    fn udp(&mut self, src: Endpoint, dst: Endpoint, payload: &[u8]) {
        let (wire_len, id) = (payload.len() as u32, self.tag as u16);
        let datagram = UdpDatagram { src, dst, payload, wire_len, checksum_ok: None, id };
        self.tag += 1;
        self.table.udp(FrameTag(self.tag), Timestamp(self.now), &Path::EMPTY, &datagram, &mut self.watch);
    }

    /// Connections of a client each, established, that have said something.
    fn establish(&mut self, count: u16) -> Vec<Transfer> {
        (0..count)
            .map(|n| {
                let mut transfer = Transfer { client: host(1, 30_000 + n), sent: 0, got: 0 };
                transfer.open(self);
                transfer.go_on(self);
                transfer
            })
            .collect()
    }
}

/// A connection to port 80 on which both sides say what can be foretold.
struct Transfer {
    client: Endpoint,
    sent: u32,
    got: u32,
}

const SERVER: u8 = 2;
const TEXT: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

impl Transfer {
    fn open(&mut self, flooded: &mut Flooded) {
        let (client, server) = (self.client, host(SERVER, 80));
        flooded.tcp(client, server, frame(SYN, 999));
        flooded.tcp(server, client, Frame { ack: 1000, ..frame(SYN | ACK, 4999) });
        flooded.tcp(client, server, Frame { ack: 5000, ..frame(ACK, 1000) });
    }

    fn go_on(&mut self, flooded: &mut Flooded) {
        let (client, server) = (self.client, host(SERVER, 80));
        flooded.tcp(client, server, data(1000 + self.sent, 5000 + self.got, TEXT));
        self.sent += TEXT.len() as u32;
        flooded.tcp(server, client, data(5000 + self.got, 1000 + self.sent, TEXT));
        self.got += TEXT.len() as u32;
    }
}

/// Every transfer is one connection still, with all that was said, and nothing was closed but what the flood made.
fn all_whole(flooded: &Flooded, transfers: &[Transfer]) {
    for transfer in transfers {
        let mut found = flooded.watch.slots.iter().flatten().filter(|watched| watched.client == transfer.client);
        let watched = found.next().unwrap_or_else(|| panic!("{:?} is gone", transfer.client));
        assert!(watched.whole, "{:?}", transfer.client);
        let said = watched.bytes.each_ref().map(|bytes| bytes.len() as u32);
        assert_eq!(said, [transfer.sent, transfer.got], "{:?}", transfer.client);
        assert!(watched.bytes.iter().all(|bytes| bytes.iter().eq(TEXT.as_bytes().iter().cycle().take(bytes.len()))));
        assert!(found.next().is_none());
    }
    assert_eq!(flooded.table.counters().evicted_established, 0);
    let counters = flooded.table.counters();
    assert_eq!(counters.unaccounted(), 0);
}

/// The `n`th stranger.
fn stranger(n: u32) -> Endpoint {
    Endpoint::new(IpAddr::V4(Ipv4Addr::from_bits(0x5000_0000 + n / 4)), 1024 + (n % 4) as u16)
}

const MINUTE: i64 = 60 * SECOND;

/// A million flows a minute for a minute, into a table of 100,000, beside 500 connections of which each says something every 20
/// seconds and some nothing at all; and new ones open all the time.
fn flood(each: impl Fn(&mut Flooded, u32)) -> Flooded {
    const FLOWS: u32 = 1_000_000;
    let mut flooded = Flooded::new(Config { max_connections: 100_000, ..Config::default() });
    let mut transfers = flooded.establish(500);
    let mut late: Option<Transfer> = None;
    for n in 0..FLOWS {
        each(&mut flooded, n);
        flooded.pass(MINUTE / i64::from(FLOWS));
        // The first hundred are silent until the end.
        if n % 800 == 0 {
            let at = 100 + (n / 800) as usize % 400;
            transfers[at].go_on(&mut flooded);
        }
        // One more begins: its SYN and the rest are a second of the flood apart.
        if n % 20_000 == 10_000 {
            let client = host(1, 50_000 + (n / 20_000) as u16);
            let transfer = Transfer { client, sent: 0, got: 0 };
            flooded.tcp(client, host(SERVER, 80), frame(SYN, 999));
            late = Some(transfer);
        }
        if n % 20_000 == 18_000
            && let Some(mut transfer) = late.take()
        {
            transfer.open(&mut flooded);
            transfer.go_on(&mut flooded);
            transfers.push(transfer);
        }
        assert!(flooded.table.open_connections() <= 100_000);
    }
    transfers.iter_mut().for_each(|transfer| transfer.go_on(&mut flooded));
    flooded.table.flush(&mut flooded.watch);
    all_whole(&flooded, &transfers);
    assert!(flooded.watch.closed.is_empty(), "{:?}", flooded.watch.closed);
    assert_eq!(transfers.len(), 550);
    flooded
}

#[test]
fn a_flood_of_syns_costs_an_established_connection_nothing() {
    let flooded = flood(|flooded, n| flooded.tcp(stranger(n), host(2, 443), frame(SYN, n)));
    assert!(flooded.table.counters().evicted_connections > 100_000);
}

#[test]
fn nor_does_one_that_is_answered() {
    flood(|flooded, n| {
        flooded.tcp(stranger(n), host(2, 443), frame(SYN, n));
        flooded.tcp(host(2, 443), stranger(n), Frame { ack: n.wrapping_add(1), ..frame(SYN | ACK, 77) });
        // The last step of a handshake by one who does not see the answer.
        flooded.tcp(stranger(n), host(2, 443), Frame { ack: 12_345, ..frame(ACK, n.wrapping_add(1)) });
    });
}

#[test]
fn nor_do_segments_of_no_connection() {
    flood(|flooded, n| match n % 3 {
        0 => flooded.tcp(stranger(n), host(2, 443), data(n, 1, "x")),
        1 => flooded.tcp(stranger(n), host(2, 443), frame(ACK | FIN, n)),
        _ => flooded.tcp(stranger(n), host(2, 443), Frame { ack: n, ..frame(ACK, n) }),
    });
}

#[test]
fn nor_do_datagrams_answered_or_not() {
    flood(|flooded, n| {
        flooded.udp(stranger(n), host(2, 53), b"who?");
        if n % 2 == 0 {
            flooded.udp(host(2, 53), stranger(n), b"me");
        }
    });
}

#[test]
fn where_all_are_established_the_longest_silent_goes() {
    let mut flooded = Flooded::new(Config { max_connections: 10, ..Config::default() });
    let transfers = flooded.establish(10);
    flooded.pass(2 * SECOND);
    for n in 0..1000 {
        flooded.tcp(stranger(n), host(2, 443), frame(SYN, n));
    }
    let counters = flooded.table.counters();
    assert_eq!((counters.evicted_established, counters.evicted_connections), (1, 1000));
    assert_eq!(flooded.watch.closed.len(), 1);
    assert_eq!(flooded.watch.closed[0].0.client, transfers[0].client);
}

/// A handshake of a client, with strangers' SYNs between its frames.
fn establish_among_strangers(flooded: &mut Flooded, client: Endpoint, from: u32) -> Transfer {
    let server = host(SERVER, 80);
    let mut transfer = Transfer { client, sent: 0, got: 0 };
    let steps = [
        (client, server, frame(SYN, 999)),
        (server, client, Frame { ack: 1000, ..frame(SYN | ACK, 4999) }),
        (client, server, Frame { ack: 5000, ..frame(ACK, 1000) }),
    ];
    for (n, (src, dst, frame)) in (0..).zip(steps) {
        flooded.tcp(src, dst, frame);
        for stranger_at in 0..3 {
            flooded.tcp(stranger(from + 3 * n + stranger_at), host(2, 443), common::frame(SYN, n));
        }
    }
    transfer.go_on(flooded);
    transfer
}

#[test]
fn a_full_table_is_open_for_new_ones() {
    let mut flooded = Flooded::new(Config { max_connections: 160, ..Config::default() });
    let mut transfers = flooded.establish(160);
    assert_eq!(flooded.table.counters().evicted_established, 10, "a sixteenth is kept free");
    transfers.drain(..10);
    flooded.pass(60 * SECOND);
    for n in 0..5 {
        let client = host(1, 50_000 + n);
        transfers.push(establish_among_strangers(&mut flooded, client, 9 * u32::from(n)));
        transfers.remove(0);
    }
    // SYNs alone take nobody's place.
    for n in 1000..3000 {
        flooded.tcp(stranger(n), host(2, 443), frame(SYN, n));
    }
    let counters = flooded.table.counters();
    assert_eq!((counters.evicted_established, flooded.table.open_connections()), (15, 160));
    flooded.table.flush(&mut flooded.watch);
    for transfer in &transfers {
        let mut found = flooded.watch.slots.iter().flatten().filter(|watched| watched.client == transfer.client);
        let watched = found.next().unwrap();
        assert_eq!(watched.bytes.each_ref().map(|bytes| bytes.len() as u32), [transfer.sent, transfer.got]);
        assert!(found.next().is_none());
    }
}

/// Sixteen frames of one side, which anybody can make up, do not take the place of one that has two ends.
#[test]
fn many_frames_of_one_side_are_no_connection_of_two() {
    let mut flooded = Flooded::new(Config { max_connections: 160, ..Config::default() });
    let mut transfers = flooded.establish(50);
    for n in 0..2000 {
        for frame in 0..20 {
            flooded.tcp(stranger(n), host(2, 443), data(1 + frame, 1, "x"));
        }
        flooded.pass(SECOND / 100);
    }
    flooded.pass(3 * SECOND);
    for n in 0..50 {
        let client = host(1, 50_000 + n);
        transfers.push(establish_among_strangers(&mut flooded, client, 10_000 + 9 * u32::from(n)));
    }
    flooded.table.flush(&mut flooded.watch);
    all_whole(&flooded, &transfers);
}

/// Bytes out of order: what is held is bounded, and who wants to hold more is released early, which costs order in time, not bytes.
#[test]
fn a_flood_of_bytes_out_of_order() {
    // So many of the strangers' segments as leave no room for one more, however small.
    let bound = 929 * (1000 + 128);
    let mut flooded = Flooded::new(Config { max_held: bound, max_gaps: 1000, ..Config::default() });
    let mut transfers = flooded.establish(50);
    let text = "o".repeat(1000);
    for n in 0..300_000_u32 {
        let stranger = stranger(n % 5000);
        // Each leaves a hole that nobody fills.
        flooded.tcp(stranger, host(2, 443), data(10_000_000 + (n / 5000) * 2000, 1, &text));
        assert!(flooded.table.held_bytes() <= bound);
        flooded.pass(100_000);
        if n % 500 == 0 {
            // Reordered itself: the second half before the first.
            let transfer = &mut transfers[(n / 500) as usize % 50];
            let seq = 1000 + transfer.sent;
            let half = TEXT.len() as u32 / 2;
            flooded.tcp(
                transfer.client,
                host(SERVER, 80),
                data(seq + half, 5000 + transfer.got, &TEXT[half as usize..]),
            );
            flooded.tcp(transfer.client, host(SERVER, 80), data(seq, 5000 + transfer.got, &TEXT[..half as usize]));
            transfer.sent += TEXT.len() as u32;
        }
    }
    flooded.table.flush(&mut flooded.watch);
    assert_eq!(flooded.table.held_bytes(), 0);
    let counters = flooded.table.counters();
    assert!(counters.released_early > 0 && counters.closed_gaps > 0, "{counters:?}");
    assert_eq!(counters.unaccounted(), 0);
    assert_eq!(counters.evicted_established, 0);
    // What is released early lies in its place, if not in order of time: nothing of it is missing.
    for transfer in &transfers {
        let watched = flooded.watch.slots.iter().flatten().find(|watched| watched.client == transfer.client).unwrap();
        assert_eq!(watched.bytes[0].len() as u32, transfer.sent);
    }
}
