//! Handshake messages in clear, out of the records that they are cut into (RFC 8446 §5.1, RFC 5246 §6.2.1).

use std::ops::Range;

use streamdb_types::{GapKind, StreamOffset};

use crate::source::Source;
use crate::window;
use crate::window::Window;

/// Of a record's header.
const HEADER: u64 = 5;
/// The longest record that any version has: 2^14 bytes and what protecting them may add (RFC 5246 §6.2.3).
const RECORD: u16 = (1 << 14) + 2048;
/// How far into a stream its handshake is followed. The longest chains of certificates that are met have 100 KiB.
const FLIGHT: u64 = 4 << 20;
/// What is read at a time.
const READ: usize = 8 << 10;

/// The handshake of one direction, as far as it is in clear.
pub(super) struct Records<'s> {
    window: Window<'s>,
    end: StreamOffset,
    /// What is taken next.
    at: StreamOffset,
    /// Where the record that this lies in ends.
    until: StreamOffset,
    /// Where records are not followed any more.
    limit: StreamOffset,
}

/// Why there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The stream ends.
    End,
    /// What comes next is not in the store.
    Hole(GapKind),
    /// What follows is no handshake in clear.
    Over,
    /// A fatal alert of this description.
    Alert(u8),
    /// What follows is no record.
    Broken,
    /// It goes on for longer than it is followed.
    Limit,
}

impl<'s> Records<'s> {
    /// The records from a place on.
    pub(super) fn new(source: &'s dyn Source, from: StreamOffset) -> Self {
        let (end, limit) = (source.end(), from.add(FLIGHT));
        Self { window: Window::new(source, READ), end, at: from, until: from, limit }
    }

    /// What of the handshake lies side by side next, at most `most` bytes of it, holes included; never empty.
    pub(super) fn stretch(&mut self, most: u64) -> Result<Range<u64>, Stop> {
        self.arrive()?;
        if self.at >= self.end {
            return Err(Stop::End);
        }
        let start = self.at;
        self.at = self.until.min(self.end).min(start.add(most.max(1)));
        Ok(start.0..self.at.0)
    }

    /// Takes `count` bytes of the handshake into `out`; with a hole among them, those before it.
    pub(super) fn read(&mut self, count: usize, out: &mut Vec<u8>) -> Result<(), Stop> {
        let mut left = count;
        while left > 0 {
            self.arrive()?;
            let most = usize::try_from(self.until.since(self.at)).unwrap_or(left).min(left);
            let view = self.window.look(self.at, most);
            let there = view.bytes.get(..most).unwrap_or(view.bytes);
            if there.is_empty() {
                return Err(stop(view.stop));
            }
            out.extend_from_slice(there);
            left -= there.len();
            self.at = self.at.add(there.len() as u64);
        }
        Ok(())
    }

    /// Goes over `count` bytes of the handshake.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<(), Stop> {
        while count > 0 {
            let gone = self.stretch(count)?;
            count = count.saturating_sub(gone.end - gone.start);
        }
        Ok(())
    }

    /// The bytes of a stretch until it ends, or a hole comes, or there are `most`.
    pub(super) fn peek(&mut self, stretch: &Range<u64>, most: usize) -> &[u8] {
        let most = usize::try_from(stretch.end.saturating_sub(stretch.start)).unwrap_or(most).min(most);
        let view = self.window.look(StreamOffset(stretch.start), most);
        view.bytes.get(..most).unwrap_or(view.bytes)
    }

    /// Goes on to the next record with a part of the handshake, where the one before has ended.
    fn arrive(&mut self) -> Result<(), Stop> {
        while self.at >= self.until {
            if self.at >= self.limit {
                return Err(Stop::Limit);
            }
            let view = self.window.look(self.at, 7);
            let (&[kind, 3, 0..=4, high, low], body) = view.bytes.split_first_chunk().ok_or(stop(view.stop))? else {
                return Err(Stop::Broken);
            };
            let length = u16::from_be_bytes([high, low]);
            match kind {
                22 if (1..=RECORD).contains(&length) => {}
                // A warning in clear does not end anything.
                21 if length == 2 => {
                    if let [2, description, ..] = body {
                        return Err(Stop::Alert(*description));
                    }
                }
                20..=24 if length <= RECORD => return Err(Stop::Over),
                _ => return Err(Stop::Broken),
            }
            self.at = self.at.add(HEADER);
            self.until = self.at.add(length.into());
            if kind == 21 {
                self.at = self.until;
            }
        }
        Ok(())
    }
}

/// What follows the bytes of a window, when there are too few.
const fn stop(stop: Option<window::Stop>) -> Stop {
    match stop {
        Some(window::Stop::Hole(gap)) => Stop::Hole(gap.kind),
        Some(window::Stop::End) | None => Stop::End,
    }
}
