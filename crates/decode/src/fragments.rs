//! The pool of IP fragments (RFC 791 §3.2, RFC 8200 §4.5): bounded, a policy says which copy wins, and every byte's frame is
//! known.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::net::IpAddr;

use streamdb_types::{Path, Timestamp};

use crate::copies::{Copies, Seen};
use crate::packet::Piece;

/// The most bytes of a packet that is put together.
const MAX_PACKET: u32 = 65_535;

/// The most fragments of one packet, and the most pieces that it is noted to be made of.
const MAX_PIECES: usize = 1024;

/// How many cleared packets are kept, for their memory.
const MAX_SPARE: usize = 16;

/// Which copy of a byte goes into the packet when fragments overlap. The rules are those of Shankar and Paxson, "Active Mapping"
/// (2003); Windows took the first copy always. Systems of today drop a packet whose fragments overlap; a sensor keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FragmentOverlap {
    /// That of the fragment that came first.
    #[default]
    First,
    /// That of the fragment that came last.
    Last,
    /// That of the fragment that begins first; of those that begin at the same byte the one that came last (Linux before 4.20).
    Linux,
}

/// The bounds of a pool, and its policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub overlap: FragmentOverlap,
    pub packets: usize,
    pub bytes: usize,
    /// Nanoseconds.
    pub timeout: i64,
}

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub path: Path,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Of IPv6, the number of the fragment header.
    pub protocol: u8,
    pub id: u32,
}

/// A fragment: whose it is, and where its bytes lie in what the walk went through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub key: Key,
    /// The protocol of what the packet carries; the first fragment's counts.
    pub next: u8,
    /// Where in the packet it belongs.
    pub offset: u32,
    /// Whether it is not the last one.
    pub more: bool,
    /// Whether the checksums of the headers around it are right.
    pub headers_ok: bool,
    pub at: usize,
    pub len: usize,
    /// Its bytes on the wire: at least `len`.
    pub wire: usize,
}

/// The fragments of packets that are not complete.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Limits,
    packets: HashMap<Key, Packet>,
    /// The keys in order of arrival.
    order: BTreeMap<u64, Key>,
    arrivals: u64,
    /// Memory that `packets` has taken.
    bytes: usize,
    spare: Vec<Packet>,
    copies: Copies,
    /// Fragments given up, for whatever reason.
    pub expired: u64,
    /// Of those, the ones for which there was no room.
    pub evicted: u64,
    pub completed: u64,
}

