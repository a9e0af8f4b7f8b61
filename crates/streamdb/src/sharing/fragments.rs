//! Fragments on their way to the worker whose connection they belong to. The kernel gives all fragments of a packet to one
//! worker, but not to the one that has the rest of the connection: only the first fragment shows whose packet it is. What comes
//! before that one waits for it, a while, and bounded; what nobody can tell stays with the worker that saw it.
//!
//! In a tunnel, fragments of one packet may come to several workers, as each lies in a packet of the tunnel of its own, which may
//! itself come in fragments. So they meet with one worker first, which all agree on by the addresses between which the packet goes, and
//! go on from there. A packet of the tunnel in fragments, a carrier, is handed to where the fragments meet of the packet Q of which it
//! carries one, and goes where Q goes:
//!
//! ```text
//! wire ──┬─ a carrier ─────────────────► where it comes ─┐ its first fragment shows Q
//!        │      in a tunnel itself ────► where its meet ─┤
//!        └─ in a tunnel, a fragment of Q ────────────────┴──► where Q's meet ──► whose connection Q is of
//! ```
//!
//! With each step a frame is further ([`Met`]), so that it is handed over three times at most. What is carried within Q again is let be.

use std::collections::{HashMap, VecDeque};

use streamdb_capture::Frame;
use streamdb_decode::{Carried, Ends, Fragment, PacketName};
use streamdb_types::Timestamp;

use super::owners::Member;

/// Most packets that are known at once, and most bytes that what waits takes. Beyond, the packet that was known first is given up.
const PACKETS: usize = 4096;
const BYTES: usize = 4 << 20;
/// How long a fragment waits for the first one of its packet. Disorder is of milliseconds.
const PATIENCE: i64 = 1_000_000_000;
/// How long it is known whose a packet is: as long as fragments are waited for.
const KNOWN: i64 = 30_000_000_000;
/// Most fragments of one packet, as where they are put together.
const PIECES: usize = 1024;
/// The longest packet.
const LONGEST: u32 = 65_535;
/// Most packets remembered of which all came, for the copies of fragments that a doubled mirror shows after that; and how long they
/// are, as where they are put together: a sender does not use the number of a packet again so soon.
const PAST: usize = 1024;
const COPIES: i64 = 100_000_000;

/// Where the fragments of a packet go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To this worker.
    Here,
    /// To this worker, which claimed the connection for the packet: should none come of it, the claim is given back.
    Claimed(Ends),
    /// To another.
    There(Member),
    /// To where the fragments meet of the packet of which it carries one, which may be this worker.
    Meet(Member),
}

impl Route {
    /// The same for those that go with a packet for which it was claimed.
    const fn unclaimed(self) -> Self {
        match self {
            Self::Claimed(_) => Self::Here,
            other => other,
        }
    }

    /// Where a carrier goes whose packet goes there: what is carried deeper is let be.
    const fn of_carrier(self) -> Self {
        match self {
            Self::Meet(_) => Self::Here,
            other => other.unclaimed(),
        }
    }
}

/// How far a fragment is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Met {
    /// It comes from the wire.
    Nowhere,
    /// It is where those of its packet meet.
    Outside,
    /// It is where those meet of the packet of which its own carries one.
    Inside,
}

/// A packet by its name; and whether it is known as a carrier where the fragments of what it carries meet.
type Name = (PacketName, bool);

/// What is known of where a fragment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Goes(Route),
    /// With the connection between these ends.
    Between(Ends),
    /// Nothing yet.
    Waits,
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
    /// What its first fragment shows; another one is of another packet.
    shown: Carried,
    /// Of a carrier: what it carries.
    inside: Option<Fragment>,
    /// The carriers that wait to be told where this goes.
    carriers: Vec<PacketName>,
    waiting: Vec<Kept>,
    /// Which of its bytes came, from and to: ascending, and none touches the next.
    ranges: Vec<(u32, u32)>,
    /// Whether one came twice.
    copied: bool,
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
    packets: HashMap<Name, Packet>,
    /// By arrival. Those that are over are left in it until they are the first.
    order: VecDeque<(u64, Name)>,
    arrivals: u64,
    /// Bytes that what waits takes.
    bytes: usize,
    /// Where those went of which all came and some twice, which they were, and when all were there.
    past: HashMap<Name, (u64, Route, Timestamp)>,
    past_order: VecDeque<(u64, Name)>,
}

