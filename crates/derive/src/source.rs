//! A stream of the store as extraction reads it.

use std::cell::OnceCell;
use std::sync::Arc;

use streamdb_extract::{Read, Source};
use streamdb_storage::{Error, Stream, StreamInfo};
use streamdb_types::{Gap, Marks, Protocol, Reason, StreamOffset};

use crate::others::Others;

/// One of the versions of a stream: its other bytes, and which.
pub(crate) struct Version(pub(crate) Arc<Others>, pub(crate) usize);

impl Version {
    /// Puts them into bytes of the stream.
    pub(crate) fn put(&self, at: StreamOffset, bytes: &mut [u8]) {
        self.0.put(self.1, at, bytes);
    }
}

/// One direction of a connection, or its absence. Reading cannot fail; at a damaged block the stream ends, and
/// [`take_error`](Self::take_error) has the first error, to be asked for whenever something was read.
pub struct StreamSource {
    stream: Option<Stream>,
    /// How the absent direction of a connection ended: as the other one.
    absent: Option<Reason>,
    error: OnceCell<Error>,
    /// Read in the place of its own bytes.
    others: Option<Version>,
}

impl StreamSource {
    /// A stream.
    pub const fn new(stream: Stream) -> Self {
        Self { stream: Some(stream), absent: None, error: OnceCell::new(), others: None }
    }

    /// A direction that had no frame, of a connection that ended like this.
    pub const fn absent(ended: Option<Reason>) -> Self {
        Self { stream: None, absent: ended, error: OnceCell::new(), others: None }
    }

    /// The same stream with other bytes for some of its places.
    pub(crate) fn with(self, others: Option<Version>) -> Self {
        Self { others, ..self }
    }

    /// The bytes that are read in the place of its own.
    pub(crate) const fn others(&self) -> Option<&Version> {
        self.others.as_ref()
    }

    /// The stream, unless absent.
    pub const fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// What is known of it, unless absent.
    pub fn info(&self) -> Option<&StreamInfo> {
        self.stream.as_ref().map(Stream::info)
    }

    /// The first error that reading met since this was asked last.
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Whether reading met an error.
    pub fn has_error(&self) -> bool {
        self.error.get().is_some()
    }
}

impl Source for StreamSource {
    fn end(&self) -> StreamOffset {
        self.stream.as_ref().map_or(StreamOffset(0), Stream::len)
    }

    fn read(&self, at: StreamOffset, buf: &mut [u8]) -> Read {
        let Some(stream) = &self.stream else { return Read::End };
        match stream.read_at(at, buf) {
            Ok(streamdb_storage::Read::Bytes(n)) => {
                if let Some(others) = &self.others {
                    others.put(at, buf.get_mut(..n).unwrap_or_default());
                }
                Read::Bytes(n)
            }
            Ok(streamdb_storage::Read::Gap(length, kind)) => Read::Hole(Gap { offset: at, length, kind }),
            Ok(streamdb_storage::Read::End) => Read::End,
            Err(error) => {
                // The first one counts; a second is most likely the same block again.
                let _ = self.error.set(error);
                Read::End
            }
        }
    }

    fn next_gap(&self, from: StreamOffset) -> Option<Gap> {
        let gaps = self.stream.as_ref().map_or(&[][..], Stream::gaps);
        gaps.get(gaps.partition_point(|gap| gap.end() <= from)).copied()
    }

    fn ended(&self) -> Option<Reason> {
        self.info().map_or(self.absent, |info| info.reason)
    }

    fn marks(&self) -> Marks {
        self.info().map_or(Marks::default(), |info| info.marks)
    }

    fn is_datagrams(&self) -> bool {
        self.info().is_some_and(|info| info.tuple.protocol == Protocol::UDP)
    }
}
