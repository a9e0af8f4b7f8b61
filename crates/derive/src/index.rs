//! Which message an oid's INDEX is, and which INDEX a message has.
//!
//! As long as a stream is there from its beginning on, messages are counted. Where retention took a part of it, what comes
//! after that part cannot be counted any more, and so is named by where in the stream it begins, which is the same for ever:
//! no INDEX ever names another message than it did. What was counted before is still found by its number when its row was
//! kept, which says where it began.

use streamdb_extract::{Kind, Message};
use streamdb_storage::{Store, Stream};
use streamdb_types::{Gap, GapKind, Oid, StreamOffset, Timestamp};

use crate::error::Error;

/// The first object inside message m has the index m + 2^32, the next one m + 2 * 2^32.
const INSIDE: u64 = 1 << 32;
/// Most parts of a message. What lies inside part k is part k + j * 2^20, and j counts it from 1 on.
pub(crate) const PARTS: u32 = 1 << 20;
/// Named by the offset in the other bits.
const BY_OFFSET: u64 = 1 << 63;
/// What lies inside a message that is named by its offset,
const INSIDE_BY_OFFSET: u64 = 1 << 62;
/// of which there are so many bits: that many parts may have names, and one less is in the bits behind.
const OFFSET_BITS: u32 = 42;

/// What an INDEX says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) message: Place,
    /// Which of the objects inside it, from 1 on; 0 is the message.
    pub(crate) inside: u64,
}

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// So many came before it.
    Nth(u64),
    /// It begins there.
    At(StreamOffset),
}

/// The part of a message that has something inside with this number.
pub(crate) const fn host_of(number: u32) -> u32 {
    (number.saturating_sub(1) % PARTS).saturating_add(1)
}

impl Index {
    pub(crate) const fn read(index: u64) -> Self {
        if index & BY_OFFSET == 0 {
            return Self { message: Place::Nth(index % INSIDE), inside: index / INSIDE };
        }
        let rest = index & !(BY_OFFSET | INSIDE_BY_OFFSET);
        if index & INSIDE_BY_OFFSET == 0 {
            return Self { message: Place::At(StreamOffset(rest)), inside: 0 };
        }
        let offset = rest & ((1 << OFFSET_BITS) - 1);
        Self { message: Place::At(StreamOffset(offset)), inside: (rest >> OFFSET_BITS) + 1 }
    }

    const fn write(message: Place) -> u64 {
        match message {
            Place::Nth(n) => n,
            Place::At(offset) => BY_OFFSET | offset.0,
        }
    }

    /// The INDEX of a part, from 1 on, of the message with this one. What lies inside a part has none where its message is named by
    /// its offset.
    pub(crate) fn inside(message: u64, part: u32) -> Option<u64> {
        let number = u64::from(part);
        if message & BY_OFFSET == 0 {
            Some(message + number * INSIDE)
        } else {
            (part <= PARTS).then_some(message | INSIDE_BY_OFFSET | number.saturating_sub(1) << OFFSET_BITS)
        }
    }
}

/// What retention took of a stream, or of the other one of its connection: where an answer ends may depend on what was asked.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// When, the last time.
    time: Timestamp,
    /// What is missing.
    gaps: Vec<Gap>,
    /// What begins before this is as it always was.
    from: StreamOffset,
    /// Of the messages that were there: their number, and where they began; ascending.
    began: Vec<(u64, StreamOffset)>,
}

impl Cut {
    /// Nothing when all of both streams is there.
    pub(crate) fn of(store: &Store, stream: &Stream, other: Option<&Stream>) -> Result<Option<Self>, Error> {
        let info = stream.info();
        let gaps: Vec<Gap> = lost(stream).collect();
        let of_other = other.and_then(|other| Some((other, lost(other).next()?)));
        let own = gaps.first().map(|gap| gap.offset);
        let known = of_other.map(|(other, gap)| stream.length_before(other, gap.offset));
        // All of the other one may have been in what is gone.
        let none = store.cut_at(info).filter(|_| other.is_none());
        let from = own.into_iter().chain(known).chain(none.map(|_| StreamOffset(0))).min();
        let time = stream.dropped().max(other.and_then(Stream::dropped)).max(none);
        let Some((from, time)) = from.zip(time) else { return Ok(None) };
        // Rows are kept with the newest record of the connection.
        let newest = store.newest(info.key, info.direction)?;
        let kept = newest.map(|newest| store.derived_rows(newest.info().oid.bucket, info.key)).transpose()?.flatten();
        let rows = kept.iter().flatten().filter(|row| row.direction == info.direction);
        let mut began: Vec<(u64, StreamOffset)> = rows
            .filter_map(|row| match Index::read(row.oid.index) {
                Index { message: Place::Nth(n), inside: 0 } => Some((n, row.begins)),
                _ => None,
            })
            .collect();
        began.sort_unstable();
        Ok(Some(Self { time, gaps, from, began }))
    }

