//! The two sides of a control connection side by side: each command with its replies, and what follows from them.

use std::collections::VecDeque;
use std::sync::Arc;

use streamdb_types::{Direction, StreamOffset};

use super::address;
use super::command::Command;
use super::line::Lines;
use super::path::{PATH, enter, join, listed, quoted};
use super::reply::{self, Reply};
use super::transfer::{Address, Representation, Transfer, TransferCommand};
use crate::limits::Limits;
use crate::message::Side;
use crate::source::Source;

/// How many commands behind the next one are looked at for the one that a reply answers.
const AHEAD: usize = 16;
/// How a record of TLS begins that has a handshake in it (RFC 8446 §5.1).
const HANDSHAKE: &[u8] = &[22, 3];

/// What was said on a control connection.
#[derive(Default)]
pub(super) struct Session {
    pub(super) banner: Option<Vec<u8>>,
    pub(super) user: Option<Arc<[u8]>>,
    pub(super) found: Vec<Transfer>,
    /// Where what follows is TLS: by direction, as the client's AUTH was accepted.
    pub(super) secret: Option<[StreamOffset; 2]>,
    /// The folder, as [`join`] has it.
    folder: Vec<u8>,
    announced: Option<(Side, Address)>,
    offset: u64,
    representation: Representation,
    mode: Option<u8>,
    structure: Option<u8>,
    /// The transfer that goes on.
    begun: Option<usize>,
    /// Bytes kept for what was found.
    kept: usize,
    /// Whether part of the conversation is missing.
    guessed: bool,
    /// Whether the server says when a transfer begins, before it says how it ended.
    begins: bool,
    /// The commands in whose transfers the server names the file.
    names: Vec<TransferCommand>,
    /// Whether the next final reply is about a transfer whose command is missing.
    missed: bool,
    /// Whether no reply is missing since a data connection was announced.
    followed: bool,
    /// Whether a command that is not there yet may be what a reply answers.
    pub(super) open: bool,
}

impl Session {
    /// Reads both sides; commands go in this direction.
    pub(super) fn read(streams: [&dyn Source; 2], commands: Direction, limits: &Limits) -> Self {
        let mut session = Self::default();
        let (client, server) = (*commands.of(&streams), *commands.flip().of(&streams));
        let open = client.ended().is_none();
        let mut asked = Asked { lines: Lines::new(client), next: VecDeque::new(), ended: false, open, more: false };
        let mut answers = Lines::new(server);
        let mut first = true;
        let mut holes = 0;
        while session.secret.is_none() && session.is_within(limits) {
            let Some(reply) = reply::next(&mut answers) else { break };
            session.guessed |= answers.lossy || asked.lines.lossy;
            session.followed &= holes == answers.holes;
            holes = answers.holes;
            if std::mem::take(&mut first) && session.greeting(&reply) {
                // More may come before it is ready.
                first = reply.code < 200;
                continue;
            }
            session.answer(&reply, &mut asked, commands);
        }
        // What was not answered may have been all the same: the server's side may be missing.
        session.guessed = true;
        session.followed = false;
        while session.secret.is_none() && session.is_within(limits) && asked.look(0) {
            session.follow(&mut asked);
            let Some(command) = asked.next.pop_front() else { break };
            session.unanswered(&command, commands);
        }
        session
    }

    fn is_within(&self, limits: &Limits) -> bool {
        self.found.len() < limits.messages as usize && self.kept < limits.kept
    }

    /// Whether the first reply is what a server says of itself; without it, the beginning is missing.
    fn greeting(&mut self, reply: &Reply) -> bool {
        let greets = matches!(reply.code, 120 | 220 | 421);
        if reply.code == 220 {
            self.banner = Some(reply.first.trim_ascii().to_vec());
        }
        self.guessed |= !greets;
        greets
    }

