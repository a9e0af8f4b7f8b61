//! Frames that wait for their journal block: a row each, and one arena for the bytes that are no stream's.

use std::ops::RangeInclusive;

use streamdb_types::{Direction, LinkType, StreamOffset, Timestamp};

use super::sum::sum;

/// Where the payload of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Nobody said yet.
    Pending,
    /// There is none.
    None,
    /// Bytes of the row's stream from here on.
    Stream(StreamOffset),
    /// In the arena from here on.
    Inline(u32),
}

/// One frame. As many of these are written and read again as there are frames: one line of the processor's cache each.
/// Places in the arena are 32 bits: rows are taken away long before it has so many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) time: Timestamp,
    pub(super) interface: u32,
    pub(super) wire_len: u32,
    pub(super) connection: Option<(u32, Direction)>,
    pub(super) header_at: u32,
    pub(super) header_len: u32,
    pub(super) trailer_at: u32,
    pub(super) trailer_len: u32,
    pub(super) payload: Payload,
    pub(super) payload_len: u32,
    /// The payload's Internet checksum, not complemented; 0 when there is no payload.
    pub(super) payload_sum: u16,
}

/// The rows that wait, in order of arrival. Reused: [`clear`](Self::clear) keeps the memory.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    arena: Vec<u8>,
    links: Vec<(u32, LinkType)>,
}

