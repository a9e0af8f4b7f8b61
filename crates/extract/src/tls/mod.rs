//! TLS (RFC 8446, RFC 5246): what both sides say of a session before they encrypt it, and the certificates that they show.
//!
//! - `records`: handshake messages out of the records that they are cut into
//! - `hello`, `fields`: what the hellos say; `ja4`: the client's fingerprint; `suites`: names of what was chosen
//! - `certificates`, `der`: the certificates, and what they are called
//! - here: both directions, and the sentences about them

mod certificates;
mod der;
mod fields;
mod hello;
mod ja4;
mod records;
mod suites;
#[cfg(test)]
mod tests;

use streamdb_sniff::{SENTENCE_BYTES, push_printable};
use streamdb_types::{Direction, StreamOffset};

use self::certificates::Certificates;
use self::hello::{ClientHello, ServerHello};
use self::records::{Records, Stop};
use crate::inside::Found;
use crate::limits::Limits;
use crate::part::Part;
use crate::source::Source;
use crate::window::Window;

/// How much of a hello is read: far more than any has, keys that resist quantum computers included.
const HELLO: u32 = 128 << 10;
/// How much of an application protocol's name is shown, in bytes.
const PROTOCOL: usize = 32;
/// How long a list of them may get before it is cut.
const PROTOCOLS: usize = 160;

/// What both streams of a connection say, when they begin with hellos of TLS.
pub(crate) fn find(streams: [&dyn Source; 2], _: &Limits) -> Option<Found> {
    find_from(streams, [StreamOffset(0); 2])
}

/// The same for streams in which TLS begins somewhere (STARTTLS). Parts are numbered from 1.
pub(crate) fn find_from(streams: [&dyn Source; 2], from: [StreamOffset; 2]) -> Option<Found> {
    if streams.iter().any(|stream| stream.is_datagrams()) {
        return None;
    }
    let sides = Direction::BOTH.map(|direction| Said::read(streams, direction, *direction.of(&from)));
    let hello = |side: &Said| side.client.is_some() || side.old.is_some() || side.server.is_some();
    // A client that asks in the old way may be understood or not: only what is answered tells.
    let new = |side: &Said| side.client.is_some() || side.server.is_some();
    if !sides.iter().any(new) {
        return None;
    }
    let sentences = Direction::BOTH.map(|direction| {
        let (side, other) = (direction.of::<Said>(&sides), direction.flip().of::<Said>(&sides));
        (hello(side) || side.alert.is_some()).then(|| sentence(side, other))
    });
    let [client, server] = &sides;
    let name = [client, server].into_iter().find_map(|side| side.client.as_ref()?.name.as_deref());
    let host = name.map(std::sync::Arc::from);
    let parts = sides.map(|side| {
        let mut parts = side.parts;
        parts.iter_mut().for_each(|part| part.host.clone_from(&host));
        parts
    });
    Some(Found { sentences, parts, ..Found::default() })
}

/// Whether a stream begins with a record that has a hello in it (RFC 8446 §4, §5.1).
pub(crate) fn begins(stream: &dyn Source) -> bool {
    fits(stream) == FIRST
}

/// Whether an open stream begins so, as far as it is there, so that nobody knows yet what this is where no hello was found.
pub(crate) fn may_begin(streams: [&dyn Source; 2]) -> bool {
    let open = |stream: &&&dyn Source| stream.ended().is_none() && stream.end() > StreamOffset(0);
    streams.iter().filter(open).any(|stream| fits(*stream) as u64 == stream.end().0.min(FIRST as u64))
}

/// Of how many bytes it is told by the first ones whether a record has a hello in it.
const FIRST: usize = 7;

/// How many of the first bytes are as in such a record: its type, its version, its length, the type of the message, and its length.
fn fits(stream: &dyn Source) -> usize {
    let mut window = Window::new(stream, 16);
    let bytes = window.look(StreamOffset(0), FIRST).bytes;
    let fits = |(at, byte): &(usize, &u8)| match at {
        0 => **byte == 22,
        1 => **byte == 3,
        2 => **byte <= 4,
        3 => **byte <= 0x41,
        4 => true,
        5 => matches!(byte, 1 | 2),
        _ => **byte == 0,
    };
    bytes.iter().take(FIRST).enumerate().take_while(fits).count()
}

/// What one side says in clear.
#[derive(Default)]
struct Said {
    client: Option<ClientHello>,
    /// A client's hello as SSL 2 had it, and the version that it asks for (RFC 5246 §E.2).
    old: Option<u16>,
    server: Option<ServerHello>,
    /// The fatal alert that ends what it says in clear.
    alert: Option<u8>,
    parts: Vec<Part>,
}

impl Said {
    fn read(streams: [&dyn Source; 2], direction: Direction, from: StreamOffset) -> Self {
        let (source, other) = (*direction.of(&streams), *direction.flip().of(&streams));
        let mut said = Self::default();
        let mut from = from;
        if let Some((version, length)) = version_2(source, from) {
            said.old = Some(version);
            from = from.add(length);
        }
        let mut records = Records::new(source, from);
        let mut certificates = Certificates::new(source, other, direction);
        let stop = said.messages(&mut records, &mut certificates);
        said.alert = match stop {
            Err(Stop::Alert(description)) => Some(description),
            _ => None,
        };
        said.parts = certificates.found;
        said
    }

