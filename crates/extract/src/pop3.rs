//! Mail that is fetched: POP3 (RFC 1939, RFC 2449), pipelined or not.
//!
//! The answers to RETR and TOP are mails: parts of kind file, what lies in each behind it, all in the server's direction. Answers are
//! told apart by the commands, in their order. After a hole it is no longer known what an answer answers; but a dot alone surely ends
//! one, as it is doubled within (RFC 1939 §3), so mails that lie wholly behind it are whole again: what follows `+OK` and begins with a
//! header field is one.

mod lines;
mod said;

use std::sync::Arc;

use memchr::memchr;
use streamdb_sniff::push_printable;
use streamdb_types::{Direction, Gap, GapKind, Marks, StreamOffset};

use self::lines::{LINE_BYTES, Line, Lines};
use self::said::{Asked, Command, NAME_BYTES, Status};
use crate::handover;
use crate::inside::{Found, is_open};
use crate::limits::Limits;
use crate::mail::{EndOfData, Mail, Seen};
use crate::message::Incomplete;
use crate::part::Part;
use crate::source::Source;
use crate::window::{Stop, Window};

/// Most parts of one stream.
const PARTS: usize = 10_000;
/// How much of each stream is looked at first.
const HEAD_BYTES: usize = 512;
/// How many commands have to be there where the greeting is not.
const ALONE: usize = 3;

/// What is found in a session of POP3.
pub(crate) fn find(streams: [&dyn Source; 2], limits: &Limits) -> Option<Found> {
    if streams.iter().any(|stream| stream.is_datagrams()) {
        return None;
    }
    let client = Direction::BOTH.into_iter().find(|client| is_pop3(streams, *client))?;
    let session = Session::new(streams, client, limits).run();
    let mut found = Found::default();
    let mut sentence = "POP3 session".to_owned();
    if let Some(user) = &session.user {
        sentence.push_str(", user ");
        push_printable(&mut sentence, user, NAME_BYTES);
    }
    match session.mails {
        0 => {}
        1 => sentence.push_str(", 1 mail fetched"),
        many => sentence.push_str(&format!(", {many} mails fetched")),
    }
    for direction in Direction::BOTH {
        if direction.of(&streams).end() > StreamOffset(0) {
            *direction.of_mut(&mut found.sentences) = Some(sentence.clone());
        }
    }
    *client.flip().of_mut(&mut found.parts) = session.parts;
    if let Some(from) = session.secret {
        handover::then(&mut found, streams, from);
    }
    Some(found)
}

/// Whether these are the streams of a client, in this direction, and its server.
fn is_pop3(streams: [&dyn Source; 2], client: Direction) -> bool {
    let (asked, answers) = (Head::read(*client.of(&streams)), Head::read(*client.flip().of(&streams)));
    let answered = match answers.lines().next() {
        // Of those who come in the middle, both may say what could be a command.
        Some(line) if answers.late => Command::new(line) == Command::Other,
        Some(line) => Status::new(line) == Some(Status::Ok),
        None => answers.late,
    };
    if answers.bytes.is_empty() || !answered {
        return false;
    }
    let known = asked.lines().map(|line| Command::new(line) != Command::Other);
    match known.take(ALONE).take_while(|known| *known).count() {
        // Without the greeting, several commands are needed.
        commands if answers.late => commands == ALONE,
        0 => asked.late || asked.bytes.is_empty() && asked.all,
        _ => true,
    }
}

/// The first bytes of a stream.
struct Head {
    bytes: Vec<u8>,
    /// Whether bytes before them are missing.
    late: bool,
    /// Whether there will be no more of them.
    all: bool,
}