impl Rows {
    /// No rows, and room for so many and so many bytes of them: what is reserved and not used costs nothing, and what has
    /// to move as it grows does.
    pub(crate) fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { rows: Vec::with_capacity(rows), arena: Vec::with_capacity(bytes), links: Vec::new() }
    }

    /// Says what the frames of an interface begin with. It holds over [`clear`](Self::clear); an interface of which nothing
    /// was said is taken for Ethernet. A wrong link type costs room, not truth.
    pub fn set_link(&mut self, interface: u32, link: LinkType) {
        match self.links.iter_mut().find(|(known, _)| *known == interface) {
            Some((_, known)) => *known = link,
            None => self.links.push((interface, link)),
        }
    }

    /// Appends a frame: header `data[..payload_at]`, payload the `payload_len` bytes from there, trailer the rest (both cut
    /// to what there is, and a frame to its first 262,144 bytes). The header and the trailer are copied. The payload is not, only its length and its checksum are
    /// kept: until [`set_stream`](Self::set_stream) or [`set_inline`](Self::set_inline) says where it is, it is *pending*, and
    /// no block takes the row. Without payload there is nothing to say.
    pub fn push(
        &mut self,
        time: Timestamp,
        interface: u32,
        wire_len: u32,
        data: &[u8],
        payload_at: usize,
        payload_len: usize,
    ) {
        let data = data.get(..super::MAX_FRAME).unwrap_or(data);
        let (header, rest) = data.split_at_checked(payload_at).unwrap_or((data, &[]));
        let (payload, trailer) = rest.split_at_checked(payload_len).unwrap_or((rest, &[]));
        let header_at = self.arena.len() as u32;
        self.arena.extend_from_slice(header);
        self.arena.extend_from_slice(trailer);
        self.rows.push(Row {
            time,
            interface,
            wire_len,
            connection: None,
            header_at,
            header_len: header.len() as u32,
            trailer_at: header_at + header.len() as u32,
            trailer_len: trailer.len() as u32,
            payload: if payload.is_empty() { Payload::None } else { Payload::Pending },
            payload_len: payload.len() as u32,
            payload_sum: sum(payload),
        });
    }

    /// Says whose frame it is: the connection's ordinal in the bucket, and the direction.
    pub fn set_connection(&mut self, row: usize, conn: u32, direction: Direction) {
        if let Some(row) = self.rows.get_mut(row) {
            row.connection = Some((conn, direction));
        }
    }

    /// The directions of a connection change places in these rows.
    pub(crate) fn turn(&mut self, rows: RangeInclusive<usize>, conn: u32) {
        for row in self.rows.get_mut(rows).unwrap_or_default() {
            if let Some((_, direction)) = row.connection.as_mut().filter(|(number, _)| *number == conn) {
                *direction = direction.flip();
            }
        }
    }

    /// The payload is the stream's bytes from `offset` on, of the row's connection and direction.
    pub fn set_stream(&mut self, row: usize, offset: StreamOffset) {
        if let Some(row) = self.rows.get_mut(row)
            && row.payload != Payload::None
        {
            row.payload = Payload::Stream(offset);
        }
    }

    /// The payload is these bytes: the very ones that were pushed. They are kept here.
    pub fn set_inline(&mut self, row: usize, payload: &[u8]) {
        if let Some(row) = self.rows.get_mut(row)
            && row.payload_len as usize == payload.len()
            && row.payload != Payload::None
        {
            row.payload = Payload::Inline(self.arena.len() as u32);
            self.arena.extend_from_slice(payload);
        }
    }

    /// Of the payload only the first bytes are kept, these; the frame ends there, as a snap length would have cut it.
    pub fn cut(&mut self, row: usize, payload: &[u8]) {
        if let Some(row) = self.rows.get_mut(row)
            && row.payload == Payload::Pending
            && payload.len() < row.payload_len as usize
        {
            row.payload_len = payload.len() as u32;
            row.payload_sum = sum(payload);
            row.trailer_len = 0;
            if payload.is_empty() {
                row.payload = Payload::None;
            }
        }
    }

    /// The same for a row that is kept whole here: it ends after so many bytes.
    pub fn truncate(&mut self, row: usize, len: usize) {
        let Some(row) = self.rows.get_mut(row) else { return };
        if let Payload::Inline(at) = row.payload
            && (row.header_len, row.trailer_len) == (0, 0)
            && len < row.payload_len as usize
        {
            let at = at as usize;
            row.payload_len = len as u32;
            row.payload_sum = sum(self.arena.get(at..at + len).unwrap_or_default());
        }
    }

    /// Splits a row anew that was pushed as all header, or is kept whole here with its payload inline: for a fragment whose
    /// bytes turn out to be a stream's. The header becomes the first `payload_at` bytes, the payload the next `payload_len`,
    /// now a reference into the stream, and the trailer the rest. A row that is not wholly here stays as it is.
    pub fn resplit(
        &mut self,
        row: usize,
        payload_at: usize,
        payload_len: usize,
        conn: u32,
        direction: Direction,
        offset: StreamOffset,
    ) {
        let Some(row) = self.rows.get_mut(row) else { return };
        if let Payload::Inline(at) = row.payload {
            // Brings the three parts together again, at the arena's end.
            let start = self.arena.len() as u32;
            for (at, len) in [(row.header_at, row.header_len), (at, row.payload_len), (row.trailer_at, row.trailer_len)]
            {
                self.arena.extend_from_within(at as usize..(at + len) as usize);
            }
            row.header_at = start;
        } else if row.payload != Payload::None || row.trailer_at != row.header_at + row.header_len {
            return;
        }
        let len = row.len();
        let payload_at = payload_at.min(len);
        let payload_len = payload_len.min(len - payload_at);
        let at = row.header_at as usize + payload_at;
        row.payload_sum = sum(self.arena.get(at..at + payload_len).unwrap_or_default());
        row.header_len = payload_at as u32;
        row.payload_len = payload_len as u32;
        row.payload = if payload_len == 0 { Payload::None } else { Payload::Stream(offset) };
        row.trailer_at = (at + payload_len) as u32;
        row.trailer_len = (len - payload_at - payload_len) as u32;
        row.connection = Some((conn, direction));
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes in use: the arena's, and the rows' own.
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.rows.len() * size_of::<Row>()
    }

    /// Forgets all rows, not the links.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.arena.clear();
    }

    /// The rows from one on.
    pub(super) fn from(&self, row: usize) -> &[Row] {
        self.rows.get(row..).unwrap_or_default()
    }

    /// Bytes of the arena.
    pub(super) fn slice(&self, at: u32, len: u32) -> &[u8] {
        self.arena.get(at as usize..at as usize + len as usize).unwrap_or_default()
    }

    /// The link type of an interface.
    pub(super) fn link(&self, interface: u32) -> LinkType {
        self.links.iter().find(|(known, _)| *known == interface).map_or(LinkType::ETHERNET, |(_, link)| *link)
    }
}

impl Row {
    /// Bytes captured.
    pub(super) fn len(&self) -> usize {
        self.header_len as usize + self.payload_len as usize + self.trailer_len as usize
    }
}

const _: () = assert!(size_of::<Row>() <= 64);
