//! One capture file, whatever its format and compression.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use streamdb_types::Timestamp;

use crate::classic::Classic;
use crate::error::{Compression, Error, Fault, NotCapture, Place};
use crate::input::Input;
use crate::item::{Found, Frame, Item, Span};
use crate::pcapng::Pcapng;

/// A capture file that is being read, or standard input.
///
/// The format is told by the first bytes, never by the name: pcap (all magics, both byte orders) and pcapng, each plain
/// or compressed by gzip or zstd. Frames are handed out where they lie in the read buffer, without a copy.
pub struct CaptureFile {
    path: PathBuf,
    size: Option<u64>,
    input: Input,
    format: Format,
    frames: u64,
    stopped: bool,
}

/// How much memory a capture may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest block of pcapng that is read as a whole.
    pub(crate) block: u32,
    /// The largest window of zstd, as a power of two.
    pub(crate) window_log: u32,
}

impl Limits {
    /// Of files, which somebody here opens.
    const FILES: Self = Self { block: 16 << 20, window_log: 27 };
}

enum Format {
    Classic(Classic),
    Pcapng(Box<Pcapng>),
}

impl CaptureFile {
    /// Opens a file, or standard input when the path is `-`, and reads the file's header.
    ///
    /// # Errors
    /// When it cannot be opened or read, is empty, is no capture, or its header is cut short.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Open { path: path.into(), source };
        if is_stdin(path) {
            return Self::start(path, None, Box::new(io::stdin()), Limits::FILES);
        }
        let file = File::open(path).map_err(fail)?;
        let about = file.metadata().map_err(fail)?;
        if about.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        Self::start(path, about.is_file().then_some(about.len()), Box::new(file), Limits::FILES)
    }

    /// Reads a capture from anything that gives bytes; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_reader(path: &Path, reader: impl Read + Send + 'static) -> Result<Self, Error> {
        Self::with_limits(path, reader, Limits::FILES)
    }

    /// The same of one that may ask for so much.
    pub(crate) fn with_limits(path: &Path, reader: impl Read + Send + 'static, limits: Limits) -> Result<Self, Error> {
        Self::start(path, None, Box::new(reader), limits)
    }

    fn start(path: &Path, size: Option<u64>, reader: Box<dyn Read + Send>, limits: Limits) -> Result<Self, Error> {
        let name = || path.to_path_buf();
        let nothing = |fault: Box<Fault>| error(name(), None, 0, Place { offset: 0, uncompressed: false }, *fault);
        let mut input = Input::new(reader, limits.window_log).map_err(nothing)?;
        let compression = input.compression();
        let fail = |fault: Box<Fault>, input: &Input| {
            let place = Place { offset: input.end_offset(), uncompressed: compression.is_some() };
            error(name(), compression, input.position(), place, *fault)
        };
        if !input.need(8).map_err(|fault| fail(fault, &input))? && input.rest().is_empty() {
            return Err(Error::Empty { path: name(), compressed: compression.is_some() });
        }
        let format = if let Some(reader) = Pcapng::open(&input, limits.block) {
            Format::Pcapng(Box::new(reader))
        } else if let Some(reader) = Classic::open(&mut input).map_err(|fault| fail(fault, &input))? {
            Format::Classic(reader)
        } else {
            let inner = Compression::of(input.rest()).filter(|_| compression.is_some());
            let what = inner.map_or_else(|| NotCapture::of(input.rest()), NotCapture::Nested);
            return Err(Error::NotCapture { path: name(), what });
        };
        Ok(Self { path: name(), size, input, format, frames: 0, stopped: false })
    }

    /// The next thing that the capture says; `None` at its end, and after an error.
    ///
    /// # Errors
    /// Once, when the file is truncated or damaged, or cannot be read further; all that is before was handed out.
    #[expect(clippy::should_implement_trait, reason = "an iterator's items cannot borrow from it")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, Error> {
        Ok(self.step()?.map(|found| self.item(found)))
    }

    /// Whether the next step needs no bytes that were not read yet, as far as that can be told: where it does, it waits for them.
    pub(crate) fn is_at_hand(&self) -> bool {
        match &self.format {
            _ if self.stopped => true,
            Format::Classic(reader) => reader.is_at_hand(&self.input),
            Format::Pcapng(reader) => reader.is_at_hand(&self.input),
        }
    }

    /// Bytes of the file used up so far: compressed ones, if it is compressed.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// The size of the file when it was opened; `None` for standard input and pipes.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// [`next`](Self::next) without the borrow; [`item`](Self::item) must follow before the next step.
    pub(crate) fn step(&mut self) -> Result<Option<Found>, Error> {
        if self.stopped {
            return Ok(None);
        }
        let found = match &mut self.format {
            Format::Classic(reader) => reader.step(&mut self.input),
            Format::Pcapng(reader) => reader.step(&mut self.input),
        };
        match found {
            Ok(found) => {
                match found {
                    Some(Found::Frame { .. }) => self.frames += 1,
                    None => self.stopped = true,
                    _ => {}
                }
                Ok(found)
            }
            Err(fault) => {
                self.stopped = true;
                let compression = self.input.compression();
                let end = Place { offset: self.input.end_offset(), uncompressed: compression.is_some() };
                Err(error(self.path.clone(), compression, self.input.position(), end, *fault).with_frames(self.frames))
            }
        }
    }

    /// The next thing, when it is a frame of a classic capture that lies whole in the buffer: its time, its length on the
    /// wire, and its bytes. Its parts are handed on in registers: a [`Found`] that is written to memory and read again
    /// there waits for all writes before it, some 3 % of an ingest.
    #[inline]
    pub(crate) fn frame_at_hand(&mut self) -> Option<(Timestamp, u32, Span)> {
        let Format::Classic(reader) = &self.format else { return None };
        let frame = if self.stopped { None } else { reader.frame_at_hand(&mut self.input) }?;
        self.frames += 1;
        Some(frame)
    }

    /// The bytes of a place in the buffer.
    #[inline]
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.input.bytes(span)
    }

    /// What a step found, with its bytes.
    pub(crate) fn item(&self, found: Found) -> Item<'_> {
        match found {
            Found::Interface(number) => Item::Interface(
                number,
                match &self.format {
                    Format::Classic(reader) => reader.interface(),
                    Format::Pcapng(reader) => reader.interface(),
                },
            ),
            Found::Frame { time, interface, wire_len, data } => {
                Item::Frame(Frame { time, interface, wire_len, data: self.input.bytes(data) })
            }
            Found::Secrets { kind, data } => Item::Secrets { kind, data: self.input.bytes(data) },
            Found::Names(data) => Item::Names(self.input.bytes(data)),
            Found::Drops(drops) => Item::Drops(drops),
        }
    }
}

/// Whether a path means standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a path names something that can be read again from its beginning: not standard input, not a pipe.
///
/// # Errors
/// When there is nothing of that name.
pub(crate) fn is_rereadable(path: &Path) -> Result<bool, Error> {
    if is_stdin(path) {
        return Ok(false);
    }
    let about = fs::metadata(path).map_err(|source| Error::Open { path: path.into(), source })?;
    Ok(about.is_file() || about.is_dir())
}

/// The error of a fault in a file of which the data goes as far as `end`.
fn error(path: PathBuf, compression: Option<Compression>, position: u64, end: Place, fault: Fault) -> Error {
    let uncompressed = compression.is_some();
    match fault {
        Fault::Read(source) => Error::Read { path, place: end, source, frames: 0 },
        Fault::Unpack { compression, reason } => {
            Error::Decompress { path, compression, position, place: end, reason, frames: 0 }
        }
        Fault::Truncated { offset, expected, found } => {
            Error::Truncated { path, place: Place { offset, uncompressed }, expected, found, frames: 0 }
        }
        Fault::Damaged { offset, expected, found } => {
            Error::Damaged { path, place: Place { offset, uncompressed }, expected, found, frames: 0 }
        }
    }
}