impl Head {
    fn read(source: &dyn Source) -> Self {
        let gap = source.next_gap(StreamOffset(0)).filter(|gap| gap.offset == StreamOffset(0));
        let mut window = Window::new(source, HEAD_BYTES);
        let view = window.look(gap.map_or(StreamOffset(0), |gap| gap.end()), HEAD_BYTES);
        let bytes = view.bytes.get(..HEAD_BYTES).unwrap_or(view.bytes).to_vec();
        let all = bytes.len() == HEAD_BYTES || !is_open(source);
        Self { bytes, late: gap.is_some() || source.marks().contains(Marks::MIDSTREAM), all }
    }

    /// The lines in it that are whole.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let end = self.bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = self.bytes.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
        lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).skip(self.late.into())
    }
}

/// A session, gone over from its beginning.
struct Session<'s> {
    source: &'s dyn Source,
    other: &'s dyn Source,
    /// Of the server's stream.
    direction: Direction,
    lines: Lines<'s>,
    commands: Lines<'s>,
    /// Whether it is known which command the next answer answers.
    paired: bool,
    host: Option<Arc<[u8]>>,
    most: usize,
    user: Option<Vec<u8>>,
    mails: usize,
    /// Whether a dot alone stands right before the next answer, or all before it is known.
    behind_dot: bool,
    /// Where TLS begins in both directions.
    secret: Option<[StreamOffset; 2]>,
    parts: Vec<Part>,
}

/// What came of something; whether it goes on.
enum Next {
    GoesOn,
    /// Nothing more is found, now or at all.
    Over,
    /// Bytes are missing.
    Lost(Gap),
}

