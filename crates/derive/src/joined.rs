//! A content that came in several responses: how it stands, and its bytes.

use std::collections::{HashMap, VecDeque};
use std::ops::{ControlFlow, Range};

use streamdb_extract::{BodyLimits, BodyOutcome, Decode, Framing, Part, PartKind, Piece, part_body};
use streamdb_storage::{Error as StoreError, Evidence, Join, JoinPart, Store};
use streamdb_types::{BucketId, Digests, Direction, Gap, GapKind, Oid, StreamOffset};

use crate::conversation::{Conversation, conversation};
use crate::error::Error;
use crate::guard::{joined, watched};
use crate::index::{Index, PARTS, Place as Numbered};
use crate::join::{Plan, plan};

/// Most connections that are held taken apart.
const HELD: usize = 32;

/// How a joined content stands: the better, the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JoinState {
    /// Every byte is here, by parts that belong together for sure, and decodes.
    Complete,
    /// Every byte is here, if the parts belong together, which is likely and not known, or not all of them could be compared.
    Candidate,
    /// Parts differ where they have the same bytes, or frames of a part do. Those that came first are handed out.
    Conflicting,
    /// Every byte is here, and they do not decode.
    Undecoded,
    /// Bytes of it are in no part.
    Missing,
    /// Bytes of it were in parts that retention took.
    Gone,
    /// Every byte was seen, and a part cannot be read, or not all could be compared.
    Unread,
}

impl JoinState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Complete, Self::Candidate, Self::Conflicting, Self::Undecoded, Self::Missing, Self::Gone, Self::Unread];

    /// The word: in JSON and in headers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Candidate => "candidate",
            Self::Conflicting => "conflicting",
            Self::Missing => "missing",
            Self::Gone => "gone",
            Self::Undecoded => "undecoded",
            Self::Unread => "unread",
        }
    }

    /// Whether its bytes can be handed out.
    pub const fn is_here(self) -> bool {
        match self {
            Self::Complete | Self::Candidate | Self::Conflicting | Self::Undecoded => true,
            Self::Missing | Self::Gone | Self::Unread => false,
        }
    }
}

/// A joined content, with those of its parts that are still there.
pub struct Joined<'s> {
    store: &'s Store,
    join: Join,
    /// Whether each part is there.
    here: Vec<bool>,
    /// Over the parts that are there; of the others nothing is taken.
    plan: Plan,
    open: Open,
}

/// Connections that are taken apart.
#[derive(Default)]
struct Open {
    conversations: HashMap<Oid, Conversation>,
    /// Those that were opened first in front.
    order: VecDeque<Oid>,
    /// What lies inside the message that was read last. To find it, all of the message is read: that is not done for each part.
    inside: Option<Inside>,
}

/// What lies inside a message.
struct Inside {
    of: (Oid, Direction, Numbered),
    parts: HashMap<u32, Part>,
}

