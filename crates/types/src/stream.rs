//! What is said of a stream: offsets in it, gaps, why it ended, what was odd about it.

use std::fmt;

/// A place in a stream: bytes since its first one. Offsets run on over buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamOffset(pub u64);

impl StreamOffset {
    /// The place `n` bytes further on.
    #[must_use]
    pub const fn add(self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    /// Bytes from `start` to here; 0 when `start` lies beyond.
    pub const fn since(self, start: Self) -> u64 {
        self.0.saturating_sub(start.0)
    }
}

/// Why bytes of a stream are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum GapKind {
    /// No captured frame had them.
    Missing = 0,
    /// The frame was captured, but cut before them by the snap length.
    SnapLength = 1,
    /// Let go under load, by a named policy.
    Shed = 2,
    /// Beyond the configured cut-off of their class.
    Cutoff = 3,
    /// Captured, then lost to a failed write, a crash, or with a bucket that is gone.
    Lost = 4,
}

impl GapKind {
    /// The kind with this number on disk.
    pub const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Missing,
            1 => Self::SnapLength,
            2 => Self::Shed,
            3 => Self::Cutoff,
            4 => Self::Lost,
            _ => return None,
        })
    }

    /// One word, as JSON and pages show it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::SnapLength => "snaplen",
            Self::Shed => "shed",
            Self::Cutoff => "cutoff",
            Self::Lost => "lost",
        }
    }
}

/// A hole in a stream. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// Where it begins.
    pub offset: StreamOffset,
    /// How many bytes are not there.
    pub length: u64,
    /// Why.
    pub kind: GapKind,
}

impl Gap {
    /// The offset of the first byte after it.
    pub const fn end(&self) -> StreamOffset {
        self.offset.add(self.length)
    }
}

/// Why a stream ended. The letters are the ancestor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// `c`: closed by FIN.
    Fin,
    /// `r`: reset.
    Rst,
    /// `t`: SYN time-out: it was asked for and never opened.
    SynTimeout,
    /// `e`: the sensor, or the capture file, ended first.
    Exiting,
    /// `l`: cut at the size limit.
    SizeCutoff,
    /// `i`: idle or open for longer than the time limit.
    TimeCutoff,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Fin, Self::Rst, Self::SynTimeout, Self::Exiting, Self::SizeCutoff, Self::TimeCutoff];

    /// The letter: on disk, in queries and in JSON.
    pub const fn letter(self) -> char {
        match self {
            Self::Fin => 'c',
            Self::Rst => 'r',
            Self::SynTimeout => 't',
            Self::Exiting => 'e',
            Self::SizeCutoff => 'l',
            Self::TimeCutoff => 'i',
        }
    }

    /// The reason with this letter.
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.letter() == letter)
    }
}

/// The ancestor's words.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "FIN",
            Self::Rst => "RST",
            Self::SynTimeout => "SYN Timeout",
            Self::Exiting => "exiting",
            Self::SizeCutoff => "Size cutoff",
            Self::TimeCutoff => "Time cutoff",
        })
    }
}

/// What was seen of a stream or odd about it: a set of flags, as on disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Marks(pub u16);

impl Marks {
    /// A SYN of this direction was seen.
    pub const SYN: Self = Self(1);
    /// A FIN of this direction was seen.
    pub const FIN: Self = Self(1 << 1);
    /// A reset of this direction was seen and accepted.
    pub const RST: Self = Self(1 << 2);
    /// Picked up in the middle: offset 0 is the first byte seen, not the first byte sent.
    pub const MIDSTREAM: Self = Self(1 << 3);
    /// Two copies of the same bytes differed; both are kept.
    pub const CONFLICT: Self = Self(1 << 4);
    /// Urgent data was seen; it is in the stream in its place.
    pub const URGENT: Self = Self(1 << 5);
    /// Data in the SYN.
    pub const SYN_DATA: Self = Self(1 << 6);
    /// A reset outside the window was seen and not believed.
    pub const BAD_RST: Self = Self(1 << 7);
    /// Segments came out of order.
    pub const REORDERED: Self = Self(1 << 8);
    /// Bytes were sent more than once.
    pub const RETRANSMITTED: Self = Self(1 << 9);
    /// At least one frame had a wrong checksum (when checksums are looked at).
    pub const BAD_CHECKSUM: Self = Self(1 << 10);

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
            (Self::SYN, "syn"),
            (Self::FIN, "fin"),
            (Self::RST, "rst"),
            (Self::MIDSTREAM, "midstream"),
            (Self::CONFLICT, "conflict"),
            (Self::URGENT, "urgent"),
            (Self::SYN_DATA, "syn-data"),
            (Self::BAD_RST, "bad-rst"),
            (Self::REORDERED, "reordered"),
            (Self::RETRANSMITTED, "retransmitted"),
            (Self::BAD_CHECKSUM, "bad-checksum"),
        ]
        .into_iter()
        .filter(move |(mark, _)| self.contains(*mark))
        .map(|(_, word)| word)
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}
