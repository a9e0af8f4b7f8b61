//! A block of header fields: the payloads of a HEADERS or PUSH_PROMISE frame and of the CONTINUATION frames after it
//! (RFC 9113 §4.3), put together.

use streamdb_types::{Gap, StreamOffset};

use super::frame::{END_HEADERS, Frame, HEADER_BYTES, PADDED, PRIORITY, Type};
use crate::message::Incomplete;
use crate::window::{Stop, Window};

/// A block, as far as it is there.
pub(super) struct Block {
    /// Its bytes up to the first that is not there.
    pub bytes: Vec<u8>,
    /// Why it is not whole.
    pub incomplete: Option<Incomplete>,
    /// The stream that a PUSH_PROMISE is for.
    pub promised: Option<u32>,
    /// The longest payload.
    pub longest: u32,
    pub after: After,
}

/// What comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another frame.
    Frame(StreamOffset),
    /// A hole where a frame begins.
    Hole(Gap),
    /// Nothing: it breaks off.
    End,
    /// What may not stand there.
    Malformed,
}

impl Block {
    /// Reads the block whose first frame begins at `at`, in a stream that ends at `end`; at most `most` bytes of it are kept.
    pub(super) fn collect(
        window: &mut Window<'_>,
        first: Frame,
        at: StreamOffset,
        end: StreamOffset,
        most: usize,
    ) -> Self {
        let mut block =
            Self { bytes: Vec::new(), incomplete: None, promised: None, longest: first.length, after: After::End };
        block.after = block.frames(window, first, at, end, most);
        block
    }

    fn frames(
        &mut self,
        window: &mut Window<'_>,
        first: Frame,
        at: StreamOffset,
        end: StreamOffset,
        most: usize,
    ) -> After {
        let (mut frame, mut at) = (first, at);
        loop {
            let start = at.add(HEADER_BYTES as u64);
            at = frame.end(at);
            if at > end {
                return After::End;
            }
            match self.within(window, frame, start) {
                Ok(Some((from, length))) => self.read(window, from, length, most),
                Ok(None) => {}
                Err(()) => return After::Malformed,
            }
            if frame.has(END_HEADERS) {
                return After::Frame(at);
            }
            let view = window.look(at, HEADER_BYTES);
            let Some(next) = Frame::parse(view.bytes) else {
                return match view.stop {
                    Some(Stop::Hole(gap)) => {
                        self.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
                        After::Hole(gap)
                    }
                    _ => After::End,
                };
            };
            if next.kind != Type::Continuation || next.stream != first.stream {
                return After::Malformed;
            }
            self.longest = self.longest.max(next.length);
            frame = next;
        }
    }

    /// Where in a frame whose payload begins at `start` the block lies; `None` where a hole hides it.
    fn within(
        &mut self,
        window: &mut Window<'_>,
        frame: Frame,
        start: StreamOffset,
    ) -> Result<Option<(StreamOffset, u64)>, ()> {
        let mut before = 0;
        let mut padding = 0;
        if frame.kind != Type::Continuation && frame.has(PADDED) {
            let view = window.look(start, 1);
            match (view.bytes.first(), view.stop) {
                (Some(length), _) => padding = u64::from(*length),
                (None, Some(Stop::Hole(gap))) => {
                    self.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
                    return Ok(None);
                }
                (None, _) => {}
            }
            before += 1;
        }
        if frame.kind == Type::Headers && frame.has(PRIORITY) {
            before += 5;
        }
        if frame.kind == Type::PushPromise {
            let view = window.look(start.add(before), 4);
            self.promised = view.bytes.first_chunk::<4>().map(|id| u32::from_be_bytes(*id) & 0x7fff_ffff);
            before += 4;
        }
        let length = u64::from(frame.length).checked_sub(before + padding).ok_or(())?;
        Ok(Some((start.add(before), length)))
    }

    /// Adds bytes up to the first hole.
    fn read(&mut self, window: &mut Window<'_>, from: StreamOffset, length: u64, most: usize) {
        if self.incomplete.is_some() {
            return;
        }
        let room = most.saturating_sub(self.bytes.len());
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= room) else {
            self.incomplete = Some(Incomplete::Limit);
            return;
        };
        let view = window.look(from, length);
        self.bytes.extend(view.bytes.iter().take(length));
        if let Some(Stop::Hole(gap)) = view.stop.filter(|_| view.bytes.len() < length) {
            self.incomplete = Some(Incomplete::Gap(gap.kind));
        }
    }
}