    /// Finds what a reply answers, and draws the consequences.
    fn answer(&mut self, reply: &Reply, asked: &mut Asked<'_>, commands: Direction) {
        if !asked.look(0) {
            self.open |= asked.more;
            return;
        }
        let Some(at) = self.place(reply, asked) else { return };
        if at == Place::Status {
            asked.next.remove(1);
            return;
        }
        let Place::Nth(at) = at else { return };
        for _ in 0..at {
            // Their answers are missing. They were hardly all refused.
            self.guessed = true;
            self.followed = false;
            self.begun = None;
            self.follow(asked);
            if let Some(command) = asked.next.pop_front().filter(|command| command.transfers().is_none()) {
                self.assume(&command);
            }
        }
        self.follow(asked);
        if reply.code < 200 {
            if let Some(command) = asked.next.front()
                && let Some(kind) = command.transfers()
            {
                self.begin(command, kind, reply, commands);
            }
            return;
        }
        let Some(command) = asked.next.pop_front() else { return };
        match command.transfers() {
            Some(kind) => self.end(&command, kind, reply, commands),
            None => self.settle(&command, reply, commands),
        }
    }

    /// What is missing before the next command may have led to another folder.
    fn follow(&mut self, asked: &mut Asked<'_>) {
        if let Some(command) = asked.next.front_mut()
            && std::mem::take(&mut command.late)
        {
            self.folder.clear();
        }
    }

    /// Which of the commands that wait this reply answers.
    fn place(&mut self, reply: &Reply, asked: &mut Asked<'_>) -> Option<Place> {
        let code = reply.code;
        // Without a word before it, the end is only taken for one where a server never says one.
        let begun = self.begun.is_some() || !self.begins && matches!(code, 226 | 250);
        // How a transfer gets on may be asked for while it does (RFC 959 §4.1.3).
        if self.begun.is_some() && matches!(code, 211..=213) && asked.look(1) {
            let status = asked.next.get(1).is_some_and(|command| command.name == b"STAT");
            if status {
                return Some(Place::Status);
            }
        }
        if code >= 200 && std::mem::take(&mut self.missed) {
            return None;
        }
        // Many servers name the file. Codes alone repeat with each file, and would stay out of step once a whole round was lost.
        asked.look(AHEAD);
        self.guessed |= asked.lines.lossy;
        let is_named = |command: &Command| command.is_named_in(&reply.first);
        let begins = matches!(code, 125 | 150);
        if begins && let Some(at) = asked.find(0, is_named) {
            return Some(Place::Nth(at));
        }
        self.open |= begins && asked.more;
        let fits = asked.next.front().is_some_and(|command| command.fits(code, begun));
        let place = if fits { Some(0) } else { asked.find(1, |command| command.own(code)) };
        self.open |= !fits && asked.more;
        // A file that would be named, and is not: its command is missing, or that of the address.
        let awaited = |at: usize| {
            let kind = asked.next.get(at).and_then(Command::nameable);
            self.guessed && kind.is_some_and(|kind| self.names.contains(&kind))
        };
        if begins && place.is_some_and(awaited) {
            self.missed = true;
            self.followed = false;
            return None;
        }
        if matches!(code, 227 | 229) && awaited(0) {
            self.announce(reply);
            return None;
        }
        place.map(Place::Nth)
    }

    /// A transfer, as what was agreed has it; `None` when no data connection was announced for it.
    fn transfer(&mut self, command: &Command, kind: TransferCommand, commands: Direction) -> Option<&mut Transfer> {
        let offset = std::mem::take(&mut self.offset);
        let (listener, address) = self.announced?;
        if listener == Side::Server {
            // It waits for one connection.
            self.announced = None;
        }
        let named = if kind.is_listing() { listed(&command.argument) } else { &command.argument };
        let unnamed = kind == TransferCommand::Stou && named.is_empty();
        let path = (!command.cut && !unnamed).then(|| join(&self.folder, named).into_boxed_slice());
        self.kept = self.kept.saturating_add(size_of::<Transfer>());
        self.kept = self.kept.saturating_add(command.argument.len() + path.as_ref().map_or(0, |path| path.len()));
        self.found.push(Transfer {
            command: kind,
            argument: command.argument.as_slice().into(),
            path,
            user: self.user.clone(),
            sender: kind.sender(),
            commands,
            listener,
            address,
            offset,
            representation: self.representation,
            mode: self.mode.unwrap_or(b'S'),
            structure: self.structure.unwrap_or(b'F'),
            told_length: None,
            asked_at: command.start,
            begun_at: None,
            ended_at: None,
            status: None,
            guessed: self.guessed,
            followed: false,
        });
        self.found.last_mut()
    }

