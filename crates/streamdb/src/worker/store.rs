//! What reassembly says, said to the writer; and the frames of packets that came in fragments, until their payload has a place.

use std::collections::HashMap;

use streamdb_decode::Piece;
use streamdb_reassembly::{Comparison, FrameTag, Keep, Opened, Sink, Slot, StreamState};
use streamdb_storage::{Error, FrameIn, Result, StreamFacts, Writer};
use streamdb_types::{Direction, LinkType, Reason, StreamOffset, Timestamp};

use crate::cutoff::Cutoffs;
use crate::sharing::Part;

/// The writer, and what is known of its frames.
pub(super) struct Store {
    pub(super) writer: Writer,
    /// The frames of packets that came in fragments, by the tag of the last of them, until their payload has a place.
    pieces: HashMap<u64, Vec<Piece>>,
    /// The first error; the worker hands it out after the call that met it.
    error: Option<Error>,
}

impl Store {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer, pieces: HashMap::new(), error: None }
    }

    /// What reassembly held has been given: nothing is said of those frames any more. Gives the first error, if there was one.
    pub(super) fn flushed(&mut self) -> Result<()> {
        self.pieces.clear();
        self.error()
    }

    /// The first error since this was last asked.
    pub(super) fn error(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    pub(super) fn take(&mut self, input: &FrameIn<'_>, pieces: &[Piece]) -> Result<u64> {
        let tag = self.writer.frame(input)?;
        if !pieces.is_empty() {
            self.pieces.insert(tag, pieces.to_vec());
        }
        Ok(tag)
    }

    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

/// What reassembly says, said to the writer.
pub(super) struct StoreSink<'a> {
    pub(super) store: &'a mut Store,
    pub(super) cutoffs: Option<&'a mut Cutoffs>,
    pub(super) part: Option<&'a mut Part>,
    /// The frame that is being taken, and its link type.
    pub(super) frame: (LinkType, &'a [u8]),
}

impl Sink for StoreSink<'_> {
    fn opened(&mut self, slot: Slot, opened: &Opened) {
        if let Some(part) = &mut self.part {
            part.opened(slot);
        }
        self.store.writer.opened(slot.0, &opened.tuple, &opened.path, opened.time);
    }

    fn keep(&mut self, slot: Slot, opened: &Opened) -> Keep {
        let (link_type, frame) = self.frame;
        self.cutoffs.as_mut().map_or(Keep::All, |cutoffs| cutoffs.opened(slot, &opened.tuple, link_type, frame))
    }

    fn look(&mut self, slot: Slot, direction: Direction, offset: u64, payload: &[u8]) -> Keep {
        self.cutoffs.as_mut().map_or(Keep::All, |cutoffs| cutoffs.look(slot, direction, offset, payload))
    }

    fn turned(&mut self, slot: Slot) -> bool {
        let turned = self.store.writer.turned(slot.0);
        if turned && let Some(cutoffs) = &mut self.cutoffs {
            cutoffs.turned(slot);
        }
        turned
    }

    fn data(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) {
        let result = self.store.writer.data(slot.0, direction, offset, bytes);
        self.store.note(result);
    }

    fn datagram(
        &mut self,
        slot: Slot,
        direction: Direction,
        offset: StreamOffset,
        bytes: &[u8],
        wire_len: u32,
        time: Timestamp,
    ) {
        let result = self.store.writer.datagram(slot.0, direction, offset, bytes, wire_len, time);
        self.store.note(result);
    }

    fn compare(&mut self, slot: Slot, direction: Direction, offset: StreamOffset, bytes: &[u8]) -> Comparison {
        match self.store.writer.compare(slot.0, direction, offset, bytes) {
            Some(true) => Comparison::Same,
            Some(false) => Comparison::Differs,
            None => Comparison::Unknown,
        }
    }

    fn cut(&mut self, tag: FrameTag, bytes: &[u8]) {
        let Store { writer, pieces, .. } = &mut *self.store;
        let Some(fragments) = pieces.get_mut(&tag.0) else { return writer.cut(tag.0, bytes) };
        // Those that are written already stay whole.
        fragments.retain_mut(|piece| {
            let left = (bytes.len() as u64).saturating_sub(piece.payload_at.into()).min(piece.len.into()) as u32;
            let whole = left == piece.len;
            if !whole {
                writer.cut_later(piece.tag, piece.frame_at as usize + left as usize);
                piece.len = left;
            }
            whole || left > 0
        });
        if bytes.is_empty() {
            pieces.remove(&tag.0);
        }
    }

    fn placed(&mut self, tag: FrameTag, slot: Slot, direction: Direction, offset: StreamOffset, _len: u32) {
        if self.store.pieces.is_empty() {
            return self.store.writer.placed(tag.0, offset);
        }
        match self.store.pieces.remove(&tag.0) {
            None => self.store.writer.placed(tag.0, offset),
            Some(pieces) => {
                for Piece { tag, frame_at, payload_at, len } in pieces {
                    let offset = offset.add(payload_at.into());
                    self.store.writer.placed_later(tag, frame_at as usize, len as usize, slot.0, direction, offset);
                }
            }
        }
    }

    fn kept(&mut self, tag: FrameTag, bytes: &[u8]) {
        // The frames of a packet that came in fragments were taken whole, and stay so.
        if self.store.pieces.remove(&tag.0).is_none() {
            self.store.writer.kept(tag.0, bytes);
        }
    }

    fn checkpoint(&mut self, slot: Slot, streams: &[StreamState; 2], ended: Option<Reason>) {
        let facts = streams.each_ref().map(|stream| StreamFacts {
            packets: stream.packets,
            first: stream.first,
            last: stream.last,
            length: stream.length,
            gaps: &stream.gaps,
            marks: stream.marks,
            limited: stream.limited,
        });
        let result = self.store.writer.checkpoint(slot.0, facts, ended);
        self.store.note(result);
    }

    fn closed(&mut self, slot: Slot) {
        if let Some(cutoffs) = &mut self.cutoffs {
            cutoffs.closed(slot);
        }
        if let Some(part) = &mut self.part {
            part.closed(slot);
        }
        self.store.writer.closed(slot.0);
    }
}
