//! Where frames begin again after a hole over a frame's header: only where that is certain.
//!
//! A frame seems to begin at a place when another does where it ends, and so on, until the stream ends, or has another hole, or for
//! many frames. The bytes of a body can be made to look like that, and to end where true frames go on. But of the frame whose header
//! is missing only so many bytes can follow the hole. Behind those, frames begin where all chains that were found have become one.

use streamdb_types::StreamOffset;

use super::frame::{Frame, HEADER_BYTES};
use crate::source::Source;
use crate::window::{Stop, Window};

/// Fewest frames of a chain.
const FEWEST: u32 = 4;
/// Fewest frames of a chain that is looked at although its last frame ends in a hole, or beyond the end of the stream.
const FEWEST_CUT: u32 = 2;
/// A chain of so many frames beyond the place where it must have begun needs no end.
const ENOUGH: u32 = 64;
/// The longest payload that is searched through.
const LONGEST: u32 = 1 << 20;
/// Headers that are read in all searches of a direction.
const READS: u32 = 1 << 18;
/// Bytes that are searched in all searches of a direction.
const BYTES: u64 = 64 << 20;
/// What is read of each frame.
const READ: usize = 64;

/// The searches of a direction.
pub(super) struct Search<'a> {
    /// Goes on byte by byte.
    near: Window<'a>,
    /// Jumps from frame to frame.
    far: Window<'a>,
    end: StreamOffset,
    /// Whether the stream may still go on. Then its end says nothing: what is found now has to be what is found later.
    open: bool,
    reads: u32,
    bytes: u64,
    longest: u32,
    highest: u32,
}

/// What is at a place in a chain.
enum Next {
    /// A frame, and the next one there.
    At(StreamOffset),
    /// The end of the stream.
    End,
    /// Nothing: a hole, or a place beyond the end of the stream.
    Cut,
    /// No frame.
    No,
}

impl<'a> Search<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self {
            near: Window::new(source, 4 << 10),
            far: Window::new(source, READ),
            end: source.end(),
            open: source.ended().is_none(),
            reads: READS,
            bytes: BYTES,
            longest: 0,
            highest: 0,
        }
    }

    /// A place at or after `from`, where a hole ends, at which a frame begins for certain, if that can be told yet; payloads have at most `longest` bytes,
    /// streams at most the number `highest`.
    pub(super) fn find(&mut self, from: StreamOffset, longest: u32, highest: u32) -> Option<StreamOffset> {
        (self.longest, self.highest) = (longest.min(LONGEST), highest);
        let mut from = from;
        loop {
            // Of the frame that the hole lies in, all may follow.
            let last = from.add(HEADER_BYTES as u64 + u64::from(self.longest));
            if self.open && last.add(HEADER_BYTES as u64) > self.end {
                return None;
            }
            // A place on the chain of all that was found, which is not behind the one looked at.
            let mut on: Option<StreamOffset> = None;
            let (mut most, mut at) = (0, from);
            while at <= last && at < self.end {
                self.bytes = self.bytes.checked_sub(1)?;
                let view = self.near.look(at, HEADER_BYTES);
                let Some(frame) = Frame::parse(view.bytes) else { break };
                on = match on {
                    Some(on) => Some(self.not_before(on, at)?),
                    None => None,
                };
                if on != Some(at) && frame.is_likely(self.longest, self.highest) {
                    let frames = self.chain(at, last)?;
                    most = frames.max(most);
                    on = match on {
                        _ if frames == 0 => on,
                        None => Some(at),
                        Some(on) => Some(self.meet(on, at)?),
                    };
                }
                at = at.add(1);
            }
            if let Some(on) = on {
                let certain = self.not_before(on, last)?;
                return (most >= FEWEST && certain < self.end).then_some(certain);
            }
            // Nothing before the next hole.
            let view = self.near.look(at, HEADER_BYTES);
            match view.stop {
                Some(Stop::Hole(gap)) if at <= last => from = gap.end(),
                _ => return None,
            }
        }
    }

    /// How many frames follow one another from here on, 0 when they do not up to where that could be told; `None` when too
    /// much was read.
    fn chain(&mut self, from: StreamOffset, last: StreamOffset) -> Option<u32> {
        let (mut at, mut frames, mut beyond) = (from, 0u32, 0);
        loop {
            match self.next(at)? {
                Next::No => return Some(0),
                Next::End => return Some(frames),
                Next::Cut => return Some(if frames >= FEWEST_CUT { frames } else { 0 }),
                Next::At(next) => {
                    frames = frames.saturating_add(1);
                    beyond += u32::from(at > last);
                    if beyond >= ENOUGH {
                        return Some(frames);
                    }
                    at = next;
                }
            }
        }
    }

    /// The first place of a chain that does not lie before another.
    fn not_before(&mut self, on: StreamOffset, place: StreamOffset) -> Option<StreamOffset> {
        let mut on = on;
        while on < place {
            match self.next(on)? {
                Next::At(next) => on = next,
                Next::End | Next::Cut | Next::No => return Some(self.end),
            }
        }
        Some(on)
    }

    /// Where two chains become one.
    fn meet(&mut self, one: StreamOffset, other: StreamOffset) -> Option<StreamOffset> {
        let (mut behind, mut ahead) = (one.min(other), one.max(other));
        while behind != ahead {
            let Next::At(next) = self.next(behind)? else { return None };
            (behind, ahead) = (next.min(ahead), next.max(ahead));
        }
        Some(behind)
    }

    fn next(&mut self, at: StreamOffset) -> Option<Next> {
        self.reads = self.reads.checked_sub(1)?;
        if self.open && at.add(HEADER_BYTES as u64) > self.end {
            return None;
        }
        if at == self.end {
            return Some(Next::End);
        }
        let view = self.far.look(at, HEADER_BYTES);
        let Some(frame) = Frame::parse(view.bytes) else { return Some(Next::Cut) };
        Some(if frame.is_likely(self.longest, self.highest) { Next::At(frame.end(at)) } else { Next::No })
    }
}
