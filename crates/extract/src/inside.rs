//! What lies inside messages of kind stream: which protocol both streams of a connection, or of a tunnel through one, speak, and
//! what is found in them.

use streamdb_types::{Direction, Gap, Marks, Reason, StreamOffset};

use crate::ftp;
use crate::ftp::Transfer;
use crate::limits::Limits;
use crate::message::{Kind, Message, MessageIndex, Messages};
use crate::notes::Notes;
use crate::part::Part;
use crate::source::{Read, Source};
use crate::tls;

/// What is found in both streams of a connection (to the server, to the client).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What the streams are, for people: it takes the place of what their first bytes look like; by [`Direction::index`].
    pub sentences: [Option<String>; 2],
    /// Their parts, by [`Direction::index`], numbered from 1 in each.
    pub parts: [Vec<Part>; 2],
    /// The data connections that a control connection of FTP announces, in the order of its commands.
    pub transfers: Vec<Transfer>,
}

/// A finder looks at both streams, and answers with what is in them, or with nothing when they are not of its protocol.
type Finder = fn([&dyn Source; 2], &Limits) -> Option<Found>;

/// Asked in this order; the first answer counts.
const FINDERS: [Finder; 2] = [tls::find, ftp::find];

/// What is found in the messages of kind stream of a connection, and which messages these are, by [`Direction::index`]: those that
/// the whole streams are, or what goes through a tunnel at their end.
pub fn inside(
    messages: &Messages,
    streams: [&dyn Source; 2],
    limits: &Limits,
) -> Option<([Option<MessageIndex>; 2], Found)> {
    let last = Direction::BOTH.map(|direction| messages.of(direction).last().filter(|message| is_open_to(message)));
    if last.iter().all(Option::is_none) {
        return None;
    }
    let rests = [0, 1].map(|at| {
        let (source, message): (&dyn Source, Option<&Message>) = (*streams.get(at)?, *last.get(at)?);
        // Of a direction in which there is no such message, nothing is left.
        let from = message.map_or_else(|| source.end(), |message| message.span.start);
        Some(Rest { source, from })
    });
    let [Some(to_server), Some(to_client)] = &rests else { return None };
    let found = FINDERS.iter().find_map(|find| find([to_server, to_client], limits))?;
    Some((last.map(|message| message.map(|message| message.index)), found))
}

/// Whether something may be inside.
fn is_open_to(message: &Message) -> bool {
    let is_all = message.index == MessageIndex(0);
    message.kind == Kind::Stream && (is_all || message.notes.contains(Notes::TUNNEL))
}

/// A stream from a place on.
struct Rest<'s> {
    source: &'s dyn Source,
    from: StreamOffset,
}

impl Source for Rest<'_> {
    fn end(&self) -> StreamOffset {
        StreamOffset(self.source.end().since(self.from))
    }

    fn read(&self, at: StreamOffset, buf: &mut [u8]) -> Read {
        match self.source.read(self.from.add(at.0), buf) {
            Read::Hole(gap) => Read::Hole(self.moved(gap)),
            read => read,
        }
    }

    fn next_gap(&self, from: StreamOffset) -> Option<Gap> {
        self.source.next_gap(self.from.add(from.0)).map(|gap| self.moved(gap))
    }

    fn ended(&self) -> Option<Reason> {
        self.source.ended()
    }

    fn marks(&self) -> Marks {
        self.source.marks()
    }

    fn is_datagrams(&self) -> bool {
        self.source.is_datagrams()
    }
}

impl Rest<'_> {
    /// A hole by its offset in the rest, as far as it lies there.
    fn moved(&self, gap: Gap) -> Gap {
        let start = gap.offset.max(self.from);
        Gap { offset: StreamOffset(start.since(self.from)), length: gap.end().since(start), ..gap }
    }
}
