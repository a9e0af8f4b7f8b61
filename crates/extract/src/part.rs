//! What lies inside a message: mails in a session, files in a form, certificates in a handshake, what is under a key.
//!
//! A part is bytes of its message's content, with what has to be undone to them. Where a connection speaks a protocol of which each
//! stream is one message of kind stream, all that is found in it are parts of that message, so that what was named before keeps
//! its name.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use streamdb_types::{Gap, StreamOffset};

use crate::body::Piece;
use crate::message::Incomplete;
use crate::xor::Xor;

/// Something inside a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its ordinal among the parts of its message by position, from 1: the k of the INDEX m + 2^32 × k. Part of the format.
    pub number: u32,
    /// The protocol it was found in, in lower case; empty for that of its message.
    pub protocol: &'static str,
    /// What it is to its connection.
    pub kind: PartKind,
    /// The request's method, or the command that it was sent by; a response has that of its request.
    pub method: Option<Box<[u8]>>,
    /// The request target, or a URL that says what the protocol says of it; a response has that of its request.
    pub target: Option<Box<[u8]>>,
    /// Whom it was for.
    pub host: Option<Arc<[u8]>>,
    /// The status code.
    pub status: Option<u16>,
    /// The media type that its sender declared, as sent.
    pub declared_type: Option<Box<[u8]>>,
    /// The name that its sender gave it, charsets and escapes undone; it may hold anything.
    pub filename: Option<String>,
    /// Where in the message's content it begins: at its head, where it has one.
    pub begins: u64,
    /// Its bytes: ranges of the message's content, in order and apart from each other.
    pub content: Vec<Range<u64>>,
    /// What is undone to them first.
    pub undo: Undo,
    /// Codings in the order in which they were applied, in lower case.
    pub content_codings: Vec<String>,
    /// What its coded bytes refer to that lies before them.
    pub context: Context,
    /// Why it is not whole, whatever is missing of its message's content there; `None` when it is.
    pub incomplete: Option<Incomplete>,
    /// Bytes that are known to be missing of it, as sent.
    pub missing: u64,
    /// What it is a range of, where its head says that it is one, or what would tell.
    pub entity: Option<Box<Entity>>,
}

/// The fields of a head that tell which bytes of which representation follow it (RFC 9110 §8, §14.4), as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// The scheme of a request's target; a response has that of its request.
    pub scheme: Option<Box<[u8]>>,
    /// Content-Range.
    pub content_range: Option<Box<[u8]>>,
    /// The declared length.
    pub length: Option<u64>,
    /// ETag.
    pub etag: Option<Box<[u8]>>,
    /// Last-Modified.
    pub last_modified: Option<Box<[u8]>>,
    /// Date.
    pub date: Option<Box<[u8]>>,
}

impl Entity {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of memory that it takes.
    pub(crate) fn kept(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        let Self { scheme, content_range, length: _, etag, last_modified, date } = self;
        let texts = [scheme, content_range, etag, last_modified, date].into_iter().flatten();
        size_of::<Self>() + texts.map(|text| text.len()).sum::<usize>()
    }
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A request.
    Request,
    /// A response.
    Response,
    /// One part of a body that has several.
    Part,
    /// A file.
    File,
}

/// What is undone to a part's bytes before any coding: it keeps holes in their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Undo {
    /// Nothing.
    #[default]
    Nothing,
    /// A dot more at the beginning of each line that begins with one (RFC 5321 §4.5.2).
    Dots,
    /// A repeating key of 1 to 32 bytes over all of it.
    Key(Box<[u8]>),
    /// A key of four bytes for each of the ranges, which it begins anew with (RFC 6455 §5.3).
    Masks(Vec<[u8; 4]>),
}

/// Hands out a message's content in order, each piece with where it begins: all of it, or at least the ranges of the part that is
/// asked for.
pub type Outer<'o> = &'o mut dyn FnMut(&mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>);
/// What coded bytes refer to outside of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Context {
    /// Nothing.
    #[default]
    Nothing,
    /// What was decoded before (RFC 7692 §7.1.1): the bytes of a range of all that is kept of it.
    Window(Arc<[u8]>, Range<usize>),
    /// Something that is not there, so that they cannot be decoded.
    Lost,
}

impl Context {
    /// The bytes that can be referred to.
    pub(crate) fn window(&self) -> &[u8] {
        match self {
            Self::Window(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
            Self::Nothing | Self::Lost => &[],
        }
    }
}

/// Without the bytes.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Window(_, range) => write!(f, "Window({range:?})"),
            Self::Lost => f.write_str("Lost"),
        }
    }
}

