//! What lies inside messages of kind stream: which protocol both streams of a connection, or of a tunnel through one, speak, and
//! what is found in them.

#[cfg(test)]
mod tests;

use streamdb_sniff::SENTENCE_BYTES;
use streamdb_types::{Direction, Gap, Marks, Reason, StreamOffset};

use crate::ftp;
use crate::ftp::Transfer;
use crate::handover;
use crate::http1;
use crate::http2;
use crate::limits::Limits;
use crate::message::{Kind, Message, MessageIndex, Messages};
use crate::notes::Notes;
use crate::part::Part;
use crate::pop3;
use crate::smtp;
use crate::socks;
use crate::source::{Read, Source};
use crate::tls;
use crate::websocket;

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

/// Asked in this order; the first answer counts. Those that are told by the first bytes, whatever else is said, come first.
const TOLD: [Finder; 2] = [http2::find, tls::find];
const FINDERS: [Finder; 4] = [smtp::find, ftp::find, pop3::find, handover::find];

/// A finder for what follows an accepted CONNECT or Upgrade, which looks at what opened it, too.
type Behind = fn([&dyn Source; 2], &Opener<'_>, &Limits) -> Option<Found>;

/// Asked before [`TOLD`], of a tunnel whose opening was seen.
const BEHIND: [Behind; 2] = [http2::upgraded, websocket::find];

/// What opened a tunnel.
pub(crate) struct Opener<'m> {
    pub request: Option<&'m Message>,
    /// The answer that accepted it.
    pub response: &'m Message,
}

impl<'m> Opener<'m> {
    /// What opened the tunnel at the end of a connection.
    fn of(messages: &'m Messages) -> Option<Self> {
        // The last answer: nothing but the tunnel's bytes comes after it.
        let answers = Direction::BOTH.map(|direction| {
            messages.of(direction).iter().rev().take(2).find(|message| matches!(message.kind, Kind::Response { .. }))
        });
        let response = answers.into_iter().flatten().next()?;
        let request =
            response.peer.and_then(|peer| messages.of(response.direction.flip()).get(usize::try_from(peer.0).ok()?));
        Some(Self { request, response })
    }

    /// Whether it is an upgrade to this protocol (RFC 9110 §7.8).
    pub(crate) fn upgrades_to(&self, protocol: &[u8]) -> bool {
        let names = self.response.fields.get("upgrade").unwrap_or_default().split(|b| *b == b',');
        let named = |name: &[u8]| name.trim_ascii().eq_ignore_ascii_case(protocol);
        matches!(self.response.kind, Kind::Response { status: 101, .. }) && names.into_iter().any(named)
    }
}

/// What is found in the messages of kind stream of a connection, and which messages these are, by [`Direction::index`]: those that
/// the whole streams are, or what goes through a tunnel at their end.
pub fn inside(
    messages: &Messages,
    streams: [&dyn Source; 2],
    limits: &Limits,
) -> Option<([Option<MessageIndex>; 2], Found)> {
    look(messages, streams, limits, Some(socks::find))
}

/// The same of what goes through a SOCKS server: no more of these are asked, which have been found all.
pub(crate) fn inside_tunnel(
    messages: &Messages,
    streams: [&dyn Source; 2],
    limits: &Limits,
) -> Option<([Option<MessageIndex>; 2], Found)> {
    look(messages, streams, limits, None)
}

