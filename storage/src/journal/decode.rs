//! A block to frames.

use streamdb_types::{Direction, FrameNumber, LinkType, StreamOffset, Timestamp};

use super::block::{NO_TEMPLATE, State};
use super::columns::{COLUMNS, In, VERSION, odd, shape, who};
use super::layout::{HEAD, Head};
use super::predict::header;
use super::reading::{Parts, Read};
use super::slot::{Facts, Peer, Slot};
use super::varint::{Cursor, unzigzag};
use super::{JournalError, MAX_CONNECTIONS, MAX_FRAME, MIN_ETHERNET};

/// What fills its last argument with stream bytes: of that connection (its ordinal in the bucket) and direction, from that
/// offset on.
pub type Fetch<'f, E> = dyn FnMut(u32, Direction, StreamOffset, &mut [u8]) -> Result<(), E> + 'f;

/// A block's uncompressed bytes, its outline checked; the rest is checked as it is used.
pub struct JournalBlock<'a> {
    first: FrameNumber,
    base: Timestamp,
    unit: u64,
    rows: u32,
    interfaces: Vec<(u32, LinkType)>,
    connections: Vec<u32>,
    columns: In<'a>,
}

/// A frame as it was captured.
#[derive(Debug)]
pub struct JournalFrame<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// The interface it came from, by its number in the bucket.
    pub interface: u32,
    /// Its length on the wire in bytes.
    pub wire_len: u32,
    /// Its bytes as captured.
    pub data: &'a [u8],
    /// Whose it is: the connection's ordinal in the bucket, and the direction.
    pub connection: Option<(u32, Direction)>,
    /// Where its payload lies in its stream, if it does.
    pub placed: Option<StreamOffset>,
}

impl<'a> JournalBlock<'a> {
    /// Reads a block's outline.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JournalError> {
        let mut rest = Cursor(bytes);
        let version = rest.byte()?;
        if version != VERSION {
            return Err(JournalError::Version(version));
        }
        let unit = match rest.byte()? {
            0 => 1,
            1 => 1_000,
            2 => 1_000_000,
            3 => 1_000_000_000,
            _ => return Err(JournalError::Bad("a time unit that is not known")),
        };
        let first = FrameNumber(u64::from_le_bytes(rest.array()?));
        let base = Timestamp(i64::from_le_bytes(rest.array()?));
        let rows = rest.varint32()?;
        let mut interfaces = Vec::new();
        for _ in 0..rest.varint()? {
            let number = rest.varint32()?;
            let link = u16::try_from(rest.varint()?).map_err(|_| JournalError::Bad("a link type above 65535"))?;
            interfaces.push((number, LinkType(link)));
        }
        let mut connections = Vec::new();
        let mut last = 0i64;
        let count = rest.varint()?;
        if count > MAX_CONNECTIONS as u64 {
            return Err(JournalError::Bad("more than 16,384 connections"));
        }
        for _ in 0..count {
            last = last.wrapping_add(unzigzag(rest.varint()?));
            connections.push(u32::try_from(last).map_err(|_| JournalError::Bad("a connection beyond 32 bits"))?);
        }
        let mut lengths = [0; COLUMNS];
        for length in &mut lengths {
            *length = rest.varint32()?;
        }
        let columns = In::split(&lengths, rest)?;
        // Every row has a byte there.
        if columns.who.0.len() != rows as usize || columns.shape.0.len() != rows as usize {
            return Err(JournalError::Bad("another number of rows in a column"));
        }
        Ok(Self { first, base, unit, rows, interfaces, connections, columns })
    }

    /// The number of its first frame; the others follow.
    pub const fn first(&self) -> FrameNumber {
        self.first
    }

    /// How many frames it has.
    pub const fn len(&self) -> u32 {
        self.rows
    }

    /// The connections that have a frame in it, by their ordinals in the bucket, in the order of their first ones.
    #[cfg(test)]
    pub fn connections(&self) -> impl Iterator<Item = u32> {
        self.connections.iter().copied()
    }

    /// Visits the frames in order of arrival; with `only`, just those of these connections (ordinals, in any order), and the
    /// others' payloads are not asked for. The first error, its own or a visitor's, ends it.
    pub fn frames<E: From<JournalError>>(
        &self,
        only: Option<&[u32]>,
        fetch: &mut Fetch<'_, E>,
        visit: &mut dyn FnMut(FrameNumber, &JournalFrame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let wanted: Option<Vec<bool>> = only.map(|only| {
            let mut only = only.to_vec();
            only.sort_unstable();
            self.connections.iter().map(|c| only.binary_search(c).is_ok()).collect()
        });
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&true)) {
            return Ok(());
        }
        let mut reader = Reader {
            block: self,
            columns: self.columns,
            state: State::new(),
            scratch: Slot::new(),
            whole: Head([0; HEAD]),
            time: self.base,
            data: Vec::new(),
        };
        for number in 0..u64::from(self.rows) {
            let (index, direction) = reader.who()?;
            let whole = match (&wanted, index) {
                (None, _) => true,
                (Some(wanted), Some(index)) => wanted.get(index as usize).copied().unwrap_or(false),
                (Some(_), None) => false,
            };
            let connection = match index {
                Some(index) => {
                    let ordinal = self.connections.get(index as usize).ok_or(JournalError::Short)?;
                    Some((*ordinal, direction))
                }
                None => None,
            };
            if let Some(frame) = reader.row(index, connection, whole, fetch)? {
                visit(FrameNumber(self.first.0.wrapping_add(number)), &frame)?;
            }
        }
        Ok(())
    }
}

