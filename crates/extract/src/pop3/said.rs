//! What a client and a server of POP3 say in a line.

/// How much of a user's name is kept and shown.
pub(super) const NAME_BYTES: usize = 64;

/// The first word of an answer (RFC 1939 §3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Error,
    /// The client is to say more (RFC 5034 §4).
    GoesOn,
}

impl Status {
    pub(super) fn new(line: &[u8]) -> Option<Self> {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        match line.get(..end)? {
            b"+OK" => Some(Self::Ok),
            b"-ERR" => Some(Self::Error),
            b"+" => Some(Self::GoesOn),
            _ => None,
        }
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'l> {
    User(&'l [u8]),
    /// RETR or TOP, with the number of the mail.
    Mail(&'static [u8], &'l [u8]),
    /// The answer has several lines.
    Lines,
    /// The answer has one.
    Line,
    /// STLS (RFC 2595 §4).
    Tls,
    Other,
}

/// What a command asks for, apart from its line.
pub(super) enum Asked {
    User(Vec<u8>),
    Mail(&'static [u8], Vec<u8>),
    Lines,
    Line,
    Tls,
}

impl<'l> Command<'l> {
    pub(super) fn new(line: &'l [u8]) -> Self {
        let line = line.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at_checked(end).unwrap_or((line, b""));
        let rest = rest.trim_ascii();
        let number = || rest.split(u8::is_ascii_whitespace).next().filter(|n| n.iter().all(u8::is_ascii_digit));
        match word.to_ascii_uppercase().as_slice() {
            b"USER" => Self::User(rest),
            // The name, and a digest.
            b"APOP" => Self::User(rest.split(u8::is_ascii_whitespace).next().unwrap_or_default()),
            b"RETR" => number().map_or(Self::Other, |number| Self::Mail(b"RETR", number)),
            b"TOP" => number().map_or(Self::Other, |number| Self::Mail(b"TOP", number)),
            b"CAPA" => Self::Lines,
            b"LIST" | b"UIDL" if rest.is_empty() => Self::Lines,
            b"STLS" if rest.is_empty() => Self::Tls,
            b"AUTH" if rest.is_empty() => Self::Other,
            b"PASS" | b"STAT" | b"LIST" | b"UIDL" | b"DELE" | b"NOOP" | b"RSET" | b"QUIT" | b"AUTH" | b"UTF8" => {
                Self::Line
            }
            _ => Self::Other,
        }
    }

    /// What it asks for; `None` where the look of the answer has to tell.
    pub(super) fn asks(&self) -> Option<Asked> {
        match *self {
            Self::User(name) => Some(Asked::User(name.get(..NAME_BYTES).unwrap_or(name).to_vec())),
            Self::Mail(method, number) => Some(Asked::Mail(method, number.get(..20).unwrap_or(number).to_vec())),
            Self::Lines => Some(Asked::Lines),
            Self::Line => Some(Asked::Line),
            Self::Tls => Some(Asked::Tls),
            Self::Other => None,
        }
    }
}