impl Fragments {
    /// Where a fragment goes that does not show it itself, if that is known.
    fn route(&self, packet: &PacketName, met: Met, time: Timestamp) -> Option<Route> {
        let name = (*packet, met == Met::Inside);
        match self.packets.get(&name) {
            Some(packet) => packet.route,
            None => self.copies_go(&name, time),
        }
    }

    /// What is known of where a fragment goes, where those of such packets meet there.
    pub(crate) fn told(
        &self,
        fragment: &Fragment,
        carried: &Carried,
        met: Met,
        time: Timestamp,
        meet: impl FnOnce(&PacketName) -> Member,
    ) -> Told {
        match *carried {
            Carried { inside: Some(inside), .. } if met != Met::Inside => Told::Goes(Route::Meet(meet(&inside.packet))),
            Carried { ends: Some(ends), .. } => Told::Between(ends),
            Carried { inside: Some(inside), .. } if inside.offset > 0 => self
                .route(&inside.packet, Met::Outside, time)
                .map_or(Told::Waits, |route| Told::Goes(route.of_carrier())),
            // It is the first, and does not show it: nobody can tell.
            _ if fragment.offset == 0 => Told::Goes(Route::Here),
            _ => self.route(&fragment.packet, met, time).map_or(Told::Waits, Told::Goes),
        }
    }

    /// Where copies of fragments go that come when all of their packet is there.
    fn copies_go(&self, name: &Name, time: Timestamp) -> Option<Route> {
        self.past.get(name).filter(|(_, _, since)| time.since(*since) <= COPIES).map(|(_, route, _)| *route)
    }

    /// A fragment waits for the first one of its packet, or of what that carries, from now on.
    pub(crate) fn wait(
        &mut self,
        fragment: &Fragment,
        carried: &Carried,
        met: Met,
        frame: &Frame<'_>,
        now: Timestamp,
    ) -> Over {
        let mut over = Over::default();
        let name = (fragment.packet, met == Met::Inside);
        let kept = Kept::new(frame);
        self.bytes += held(std::slice::from_ref(&kept));
        self.renew(&name, carried, &mut over);
        // Of one of which it is known where it goes nothing waits: that was another.
        if self.packets.get(&name).is_some_and(|packet| packet.route.is_some()) {
            self.end(&name, &mut over);
        }
        let packet = self.packet(&name, now);
        packet.note(fragment);
        let before = packet.inside;
        packet.show(carried, met);
        packet.waiting.push(kept);
        if let Some(inside) = packet.inside.filter(|_| before.is_none()) {
            self.packet(&(inside.packet, false), now).carriers.push(fragment.packet);
            self.bytes += size_of::<PacketName>();
        }
        self.bound(&mut over);
        over
    }

    /// It is known where this fragment goes, and so all of its packet, and what that carries, and what else carries that: what waited for
    /// that comes first.
    pub(crate) fn goes(
        &mut self,
        fragment: &Fragment,
        carried: &Carried,
        met: Met,
        time: Timestamp,
        now: Timestamp,
        route: Route,
    ) -> (Vec<(Kept, Route)>, Over) {
        let (mut waited, mut over) = (Vec::new(), Over::default());
        let name = (fragment.packet, met == Met::Inside);
        // A copy of one that came before all were there. A copy of the first one may as well begin another packet.
        let shows = carried.ends.is_some();
        if !shows && !self.packets.contains_key(&name) && self.copies_go(&name, time).is_some() {
            return (waited, over);
        }
        self.renew(&name, carried, &mut over);
        let packet = self.packet(&name, now);
        packet.note(fragment);
        packet.show(carried, met);
        let inside = carried.inside.filter(|_| met == Met::Inside);
        // What is claimed for a packet that is carried is claimed for that one.
        self.set_route(&name, if inside.is_some() { route.of_carrier() } else { route }, &mut waited);
        if let Some(inside) = inside.filter(|inside| inside.offset == 0) {
            let with = (inside.packet, false);
            let shown = Carried { ends: carried.ends, inside: None };
            self.renew(&with, &shown, &mut over);
            self.packet(&with, now).show(&shown, Met::Outside);
            self.set_route(&with, route, &mut waited);
        }
        waited.sort_by_key(|(kept, _)| kept.time);
        self.bound(&mut over);
        (waited, over)
    }