/// A block while it is read.
struct Reader<'a> {
    block: &'a JournalBlock<'a>,
    columns: In<'a>,
    state: State,
    scratch: Slot,
    whole: Head,
    time: Timestamp,
    data: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Whose the next frame is: the connection's index in the block, and the direction.
    fn who(&mut self) -> Result<(Option<u32>, Direction), JournalError> {
        let code = self.columns.who.byte()?;
        let index = match code {
            who::NONE => return Ok((None, Direction::ToServer)),
            code if code >= who::NEW => {
                let turn = code - who::NEW;
                let index = self.state.connections();
                if turn > 1 || index >= self.block.connections.len() {
                    return Err(JournalError::Bad("a row of a connection that is not listed"));
                }
                self.state.add_connection(turn);
                return Ok((Some(index as u32), Direction::from_bit(turn)));
            }
            code if code >= who::OLD => {
                let index = self.columns.index.varint32()?;
                if index as usize >= self.state.connections() || self.state.recent.rank(index).is_some() {
                    return Err(JournalError::Bad("a row that names its connection wrongly"));
                }
                self.state.recent.push(index);
                index
            }
            code => self.state.recent.touch(usize::from(code / 2)).ok_or(JournalError::Bad("a rank too high"))?,
        };
        let turn = self.state.turn(index).ok_or(JournalError::Short)?;
        *turn ^= code & 1;
        Ok((Some(index), Direction::from_bit(*turn)))
    }

    fn row<E: From<JournalError>>(
        &mut self,
        index: Option<u32>,
        connection: Option<(u32, Direction)>,
        whole: bool,
        fetch: &mut Fetch<'_, E>,
    ) -> Result<Option<JournalFrame<'_>>, E> {
        let shape = self.columns.shape.byte()?;
        let misses = if shape & shape::MISSES != 0 { self.columns.misses.byte()? } else { 0 };
        let odd = if shape & shape::ODD != 0 { self.columns.odd.byte()? } else { 0 };
        if odd & odd::UNKNOWN != 0 {
            return Err(JournalError::Bad("an oddity that is not known").into());
        }
        let step = self.columns.time_bits.number(&mut self.columns.times)?.wrapping_mul(self.block.unit) as i64;
        let backwards = odd & odd::BACKWARDS != 0;
        self.time.0 = if backwards { self.time.0.wrapping_sub(step) } else { self.time.0.wrapping_add(step) };

        let slot;
        let mut peer = Peer { next_seq: 0, stamp: 0 };
        let shared;
        let mut keep = None;
        match (index, connection) {
            (Some(index), Some((_, direction))) => {
                let (slots, openers, known) = self.state.parts(index).ok_or(JournalError::Short)?;
                let [to_server, to_client] = slots;
                let (own, other) = match direction {
                    Direction::ToServer => (to_server, to_client),
                    Direction::ToClient => (to_client, to_server),
                };
                if other.past.seen {
                    peer = other.past.peer();
                }
                if !own.past.seen {
                    if other.past.seen {
                        own.begin_as_peer(other);
                    } else {
                        begin(own, openers, self.columns.from.byte()?)?;
                        keep = Some(openers);
                    }
                }
                (slot, shared) = (own, known);
            }
            _ => {
                begin(&mut self.scratch, &self.state.loose, self.columns.from.byte()?)?;
                (slot, shared) = (&mut self.scratch, &mut self.state.shared);
                keep = Some(&mut self.state.loose);
            }
        }

        let mut side = Read { columns: &mut self.columns, shape, misses, odd, whole, tail: &[], payload: &[] };
        let parts = side.parts(slot.header_len, &mut slot.past)?;
        let Parts { header_len, payload_len, offset, trailer, .. } = parts;
        let (head_len, start) = (header_len.min(HEAD), header_len);
        let pad = if parts.pads { (MIN_ETHERNET as usize).saturating_sub(header_len + payload_len) } else { 0 };
        let len = header_len + payload_len + pad + trailer.len();
        if len > MAX_FRAME {
            return Err(JournalError::Bad("a frame of more than 262,144 bytes").into());
        }
        let wire_len = u32::try_from(parts.wire.saturating_add(len as i64))
            .map_err(|_| JournalError::Bad("a length on the wire beyond 32 bits"))?;
        let (interface, link) = self
            .block
            .interfaces
            .get(slot.past.interface as usize)
            .copied()
            .ok_or(JournalError::Bad("an interface that is not listed"))?;
        if whole {
            if self.data.len() < len {
                self.data.resize(len, 0);
            }
            let payload = self.data.get_mut(start..start + payload_len).unwrap_or_default();
            match (offset, connection) {
                (Some(offset), Some((conn, direction))) => fetch(conn, direction, StreamOffset(offset), payload)?,
                (Some(_), None) => return Err(JournalError::Bad("a stream's payload without a connection").into()),
                (None, _) => payload.copy_from_slice(parts.inline),
            }
            side.payload = self.data.get(start..start + payload_len).unwrap_or_default();
        }
        let facts = Facts {
            time: self.time,
            header_len: header_len as u32,
            payload_len: payload_len as u32,
            offset,
            size: (header_len + payload_len) as u32 + wire_len.saturating_sub(len as u32),
            loose: index.is_none(),
        };
        header(&mut side, slot, peer, shared, link, &facts, &mut self.whole)?;
        let tail = side.tail;
        if let Some(templates) = keep {
            templates.push(slot);
        }
        if !whole {
            return Ok(None);
        }
        let data = self.data.get_mut(..len).unwrap_or_default();
        let (to_head, rest) = data.split_at_mut_checked(head_len).ok_or(JournalError::Short)?;
        to_head.copy_from_slice(self.whole.slice(0, head_len));
        let (to_tail, rest) = rest.split_at_mut_checked(tail.len()).ok_or(JournalError::Short)?;
        to_tail.copy_from_slice(tail);
        let (_, rest) = rest.split_at_mut_checked(payload_len).ok_or(JournalError::Short)?;
        let (to_pad, to_trailer) = rest.split_at_mut_checked(pad).ok_or(JournalError::Short)?;
        to_pad.fill(0);
        to_trailer.copy_from_slice(trailer);
        let placed = offset.map(StreamOffset);
        Ok(Some(JournalFrame { time: self.time, interface, wire_len, data, connection, placed }))
    }
}

/// Begins a slot from a template.
fn begin(slot: &mut Slot, templates: &super::block::Templates, from: u8) -> Result<(), JournalError> {
    if from == NO_TEMPLATE {
        *slot = Slot::new();
        return Ok(());
    }
    slot.begin_like(templates.get(from).ok_or(JournalError::Bad("a row that begins from a header that is not there"))?);
    Ok(())
}
