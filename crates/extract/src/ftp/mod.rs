//! FTP (RFC 959, RFC 2428, RFC 3659): what a control connection says of the data connections, where the files are.
//!
//! - `line`, `reply`, `command`: both directions taken apart
//! - `session`: commands and replies side by side, pipelined or not, and what was agreed
//! - `transfer`: what comes out; `address`, `path`: where and what
//! - here: whether it is FTP, the sentences, and what follows AUTH TLS

mod address;
mod command;
mod line;
mod path;
mod reply;
mod session;
#[cfg(test)]
mod tests;
mod transfer;

use streamdb_sniff::push_printable;
use streamdb_types::{Direction, StreamOffset};

use self::command::Command;
use self::line::Line;
use self::session::Session;
pub use self::transfer::{Address, Representation, Transfer, TransferCommand};
use crate::handover;
use crate::inside::{Found, is_open};
use crate::limits::Limits;
use crate::message::Side;
use crate::source::Source;
use crate::window::Window;

/// How many commands are looked at before it is said what they are.
const FIRST: usize = 8;
/// How many commands have to be there where nothing answers them.
const ALONE: usize = 3;
/// How much of a stream is looked at for that.
const HEAD: usize = 2 << 10;
/// How much of a banner is shown, in bytes.
const SHOWN: usize = 80;
/// How much of a user's name is shown, in bytes.
const NAME: usize = 32;

/// What both streams of a connection say, when they are commands and replies of FTP.
pub(crate) fn find(streams: [&dyn Source; 2], limits: &Limits) -> Option<Found> {
    if streams.iter().any(|stream| stream.is_datagrams()) {
        return None;
    }
    let commands = Direction::BOTH.into_iter().find(|commands| is_ftp(streams, *commands))?;
    let session = Session::read(streams, commands, limits);
    let mut found = Found::default();
    for (side, direction) in [(Side::Client, commands), (Side::Server, commands.flip())] {
        if direction.of(&streams).end() > StreamOffset(0) {
            *direction.of_mut(&mut found.sentences) = Some(sentence(&session, side));
        }
    }
    // What is found keeps its names, so it is waited for what tells.
    if let Some(from) = session.secret.filter(|_| !session.open) {
        handover::then(&mut found, streams, from);
    }
    found.transfers = session.found;
    Some(found)
}

/// Whether commands go in this direction, and their replies in the other.
fn is_ftp(streams: [&dyn Source; 2], commands: Direction) -> bool {
    let (asked, answers) = (Head::read(*commands.of(&streams)), Head::read(*commands.flip().of(&streams)));
    let answered = match answers.lines().next() {
        Some(line) if reply::code(line).is_some() => true,
        Some(_) => return false,
        // What is found keeps its names, so it is waited for what tells.
        None if is_open(*commands.flip().of(&streams)) => return false,
        None => false,
    };
    let command = |text: &[u8]| Command::of(Line { text: text.to_vec(), ..Line::default() });
    let asked: Vec<Command> = asked.lines().take(FIRST).map(command).collect();
    if answered {
        asked.first().is_some_and(Command::is_known) && asked.iter().any(Command::tells_where_answered)
    } else {
        // A line of a text may begin with such a word; several of them do not.
        asked.len() >= ALONE && asked.iter().all(Command::is_known) && asked.iter().any(Command::tells)
    }
}

/// The first bytes of a stream.
struct Head {
    bytes: Vec<u8>,
    /// Whether bytes before them are missing.
    late: bool,
}

impl Head {
    fn read(source: &dyn Source) -> Self {
        let gap = source.next_gap(StreamOffset(0)).filter(|gap| gap.offset == StreamOffset(0));
        let mut window = Window::new(source, HEAD);
        let view = window.look(gap.map_or(StreamOffset(0), |gap| gap.end()), HEAD);
        let bytes = view.bytes.get(..HEAD).unwrap_or(view.bytes).to_vec();
        Self { bytes, late: gap.is_some() }
    }

    /// The lines in it that are whole.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let end = self.bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = self.bytes.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.skip(self.late.into()).filter(|line| !line.is_empty())
    }
}

/// The sentence for one side.
fn sentence(session: &Session, side: Side) -> String {
    let mut said = "FTP session".to_owned();
    if let Some(banner) = session.banner.as_deref().filter(|banner| side == Side::Server && !banner.is_empty()) {
        said.push_str(", ");
        push_printable(&mut said, banner, SHOWN);
    }
    if let Some(user) = &session.user {
        said.push_str(", user ");
        push_printable(&mut said, user, NAME);
    }
    let files = |sender| {
        let moved = |transfer: &&Transfer| transfer.sender == sender && !transfer.command.is_listing();
        session.found.iter().filter(moved).filter(|transfer| transfer.is_confirmed()).count()
    };
    for (sender, word) in [(Side::Server, "fetched"), (Side::Client, "stored")] {
        match files(sender) {
            0 => {}
            1 => said.push_str(&format!(", 1 file {word}")),
            many => said.push_str(&format!(", {many} files {word}")),
        }
    }
    said
}