    /// So a packet goes, and its carriers with it: gives what waited.
    fn set_route(&mut self, name: &Name, route: Route, waited: &mut Vec<(Kept, Route)>) {
        let Some(packet) = self.packets.get_mut(name) else { return };
        // A claim is not forgotten for a second first fragment, of which it is known whose it is.
        if !matches!(packet.route, Some(Route::Claimed(_))) {
            packet.route = Some(route);
        }
        let (free, carriers) = (std::mem::take(&mut packet.waiting), packet.carriers.clone());
        self.bytes = self.bytes.saturating_sub(held(&free));
        waited.extend(free.into_iter().map(|kept| (kept, route)));
        for carrier in carriers {
            let waits = self.packets.get_mut(&(carrier, true));
            let waits = waits.filter(|carrier| carrier.inside.is_some_and(|inside| inside.packet == name.0));
            let Some(carrier) = waits.filter(|carrier| carrier.route.is_none()) else { continue };
            let (free, route) = (std::mem::take(&mut carrier.waiting), route.of_carrier());
            carrier.route = Some(route);
            self.bytes = self.bytes.saturating_sub(held(&free));
            waited.extend(free.into_iter().map(|kept| (kept, route)));
        }
    }

    /// The number of a packet was used again before all of the last one came, if its first fragment shows something else.
    fn renew(&mut self, name: &Name, carried: &Carried, over: &mut Over) {
        let shown = self.packets.get(name).map_or_else(Carried::default, |packet| packet.shown);
        if shown != Carried::default() && *carried != Carried::default() && shown != *carried {
            self.end(name, over);
        }
    }

    /// After a fragment of this time went where it belongs, and with it what waited for that: packets of which that was all are over.
    pub(crate) fn went(&mut self, packet: &PacketName, met: Met, time: Timestamp) -> Over {
        let (mut over, mut name) = (Over::default(), (*packet, met == Met::Inside));
        if let Some(inside) = self.packets.get(&name).and_then(|packet| packet.inside) {
            self.end_if_complete(&name, time, &mut over);
            name = (inside.packet, false);
        }
        if let Some(packet) = self.packets.get_mut(&name).filter(|packet| packet.route.is_some()) {
            let carriers = std::mem::take(&mut packet.carriers);
            self.bytes = self.bytes.saturating_sub(carriers.len() * size_of::<PacketName>());
            carriers.into_iter().for_each(|carrier| self.end_if_complete(&(carrier, true), time, &mut over));
        }
        self.end_if_complete(&name, time, &mut over);
        over
    }

    /// Ends a packet if all of it came and went; then what it carried came, too.
    fn end_if_complete(&mut self, name: &Name, time: Timestamp, over: &mut Over) {
        let Some(packet) = self.packets.get(name).filter(|packet| packet.is_complete() && packet.route.is_some())
        else {
            return;
        };
        let inside = packet.inside;
        self.remember(name, time);
        self.end(name, over);
        if let Some(inside) = inside
            && let Some(packet) = self.packets.get_mut(&(inside.packet, false))
        {
            packet.note(&inside);
        }
    }