impl Pool {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            packets: HashMap::new(),
            order: BTreeMap::new(),
            arrivals: 0,
            bytes: 0,
            spare: Vec::new(),
            copies: Copies::default(),
            expired: 0,
            evicted: 0,
            completed: 0,
        }
    }

    /// Takes a fragment that lies in `source`, which is made of `pieces`. Gives its packet when that is complete.
    pub fn add(&mut self, share: &Share, source: &[u8], pieces: &[Piece], time: Timestamp) -> Option<Packet> {
        self.expire(time);
        // After a step back of the clock one that came "later" may stand before it; a packet never takes in fragments of
        // another time.
        if self.packets.get(&share.key).is_some_and(|p| self.is_old(p, time)) {
            self.give_up(&share.key);
        }
        let bytes = source.get(share.at..).and_then(|rest| rest.get(..share.len)).unwrap_or(&[]);
        if self.copies.has(share, time, |len| self.packets.hasher().hash_one(bytes.get(..len).unwrap_or(bytes))) {
            return None;
        }
        let packet = self.packets.entry(share.key).or_insert_with(|| {
            let mut packet = self.spare.pop().unwrap_or_default();
            packet.first = time;
            packet.number = self.arrivals;
            self.order.insert(self.arrivals, share.key);
            self.arrivals += 1;
            self.bytes += packet.memory();
            packet
        });
        let before = packet.memory();
        packet.add(share, bytes, pieces, self.limits.overlap);
        self.bytes = self.bytes + packet.memory() - before;
        if packet.is_complete() && packet.pieces.len() <= MAX_PIECES {
            self.completed += 1;
            let mut packet = self.remove(&share.key)?;
            packet.straighten(&mut self.spare);
            let digest = |at: u32, len: u32| {
                let bytes = packet.data.get(at as usize..(at + len) as usize).unwrap_or(&[]);
                self.packets.hasher().hash_one(bytes)
            };
            self.copies.expect(share.key, time, packet.seen.late(), digest);
            return Some(packet);
        }
        let expired = self.expired;
        if packet.count > MAX_PIECES || packet.pieces.len() > MAX_PIECES {
            self.give_up(&share.key);
        }
        while self.bytes > self.limits.bytes || self.packets.len() > self.limits.packets {
            self.give_up_oldest();
        }
        self.evicted += self.expired - expired;
        None
    }

    /// Gives up what has waited for too long.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some((_, oldest)) = self.order.first_key_value()
            && self.packets.get(oldest).is_none_or(|p| self.is_old(p, now))
        {
            self.give_up_oldest();
        }
    }

    /// Takes a packet's memory back.
    pub fn recycle(&mut self, mut packet: Packet) {
        if self.spare.len() < MAX_SPARE {
            packet.clear();
            self.spare.push(packet);
        }
    }

    fn is_old(&self, packet: &Packet, now: Timestamp) -> bool {
        now.since(packet.first) > self.limits.timeout
    }

    fn give_up_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.give_up(&key);
        }
    }

    fn give_up(&mut self, key: &Key) {
        if let Some(packet) = self.remove(key) {
            self.expired += packet.count as u64;
            self.recycle(packet);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Packet> {
        let packet = self.packets.remove(key)?;
        self.order.remove(&packet.number);
        self.bytes -= packet.memory();
        Some(packet)
    }
}

/// A packet in the making, then the whole one.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    /// When its first fragment came.
    first: Timestamp,
    /// Its place in the pool's order.
    number: u64,
    /// Fragments that came.
    count: usize,
    /// Its bytes in the order in which they came; once complete, in their own.
    data: Vec<u8>,
    /// Which bytes of the packet `data` has: sorted, without overlaps.
    ranges: Vec<Range>,
    /// Which frames have them.
    pieces: Vec<Piece>,
    /// How often each fragment came.
    seen: Seen,
    /// How long the packet is, once the last fragment came.
    total: Option<u32>,
    /// What the packet carries.
    pub next: u8,
    /// Whether the checksums of all headers around the fragments are right.
    pub headers_ok: bool,
    /// Whether fragments had different bytes for the same place.
    pub differs: bool,
}

/// Bytes of the packet that lie side by side in `data`.
#[derive(Clone, Copy, Debug)]
struct Range {
    at: u32,
    len: u32,
    data_at: u32,
    /// Where the fragment began that they are of, if the policy asks for that.
    owner: u32,
}

impl Range {
    const fn end(&self) -> u32 {
        self.at + self.len
    }
}

impl Packet {
    /// The bytes of a whole packet.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// The frames that they came in.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Leaves only the pieces of `len` bytes from `at`, placed from there.
    pub fn keep_pieces_of(&mut self, at: usize, len: usize) {
        self.pieces.retain_mut(|piece| match cut(piece, at, len) {
            Some(kept) => {
                *piece = kept;
                true
            }
            None => false,
        });
    }

    fn memory(&self) -> usize {
        self.data.capacity()
            + self.ranges.capacity() * size_of::<Range>()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.seen.memory()
            + size_of::<Self>()
    }

    fn clear(&mut self) {
        let Self { data, ranges, pieces, seen, .. } = std::mem::take(self);
        *self = Self { data, ranges, pieces, seen, ..Self::default() };
        self.seen.clear();
        self.data.clear();
        self.ranges.clear();
        self.pieces.clear();
    }

