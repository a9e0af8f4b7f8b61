//! Fragments on their way to the worker whose connection they belong to. The kernel gives all fragments of a packet to one
//! worker, but not to the one that has the rest of the connection: only the first fragment shows whose packet it is. What comes
//! before that one waits for it, a while, and bounded; what nobody can tell stays with the worker that saw it.

use std::collections::{HashMap, VecDeque};

use streamdb_capture::Frame;
use streamdb_decode::{Ends, Fragment, PacketName};
use streamdb_types::Timestamp;

use super::owners::Member;

/// Most packets that are known at once, and most bytes that wait. Beyond, the packet that was known first is given up.
const PACKETS: usize = 4096;
const BYTES: usize = 4 << 20;
/// How long a fragment waits for the first one of its packet. Disorder is of milliseconds.
const PATIENCE: i64 = 1_000_000_000;
/// How long it is known whose a packet is: as long as fragments are waited for.
const KNOWN: i64 = 30_000_000_000;
/// Most fragments of one packet, as where they are put together.
const PIECES: usize = 1024;

/// Where the fragments of a packet go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To this worker.
    Here,
    /// To this worker, which claimed the connection for the packet: should none come of it, the claim is given back.
    Claimed(Ends),
    /// To another.
    There(Member),
}

/// A frame that waits.
#[derive(Debug)]
pub(crate) struct Kept {
    time: Timestamp,
    interface: u32,
    wire_len: u32,
    data: Vec<u8>,
}

impl Kept {
    fn new(frame: &Frame<'_>) -> Self {
        let Frame { time, interface, wire_len, data } = *frame;
        Self { time, interface, wire_len, data: data.to_vec() }
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame { time: self.time, interface: self.interface, wire_len: self.wire_len, data: &self.data }
    }
}

/// A packet of which fragments came.
#[derive(Debug)]
struct Packet {
    number: u64,
    since: Timestamp,
    route: Option<Route>,
    /// What shows that the first fragment of another packet has come.
    ends: Option<Ends>,
    waiting: Vec<Kept>,
    /// Where in the packet each fragment that came begins, ascending, and what they come to.
    pieces: Vec<u32>,
    bytes: u32,
    /// How long it is, once its last fragment came.
    total: Option<u32>,
}

/// What becomes of packets that are over.
#[derive(Debug, Default)]
pub(crate) struct Over {
    /// Frames that waited in vain.
    pub(crate) frames: Vec<Kept>,
    /// Claims that may have come to nothing.
    pub(crate) claims: Vec<Ends>,
}

/// The packets of which fragments came, and not all.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    packets: HashMap<PacketName, Packet>,
    /// By arrival. Those that are over are left in it until they are the first.
    order: VecDeque<(u64, PacketName)>,
    arrivals: u64,
    /// Bytes that wait.
    bytes: usize,
}

impl Fragments {
    /// Where a fragment goes that does not show it itself, if that is known.
    pub(crate) fn route(&self, packet: &PacketName) -> Option<Route> {
        self.packets.get(packet)?.route
    }

    /// A fragment waits for the first one of its packet.
    pub(crate) fn wait(&mut self, fragment: &Fragment, frame: &Frame<'_>) -> Over {
        let packet = self.packet(fragment, frame.time);
        packet.note(fragment);
        packet.waiting.push(Kept::new(frame));
        self.bytes += frame.data.len();
        self.bound()
    }