/// Gives pieces that come in order from the beginning on with where they begin.
pub fn counted<'t>(
    take: &'t mut dyn FnMut(u64, Piece<'_>) -> ControlFlow<()>,
) -> impl FnMut(Piece<'_>) -> ControlFlow<()> + 't {
    let mut at = 0u64;
    move |piece| {
        let from = at;
        at = at.saturating_add(piece.len());
        take(from, piece)
    }
}

impl Part {
    /// A part with nothing known of it but where it is.
    pub fn new(number: u32, protocol: &'static str, kind: PartKind, content: Vec<Range<u64>>) -> Self {
        Self {
            number,
            protocol,
            kind,
            method: None,
            target: None,
            host: None,
            status: None,
            declared_type: None,
            filename: None,
            begins: content.first().map_or(0, |range| range.start),
            content,
            undo: Undo::Nothing,
            content_codings: Vec::new(),
            context: Context::Nothing,
            incomplete: None,
            missing: 0,
            entity: None,
        }
    }

    /// Bytes of it as sent.
    pub fn len(&self) -> u64 {
        self.content.iter().map(|range| range.end.saturating_sub(range.start)).fold(0, u64::saturating_add)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a message of HTTP, in whichever version.
    pub(crate) const fn is_http(&self) -> bool {
        matches!(self.kind, PartKind::Request | PartKind::Response)
    }

    /// What lies under a key in a message's content.
    pub fn under(key: &[u8], content: Range<u64>) -> Self {
        Self { undo: Undo::Key(key.into()), ..Self::new(1, "", PartKind::File, Vec::from([content])) }
    }

    /// Where it lies in its message's content without anything between or to be undone, if it does.
    pub fn plain(&self) -> Option<Range<u64>> {
        match &self.content[..] {
            _ if self.undo != Undo::Nothing || !self.content_codings.is_empty() => None,
            [] => Some(self.begins..self.begins),
            [range] => Some(range.clone()),
            _ => None,
        }
    }
}

/// Takes a part out of the pieces of its message's content, and undoes what keeps holes in their places.
pub(crate) struct Picked<'p> {
    ranges: &'p [Range<u64>],
    /// Which of them comes next, or is being gone through.
    next: usize,
    undoing: Undoing<'p>,
}

enum Undoing<'p> {
    Nothing,
    Dots(Dots),
    Key(Option<Xor>),
    Masks { masks: &'p [[u8; 4]], of: usize, xor: Option<Xor> },
}

/// What came of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There is more of the part.
    More,
    /// That was all of it.
    All,
    /// The receiver wants no more.
    Stopped,
}

impl<'p> Picked<'p> {
    pub(crate) fn new(part: &'p Part) -> Self {
        let undoing = match &part.undo {
            Undo::Nothing => Undoing::Nothing,
            Undo::Dots => Undoing::Dots(Dots { state: AtLine::Begin, kept: Vec::new() }),
            Undo::Key(key) => Undoing::Key(Xor::new(key)),
            Undo::Masks(masks) => Undoing::Masks { masks, of: usize::MAX, xor: None },
        };
        Self { ranges: &part.content, next: 0, undoing }
    }

    /// Takes the next piece of the content, which begins at `at`.
    pub(crate) fn take(
        &mut self,
        at: u64,
        piece: Piece<'_>,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Taken {
        let end = at.saturating_add(piece.len());
        while let Some(range) = self.ranges.get(self.next) {
            let from = range.start.max(at);
            let to = range.end.min(end);
            if from < to
                && let Some(cut) = cut(piece, from - at..to - at)
                && self.undoing.undo(cut, self.next, out).is_break()
            {
                return Taken::Stopped;
            }
            if range.end > end {
                break;
            }
            self.next += 1;
        }
        if self.next < self.ranges.len() { Taken::More } else { Taken::All }
    }
}

/// A stretch of a piece.
fn cut(piece: Piece<'_>, range: Range<u64>) -> Option<Piece<'_>> {
    match piece {
        Piece::Bytes(bytes) => {
            let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
            bytes.get(start..end).map(Piece::Bytes)
        }
        Piece::Hole(gap) => {
            let offset = StreamOffset(gap.offset.0.saturating_add(range.start));
            Some(Piece::Hole(Gap { offset, length: range.end - range.start, ..gap }))
        }
    }
}

impl Undoing<'_> {
    fn undo(
        &mut self,
        piece: Piece<'_>,
        range: usize,
        out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Nothing | Self::Key(None) => out(piece),
            Self::Key(Some(xor)) => out(xor.undo(piece)),
            Self::Masks { masks, of, xor } => {
                if *of != range {
                    (*of, *xor) = (range, masks.get(range).and_then(|mask| Xor::new(mask)));
                }
                match xor {
                    Some(xor) => out(xor.undo(piece)),
                    None => out(piece),
                }
            }
            Self::Dots(dots) => dots.undo(piece, out),
        }
    }
}