impl<'s> Joined<'s> {
    /// Looks which parts of a join are still there.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn new(store: &'s Store, join: &Join) -> Result<Self, Error> {
        let buckets = store.bucket_ids()?;
        let is_there = |id: BucketId| buckets.binary_search(&id).is_ok();
        let mut open = Open::default();
        let mut here = Vec::with_capacity(join.parts.len());
        // Records of a bucket whose end was cut off are named as long as its rows are not made again. Of one that is there: whether its
        // stream has no gap.
        let mut records: HashMap<Oid, Option<bool>> = HashMap::new();
        for part in &join.parts {
            let stream = part.oid.with_index(0);
            let record = records.entry(stream).or_insert_with(|| {
                let found =
                    Some(stream).filter(|stream| is_there(stream.bucket)).and_then(|stream| store.stream(stream).ok());
                found.map(|stream| stream.info().gap_bytes == 0)
            });
            // Of what lies in several buckets some may be gone: then it is read.
            let all = |whole: bool| whole || part.key.bucket == part.oid.bucket || open.has_all(store, part);
            here.push(record.is_some_and(all));
        }
        let runs = join.parts.iter().zip(&here).map(|(part, here)| if *here { part.runs.as_slice() } else { &[] });
        let plan = plan(runs);
        Ok(Self { store, join: join.clone(), here, plan, open })
    }

    /// Where it is.
    pub const fn store(&self) -> &'s Store {
        self.store
    }

    /// What it is made of.
    pub const fn join(&self) -> &Join {
        &self.join
    }

    /// Its parts, and whether each is still there.
    pub fn parts(&self) -> impl Iterator<Item = (&JoinPart, bool)> {
        self.join.parts.iter().zip(self.here.iter().copied())
    }

    /// How it stands.
    pub fn state(&self) -> JoinState {
        let Some(made) = &self.join.made else {
            let seen = plan(self.join.parts.iter().map(|part| part.runs.as_slice()));
            let all = self.join.of.total.is_some() && seen.missing(self.join.of.total).is_empty();
            return if all { JoinState::Unread } else { JoinState::Missing };
        };
        if !self.missing().is_empty() {
            return JoinState::Gone;
        }
        let (conflicting, compared) = (self.join.is_conflicting(), self.join.is_compared());
        // Which bytes came first, and whether others are the same, can only be told by all of them.
        if (conflicting || !made.compared) && !self.here.iter().all(|here| *here) {
            return JoinState::Gone;
        }
        if conflicting {
            return JoinState::Conflicting;
        }
        match self.join.of.evidence {
            _ if made.problem.is_some() => JoinState::Undecoded,
            _ if !compared => JoinState::Candidate,
            Evidence::Weak => JoinState::Candidate,
            Evidence::Etag | Evidence::Modified => JoinState::Complete,
        }
    }

    /// What of the bytes as sent is in no part that is there; of a content whose length nobody knows, what lies between its parts.
    pub fn missing(&self) -> Vec<Range<u64>> {
        self.plan.missing(self.join.of.total)
    }

    /// Whether its bytes as sent are its content.
    pub fn is_plain(&self) -> bool {
        self.join.of.codings.is_empty()
    }

    /// The length of its bytes as sent, or up to the last one that was seen.
    pub fn sent_len(&self) -> u64 {
        self.join.of.total.unwrap_or_else(|| self.plan.taken.last().map_or(0, |(range, _)| range.end))
    }

    /// Hands out a range of its bytes as sent, until `out` breaks off. What is in no part, or cannot be read, is a hole.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn sent(&mut self, range: Range<u64>, out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let end = range.end.min(self.sent_len());
        let mut at = range.start;
        let taken: Vec<_> =
            self.plan.taken.iter().filter(|(taken, _)| taken.end > at && taken.start < end).cloned().collect();
        for (taken, part) in taken {
            if at < taken.start && out(hole(at..taken.start)).is_break() {
                return Ok(());
            }
            let from = at.max(taken.start);
            at = taken.end.min(end);
            let Some(part) = self.join.parts.get(part) else { continue };
            if self.open.read(self.store, part, from..at, out)?.is_break() {
                return Ok(());
            }
        }
        if at < end {
            let _ = out(hole(at..end));
        }
        Ok(())
    }

    /// Hands out its content, codings undone, until it ends or `out` breaks off; `encoded`, where it is given, as it was sent.
    ///
    /// # Errors
    /// When a block is damaged: what was handed out before is true, and not all.
    pub fn body(
        &mut self,
        decode: Decode,
        limits: &BodyLimits,
        encoded: Option<&mut dyn FnMut(Piece<'_>)>,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<BodyOutcome, Error> {
        let all = 0..self.sent_len();
        let mut part = Part::new(1, "http", PartKind::Response, Vec::from([all.clone()]));
        part.content_codings.clone_from(&self.join.of.codings);
        part.missing = self.missing().iter().map(|range| range.end - range.start).sum();
        let mut read = Ok(());
        let mut encoded = encoded;
        // Both take what they are given for no longer than this.
        let outcome = match &mut encoded {
            Some(encoded) => part_body(
                &part,
                decode,
                limits,
                Some(&mut |piece| encoded(piece)),
                &mut |take| read = self.counted(all.clone(), take),
                out,
            ),
            None => part_body(&part, decode, limits, None, &mut |take| read = self.counted(all.clone(), take), out),
        };
        read?;
        Ok(outcome)
    }

    fn counted(
        &mut self,
        range: Range<u64>,
        take: &mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.sent(range, &mut streamdb_extract::counted(take))
    }

    /// The parts that have the same bytes, and where: for each the other that these are taken from.
    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Hands out a range of one part.
    pub(crate) fn read(
        &mut self,
        part: &JoinPart,
        range: Range<u64>,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        self.open.read(self.store, part, range, out)
    }

    /// The digests of what is there, where that is all of it.
    pub fn digests(&self) -> Option<&Digests> {
        self.join.made.as_ref().map(|made| &made.digests)
    }
}

impl std::fmt::Debug for Joined<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("join", &self.join).field("here", &self.here).finish_non_exhaustive()
    }
}