fn look(
    messages: &Messages,
    streams: [&dyn Source; 2],
    limits: &Limits,
    last_asked: Option<Finder>,
) -> Option<([Option<MessageIndex>; 2], Found)> {
    let last = Direction::BOTH.map(|direction| messages.of(direction).last().filter(|message| is_open_to(message)));
    if last.iter().all(Option::is_none) {
        return None;
    }
    // Of a direction in which there is no such message, nothing is left.
    let from = Direction::BOTH.map(|direction| {
        direction.of(&last).map_or_else(|| direction.of(&streams).end(), |message| message.span.start)
    });
    let tunnel = last.iter().flatten().any(|message| message.notes.contains(Notes::TUNNEL));
    let begins = if tunnel { is_opened_here(messages, streams, from) } else { socks::is_accepted(streams) };
    // Where it is in doubt what opened a tunnel, more requests or answers may show that it is another, or none.
    if tunnel && !begins && streams.into_iter().any(is_open) {
        return None;
    }
    let rests = Direction::BOTH.map(|direction| {
        let (source, from) = (*direction.of(&streams), *direction.of(&from));
        Rest { source, from, begins }
    });
    let [to_server, to_client] = &rests;
    let rests: [&dyn Source; 2] = [to_server, to_client];
    let opener = Opener::of(messages).filter(|_| tunnel);
    let behind = opener.and_then(|opener| BEHIND.iter().find_map(|find| find(rests, &opener, limits)));
    // What was found keeps its names, so it is waited for what tells.
    let mut found = behind.or_else(|| {
        if http2::may_begin(rests) {
            return None;
        }
        let told = TOLD.iter().find_map(|find| find(rests, limits));
        let others = || FINDERS.iter().chain(&last_asked).find_map(|find| find(rests, limits));
        let waits = || tls::may_begin(rests) || may_tell_more(rests) || !tunnel && http1::may_show(streams, limits);
        told.or_else(|| if waits() { None } else { others() })
    })?;
    for sentence in found.sentences.iter_mut().flatten() {
        // Those who speak choose the names in it.
        sentence.truncate(sentence.floor_char_boundary(SENTENCE_BYTES));
    }
    Some((last.map(|message| message.map(|message| message.index)), found))
}

/// Within how many bytes of each stream it is told what those speak whose beginning was not captured.
pub(crate) const TELL_BYTES: usize = 64 << 10;

/// Whether more bytes may tell better what is spoken. A beginning tells it; in the middle, a word of one protocol may come after some
/// of another.
fn may_tell_more(streams: [&dyn Source; 2]) -> bool {
    let hole = |stream: &dyn Source| stream.next_gap(StreamOffset(0)).filter(|gap| gap.offset == StreamOffset(0));
    let late = |stream: &dyn Source| stream.marks().contains(Marks::MIDSTREAM) || hole(stream).is_some();
    let more = |stream: &dyn Source| {
        let there = stream.end().since(hole(stream).map_or(StreamOffset(0), |gap| gap.end()));
        is_open(stream) && there < TELL_BYTES as u64
    };
    streams.into_iter().any(late) && streams.into_iter().any(more)
}

/// Whether more bytes may come. A direction of which no frame was seen will hardly begin.
pub(crate) fn is_open(stream: &dyn Source) -> bool {
    stream.ended().is_none() && stream.marks() != Marks::default()
}

/// Whether all that was captured before a tunnel, which begins at these places, is requests and their answers, with nothing missing in
/// between. Then it is known where the tunnel begins, also in a connection that was picked up in the middle, and more bytes do not
/// change it: where answers are left over, other answers may belong to the requests when more come.
fn is_opened_here(messages: &Messages, streams: [&dyn Source; 2], from: [StreamOffset; 2]) -> bool {
    Direction::BOTH.into_iter().all(|direction| {
        let from = *direction.of(&from);
        let mut before = messages.of(direction).iter().filter(|message| message.span.start < from);
        let whole = direction.of(&streams).next_gap(StreamOffset(0)).is_none_or(|gap| gap.offset >= from);
        let is_sure = |message: &Message| message.peer.is_some() && message.incomplete.is_none();
        whole && before.all(|message| is_sure(message) && !message.notes.contains(Notes::TUNNEL))
    })
}

/// Whether something may be inside.
fn is_open_to(message: &Message) -> bool {
    let is_all = message.index == MessageIndex(0);
    message.kind == Kind::Stream && (is_all || message.notes.contains(Notes::TUNNEL))
}

/// A stream from a place on.
pub(crate) struct Rest<'s> {
    pub source: &'s dyn Source,
    pub from: StreamOffset,
    /// Whether it is known that what is spoken begins there, whatever was not captured before.
    pub begins: bool,
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
        let marks = self.source.marks();
        if self.begins && marks.contains(Marks::MIDSTREAM) {
            return Marks(marks.0 & !Marks::MIDSTREAM.0).with(Marks::SYN);
        }
        marks
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
