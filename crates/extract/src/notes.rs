//! What was odd about a message, without making it incomplete.

use std::fmt;

/// Oddities of a message: a set of flags.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Notes(pub u16);

impl Notes {
    /// The head breaks the grammar and was split by the tolerant splitter.
    pub const TOLERANT: Self = Self(1);
    /// A header field goes over more than one line (RFC 9112 §5.2).
    pub const OBS_FOLD: Self = Self(1 << 1);
    /// Several Content-Length values that differ; the first was used (RFC 9112 §6.3).
    pub const CONFLICTING_LENGTHS: Self = Self(1 << 2);
    /// A Content-Length that is no number; it was ignored.
    pub const BAD_LENGTH: Self = Self(1 << 3);
    /// Both Transfer-Encoding and Content-Length; the former was used (RFC 9112 §6.3). Smuggling looks like this.
    pub const LENGTH_AND_CHUNKED: Self = Self(1 << 4);
    /// Declared as chunked, but what follows is no chunk; framed by the next rule.
    pub const NOT_CHUNKED: Self = Self(1 << 5);
    /// Which request this answers, or whether it has a body, was guessed: part of the conversation was not captured.
    pub const GUESSED: Self = Self(1 << 6);
    /// Found by searching, after a place where the framing was lost.
    pub const FOUND_AGAIN: Self = Self(1 << 7);
    /// What followed an accepted CONNECT or Upgrade: bytes of another protocol, or HTTP through the tunnel.
    pub const TUNNEL: Self = Self(1 << 8);
    /// The rest of a stream after a place where the framing was lost.
    pub const AFTER_LOSS: Self = Self(1 << 9);
    /// An answer that no request asks for, though the requests were seen.
    pub const UNASKED: Self = Self(1 << 10);
    /// Chunked by its bytes, though the declaration is not as it should be, or what stands around the sizes is not.
    pub const ODD_CHUNKED: Self = Self(1 << 11);
    /// A carriage return without a line feed in a head. In responses it ends a line, as it does for browsers.
    pub const BARE_RETURN: Self = Self(1 << 12);
    /// A status line without a status code; browsers take it for 200.
    pub const NO_STATUS: Self = Self(1 << 13);

    /// What departs from the rules of HTTP; the others say how a message was found.
    const DEVIATIONS: Self = Self(
        Self::TOLERANT.0
            | Self::OBS_FOLD.0
            | Self::CONFLICTING_LENGTHS.0
            | Self::BAD_LENGTH.0
            | Self::LENGTH_AND_CHUNKED.0
            | Self::NOT_CHUNKED.0
            | Self::ODD_CHUNKED.0
            | Self::BARE_RETURN.0
            | Self::NO_STATUS.0,
    );

    /// What departs from the rules of HTTP, and what says how the message was found.
    pub const fn apart(self) -> (Self, Self) {
        (Self(self.0 & Self::DEVIATIONS.0), Self(self.0 & !Self::DEVIATIONS.0))
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds the other set.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The words of the flags that are set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        [
            (Self::TOLERANT, "tolerant"),
            (Self::OBS_FOLD, "obs-fold"),
            (Self::CONFLICTING_LENGTHS, "conflicting-lengths"),
            (Self::BAD_LENGTH, "bad-length"),
            (Self::LENGTH_AND_CHUNKED, "length-and-chunked"),
            (Self::NOT_CHUNKED, "not-chunked"),
            (Self::GUESSED, "guessed"),
            (Self::FOUND_AGAIN, "found-again"),
            (Self::TUNNEL, "tunnel"),
            (Self::AFTER_LOSS, "after-loss"),
            (Self::UNASKED, "unasked"),
            (Self::ODD_CHUNKED, "odd-chunked"),
            (Self::BARE_RETURN, "bare-return"),
            (Self::NO_STATUS, "no-status"),
        ]
        .into_iter()
        .filter(move |(note, _)| self.contains(*note))
        .map(|(_, word)| word)
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}