impl<'s> Session<'s> {
    fn new(streams: [&'s dyn Source; 2], client: Direction, limits: &Limits) -> Self {
        let (asked, source) = (*client.of(&streams), *client.flip().of(&streams));
        Self {
            source,
            other: asked,
            direction: client.flip(),
            lines: Lines::new(source),
            commands: Lines::new(asked),
            paired: !asked.marks().contains(Marks::MIDSTREAM),
            host: None,
            most: PARTS.min(limits.messages.max(1) as usize),
            user: None,
            mails: 0,
            behind_dot: true,
            secret: None,
            parts: Vec::new(),
        }
    }

    fn run(mut self) -> Self {
        let mut next = match self.source.marks().contains(Marks::MIDSTREAM) {
            true => self.search(StreamOffset(0)),
            false => match self.lines.next() {
                Line::Whole { bytes, .. } if Status::new(&bytes) == Some(Status::Ok) => {
                    self.host = named(&bytes).map(Arc::from);
                    Next::GoesOn
                }
                Line::Whole { .. } => self.search(StreamOffset(0)),
                Line::Hole(gap) => Next::Lost(gap),
                Line::End => Next::Over,
            },
        };
        loop {
            next = match next {
                Next::GoesOn => self.answer(),
                Next::Lost(gap) => {
                    self.lines.at = gap.end();
                    self.search(gap.end())
                }
                Next::Over => return self,
            };
        }
    }

    /// Goes on behind the next dot alone. What lies before it is the end of a mail, or at least of an answer.
    fn search(&mut self, from: StreamOffset) -> Next {
        self.paired = false;
        let Some(mut mail) = self.begin(None, from) else { return Next::Over };
        let mut data = EndOfData::new(false, b"");
        data.lose();
        self.behind_dot = true;
        let next = self.until_dot(&mut mail, data, true);
        // Without its end it may as well be answers of one line each.
        if matches!(next, Next::GoesOn) && from < self.lines.before {
            self.add(mail, Some(Incomplete::Gap(GapKind::Missing)), None);
        }
        next
    }

    /// Goes over the next answer.
    fn answer(&mut self) -> Next {
        let (status, lf) = match self.lines.next() {
            Line::Whole { bytes, lf, .. } => match Status::new(&bytes) {
                Some(status) => (status, lf),
                // It is no answer.
                None => return self.search(self.lines.at),
            },
            Line::Hole(gap) => return Next::Lost(gap),
            Line::End => return Next::Over,
        };
        if status == Status::GoesOn {
            // What the client says next is no command (RFC 5034 §4).
            return self.command().err().unwrap_or(Next::GoesOn);
        }
        let command = match self.command() {
            Ok(command) => command,
            Err(next) => return next,
        };
        match command {
            _ if status == Status::Error => Next::GoesOn,
            Some(Asked::User(name)) => {
                self.user = Some(name);
                Next::GoesOn
            }
            Some(Asked::Mail(method, number)) => self.mail(Some(method), lf, Some(&number)),
            Some(Asked::Lines) => self.pass(lf),
            Some(Asked::Tls) => {
                let mut from = [self.commands.at; 2];
                *self.direction.of_mut(&mut from) = self.lines.at;
                self.secret = Some(from);
                Next::Over
            }
            Some(Asked::Line) => Next::GoesOn,
            None => match self.follows() {
                Follows::Answer => {
                    self.behind_dot = false;
                    Next::GoesOn
                }
                Follows::Mail => self.mail(None, lf, None),
                Follows::Lines => self.pass(lf),
                Follows::Unknown => Next::Over,
            },
        }
    }

    /// What the next command asks for; `None` where that is not known.
    fn command(&mut self) -> Result<Option<Asked>, Next> {
        if !self.paired {
            return Ok(None);
        }
        match self.commands.next() {
            Line::Whole { bytes, .. } => Ok(Command::new(&bytes).asks()),
            // What follows is decided when the command is there, so that nothing found before changes.
            Line::End if self.other.ended().is_none() => Err(Next::Over),
            Line::End | Line::Hole(_) => {
                self.paired = false;
                Ok(None)
            }
        }
    }

    /// What follows an answer's first line, by the look of it.
    fn follows(&mut self) -> Follows {
        let at = self.lines.at;
        let view = self.lines.window.look(at, LINE_BYTES);
        if view.bytes.is_empty() {
            return if view.stop == Some(Stop::End) { Follows::Unknown } else { Follows::Answer };
        }
        // TLS.
        if view.bytes.starts_with(&[0x16, 3]) {
            return Follows::Unknown;
        }
        let end = memchr(b'\n', view.bytes);
        let line = view.bytes.get(..end.unwrap_or(view.bytes.len())).unwrap_or_default();
        let name = line.iter().position(|byte| *byte == b':').and_then(|colon| line.get(..colon)).unwrap_or_default();
        match Status::new(line.strip_suffix(b"\r").unwrap_or(line)) {
            Some(_) => Follows::Answer,
            // The grammar of a field's name (RFC 5322 §3.6.8).
            None if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) => Follows::Mail,
            None if end.is_none() && view.stop == Some(Stop::End) => Follows::Unknown,
            None => Follows::Lines,
        }
    }

    /// The mail that follows.
    fn mail(&mut self, method: Option<&'static [u8]>, lf: bool, number: Option<&[u8]>) -> Next {
        let Some(mut mail) = self.begin(method, self.lines.at) else { return Next::Over };
        let behind_dot = std::mem::replace(&mut self.behind_dot, true);
        let next = self.until_dot(&mut mail, EndOfData::new(lf, b""), true);
        let why = match next {
            Next::GoesOn if method == Some(b"TOP") => Some(Incomplete::Partial),
            // What only looks like a mail may be in one whose first line looks like an answer, unless a dot alone came before.
            Next::GoesOn if method.is_none() && !behind_dot => Some(Incomplete::Unsure),
            Next::GoesOn => None,
            Next::Over | Next::Lost(_) => Some(Incomplete::at_end(self.source, self.other, self.direction)),
        };
        self.mails += 1;
        self.add(mail, why, number);
        next
    }

    /// Goes over lines up to the dot alone.
    fn pass(&mut self, lf: bool) -> Next {
        self.behind_dot = true;
        let mut nothing = Mail::new("pop3", None, true, self.lines.at, 0);
        self.until_dot(&mut nothing, EndOfData::new(lf, b""), false)
    }

