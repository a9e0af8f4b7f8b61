//! Classic pcap files: a header, then records (pcap-savefile(5), draft-ietf-opsawg-pcap).

use streamdb_types::{Interface, LinkType, Resolution, Timestamp};

use crate::bytes::{Order, words};
use crate::error::{Checked, Fault};
use crate::input::Input;
use crate::item::{Found, MAX_FRAME, Span};

/// The file's header.
const HEADER: usize = 24;

/// The reader of one classic file.
#[derive(Debug)]
pub(crate) struct Classic {
    order: Order,
    interface: Interface,
    announced: bool,
    /// Nanoseconds per unit of a record's second time field.
    unit: i64,
    record_header: usize,
    lengths: Lengths,
}

/// The order of a record's two lengths. Before version 2.3 the wire length came first; some writers of 2.3 did it the
/// old way. The rule is libpcap's.
#[derive(Clone, Copy, Debug)]
enum Lengths {
    CapturedFirst,
    WireFirst,
    ByValue,
}

/// What the magic number says: byte order, resolution, length of a record's header.
const fn magic(begin: &[u8]) -> Option<(Order, Resolution, usize)> {
    Some(match begin {
        [0xa1, 0xb2, 0xc3, 0xd4, ..] => (Order::Big, Resolution::MICROS, 16),
        [0xd4, 0xc3, 0xb2, 0xa1, ..] => (Order::Little, Resolution::MICROS, 16),
        [0xa1, 0xb2, 0x3c, 0x4d, ..] => (Order::Big, Resolution::NANOS, 16),
        [0x4d, 0x3c, 0xb2, 0xa1, ..] => (Order::Little, Resolution::NANOS, 16),
        // Kuznetzov's: each record header has interface index, protocol and packet type behind it.
        [0xa1, 0xb2, 0xcd, 0x34, ..] => (Order::Big, Resolution::MICROS, 24),
        [0x34, 0xcd, 0xb2, 0xa1, ..] => (Order::Little, Resolution::MICROS, 24),
        _ => return None,
    })
}

impl Classic {
    /// Reads the file's header; `None` when the file is something else.
    pub(crate) fn open(input: &mut Input) -> Checked<Option<Self>> {
        let Some((order, resolution, record_header)) = magic(input.rest()) else { return Ok(None) };
        if !input.need(HEADER)? {
            return Err(Fault::truncated(0, format!("a file header of {HEADER} bytes"), input.rest().len()));
        }
        let Some(([_, version, _zone, _accuracy, snap_length, network], _)) = words(input.rest(), order) else {
            return Ok(None);
        };
        // The two halves of the word are two numbers, the major one first in the file.
        let (major, minor) = match order {
            Order::Little => (version & 0xffff, version >> 16),
            Order::Big => (version >> 16, version & 0xffff),
        };
        let lengths = match (major, minor) {
            (2, 0..=2) | (543, 0) => Lengths::WireFirst,
            (2, 3) => Lengths::ByValue,
            (2, 4) => Lengths::CapturedFirst,
            _ => return Err(Fault::damaged(4, "a pcap version of 2.0 to 2.4", format!("{major}.{minor}"))),
        };
        input.take(HEADER);
        // draft-ietf-opsawg-pcap §4: bit 26 says that the four highest bits are the length of the frame check sequence,
        // in units of two bytes.
        let fcs_length = (network & 1 << 26 != 0).then_some((network >> 28) as u8 * 2);
        let interface = Interface {
            link_type: LinkType(network as u16),
            snap_length,
            resolution,
            time_offset: 0,
            fcs_length,
            options: Vec::new(),
        };
        let unit = if resolution == Resolution::NANOS { 1 } else { 1000 };
        Ok(Some(Self { order, interface, announced: false, unit, record_header, lengths }))
    }

    /// The one interface of the file.
    pub(crate) const fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The next record.
    pub(crate) fn step(&mut self, input: &mut Input) -> Checked<Option<Found>> {
        if !self.announced {
            self.announced = true;
            return Ok(Some(Found::Interface(0)));
        }
        let header = self.record_header;
        if !input.need(header)? {
            return match input.rest().len() {
                0 => Ok(None),
                n => Err(Fault::truncated(input.offset(), format!("a record header of {header} bytes"), n)),
            };
        }
        let Some((_, captured, _)) = self.header(input.rest()) else { return Ok(None) };
        let length = captured as usize;
        if length > MAX_FRAME {
            let expected = format!("a record of at most {MAX_FRAME} captured bytes");
            return Err(Fault::damaged(input.offset(), expected, captured.to_string()));
        }
        if !input.need(header + length)? {
            let expected = format!("a record of {} bytes", header + length);
            return Err(Fault::truncated(input.offset(), expected, input.rest().len()));
        }
        let frame = self.frame_at_hand(input);
        Ok(frame.map(|(time, wire_len, data)| Found::Frame { time, interface: 0, wire_len, data }))
    }

    /// The next record's time, length on the wire and bytes, when it is a frame that lies whole in the buffer, and the
    /// interface was announced.
    #[inline]
    pub(crate) fn frame_at_hand(&self, input: &mut Input) -> Option<(Timestamp, u32, Span)> {
        let (time, captured, wire_len) = self.header(input.rest()).filter(|_| self.announced)?;
        let (header, length) = (self.record_header, captured as usize);
        if length > MAX_FRAME || input.rest().len() < header + length {
            return None;
        }
        Some((time, wire_len, input.take(header + length).part(header, length)))
    }

    /// Whether the next record lies whole in the buffer.
    pub(crate) fn is_at_hand(&self, input: &Input) -> bool {
        let rest = input.rest();
        !self.announced
            || self.header(rest).is_some_and(|(_, captured, _)| {
                let length = captured as usize;
                // One that claims more is damaged, which is known at once.
                length > MAX_FRAME || rest.len() >= self.record_header + length
            })
    }

    /// What a record header says: the time, and the lengths as captured and on the wire.
    #[inline]
    fn header(&self, bytes: &[u8]) -> Option<(Timestamp, u32, u32)> {
        let ([seconds, fraction, first, second], _) = words(bytes, self.order)?;
        let swapped = match self.lengths {
            Lengths::CapturedFirst => false,
            Lengths::WireFirst => true,
            Lengths::ByValue => first > second,
        };
        let (captured, wire_len) = if swapped { (second, first) } else { (first, second) };
        Some((Timestamp::new(i64::from(seconds), i64::from(fraction) * self.unit), captured, wire_len))
    }
}