    /// It is known where this fragment goes, and so all of its packet: what waited for that comes first.
    pub(crate) fn goes(&mut self, fragment: &Fragment, time: Timestamp, route: Route) -> (Vec<Kept>, Over) {
        let another =
            |packet: &Packet| packet.ends.is_some() && fragment.ends.is_some() && packet.ends != fragment.ends;
        let mut over = Over::default();
        // Its number was used again before all of the last one came.
        if self.packets.get(&fragment.packet).is_some_and(another) {
            self.end(&fragment.packet, &mut over);
        }
        let packet = self.packet(fragment, time);
        packet.note(fragment);
        packet.ends = packet.ends.or(fragment.ends);
        // A claim is not forgotten for a second first fragment, of which it is known whose it is.
        if !matches!(packet.route, Some(Route::Claimed(_))) {
            packet.route = Some(route);
        }
        let waited = std::mem::take(&mut packet.waiting);
        self.bytes = self.bytes.saturating_sub(waited.iter().map(|kept| kept.data.len()).sum());
        let rest = self.bound();
        over.frames.extend(rest.frames);
        over.claims.extend(rest.claims);
        (waited, over)
    }

    /// After a fragment went where it belongs: if that was all of its packet, it is over.
    pub(crate) fn went(&mut self, packet: &PacketName) -> Over {
        let mut over = Over::default();
        if self.packets.get(packet).is_some_and(|packet| packet.is_complete() && packet.route.is_some()) {
            self.end(packet, &mut over);
        }
        over
    }

    /// What has waited for too long by now.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Over {
        let mut over = Over::default();
        for packet in self.packets.values_mut().filter(|packet| packet.route.is_none()) {
            if now.since(packet.since) > PATIENCE {
                // What still comes of it comes here, too.
                packet.route = Some(Route::Here);
                self.bytes = self.bytes.saturating_sub(packet.waiting.iter().map(|kept| kept.data.len()).sum());
                over.frames.append(&mut packet.waiting);
            }
        }
        over.frames.sort_by_key(|kept| kept.time);
        while let Some((number, name)) = self.order.front().copied() {
            let known = self.packets.get(&name).filter(|packet| packet.number == number);
            if known.is_some_and(|packet| now.since(packet.since) <= KNOWN) {
                break;
            }
            if known.is_some() {
                self.end(&name, &mut over);
            }
            self.order.pop_front();
        }
        over
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) -> Over {
        let mut over = Over::default();
        while let Some((number, name)) = self.order.pop_front() {
            if self.packets.get(&name).is_some_and(|packet| packet.number == number) {
                self.end(&name, &mut over);
            }
        }
        over
    }

    fn packet(&mut self, fragment: &Fragment, time: Timestamp) -> &mut Packet {
        self.packets.entry(fragment.packet).or_insert_with(|| {
            self.arrivals += 1;
            self.order.push_back((self.arrivals, fragment.packet));
            Packet {
                number: self.arrivals,
                since: time,
                route: None,
                ends: None,
                waiting: Vec::new(),
                pieces: Vec::new(),
                bytes: 0,
                total: None,
            }
        })
    }

    /// Gives up what is too much.
    fn bound(&mut self) -> Over {
        let mut over = Over::default();
        while self.packets.len() > PACKETS || self.bytes > BYTES || self.order.len() > 2 * PACKETS {
            let Some((number, name)) = self.order.pop_front() else { break };
            if self.packets.get(&name).is_some_and(|packet| packet.number == number) {
                self.end(&name, &mut over);
            }
        }
        over
    }

    fn end(&mut self, name: &PacketName, over: &mut Over) {
        let Some(packet) = self.packets.remove(name) else { return };
        self.bytes = self.bytes.saturating_sub(packet.waiting.iter().map(|kept| kept.data.len()).sum());
        over.frames.extend(packet.waiting);
        if let Some(Route::Claimed(ends)) = packet.route {
            over.claims.push(ends);
        }
    }
}

impl Packet {
    /// Of one that came twice, the first counts.
    fn note(&mut self, fragment: &Fragment) {
        if let Err(place) = self.pieces.binary_search(&fragment.offset)
            && self.pieces.len() < PIECES
        {
            self.pieces.insert(place, fragment.offset);
            self.bytes = self.bytes.saturating_add(fragment.len);
        }
        if !fragment.more {
            self.total.get_or_insert(fragment.offset.saturating_add(fragment.len));
        }
    }

    fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.bytes >= total)
    }
}