    /// All of a packet came by this time. Where none of its fragments came twice no more copies are to be expected.
    fn remember(&mut self, name: &Name, time: Timestamp) {
        let Some(packet) = self.packets.get(name).filter(|packet| packet.copied) else { return };
        let number = packet.number;
        let Some(route) = packet.route else { return };
        self.past.insert(*name, (number, route.unclaimed(), time));
        self.past_order.push_back((number, *name));
        if self.past_order.len() > PAST {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((number, name)) = self.past_order.pop_front()
            && self.past.get(&name).is_some_and(|(last, ..)| *last == number)
        {
            self.past.remove(&name);
        }
    }

    /// What has waited for too long by now.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Over {
        let mut over = Over::default();
        for packet in self.packets.values_mut().filter(|packet| packet.route.is_none()) {
            if now.since(packet.since) > PATIENCE {
                // What still comes of it comes here, too.
                packet.route = Some(Route::Here);
                self.bytes = self.bytes.saturating_sub(held(&packet.waiting));
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

    fn packet(&mut self, name: &Name, now: Timestamp) -> &mut Packet {
        self.packets.entry(*name).or_insert_with(|| {
            self.arrivals += 1;
            self.order.push_back((self.arrivals, *name));
            Packet {
                number: self.arrivals,
                since: now,
                route: None,
                shown: Carried::default(),
                inside: None,
                carriers: Vec::new(),
                waiting: Vec::new(),
                ranges: Vec::new(),
                copied: false,
                total: None,
            }
        })
    }

    /// Gives up what is too much.
    fn bound(&mut self, over: &mut Over) {
        while self.packets.len() > PACKETS || self.bytes > BYTES || self.order.len() > 2 * PACKETS {
            let Some((number, name)) = self.order.pop_front() else { break };
            if self.packets.get(&name).is_some_and(|packet| packet.number == number) {
                self.end(&name, over);
            }
        }
    }

    fn end(&mut self, name: &Name, over: &mut Over) {
        let Some(packet) = self.packets.remove(name) else { return };
        let carriers = packet.carriers.len() * size_of::<PacketName>();
        self.bytes = self.bytes.saturating_sub(held(&packet.waiting) + carriers);
        over.frames.extend(packet.waiting);
        if let Some(Route::Claimed(ends)) = packet.route {
            over.claims.push(ends);
        }
    }
}

impl Packet {
    /// This is what its first fragment shows.
    fn show(&mut self, carried: &Carried, met: Met) {
        if self.shown == Carried::default() {
            self.shown = *carried;
        }
        if met == Met::Inside {
            self.inside = self.inside.or(carried.inside);
        }
    }

    /// As where they are put together: in units of 8 bytes but for the last, and what contradicts the end does not count.
    fn note(&mut self, fragment: &Fragment) {
        let len = if fragment.more { fragment.len & !7 } else { fragment.len };
        let (from, to) = (fragment.offset, fragment.offset.saturating_add(len));
        let known = self.ranges.last().map_or(0, |(_, to)| *to);
        let fits = match self.total {
            _ if to > LONGEST => false,
            Some(total) if fragment.more => to <= total,
            Some(total) => to == total,
            None => fragment.more || known <= to,
        };
        if !fits {
            return;
        }
        if !fragment.more {
            self.total = Some(to);
        }
        let first = self.ranges.partition_point(|(_, end)| *end < from);
        let after = self.ranges.partition_point(|(start, _)| *start <= to);
        let touched = self.ranges.get(first..after).unwrap_or_default();
        if touched.is_empty() && self.ranges.len() >= PIECES {
            return;
        }
        self.copied |= touched.iter().any(|(start, end)| *start <= from && to <= *end);
        let merged = touched.iter().fold((from, to), |(from, to), (start, end)| (from.min(*start), to.max(*end)));
        self.ranges.splice(first..after.max(first), [merged]);
    }

    fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.ranges == [(0, total)])
    }
}

/// The bytes that frames take while they wait, what goes with each of them included.
fn held(waiting: &[Kept]) -> usize {
    waiting.iter().map(|kept| size_of::<Kept>() + kept.data.len()).sum()
}

#[cfg(test)]
mod tests;
