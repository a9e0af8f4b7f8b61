//! What a sender said, some of it at a time, on its way from the thread that reads to the one that stores.

use streamdb_types::{Interface, Timestamp};

use super::Held;
use crate::item::{Drops, Item, Span};

/// A chunk is handed on with so many bytes ...
const BYTES: usize = 256 << 10;
/// ... or so many records.
const RECORDS: usize = 1024;

/// Records and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<Record>,
    bytes: Vec<u8>,
    /// Its room among what waits, once it does.
    pub(crate) held: Option<Held>,
}

/// An [`Item`] whose bytes lie in the chunk.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Interface(Box<Interface>),
    Frame { time: Timestamp, interface: u32, wire_len: u32, data: Span },
    Secrets { kind: u32, data: Span },
    Names(Span),
    Drops(Drops),
}

impl Chunk {
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..).and_then(|rest| rest.get(..span.length)).unwrap_or_default()
    }

    /// How much memory it takes.
    pub(crate) fn size(&self) -> usize {
        let described = |record: &Record| match record {
            Record::Interface(interface) => interface.options.len(),
            _ => 0,
        };
        let records: usize = self.records.iter().map(described).sum();
        self.bytes.capacity() + records + self.records.capacity() * size_of::<Record>()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BYTES || self.records.len() >= RECORDS
    }

    pub(crate) fn push(&mut self, item: &Item<'_>) {
        let record = match *item {
            Item::Interface(_, interface) => Record::Interface(Box::new(interface.clone())),
            Item::Frame(frame) => Record::Frame {
                time: frame.time,
                interface: frame.interface,
                wire_len: frame.wire_len,
                data: self.keep(frame.data),
            },
            Item::Secrets { kind, data } => Record::Secrets { kind, data: self.keep(data) },
            Item::Names(data) => Record::Names(self.keep(data)),
            Item::Drops(drops) => Record::Drops(drops),
        };
        self.records.push(record);
    }

    fn keep(&mut self, data: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        Span { start, length: data.len() }
    }
}