    /// Whether no byte is missing: the ranges do not overlap and do not go beyond the end.
    fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.data.len() == total as usize)
    }

    /// Takes a fragment. What contradicts the length of the packet is left out; of bytes that are there already the policy decides.
    fn add(&mut self, share: &Share, bytes: &[u8], sources: &[Piece], overlap: FragmentOverlap) {
        if self.count == 0 {
            self.next = share.next;
            self.headers_ok = true;
        }
        self.count += 1;
        let Some(wire) = u32::try_from(share.wire).ok().filter(|w| *w <= MAX_PACKET) else { return };
        // All fragments but the last are counted in units of 8 bytes (RFC 791 §3.2); Linux cuts the rest, and so do we.
        let wire = if share.more { wire & !7 } else { wire };
        let end = share.offset + wire;
        let bytes = bytes.get(..wire as usize).unwrap_or(bytes);
        let known_end = self.ranges.last().map_or(0, Range::end);
        let fits = match self.total {
            _ if end > MAX_PACKET => false,
            Some(total) if share.more => end <= total,
            Some(total) => end == total,
            None => share.more || known_end <= end,
        };
        if !fits {
            // Systems do not agree about what becomes of it.
            self.differs = true;
            return;
        }
        if !share.more {
            self.total = Some(end);
        }
        if share.offset == 0 {
            self.next = share.next;
        }
        self.headers_ok &= share.headers_ok;
        self.seen.note(share.offset, bytes.len() as u32);
        self.insert(share.offset, bytes, share.at, sources, overlap);
    }

    /// Puts bytes into the packet from `offset` on: into its holes, and where the policy says so over others. `from` is where they
    /// lie in what `sources` made up.
    fn insert(&mut self, offset: u32, bytes: &[u8], from: usize, sources: &[Piece], overlap: FragmentOverlap) {
        let owner = if overlap == FragmentOverlap::Linux { offset } else { 0 };
        let noted = self.pieces.len();
        let (mut loses, mut won) = (false, Vec::new());
        let mut i = self.ranges.partition_point(|r| r.end() <= offset);
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let next = self.ranges.get(i).copied();
            if let Some(range) = next.filter(|r| r.at <= at) {
                let n = rest.len().min((range.end() - at) as usize);
                let (new, after) = rest.split_at(n);
                let start = (range.data_at + (at - range.at)) as usize;
                let Some(there) = self.data.get_mut(start..).and_then(|d| d.get_mut(..n)) else { return };
                let equal = there == new;
                self.differs |= !equal;
                let better = match overlap {
                    FragmentOverlap::First => false,
                    FragmentOverlap::Last => true,
                    FragmentOverlap::Linux => offset <= range.owner,
                };
                if better && !equal {
                    there.copy_from_slice(new);
                    self.note(at, from + (at - offset) as usize, n, sources);
                    won.push(at..at + n as u32);
                }
                loses |= !better && !equal;
                if better && range.owner != owner {
                    i = self.give(i, at, n as u32, owner);
                } else if range.end() <= at + n as u32 {
                    i += 1;
                }
                (at, rest) = (at + n as u32, after);
                continue;
            }
            let n = next.map_or(rest.len(), |r| rest.len().min((r.at - at) as usize));
            let (new, after) = rest.split_at(n);
            let range = Range { at, len: n as u32, data_at: self.data.len() as u32, owner };
            match i.checked_sub(1).and_then(|before| self.ranges.get_mut(before)) {
                Some(before)
                    if before.end() == at && before.data_at + before.len == range.data_at && before.owner == owner =>
                {
                    before.len += range.len;
                }
                _ => {
                    self.ranges.insert(i, range);
                    i += 1;
                }
            }
            self.data.extend_from_slice(new);
            self.note(at, from + (at - offset) as usize, n, sources);
            (at, rest) = (at + n as u32, after);
        }
        // Where it loses nothing the frame has all of its bytes of the packet, those of other frames included.
        if !loses && !bytes.is_empty() {
            self.pieces.truncate(noted);
            self.note(offset, from, bytes.len(), sources);
        }
        self.untie(noted, &won);
    }

    /// The `len` bytes from `at` on, which lie in the range of this number, are from now on of another fragment. Says the number of
    /// the range that comes after them.
    fn give(&mut self, i: usize, at: u32, len: u32, owner: u32) -> usize {
        let Some(range) = self.ranges.get(i).copied() else { return i };
        let part = |from: u32, to: u32, owner: u32| Range {
            at: from,
            len: to - from,
            data_at: range.data_at + (from - range.at),
            owner,
        };
        let (end, mine) = (at + len, i + usize::from(at > range.at));
        let parts = [part(range.at, at, range.owner), part(at, end, owner), part(end, range.end(), range.owner)];
        self.ranges.splice(i..=i, parts.into_iter().filter(|part| part.len > 0));
        mine + 1
    }

    /// The first `noted` pieces have other bytes than the packet has now in these stretches, which are in order and apart.
    fn untie(&mut self, noted: usize, stretches: &[std::ops::Range<u32>]) {
        if stretches.is_empty() {
            return;
        }
        let later = self.pieces.split_off(noted);
        for piece in std::mem::replace(&mut self.pieces, Vec::with_capacity(noted + later.len())) {
            let end = piece.payload_at.saturating_add(piece.len);
            let first = stretches.partition_point(|stretch| stretch.end <= piece.payload_at);
            let mut from = piece.payload_at;
            for stretch in stretches.iter().skip(first).take_while(|stretch| stretch.start < end) {
                self.pieces.extend(between(&piece, from, stretch.start));
                from = stretch.end;
            }
            self.pieces.extend(between(&piece, from, end));
            if self.pieces.len() > MAX_PIECES {
                // It is too many anyway.
                break;
            }
        }
        self.pieces.extend(later);
        // One more than the bound shows that it was reached.
        self.pieces.truncate(MAX_PIECES + 1);
    }

    /// Notes which frames have `len` bytes of the packet from `at` on, which lie at `from` in what `sources` make up.
    fn note(&mut self, at: u32, from: usize, len: usize, sources: &[Piece]) {
        // One more than the bound shows that it was reached.
        let room = (MAX_PIECES + 1).saturating_sub(self.pieces.len());
        let found = sources.iter().filter_map(|piece| cut(piece, from, len)).take(room);
        self.pieces.extend(found.map(|piece| Piece { payload_at: piece.payload_at + at, ..piece }));
    }

    /// Puts the bytes of a complete packet into their own order.
    fn straighten(&mut self, spare: &mut Vec<Self>) {
        if self.ranges.len() <= 1 {
            return;
        }
        let mut other = spare.pop().unwrap_or_default();
        for range in &self.ranges {
            let bytes = self.data.get(range.data_at as usize..).and_then(|d| d.get(..range.len as usize));
            other.data.extend_from_slice(bytes.unwrap_or(&[]));
        }
        std::mem::swap(&mut self.data, &mut other.data);
        other.clear();
        spare.push(other);
    }
}

/// The part of a piece from one place in the packet to another, if there is any.
fn between(piece: &Piece, from: u32, to: u32) -> Option<Piece> {
    let kept = cut(piece, from as usize, to.saturating_sub(from) as usize)?;
    Some(Piece { payload_at: kept.payload_at + from, ..kept })
}

/// The part of a piece that lies within `len` bytes from `at`, placed from there.
fn cut(piece: &Piece, at: usize, len: usize) -> Option<Piece> {
    let (at, end) = (at as u64, at as u64 + len as u64);
    let first = u64::from(piece.payload_at);
    let (from, to) = (first.max(at), (first + u64::from(piece.len)).min(end));
    // All of these are within the piece or within `len`, which are below 2^32.
    (from < to).then(|| Piece {
        tag: piece.tag,
        frame_at: piece.frame_at + (from - first) as u32,
        payload_at: (from - at) as u32,
        len: (to - from) as u32,
    })
}