/// Takes the first dot off each line.
struct Dots {
    state: AtLine,
    kept: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AtLine {
    Begin,
    Within,
    AfterReturn,
}

impl Dots {
    fn undo(&mut self, piece: Piece<'_>, out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let Piece::Bytes(bytes) = piece else {
            self.state = AtLine::Within;
            return out(piece);
        };
        self.kept.clear();
        for byte in bytes {
            let begins = self.state == AtLine::Begin;
            self.state = match byte {
                b'\r' => AtLine::AfterReturn,
                b'\n' if self.state == AtLine::AfterReturn => AtLine::Begin,
                _ => AtLine::Within,
            };
            if !(begins && *byte == b'.') {
                self.kept.push(*byte);
            }
        }
        if self.kept.is_empty() { ControlFlow::Continue(()) } else { out(Piece::Bytes(&self.kept)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use streamdb_types::GapKind;

    use super::*;

    /// What comes out, holes as question marks.
    fn picked(part: &Part, pieces: &[Piece<'_>]) -> (Vec<u8>, Taken) {
        let mut picked = Picked::new(part);
        let mut all = Vec::new();
        let (mut taken, mut at) = (Taken::More, 0);
        for piece in pieces {
            taken = picked.take(at, *piece, &mut |piece| {
                match piece {
                    Piece::Bytes(bytes) => all.extend_from_slice(bytes),
                    Piece::Hole(gap) => all.extend(std::iter::repeat_n(b'?', gap.length as usize)),
                }
                ControlFlow::Continue(())
            });
            at += piece.len();
        }
        (all, taken)
    }

    proptest! {
        #[test]
        fn ranges_are_taken_out_however_the_pieces_come(
            content in prop::collection::vec(any::<u8>(), 1..200),
            cuts in prop::collection::vec(1usize..20, 1..40),
            marks in prop::collection::btree_set(0u64..200, 0..10),
            keys in prop::collection::vec(any::<[u8; 4]>(), 5),
            hole in 0usize..60,
            masked: bool,
        ) {
            let marks: Vec<u64> = marks.into_iter().map(|mark| mark.min(content.len() as u64)).collect();
            let ranges: Vec<Range<u64>> = marks.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let mut part = Part::new(1, "", PartKind::File, ranges.clone());
            if masked {
                part.undo = Undo::Masks(keys.clone());
            }
            let (mut pieces, mut at, mut plain) = (Vec::new(), 0, content.clone());
            for (n, cut) in cuts.iter().cycle().enumerate() {
                if at == content.len() {
                    break;
                }
                let end = (at + cut).min(content.len());
                pieces.push(if n == hole {
                    plain[at..end].fill(b'?');
                    Piece::Hole(Gap { offset: StreamOffset(at as u64), length: (end - at) as u64, kind: GapKind::Missing })
                } else {
                    Piece::Bytes(&content[at..end])
                });
                at = end;
            }
            let holes = plain.iter().zip(&content).map(|(a, b)| a != b && *a == b'?').collect::<Vec<_>>();
            let is_hole = |at: usize| pieces_hole(&pieces, at);
            let wanted: Vec<u8> = ranges.iter().enumerate().flat_map(|(n, range)| {
                let keys = &keys;
                let plain = &plain;
                let is_hole = &is_hole;
                range.clone().enumerate().map(move |(i, at)| {
                    let byte = plain[at as usize];
                    if masked && !is_hole(at as usize) { byte ^ keys[n][i % 4] } else { byte }
                }).collect::<Vec<u8>>()
            }).collect();
            prop_assert_eq!(holes.len(), content.len());
            let (found, taken) = picked(&part, &pieces);
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(taken, Taken::All);
        }
    }

    fn pieces_hole(pieces: &[Piece<'_>], at: usize) -> bool {
        let mut from = 0;
        for piece in pieces {
            let (length, hole) = match piece {
                Piece::Bytes(bytes) => (bytes.len(), false),
                Piece::Hole(gap) => (gap.length as usize, true),
            };
            if at < from + length {
                return hole;
            }
            from += length;
        }
        false
    }

    #[test]
    fn a_dot_is_taken_off_each_line_that_begins_with_one() {
        let sent = b"..a\r\n.b.\r\n\n.c\r\n..\r\n";
        for cut in 0..sent.len() {
            let all = 0..sent.len() as u64;
            let mut part = Part::new(1, "smtp", PartKind::File, vec![all]);
            part.undo = Undo::Dots;
            let (found, _) = picked(&part, &[Piece::Bytes(&sent[..cut]), Piece::Bytes(&sent[cut..])]);
            assert_eq!(found, b".a\r\nb.\r\n\n.c\r\n.\r\n", "{cut}");
        }
    }
}
