//! Datagrams that came a moment ago, so that a second copy of a frame, as a mirror of two ports makes them, is known for one.
//!
//! Over TCP sequence numbers tell. A datagram has none, and a sender may well send the same twice, so it counts as a copy only if
//! its packet has the same identification, which senders do not use again soon; and where there is none, only within the time in
//! which a switch mirrors a frame again.

use streamdb_decode::UdpDatagram;
use streamdb_types::{Direction, StreamOffset, Timestamp};

use crate::sink::Slot;

/// How many datagrams are remembered, each in the place that its bytes tell.
const PLACES: usize = 4096;
/// How long after the first one a copy with the same identification comes.
const WITH_ID: i64 = 100_000_000;
/// The same without an identification.
const WITHOUT_ID: i64 = 1_000_000;

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Repeat {
    slot: Slot,
    direction: Direction,
    id: u16,
    len: usize,
    wire_len: u32,
    time: Timestamp,
    offset: StreamOffset,
}

/// What came a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// Empty until the first datagram comes.
    places: Vec<Option<Repeat>>,
}

impl Repeats {
    /// Where in its stream the bytes of an earlier datagram lie of which this one looks like a copy.
    pub(crate) fn find(
        &self,
        slot: Slot,
        direction: Direction,
        datagram: &UdpDatagram<'_>,
        time: Timestamp,
    ) -> Option<StreamOffset> {
        let known = (*self.places.get(place(slot, datagram))?)?;
        let wanted = repeat(slot, direction, datagram, known.time, known.offset);
        let within = if datagram.id == 0 { WITHOUT_ID } else { WITH_ID };
        // The frames of two ports may come in another order than their times have.
        (known == wanted && time.since(known.time).saturating_abs() <= within).then_some(known.offset)
    }

    /// Remembers a datagram whose bytes lie at this offset.
    pub(crate) fn note(
        &mut self,
        slot: Slot,
        direction: Direction,
        datagram: &UdpDatagram<'_>,
        time: Timestamp,
        offset: StreamOffset,
    ) {
        if datagram.payload.is_empty() {
            return;
        }
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        if let Some(place) = self.places.get_mut(place(slot, datagram)) {
            *place = Some(repeat(slot, direction, datagram, time, offset));
        }
    }
}

fn repeat(
    slot: Slot,
    direction: Direction,
    datagram: &UdpDatagram<'_>,
    time: Timestamp,
    offset: StreamOffset,
) -> Repeat {
    let UdpDatagram { id, payload, wire_len, .. } = *datagram;
    Repeat { slot, direction, id, len: payload.len(), wire_len, time, offset }
}

/// The same for copies, and mostly another for others: of the first and the last bytes, and what else tells datagrams apart. Not
/// seeded, as the same frames must lead to the same store; who makes others collide hides no more than that his own are copies.
fn place(slot: Slot, datagram: &UdpDatagram<'_>) -> usize {
    let payload = datagram.payload;
    let first = payload.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let last = payload.last_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let rest = u64::from(slot.0) << 32 | u64::from(datagram.id) << 16 | payload.len() as u64 & 0xffff;
    let mixed = [first, last, rest]
        .iter()
        .fold(0_u64, |hash, word| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // The highest bits are mixed best, and there are as many as there are places.
    (mixed >> 52) as usize % PLACES
}