impl Open {
    /// Whether each byte that was seen of a part is there still.
    fn has_all(&mut self, store: &Store, part: &JoinPart) -> bool {
        part.runs.iter().all(|run| {
            let mut whole = true;
            let read = self.read(store, part, run.clone(), &mut |piece| {
                whole &= matches!(piece, Piece::Bytes(_));
                if whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            read.is_ok() && whole
        })
    }

    fn conversation(&mut self, store: &Store, oid: Oid) -> Result<Option<&mut Conversation>, Error> {
        let stream = oid.with_index(0);
        if !self.conversations.contains_key(&stream) {
            let opened = match conversation(store, oid) {
                Ok(opened) => opened,
                Err(Error::Store(StoreError::NoBucket(_) | StoreError::NoSuchStream(_) | StoreError::Gone { .. })) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if self.order.len() >= HELD
                && let Some(oldest) = self.order.pop_front()
            {
                self.conversations.remove(&oldest);
            }
            self.order.push_back(stream);
            self.conversations.insert(stream, opened);
        }
        Ok(self.conversations.get_mut(&stream))
    }

    /// What of a message a part is, where it lies in one; `None` where it is one, or is to be looked for as anything else is.
    fn inside(&mut self, store: &Store, part: &JoinPart) -> Result<Option<Part>, Error> {
        let index = Index::read(part.oid.index);
        let Some(number) = u32::try_from(index.inside).ok().filter(|number| (1..=PARTS).contains(number)) else {
            return Ok(None);
        };
        let of = (part.oid.with_index(0), part.direction, index.message);
        if self.inside.as_ref().is_none_or(|inside| inside.of != of) {
            let Some(conversation) = self.conversation(store, part.oid)? else { return Ok(None) };
            let Ok(message) = conversation.names(part.direction).find(part.oid, index.message).cloned() else {
                return Ok(None);
            };
            let parts = conversation.parts(&message, &BodyLimits::default())?;
            let parts = parts.into_iter().map(|part| (part.number, part)).collect();
            self.inside = Some(Inside { of, parts });
        }
        Ok(self.inside.as_ref().and_then(|inside| inside.parts.get(&number).cloned()))
    }

    /// Hands out a range of a content as a part has it; holes where it has not.
    fn read(
        &mut self,
        store: &Store,
        part: &JoinPart,
        range: Range<u64>,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut at = range.start;
        let mut flow = ControlFlow::Continue(());
        let mut put = |piece: Piece<'_>| {
            at = at.saturating_add(piece.len());
            flow = out(match piece {
                Piece::Hole(gap) => Piece::Hole(Gap { offset: StreamOffset(at - gap.length), ..gap }),
                bytes @ Piece::Bytes(_) => bytes,
            });
            flow
        };
        let inside = range.start.saturating_sub(part.first)..range.end.saturating_sub(part.first);
        let of_message = self.inside(store, part)?;
        if let Some(conversation) = self.conversation(store, part.oid)?
            && let Ok(named) = match of_message {
                Some(found) => conversation.named_inside(part.direction, part.oid, found),
                None => conversation.named(part.direction, part.oid),
            }
        {
            // Whoever takes the pieces decodes them, too.
            let by = conversation.watch();
            watched(by.as_ref(), joined(part.direction, part.oid.index), || {
                let message = named.message();
                if !named.is_inside() && message.framing != Framing::Chunked && message.transfer_codings.is_empty() {
                    conversation.content(message, inside, &mut |_, piece| put(piece))
                } else {
                    let mut skip = inside.start;
                    let mut left = inside.end - inside.start;
                    let taken = conversation.body_of(&named, Decode::Raw, &BodyLimits::default(), &mut |piece| {
                        let Some(cut) = cut(piece, &mut skip, &mut left) else { return ControlFlow::Continue(()) };
                        put(cut)?;
                        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    });
                    taken.map(drop)
                }
            })?;
        }
        if flow.is_continue() && at < range.end {
            flow = out(hole(at..range.end));
        }
        Ok(flow)
    }
}

/// What of a piece lies behind what is to be skipped, and no more of it than is left.
fn cut<'p>(piece: Piece<'p>, skip: &mut u64, left: &mut u64) -> Option<Piece<'p>> {
    let skipped = piece.len().min(*skip);
    *skip -= skipped;
    let length = (piece.len() - skipped).min(*left);
    *left -= length;
    if length == 0 {
        return None;
    }
    Some(match piece {
        Piece::Bytes(bytes) => {
            let from = usize::try_from(skipped).ok()?;
            Piece::Bytes(bytes.get(from..from + usize::try_from(length).ok()?)?)
        }
        Piece::Hole(gap) => Piece::Hole(Gap { length, ..gap }),
    })
}

/// A hole that is in no part.
const fn hole(range: Range<u64>) -> Piece<'static> {
    Piece::Hole(Gap { offset: StreamOffset(range.start), length: range.end - range.start, kind: GapKind::Missing })
}
