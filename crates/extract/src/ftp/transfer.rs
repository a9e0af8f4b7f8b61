//! What a control connection says of a data connection.

use std::net::SocketAddr;
use std::sync::Arc;

use streamdb_types::{Direction, StreamOffset};

use crate::message::{Incomplete, Side};

/// A transfer for which a data connection was announced. Its bytes are all that the sender sends on that connection, in stream
/// mode (RFC 959 §3.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What was asked for.
    pub command: TransferCommand,
    /// What stands behind the command, as sent.
    pub argument: Box<[u8]>,
    /// The file or folder: joined with the current folder as far as that is known, without `.` and `..`. Without `/` in front it
    /// is relative to the folder that the login led to, or, where commands are missing, to one that is not known. `None` when the argument is too long, or the server chose a name
    /// without telling it.
    pub path: Option<Box<[u8]>>,
    /// Who was logged in.
    pub user: Option<Arc<[u8]>>,
    /// Who sends the data. The client is the side that sends the commands.
    pub sender: Side,
    /// Which way the commands go: to the server, unless the connection was picked up in the middle, the wrong way round.
    pub commands: Direction,
    /// Who waits for the data connection (the server: passive; the client: active); the other side connects to it.
    pub listener: Side,
    /// Where the listener waits.
    pub address: Address,
    /// The place in the file from which on it is sent (RFC 3659 §5).
    pub offset: u64,
    /// How bytes are shown; listings are text, whatever was agreed for files.
    pub representation: Representation,
    /// The letter of the transmission mode, in upper case: `S` for stream, the default (RFC 959 §3.4), `Z` for deflate.
    pub mode: u8,
    /// The letter of the file structure, in upper case: `F` for file, the default (RFC 959 §3.1.2).
    pub structure: u8,
    /// The length that the server told when it began, as people are told: of the whole file, with some servers of what is sent
    /// of it, and before any conversion.
    pub told_length: Option<u64>,
    /// Where its command begins, in the stream of commands.
    pub asked_at: StreamOffset,
    /// Where the server says that it begins (150, 125), in the stream of replies.
    pub begun_at: Option<StreamOffset>,
    /// Where the server says how it ended, in the stream of replies.
    pub ended_at: Option<StreamOffset>,
    /// How it ended: the server's final reply. 226 and 250: all was transferred.
    pub status: Option<u16>,
    /// Whether part of the conversation is missing, so that reply and command may not belong together.
    pub guessed: bool,
    /// Whether no reply is missing from the one that announced the data connection to the final one: then that is about this
    /// data connection, whatever else was guessed.
    pub followed: bool,
}

impl Transfer {
    /// Whether the server confirmed that all was transferred (RFC 959 §5.4).
    pub const fn is_confirmed(&self) -> bool {
        matches!(self.status, Some(226 | 250))
    }

    /// Why the file may not be whole, though its data connection is, which carried so many bytes; `None` when it is. A data
    /// connection ends in the same way at the end of the file and where it is broken off (RFC 959 §3.4): the server says which.
    pub fn incomplete(&self, sent: u64) -> Option<Incomplete> {
        // What it is long was told before it was sent, and may be said in other bytes than those on the wire.
        let as_it_is = matches!(self.representation, Representation::Image | Representation::Local)
            && self.mode == b'S'
            && self.structure == b'F'
            && self.offset == 0
            && !self.command.is_listing();
        match self.status {
            Some(400..) => Some(Incomplete::ClosedEarly),
            _ if self.is_confirmed() && self.followed => None,
            _ if as_it_is && self.told_length == Some(sent) => None,
            _ => Some(Incomplete::Unsure),
        }
    }
}

/// The commands that use a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferCommand {
    /// A file to the client.
    Retr,
    /// A file to the server.
    Stor,
    /// A file to the server, under a name that it chooses.
    Stou,
    /// The end of a file to the server.
    Appe,
    /// A listing for people.
    List,
    /// Names.
    Nlst,
    /// A listing for programs.
    Mlsd,
}

impl TransferCommand {
    /// As it is sent.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Retr => "RETR",
            Self::Stor => "STOR",
            Self::Stou => "STOU",
            Self::Appe => "APPE",
            Self::List => "LIST",
            Self::Nlst => "NLST",
            Self::Mlsd => "MLSD",
        }
    }

    /// The command of this name, which is in upper case.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        [Self::Retr, Self::Stor, Self::Stou, Self::Appe, Self::List, Self::Nlst, Self::Mlsd]
            .into_iter()
            .find(|command| command.word().as_bytes() == name)
    }

    /// Whether it lists a folder instead of moving a file.
    pub const fn is_listing(self) -> bool {
        matches!(self, Self::List | Self::Nlst | Self::Mlsd)
    }

    /// Who sends the data.
    pub const fn sender(self) -> Side {
        match self {
            Self::Stor | Self::Stou | Self::Appe => Side::Client,
            Self::Retr | Self::List | Self::Nlst | Self::Mlsd => Side::Server,
        }
    }
}

/// Where a data connection is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// At this address, as it was told (PORT, EPRT, 227). Behind address translation it may be another one on the wire.
    Told(SocketAddr),
    /// At this port of the server of the control connection (229).
    OfServer(u16),
}

/// How bytes are shown (RFC 959 §3.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Representation {
    /// Text whose lines end in CR LF on the wire; the default.
    #[default]
    Ascii,
    /// Text in EBCDIC.
    Ebcdic,
    /// The bytes as they are.
    Image,
    /// Bytes of another size; with 8 bits, the bytes as they are.
    Local,
}
