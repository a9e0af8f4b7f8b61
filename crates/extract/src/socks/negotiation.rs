//! How a client asks a SOCKS server for a connection, and how that answers: SOCKS4 and 4A, SOCKS5 (RFC 1928, RFC 1929).

use std::net::{Ipv4Addr, Ipv6Addr};

use streamdb_types::{Direction, StreamOffset};

use crate::source::Source;
use crate::window::Window;

/// Longest user or host name of SOCKS4, which has no length of its own.
const NAME_BYTES: usize = 512;
/// The method of SOCKS5 that asks for user and password.
const PASSWORD: u8 = 2;
/// That none of the methods will do.
const NO_METHOD: u8 = 0xff;

/// What was asked for and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Negotiation {
    /// `SOCKS4`, `SOCKS4A` or `SOCKS5`.
    pub version: &'static str,
    pub user: Option<Vec<u8>>,
    /// Host and port, and what is wanted of them; `None` when it did not come so far.
    pub request: Option<Request>,
    pub answer: Answer,
    /// Where what follows it begins, by [`Direction::index`].
    pub rests: [StreamOffset; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub command: Command,
    /// `host:port`.
    pub to: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Connect,
    Bind,
    /// A relay for datagrams, of which nothing is said here.
    Associate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What was asked for was done: what follows is between the client and that host.
    Accepted,
    Refused,
    /// Not there, or not whole.
    Unknown,
}

/// Reads a stream in turn.
struct Reader<'s> {
    window: Window<'s>,
    at: StreamOffset,
}

impl<'s> Reader<'s> {
    fn new(source: &'s dyn Source, at: StreamOffset) -> Self {
        Self { window: Window::new(source, 64), at }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let bytes = self.window.look(self.at, count).bytes.get(..count)?.to_vec();
        self.at = self.at.add(count as u64);
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Bytes up to a zero, which is passed over.
    fn text(&mut self) -> Option<Vec<u8>> {
        let view = self.window.look(self.at, NAME_BYTES);
        let length = view.bytes.iter().take(NAME_BYTES).position(|b| *b == 0)?;
        let text = self.take(length)?;
        self.at = self.at.add(1);
        Some(text)
    }

    /// Bytes after their length.
    fn counted(&mut self) -> Option<Vec<u8>> {
        let [length] = self.array()?;
        self.take(usize::from(length))
    }

    fn peek(&mut self) -> Option<u8> {
        self.window.look(self.at, 1).bytes.first().copied()
    }
}

impl Negotiation {
    /// What the streams hold from these places on; `client` is the direction in which the client sends. `None` when that is no
    /// SOCKS.
    pub(super) fn read(streams: [&dyn Source; 2], client: Direction, from: [StreamOffset; 2]) -> Option<Self> {
        let reader = |direction: Direction| Reader::new(*direction.of(&streams), *direction.of(&from));
        let (mut asks, mut answers) = (reader(client), reader(client.flip()));
        let mut found = match asks.peek()? {
            4 => socks4(&mut asks, &mut answers)?,
            5 => socks5(&mut asks, &mut answers)?,
            _ => return None,
        };
        let server = client.flip();
        // Where the answer ends is not known when it is not there: then nothing is, of that direction.
        let end = (*server.of(&streams)).end();
        *client.of_mut(&mut found.rests) = asks.at;
        *server.of_mut(&mut found.rests) = if found.answer == Answer::Accepted { answers.at } else { end };
        Some(found)
    }
}

fn socks4(asks: &mut Reader<'_>, answers: &mut Reader<'_>) -> Option<Negotiation> {
    let [4, command @ (1 | 2), port @ .., a, b, c, d] = asks.array::<8>()? else { return None };
    let command = if command == 1 { Command::Connect } else { Command::Bind };
    let user = asks.text()?;
    // An address that cannot be stands for a name behind it.
    let named = (a, b, c) == (0, 0, 0) && d != 0;
    let host = if named { name(&asks.text()?) } else { Ipv4Addr::new(a, b, c, d).to_string() };
    let port = <[u8; 2]>::try_from(port.as_slice()).map(u16::from_be_bytes).ok()?;
    // So few bytes look like SOCKS4 that the answer has to do so, too.
    let mut answer = || match answers.array::<8>() {
        Some([0, 0x5a, ..]) => Some(Answer::Accepted),
        Some([0, 0x5b..=0x5d, ..]) => Some(Answer::Refused),
        _ => None,
    };
    let mut answered = answer()?;
    if command == Command::Bind && answered == Answer::Accepted {
        answered = answer().unwrap_or(Answer::Unknown);
    }
    Some(Negotiation {
        version: if named { "SOCKS4A" } else { "SOCKS4" },
        user: Some(user).filter(|user| !user.is_empty()),
        request: Some(Request { command, to: format!("{host}:{port}") }),
        answer: answered,
        rests: Default::default(),
    })
}

fn socks5(asks: &mut Reader<'_>, answers: &mut Reader<'_>) -> Option<Negotiation> {
    let [5] = asks.array()? else { return None };
    let methods = asks.counted().filter(|methods| !methods.is_empty())?;
    let mut found = Negotiation {
        version: "SOCKS5",
        user: None,
        request: None,
        answer: Answer::Unknown,
        rests: Default::default(),
    };
    let chosen = match answers.array() {
        Some([5, method]) if methods.contains(&method) => Some(method),
        Some([5, NO_METHOD]) => {
            found.answer = Answer::Refused;
            return Some(found);
        }
        Some(_) => return None,
        None => None,
    };
    // Where the answer is not there, what the client does next tells.
    let password = chosen.map_or_else(|| asks.peek() == Some(1), |method| method == PASSWORD);
    if password {
        let Some([1]) = asks.array() else { return chosen.map(|_| found) };
        found.user = asks.counted();
        let password = asks.counted();
        if let Some([1, status]) = answers.array()
            && status != 0
        {
            found.answer = Answer::Refused;
            return Some(found);
        }
        if password.is_none() {
            return chosen.map(|_| found);
        }
    } else if !matches!(chosen, Some(0) | None) {
        // A method that may change all that follows.
        return Some(found);
    }
    match request(asks) {
        Some(request) => found.request = Some(request),
        None => return chosen.map(|_| found),
    }
    let bind = found.request.as_ref().is_some_and(|request| request.command == Command::Bind);
    found.answer = reply(answers);
    if bind && found.answer == Answer::Accepted {
        found.answer = reply(answers);
    }
    Some(found)
}

/// RFC 1928 §4.
fn request(asks: &mut Reader<'_>) -> Option<Request> {
    let command = match asks.array()? {
        [5, 1, 0] => Command::Connect,
        [5, 2, 0] => Command::Bind,
        [5, 3, 0] => Command::Associate,
        _ => return None,
    };
    Some(Request { command, to: address(asks)? })
}

/// RFC 1928 §6.
fn reply(answers: &mut Reader<'_>) -> Answer {
    match answers.array() {
        Some([5, 0, _]) if address(answers).is_some() => Answer::Accepted,
        Some([5, 1..=255, _]) => Answer::Refused,
        _ => Answer::Unknown,
    }
}

/// An address and a port (RFC 1928 §5).
fn address(reader: &mut Reader<'_>) -> Option<String> {
    let host = match reader.array()? {
        [1] => Ipv4Addr::from(reader.array::<4>()?).to_string(),
        [3] => name(&reader.counted()?),
        [4] => format!("[{}]", Ipv6Addr::from(reader.array::<16>()?)),
        _ => return None,
    };
    Some(format!("{host}:{}", u16::from_be_bytes(reader.array()?)))
}

/// A name as text.
fn name(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