    fn begin(&mut self, command: &Command, kind: TransferCommand, reply: &Reply, commands: Direction) {
        if self.begun.is_some() {
            return;
        }
        self.begins = true;
        if command.is_named_in(&reply.first) && !self.names.contains(&kind) {
            self.names.push(kind);
        }
        let folder = self.folder.clone();
        let Some(transfer) = self.transfer(command, kind, commands) else { return };
        transfer.begun_at = Some(reply.start);
        transfer.told_length = told_length(&reply.first);
        if kind == TransferCommand::Stou {
            told_name(&folder, reply, transfer);
        }
        self.begun = self.found.len().checked_sub(1);
    }

    fn end(&mut self, command: &Command, kind: TransferCommand, reply: &Reply, commands: Direction) {
        let (guessed, followed, folder) = (self.guessed, self.followed, self.folder.clone());
        let announced = self.announced;
        let transfer = match self.begun.take() {
            Some(begun) => self.found.get_mut(begun),
            None => self.transfer(command, kind, commands),
        };
        let Some(transfer) = transfer else { return };
        transfer.status = Some(reply.code);
        transfer.ended_at = Some(reply.start);
        transfer.guessed |= guessed;
        transfer.followed = followed;
        if kind == TransferCommand::Stou {
            told_name(&folder, reply, transfer);
        }
        // Refused before anybody connected: it waits on.
        if transfer.begun_at.is_none() && reply.code >= 400 {
            self.announced = announced;
        }
    }

    /// What the final reply to a command changes.
    fn settle(&mut self, command: &Command, reply: &Reply, commands: Direction) {
        let done = (200..300).contains(&reply.code);
        match &command.name[..] {
            b"USER" if reply.code < 400 => self.set_user(command),
            b"AUTH" if reply.code == 234 => {
                let mut from = [command.end; 2];
                *commands.flip().of_mut(&mut from) = reply.end;
                self.secret = Some(from);
            }
            b"PASV" | b"EPSV" => self.announce(reply),
            b"PORT" | b"EPRT" if done => {
                self.assume(command);
                self.followed = !reply.broken;
            }
            b"PWD" | b"XPWD" if reply.code == 257 => {
                self.folder = quoted(&reply.first).map_or_else(Vec::new, |told| join(b"", &told));
            }
            b"REST" if reply.code == 350 => self.assume(command),
            b"CWD" | b"XCWD" if done => match quoted(&reply.first).filter(|told| told.starts_with(b"/")) {
                // Some servers say where that leads.
                Some(told) => self.folder = join(b"", &told),
                None => self.assume(command),
            },
            b"REIN" if done => {
                let fresh = Self::default();
                self.user = None;
                (self.folder, self.announced, self.offset) = (fresh.folder, fresh.announced, fresh.offset);
                (self.representation, self.mode, self.structure) = (fresh.representation, fresh.mode, fresh.structure);
            }
            _ if done => self.assume(command),
            _ => {}
        }
    }

    /// Takes the address out of a reply to PASV or EPSV.
    fn announce(&mut self, reply: &Reply) {
        let told = match reply.code {
            227 => address::passive(&reply.first).or_else(|| address::passive(&reply.last)),
            229 => address::extended_passive(&reply.first).or_else(|| address::extended_passive(&reply.last)),
            _ => None,
        };
        self.announced = told.map(|address| (Side::Server, address)).or(self.announced);
        self.followed = told.is_some() && !reply.broken;
    }