    /// Goes on behind the dot alone; gives a mail the bytes before it, if they are meant for it. Holes in a mail belong to it.
    fn until_dot(&mut self, mail: &mut Mail, mut data: EndOfData, meant: bool) -> Next {
        let next = loop {
            let at = self.lines.at;
            let view = self.lines.window.look(at, EndOfData::LOOK_BYTES);
            if view.bytes.is_empty() {
                let Some(Stop::Hole(gap)) = view.stop else { break Next::Over };
                let gap = Gap { offset: at, length: gap.end().since(at), ..gap };
                if meant {
                    mail.hole(gap);
                }
                data.lose();
                // The end of this answer may be in it, and others.
                self.paired = false;
                self.lines.at = gap.end();
                continue;
            }
            let more = view.bytes.len() >= EndOfData::LOOK_BYTES;
            let (length, next, ended) = match data.find(view.bytes, more) {
                Seen::End(end, next) => (end, next, true),
                Seen::Command(end) | Seen::More(end) => (end, end, false),
            };
            if meant {
                mail.bytes(at, view.bytes.get(..length).unwrap_or(view.bytes));
            }
            self.lines.before = at.add(length as u64);
            self.lines.at = at.add(next as u64);
            if ended {
                break Next::GoesOn;
            }
        };
        if data.has_odd_dots() {
            mail.incomplete.get_or_insert(Incomplete::Malformed);
        }
        next
    }

    /// A mail that begins here, if there are bytes and room for one; without room, the rest of the stream is the last one.
    fn begin(&mut self, method: Option<&'static [u8]>, at: StreamOffset) -> Option<Mail> {
        if at >= self.source.end() {
            return None;
        }
        let left = self.most.saturating_sub(self.parts.len());
        if left > 1 {
            return Some(Mail::new("pop3", method, true, at, left - 1));
        }
        if left == 1 {
            let mut mail = Mail::new("pop3", method, true, at, 0);
            mail.rest(self.source, at);
            self.add(mail, Some(Incomplete::Limit), None);
        } else if let Some(last) = self.parts.last_mut() {
            last.incomplete.get_or_insert(Incomplete::Limit);
        }
        None
    }

    fn add(&mut self, mail: Mail, end: Option<Incomplete>, number: Option<&[u8]>) {
        let ordinal = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let target = self.target(number);
        self.parts.extend(mail.finish(ordinal, target, self.host.as_ref(), end, false));
    }

    /// `pop://USER@HOST/NUMBER`, with what is known of it (RFC 2384 has the first two).
    fn target(&self, number: Option<&[u8]>) -> Option<Box<[u8]>> {
        let mut target = b"pop://".to_vec();
        let mut escape = |bytes: &[u8]| {
            for byte in bytes {
                match byte {
                    b'-' | b'.' | b'_' | b'~' => target.push(*byte),
                    byte if byte.is_ascii_alphanumeric() => target.push(*byte),
                    byte => target.extend(format!("%{byte:02X}").bytes()),
                }
            }
        };
        escape(self.user.as_deref().unwrap_or_default());
        target.push(b'@');
        target.extend_from_slice(self.host.as_deref().unwrap_or_default());
        target.push(b'/');
        target.extend_from_slice(number.unwrap_or_default());
        (self.user.is_some() || self.host.is_some() || number.is_some()).then(|| target.into())
    }
}

/// What an answer is followed by.
enum Follows {
    Answer,
    Mail,
    Lines,
    Unknown,
}

/// The host in the greeting's timestamp, `<process.clock@host>` (RFC 1939 §7).
fn named(greeting: &[u8]) -> Option<&[u8]> {
    let inner = greeting.split(|byte| *byte == b'<').nth(1)?.split(|byte| *byte == b'>').next()?;
    let host = inner.rsplit(|byte| *byte == b'@').next().filter(|host| host.len() < inner.len())?;
    let sound = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!host.is_empty() && host.len() <= 255 && host.iter().all(sound)).then_some(host)
}

#[cfg(test)]
mod tests;
