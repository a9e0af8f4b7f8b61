//! The commands of a client, one line each (RFC 5321 §4.1).

/// Most bytes of an address that are kept: RFC 5321 §4.5.3.1.3 has 256 for a path.
const ADDRESS_BYTES: usize = 512;

/// What a line asks for, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'l> {
    /// EHLO, HELO, or LHLO (RFC 2033 §4.1), with the client's name.
    Hello { name: &'l [u8], lmtp: bool },
    /// MAIL, with the address between the brackets.
    Mail(&'l [u8]),
    /// RCPT.
    Recipient(&'l [u8]),
    /// DATA.
    Data,
    /// BDAT, with the length of the chunk behind it, and whether it is the last (RFC 3030 §2).
    Chunk { length: u64, last: bool },
    /// RSET.
    Reset,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// QUIT.
    Quit,
    /// Anything else.
    Other,
}

impl<'l> Command<'l> {
    /// Takes a line without its end apart.
    pub(super) fn new(line: &'l [u8]) -> Self {
        let line = line.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at_checked(end).unwrap_or((line, b""));
        let rest = rest.trim_ascii();
        let is = |other: &[u8]| word.eq_ignore_ascii_case(other);
        if starts_with(line, b"MAIL FROM:") {
            return Self::Mail(address(line.get(10..).unwrap_or_default()));
        }
        if starts_with(line, b"RCPT TO:") {
            return Self::Recipient(address(line.get(8..).unwrap_or_default()));
        }
        if is(b"BDAT") {
            return chunk(rest).unwrap_or(Self::Other);
        }
        if is(b"EHLO") || is(b"HELO") || is(b"LHLO") {
            return Self::Hello { name: rest, lmtp: is(b"LHLO") };
        }
        if !rest.is_empty() {
            return Self::Other;
        }
        match () {
            () if is(b"DATA") => Self::Data,
            () if is(b"RSET") => Self::Reset,
            () if is(b"STARTTLS") => Self::StartTls,
            () if is(b"QUIT") => Self::Quit,
            () => Self::Other,
        }
    }

    /// Whether a line of a mail hardly looks like it: with this, commands are found again.
    pub(super) const fn is_sure(&self) -> bool {
        !matches!(self, Self::Other | Self::StartTls)
    }
}

/// `n`, or `n LAST`.
fn chunk(rest: &[u8]) -> Option<Command<'_>> {
    let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let digits = words.next().filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length = digits.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return None,
    };
    Some(Command::Chunk { length, last })
}

/// The mailbox of a path, without the brackets and the route before it (RFC 5321 §4.1.2, appendix C).
fn address(path: &[u8]) -> &[u8] {
    let path = path.trim_ascii();
    let inner = match path.strip_prefix(b"<") {
        Some(inner) => inner.split(|b| *b == b'>').next().unwrap_or_default(),
        None => path.split(u8::is_ascii_whitespace).next().unwrap_or_default(),
    };
    let mailbox = match inner.strip_prefix(b"@").and_then(|route| route.iter().position(|b| *b == b':')) {
        Some(colon) => inner.get(colon + 2..).unwrap_or_default(),
        None => inner,
    };
    mailbox.get(..ADDRESS_BYTES).unwrap_or(mailbox)
}

/// Whether bytes begin with this, in any case.
pub(super) fn starts_with(bytes: &[u8], word: &[u8]) -> bool {
    bytes.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let hello = |name, lmtp| Command::Hello { name, lmtp };
        let cases: &[(&[u8], Command<'_>)] = &[
            (b"EHLO mail.example.com", hello(b"mail.example.com", false)),
            (b"helo", hello(b"", false)),
            (b"LHLO x", hello(b"x", true)),
            (b"MAIL FROM:<a@b> SIZE=3", Command::Mail(b"a@b")),
            (b"mail from: a@b BODY=8BITMIME", Command::Mail(b"a@b")),
            (b"MAIL FROM:<>", Command::Mail(b"")),
            (b"RCPT TO:<@x,@y:a@b>", Command::Recipient(b"a@b")),
            (b"DATA", Command::Data),
            (b"DATA ", Command::Data),
            (b"DATA x", Command::Other),
            (b"BDAT 12", Command::Chunk { length: 12, last: false }),
            (b"bdat 0 last", Command::Chunk { length: 0, last: true }),
            (b"BDAT 99999999999999999999999", Command::Chunk { length: u64::MAX, last: false }),
            (b"BDAT", Command::Other),
            (b"BDAT -1", Command::Other),
            (b"BDAT 1 FIRST", Command::Other),
            (b"NOOP", Command::Other),
            (b"", Command::Other),
        ];
        for (line, command) in cases {
            assert_eq!(Command::new(line), *command, "{}", line.escape_ascii());
        }
    }
}
