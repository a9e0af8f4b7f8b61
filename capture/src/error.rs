//! What can go wrong with a capture, each as one sentence: which file, where, what was expected, what was found.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use streamdb_types::LinkType;
use thiserror::Error;

/// Why a capture cannot be read, or not further.
#[derive(Debug, Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("{}: cannot be opened: {source}", Shown(path))]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system failed to read it.
    #[error("{}: cannot be read {place}: {source}; {}", Shown(path), Before(*frames))]
    Read {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What the system said.
        source: io::Error,
        /// Whole frames before.
        frames: u64,
    },
    /// There is nothing in it.
    #[error("{}: {}is empty: expected a capture (pcap or pcapng, plain, gzip or zstd)",
        Shown(path), if *compressed { "its uncompressed data " } else { "" })]
    Empty {
        /// The file.
        path: PathBuf,
        /// Whether it is what came out of decompression that is empty.
        compressed: bool,
    },
    /// It is something else.
    #[error("{}: not a capture: {what}; pcap and pcapng are read, plain or compressed by gzip or zstd", Shown(path))]
    NotCapture {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: NotCapture,
    },
    /// It ends within a record.
    #[error("{}: truncated {place}: expected {expected}, found {found} of them; {}", Shown(path), Before(*frames))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        place: Place,
        /// What should be there, with its length.
        expected: String,
        /// How many bytes of it are there.
        found: u64,
        /// Whole frames before.
        frames: u64,
    },
    /// It contradicts its format.
    #[error("{}: damaged {place}: expected {expected}, found {found}; {}", Shown(path), Before(*frames))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
        /// Whole frames before.
        frames: u64,
    },
    /// Its compressed data is damaged or cut.
    #[error("{}: its {compression} data is damaged at about byte {position} ({place}): {reason}; {}",
        Shown(path), Before(*frames))]
    Decompress {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        compression: Compression,
        /// Bytes of the file used up when it was noticed.
        position: u64,
        /// How far the uncompressed data goes.
        place: Place,
        /// What the decompressor said.
        reason: String,
        /// Whole frames before.
        frames: u64,
    },
    /// A filter expression that libpcap does not take.
    #[error("the filter '{}' cannot be used on link type {}: {message}", Plain(expression), link_type.0)]
    Filter {
        /// The expression.
        expression: String,
        /// The link type of the frames that it should judge.
        link_type: LinkType,
        /// What libpcap said.
        message: String,
    },
}

impl Error {
    /// The same with the number of whole frames that came before.
    pub(crate) fn with_frames(mut self, whole: u64) -> Self {
        if let Self::Read { frames, .. }
        | Self::Truncated { frames, .. }
        | Self::Damaged { frames, .. }
        | Self::Decompress { frames, .. } = &mut self
        {
            *frames = whole;
        }
        self
    }
}

/// A place in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub offset: u64,
    /// Whether they are counted in the uncompressed data of a compressed file.
    pub uncompressed: bool,
}

/// `at byte 24`, `at byte 24 of the uncompressed data`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}{}", self.offset, if self.uncompressed { " of the uncompressed data" } else { "" })
    }
}

/// A compression that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
}

impl Compression {
    /// The compression of data that begins so.
    pub(crate) const fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A frame, or a skippable frame as parallel compressors write before it (RFC 8878 §3.1).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// What a file is that is no capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCapture {
    /// A format that has a name.
    Known(&'static str),
    /// Compressed, and what comes out is compressed again.
    Nested(Compression),
    /// Something that begins with these bytes, at most eight.
    Unknown(Vec<u8>),
}

impl NotCapture {
    /// What data is that begins so.
    pub(crate) fn of(begin: &[u8]) -> Self {
        match begin {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Known("it is compressed by xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Known("it is compressed by bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Known("it is compressed by lz4"),
            [0x1f, 0x9d, ..] => Self::Known("it is compressed by compress"),
            [b'P', b'K', 3, 4, ..] => Self::Known("it is a zip archive"),
            [b's', b'n', b'o', b'o', b'p', 0, 0, 0, ..] => Self::Known("it is a snoop capture"),
            [b'G', b'M', b'B', b'U', ..] => Self::Known("it is a Microsoft Network Monitor capture"),
            [b'X', b'C', b'P', 0, ..] => Self::Known("it is a Sniffer capture"),
            _ => Self::Unknown(begin.iter().copied().take(8).collect()),
        }
    }
}

impl fmt::Display for NotCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(text) => f.write_str(text),
            Self::Nested(inner) => write!(f, "what comes out of decompression is compressed again, by {inner}"),
            Self::Unknown(begin) => {
                f.write_str("it begins with")?;
                begin.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
}

/// A path for people: `-` has a name, and control characters do not reach the terminal.
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_os_str() == "-" {
            return f.write_str("standard input");
        }
        Plain(&self.0.to_string_lossy()).fmt(f)
    }
}

/// A text whose control characters are written as escapes.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
    }
}

/// What became of the frames before the damage.
struct Before(u64);

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no whole frame is before it"),
            1 => f.write_str("the 1 frame before it was read"),
            n => write!(f, "the {n} frames before it were read"),
        }
    }
}

/// What a format's reader finds wrong; [`crate::CaptureFile`] adds the file and makes it an [`enum@Error`].
#[derive(Debug)]
pub(crate) enum Fault {
    Read(io::Error),
    Unpack { compression: Compression, reason: String },
    Truncated { offset: u64, expected: String, found: u64 },
    Damaged { offset: u64, expected: String, found: String },
}

/// A result on the way of each frame: the fault is boxed to keep it small.
pub(crate) type Checked<T> = Result<T, Box<Fault>>;

impl Fault {
    pub(crate) fn truncated(offset: u64, expected: impl Into<String>, found: usize) -> Box<Self> {
        Box::new(Self::Truncated { offset, expected: expected.into(), found: found as u64 })
    }

    pub(crate) fn damaged(offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Box<Self> {
        Box::new(Self::Damaged { offset, expected: expected.into(), found: found.into() })
    }
}

impl From<io::Error> for Box<Fault> {
    fn from(error: io::Error) -> Self {
        Self::new(Fault::Read(error))
    }
}