    /// Goes over the messages until something ends them, which is what comes back.
    fn messages(&mut self, records: &mut Records<'_>, certificates: &mut Certificates<'_>) -> Result<(), Stop> {
        let mut head = Vec::with_capacity(4);
        let mut body = Vec::new();
        loop {
            head.clear();
            records.read(4, &mut head)?;
            let Some((&[kind, high, middle, low], _)) = head.split_first_chunk() else { return Ok(()) };
            let length = u32::from_be_bytes([0, high, middle, low]);
            // Whatever else comes first is another protocol that happens to begin alike.
            let begun = self.client.is_some() || self.old.is_some() || self.server.is_some();
            if !begun && (!matches!(kind, 1 | 2) || high != 0) {
                return Ok(());
            }
            let later = self.server.as_ref().is_some_and(|hello| hello.version == 0x0304);
            match kind {
                1 if self.client.is_none() && self.old.is_none() => {
                    let (whole, read) = message(records, length, &mut body);
                    self.client = Some(ClientHello::read(&body, whole));
                    read?;
                }
                2 if self.server.is_none() => {
                    let (_, read) = message(records, length, &mut body);
                    self.server = Some(ServerHello::read(&body));
                    read?;
                }
                11 if !later => certificates.read(records, length)?,
                _ => records.skip(length.into())?,
            }
        }
    }
}

/// Reads the body of a message into `body`, or its beginning, and goes over the rest. Says whether all of it was read, and
/// what ended it.
fn message(records: &mut Records<'_>, length: u32, body: &mut Vec<u8>) -> (bool, Result<(), Stop>) {
    body.clear();
    let read = records.read(usize::try_from(length.min(HELLO)).unwrap_or_default(), body);
    let rest = u64::from(length).saturating_sub(body.len() as u64);
    // What follows a hole in a record is found behind it.
    (rest == 0, if matches!(read, Ok(()) | Err(Stop::Hole(_))) { records.skip(rest) } else { read })
}

/// The version that a hello of SSL 2 asks for, and how long it is.
fn version_2(source: &dyn Source, at: StreamOffset) -> Option<(u16, u64)> {
    let mut window = Window::new(source, 16);
    let head = window.look(at, 11).bytes;
    let Some((&[first @ 0x80..=0xff, length, 1, 3, minor @ 0..=3, c, d, 0, session, 0, challenge], _)) =
        head.split_first_chunk()
    else {
        return None;
    };
    let ciphers = u16::from_be_bytes([c, d]);
    let length = u16::from_be_bytes([first & 0x7f, length]);
    let fields = 9 + u32::from(ciphers) + u32::from(session) + u32::from(challenge);
    let sound = ciphers > 0 && ciphers % 3 == 0 && matches!(session, 0 | 16) && (16..=32).contains(&challenge);
    (sound && fields == u32::from(length)).then(|| (u16::from_be_bytes([3, minor]), u64::from(length) + 2))
}

/// The sentence for one side: the version that both agreed on, or what is known of it, and what this side said.
fn sentence(side: &Said, other: &Said) -> String {
    let chosen = side.server.as_ref().or(other.server.as_ref()).map(|hello| hello.version);
    let offered = side.client.as_ref().map(|hello| hello.version).or(side.old);
    let of_other = other.client.as_ref().map(|hello| hello.version).or(other.old);
    let mut said = version(chosen.or(offered).or(of_other).unwrap_or_default());
    said.push_str(" session");
    let mut rest = String::new();
    if let Some(client) = &side.client {
        list(&mut rest, &client.protocols);
        if chosen.is_some_and(|chosen| chosen != client.version) {
            rest.push_str(", offered ");
            rest.push_str(&version(client.version));
        }
        if let Some(fingerprint) = &client.fingerprint {
            rest.push_str(", JA4 ");
            rest.push_str(fingerprint);
        }
    }
    if side.old.is_some() {
        rest.push_str(", SSL 2.0 hello");
    }
    if let Some(server) = &side.server {
        list(&mut rest, &server.protocols);
        if let Some(cipher) = server.cipher {
            rest.push_str(", cipher ");
            rest.push_str(&suites::name(cipher));
        }
    }
    if let Some(alert) = side.alert {
        rest.push_str(&format!(", alert {alert}"));
    }
    let name = [side, other].into_iter().find_map(|side| side.client.as_ref()?.name.as_deref());
    if let Some(name) = name {
        said.push_str(", SNI ");
        push_printable(&mut said, name, name.len());
        // Captured names are escaped to four times their length at most.
        let room = SENTENCE_BYTES.saturating_sub(rest.len());
        if said.len() > room {
            said.truncate(room.saturating_sub(3));
            said.push_str("...");
        }
    }
    said.push_str(&rest);
    said
}

fn version(number: u16) -> String {
    match number {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", number - 0x0301),
        _ => "TLS".to_owned(),
    }
}

/// `, ALPN h2,http/1.1`
fn list(sentence: &mut String, protocols: &[Vec<u8>]) {
    let before = sentence.len();
    for (n, protocol) in protocols.iter().enumerate() {
        sentence.push_str(if n == 0 { ", ALPN " } else { "," });
        if sentence.len() - before > PROTOCOLS {
            sentence.push_str("...");
            break;
        }
        push_printable(sentence, protocol, PROTOCOL);
    }
}