    /// What a command that was accepted changes.
    fn assume(&mut self, command: &Command) {
        let argument = command.argument.trim_ascii();
        let letter = argument.first().map(u8::to_ascii_uppercase);
        match &command.name[..] {
            b"PORT" => self.announced = address::port(argument).map(|address| (Side::Client, address)),
            b"EPRT" => self.announced = address::extended_port(argument).map(|address| (Side::Client, address)),
            b"REST" => self.offset = address::number(argument).unwrap_or_default(),
            b"TYPE" => {
                self.representation = match letter {
                    Some(b'A') => Representation::Ascii,
                    Some(b'E') => Representation::Ebcdic,
                    Some(b'I') => Representation::Image,
                    Some(b'L') => Representation::Local,
                    _ => self.representation,
                };
            }
            b"MODE" => self.mode = letter.or(self.mode),
            b"STRU" => self.structure = letter.or(self.structure),
            b"CWD" | b"XCWD" => self.enter(if command.cut { b"" } else { &command.argument }),
            b"CDUP" | b"XCUP" => self.enter(b".."),
            _ => {}
        }
    }

    fn enter(&mut self, folder: &[u8]) {
        enter(&mut self.folder, folder);
        if self.folder.len() > PATH {
            self.folder.clear();
        }
    }

    fn set_user(&mut self, command: &Command) {
        let name = command.argument.trim_ascii();
        self.user = (!name.is_empty()).then(|| name.into());
    }

    fn unanswered(&mut self, command: &Command, commands: Direction) {
        match command.transfers() {
            Some(_) if self.begun.take().is_some() => {}
            Some(kind) => _ = self.transfer(command, kind, commands),
            None if command.name == b"USER" => self.set_user(command),
            None => self.assume(command),
        }
    }
}

/// Which of the commands that wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The one behind so many others.
    Nth(usize),
    /// STAT, behind a transfer that goes on.
    Status,
}

/// Commands that have not been answered.
struct Asked<'s> {
    lines: Lines<'s>,
    next: VecDeque<Command>,
    ended: bool,
    /// Whether the stream is still open,
    open: bool,
    /// and all that is there of it was read.
    more: bool,
}

impl Asked<'_> {
    /// Whether there is one behind so many others.
    fn look(&mut self, at: usize) -> bool {
        while self.next.len() <= at && !self.ended {
            match self.lines.next() {
                Some(line) if line.text.is_empty() => {}
                Some(line) => {
                    let command = Command::of(line);
                    // What follows is no line any more, whatever it looks like, and no reply is one to it.
                    self.ended = command.name == b"AUTH" && self.lines.goes_on_with(HANDSHAKE);
                    self.next.push_back(command);
                }
                None => (self.ended, self.more) = (true, self.open),
            }
        }
        self.next.len() > at
    }

    /// The first one behind `from` others that is such a one.
    fn find(&mut self, from: usize, is_such: impl Fn(&Command) -> bool) -> Option<usize> {
        (from..AHEAD).find(|at| self.look(*at) && self.next.get(*at).is_some_and(&is_such))
    }
}

/// `Opening BINARY mode data connection for a.bin (1234 bytes).`
fn told_length(text: &[u8]) -> Option<u64> {
    let open = text.iter().rposition(|byte| *byte == b'(')?;
    let rest = text.get(open + 1..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at_checked(digits)?;
    after.starts_with(b" byte").then(|| address::number(digits)).flatten()
}

/// The name that the server chose: `FILE: name` (RFC 1123 §4.1.2.9).
fn told_name(folder: &[u8], reply: &Reply, transfer: &mut Transfer) {
    if let Some(name) = reply.first.strip_prefix(b"FILE: ") {
        transfer.path = Some(join(folder, name.trim_ascii_end()).into());
    }
}