    /// Whether the message is counted as it always was.
    fn counts(&self, message: &Message) -> bool {
        message.span.start < self.from
    }

    /// What a number named is gone, or nobody knows any more what that was.
    const fn gone(&self, oid: Oid) -> Error {
        Error::Taken { oid, time: self.time }
    }
}

/// What is missing of a stream since retention took some of it.
fn lost(stream: &Stream) -> impl Iterator<Item = Gap> {
    let gaps = stream.gaps().iter().filter(|gap| stream.dropped().is_some() && gap.kind == GapKind::Lost);
    gaps.copied()
}

/// Where a message begins: its head, or without one its first byte that is there.
pub(crate) fn begins(message: &Message, gaps: &[Gap]) -> StreamOffset {
    if !message.head.is_empty() {
        return message.head.start;
    }
    let start = message.span.start;
    let at = gaps.binary_search_by_key(&start, |gap| gap.offset).ok();
    let hole = at.and_then(|at| gaps.get(at)).filter(|gap| gap.kind == GapKind::Lost && gap.end() < message.span.end);
    hole.map_or(start, Gap::end)
}

/// The messages of one direction, and how they are named.
pub(crate) struct Naming<'c> {
    pub(crate) messages: &'c [Message],
    pub(crate) cut: Option<&'c Cut>,
}

impl Naming<'_> {
    /// The INDEX of a message.
    pub(crate) fn index(&self, message: &Message) -> u64 {
        Index::write(match self.cut {
            Some(cut) if !cut.counts(message) => Place::At(begins(message, &cut.gaps)),
            _ => Place::Nth(message.index.0.into()),
        })
    }

    /// The message with this INDEX, or what lies inside it.
    pub(crate) fn find(&self, oid: Oid, index: Place) -> Result<&Message, Error> {
        let unknown = || Error::NoSuchMessage { oid, messages: self.messages.len() };
        match (index, self.cut) {
            (Place::Nth(n), None) => self.nth(n).ok_or_else(unknown),
            (Place::Nth(n), Some(cut)) => match self.nth(n).filter(|message| cut.counts(message)) {
                Some(message) => Ok(message),
                None => self.that_was(n, cut).ok_or_else(|| cut.gone(oid)),
            },
            (Place::At(_), None) => Err(unknown()),
            (Place::At(offset), Some(cut)) => self.at(offset, cut).ok_or_else(|| {
                let taken = |gap: &Gap| (gap.offset..gap.end()).contains(&offset);
                if cut.gaps.iter().any(taken) { cut.gone(oid) } else { unknown() }
            }),
        }
    }

    fn nth(&self, n: u64) -> Option<&Message> {
        usize::try_from(n).ok().and_then(|n| self.messages.get(n))
    }

    fn at(&self, offset: StreamOffset, cut: &Cut) -> Option<&Message> {
        let at = self.messages.partition_point(|message| begins(message, &cut.gaps) < offset);
        self.messages.get(at).filter(|message| !cut.counts(message) && begins(message, &cut.gaps) == offset)
    }

    /// What there is of the message that had this number when all was there: all of it, or what follows the part that is
    /// gone.
    fn that_was(&self, n: u64, cut: &Cut) -> Option<&Message> {
        let known = cut.began.binary_search_by_key(&n, |(n, _)| *n).ok()?;
        let (_, began) = *cut.began.get(known)?;
        if let Some(message) = self.at(began, cut) {
            return Some(message);
        }
        // The first bytes after a hole in it, as far as they are its own.
        let next = cut.began.get(known + 1).map_or(StreamOffset(u64::MAX), |(_, next)| *next);
        let rest = cut.gaps.iter().map(Gap::end).find(|end| (began..next).contains(end) && *end > began)?;
        self.at(rest, cut).filter(|message| message.kind == Kind::Stream && message.span.end <= next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_a_number_or_an_offset_and_how_deep_it_lies() {
        for place in [
            Place::Nth(0),
            Place::Nth(u64::from(u32::MAX)),
            Place::At(StreamOffset(0)),
            Place::At(StreamOffset(1 << 40)),
        ] {
            let index = Index::write(place);
            assert_eq!(Index::read(index), Index { message: place, inside: 0 });
            for part in [1, 2, 1 << 20] {
                assert_eq!(
                    Index::read(Index::inside(index, part).unwrap()),
                    Index { message: place, inside: part.into() }
                );
            }
        }
        assert_eq!(Index::read(2 << 32 | 7), Index { message: Place::Nth(7), inside: 2 });
    }
}
