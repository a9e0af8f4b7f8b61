//! pcapng files: sections of blocks (draft-ietf-opsawg-pcapng).

use streamdb_types::{Interface, LinkType, Resolution, Timestamp, from_ticks};

use crate::bytes::{Order, padded, words};
use crate::error::{Checked, Fault};
use crate::input::Input;
use crate::item::{Drops, Found, MAX_FRAME, MAX_INTERFACES, Span};
use crate::options::{self, Rest, Tlv};

/// The largest interface description: room for a full filter program and then some.
const MAX_DESCRIPTION: u32 = 128 << 10;

/// A block's type and length before its body, its length again after it.
const FRAMING: u32 = 12;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAMES: u32 = 4;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const SECRETS: u32 = 10;

/// The reader of one pcapng file.
#[derive(Debug)]
pub(crate) struct Pcapng {
    max_block: u32,
    order: Order,
    /// The interfaces of this section.
    section: Vec<Known>,
    /// The running number of this section's first interface.
    first: u32,
    /// The interface that was announced last.
    described: Interface,
    /// The last frame's time, for simple packet blocks, which have none.
    last_time: Timestamp,
    /// A frame whose drop count goes before it.
    pending: Option<Found>,
}

/// What reading the frames of an interface takes.
#[derive(Clone, Copy, Debug)]
struct Known {
    resolution: Resolution,
    time_offset: i64,
    snap_length: u32,
    /// Drops that were said already.
    by_kernel: u64,
    by_interface: u64,
}

/// A block that was read whole and whose framing is sound.
struct Block {
    offset: u64,
    body: Span,
}

impl Block {
    /// The fault of a body that has no room for its fields.
    fn short(&self, expected: &str, input: &Input) -> Box<Fault> {
        Fault::damaged(self.offset, expected, format!("a body of {} bytes", input.bytes(self.body).len()))
    }
}

impl Pcapng {
    /// A reader at a section header; `None` when the file is something else.
    ///
    /// Blocks longer than `max_block` are not read; such as are passed over may be longer.
    pub(crate) fn open(input: &Input, max_block: u32) -> Option<Self> {
        input.rest().starts_with(&SECTION.to_be_bytes()).then(|| Self {
            max_block,
            order: Order::Little,
            section: Vec::new(),
            first: 0,
            described: Interface {
                link_type: LinkType::NULL,
                snap_length: 0,
                resolution: Resolution::MICROS,
                time_offset: 0,
                fcs_length: None,
                options: Vec::new(),
            },
            last_time: Timestamp(0),
            pending: None,
        })
    }

    /// The interface that was announced last.
    pub(crate) const fn interface(&self) -> &Interface {
        &self.described
    }

    /// Whether the next block lies whole in the buffer. One in the other byte order, a new section, is taken for one that does not.
    pub(crate) fn is_at_hand(&self, input: &Input) -> bool {
        let rest = input.rest();
        self.pending.is_some()
            || words(rest, self.order)
                .is_some_and(|([_, length], _)| rest.len() >= length as usize && length >= FRAMING)
    }

    /// The next block of which there is something to say.
    pub(crate) fn step(&mut self, input: &mut Input) -> Checked<Option<Found>> {
        if let Some(found) = self.pending.take() {
            return Ok(Some(found));
        }
        loop {
            let offset = input.offset();
            if !input.need(FRAMING as usize)? {
                return match input.rest().len() {
                    0 => Ok(None),
                    n => Err(Fault::truncated(offset, format!("a block of at least {FRAMING} bytes"), n)),
                };
            }
            // A section header's type reads the same in both orders; the number behind its length tells which it is.
            if input.rest().starts_with(&SECTION.to_be_bytes()) {
                self.order = match input.rest() {
                    [_, _, _, _, _, _, _, _, 0x1a, 0x2b, 0x3c, 0x4d, ..] => Order::Big,
                    [_, _, _, _, _, _, _, _, 0x4d, 0x3c, 0x2b, 0x1a, ..] => Order::Little,
                    rest => {
                        let found = rest.iter().skip(8).take(4).map(|b| format!("{b:02x}")).collect::<String>();
                        return Err(Fault::damaged(offset + 8, "a section's byte-order magic 1a2b3c4d", found));
                    }
                };
            }
            let Some(([kind, length], _)) = words(input.rest(), self.order) else { return Ok(None) };
            if length < FRAMING || length % 4 != 0 {
                let expected = "a block length that is a multiple of 4 and at least 12";
                return Err(Fault::damaged(offset + 4, expected, length.to_string()));
            }
            let most = match kind {
                INTERFACE => MAX_DESCRIPTION,
                SECTION | PACKET | SIMPLE_PACKET | NAMES | STATISTICS | ENHANCED_PACKET | SECRETS => self.max_block,
                _ => {
                    self.pass_over(length, input)?;
                    continue;
                }
            };
            if length > most {
                let expected = format!("a block of type {kind:#x} of at most {most} bytes");
                return Err(Fault::damaged(offset + 4, expected, length.to_string()));
            }
            if !input.need(length as usize)? {
                return Err(Fault::truncated(offset, format!("a block of {length} bytes"), input.rest().len()));
            }
            let whole = input.take(length as usize);
            let (head, body, tail) = (8, length as usize - FRAMING as usize, 4);
            self.check_tail(input.bytes(whole.part(head + body, tail)), length, offset)?;
            let block = Block { offset, body: whole.part(head, body) };
            let found = match kind {
                SECTION => self.section(&block, input)?,
                INTERFACE => self.interface_description(&block, input)?,
                ENHANCED_PACKET => self.enhanced_packet(&block, input)?,
                SIMPLE_PACKET => self.simple_packet(&block, input)?,
                PACKET => self.packet(&block, input)?,
                STATISTICS => self.statistics(&block, input)?,
                NAMES => {
                    if self.order == Order::Big {
                        options::turn_names(input.bytes_mut(block.body));
                    }
                    Some(Found::Names(block.body))
                }
                _ => Some(self.secrets(&block, input)?),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Passes over a block of any length without keeping it.
    fn pass_over(&self, length: u32, input: &mut Input) -> Checked<()> {
        let offset = input.offset();
        let before_tail = u64::from(length) - 4;
        let skipped = input.skip(before_tail)?;
        if skipped < before_tail || !input.need(4)? {
            let found = skipped as usize + input.rest().len();
            return Err(Fault::truncated(offset, format!("a block of {length} bytes"), found));
        }
        let tail = input.take(4);
        self.check_tail(input.bytes(tail), length, offset)
    }

    /// A block's length stands at both of its ends.
    #[inline]
    fn check_tail(&self, tail: &[u8], length: u32, offset: u64) -> Checked<()> {
        match words(tail, self.order) {
            Some(([again], _)) if again == length => Ok(()),
            Some(([again], _)) => {
                let offset = offset + u64::from(length) - 4;
                Err(Fault::damaged(offset, format!("the block's length {length} again"), again.to_string()))
            }
            None => Err(Fault::truncated(offset, format!("a block of {length} bytes"), tail.len())),
        }
    }

    fn section(&mut self, block: &Block, input: &Input) -> Checked<Option<Found>> {
        // Magic, version, and the section's length, which is not relied upon: writers leave it open.
        let Some(([_, version, _, _], _)) = words(input.bytes(block.body), self.order) else {
            return Err(block.short("a section header", input));
        };
        let (major, minor) = match self.order {
            Order::Little => (version & 0xffff, version >> 16),
            Order::Big => (version >> 16, version & 0xffff),
        };
        // 1.2 was written for a while by some programs and is laid out as 1.0.
        if major != 1 || (minor != 0 && minor != 2) {
            return Err(Fault::damaged(
                block.offset + 12,
                "a pcapng version of 1.0 or 1.2",
                format!("{major}.{minor}"),
            ));
        }
        self.first += self.section.len() as u32;
        self.section.clear();
        Ok(None)
    }

    fn interface_description(&mut self, block: &Block, input: &Input) -> Checked<Option<Found>> {
        const TIME_RESOLUTION: u16 = 9;
        const FCS_LENGTH: u16 = 13;
        const TIME_OFFSET: u16 = 14;
        let number = self.first + self.section.len() as u32;
        if number >= MAX_INTERFACES {
            return Err(Fault::damaged(block.offset, format!("at most {MAX_INTERFACES} interfaces"), "one more"));
        }
        let order = self.order;
        let Some(([link, snap_length], rest)) = words(input.bytes(block.body), order) else {
            return Err(block.short("an interface description", input));
        };
        // The first half of the word in the file is the link type, the second is reserved.
        let link_type = LinkType(match order {
            Order::Little => link as u16,
            Order::Big => (link >> 16) as u16,
        });
        let described = &mut self.described;
        *described = Interface {
            link_type,
            snap_length,
            resolution: Resolution::MICROS,
            time_offset: 0,
            fcs_length: None,
            options: std::mem::take(&mut described.options),
        };
        described.options.clear();
        let mut wrong = None;
        let end = options::walk(rest, order, |option| {
            match (option.code, option.value) {
                (TIME_RESOLUTION, [resolution]) => described.resolution = Resolution(*resolution),
                (TIME_OFFSET, value) if value.len() == 8 => {
                    described.time_offset = u64_of(value, order) as i64;
                }
                (TIME_RESOLUTION | TIME_OFFSET, _) => wrong = Some(option),
                _ => {
                    if let (FCS_LENGTH, [length]) = (option.code, option.value) {
                        described.fcs_length = Some(fcs_bytes(*length));
                    }
                    options::push_interface_option(&mut described.options, option, order);
                }
            };
        });
        if let Some(Tlv { code, value }) = wrong {
            let name =
                if code == TIME_RESOLUTION { "if_tsresol option of 1 byte" } else { "if_tsoffset option of 8 bytes" };
            return Err(Fault::damaged(block.offset, format!("an {name}"), format!("{} bytes", value.len())));
        }
        if let Rest::Overlong { code, length } = end {
            let found = format!("option {code} of {length} bytes");
            return Err(Fault::damaged(block.offset, "options that lie within their block", found));
        }
        self.section.push(Known {
            resolution: described.resolution,
            time_offset: described.time_offset,
            snap_length,
            by_kernel: 0,
            by_interface: 0,
        });
        Ok(Some(Found::Interface(number)))
    }

    /// An interface of this section by its number in the section, and the reader's number of it.
    #[inline]
    fn known(&mut self, number: u32, offset: u64) -> Checked<(&mut Known, u32)> {
        let count = self.section.len();
        match self.section.get_mut(number as usize) {
            Some(known) => Ok((known, self.first + number)),
            None => {
                let expected = format!("one of the {count} interfaces described in this section");
                Err(Fault::damaged(offset, expected, format!("interface {number}")))
            }
        }
    }

    fn enhanced_packet(&mut self, block: &Block, input: &Input) -> Checked<Option<Found>> {
        const DROP_COUNT: u16 = 4;
        let order = self.order;
        let body = input.bytes(block.body);
        let Some(([number, high, low, captured, wire_len], rest)) = words(body, order) else {
            return Err(block.short("an enhanced packet", input));
        };
        let (known, interface) = self.known(number, block.offset)?;
        let time = from_ticks(u64::from(high) << 32 | u64::from(low), known.resolution, known.time_offset);
        let (data, options) = packet_data(block, 20, captured, rest)?;
        let mut dropped = 0;
        // Most packets have no options. What is wrong in those of a packet does not make the packet wrong.
        if options.len() > 4 {
            let _ = options::walk(options, order, |option| {
                if option.code == DROP_COUNT && option.value.len() == 8 {
                    dropped = u64_of(option.value, order);
                }
            });
        }
        Ok(Some(self.frame(Found::Frame { time, interface, wire_len, data }, time, number, dropped)))
    }

    fn simple_packet(&mut self, block: &Block, input: &Input) -> Checked<Option<Found>> {
        let Some(([wire_len], rest)) = words(input.bytes(block.body), self.order) else {
            return Err(block.short("a simple packet", input));
        };
        let time = self.last_time;
        let (known, interface) = self.known(0, block.offset)?;
        let captured = if known.snap_length == 0 { wire_len } else { wire_len.min(known.snap_length) };
        let (data, _) = packet_data(block, 4, captured, rest)?;
        Ok(Some(Found::Frame { time, interface, wire_len, data }))
    }

    /// The obsolete packet block.
    fn packet(&mut self, block: &Block, input: &Input) -> Checked<Option<Found>> {
        const NOT_KNOWN: u32 = 0xffff;
        let Some(([head, high, low, captured, wire_len], rest)) = words(input.bytes(block.body), self.order) else {
            return Err(block.short("a packet", input));
        };
        let (number, dropped) = match self.order {
            Order::Little => (head & 0xffff, head >> 16),
            Order::Big => (head >> 16, head & 0xffff),
        };
        let dropped = if dropped == NOT_KNOWN { 0 } else { dropped };
        let (known, interface) = self.known(number, block.offset)?;
        let time = from_ticks(u64::from(high) << 32 | u64::from(low), known.resolution, known.time_offset);
        let (data, _) = packet_data(block, 20, captured, rest)?;
        Ok(Some(self.frame(Found::Frame { time, interface, wire_len, data }, time, number, dropped.into())))
    }

    /// Gives the frame, or first the frames that were lost before it.
    fn frame(&mut self, frame: Found, time: Timestamp, number: u32, dropped: u64) -> Found {
        self.last_time = time;
        match self.section.get_mut(number as usize) {
            Some(known) if dropped > 0 => {
                known.by_kernel = known.by_kernel.saturating_add(dropped);
                self.pending = Some(frame);
                Found::Drops(Drops {
                    interface: self.first + number,
                    by_kernel: dropped,
                    by_interface: 0,
                    between: None,
                })
            }
            _ => frame,
        }
    }

    /// Counters since the capture began; what was said before is taken off.
    fn statistics(&mut self, block: &Block, input: &Input) -> Checked<Option<Found>> {
        const DROPPED_BY_INTERFACE: u16 = 5;
        const DROPPED_BY_SYSTEM: u16 = 7;
        let order = self.order;
        let Some(([number, _, _], rest)) = words(input.bytes(block.body), order) else {
            return Err(block.short("interface statistics", input));
        };
        let (known, interface) = self.known(number, block.offset)?;
        let (mut by_kernel, mut by_interface) = (0, 0);
        let _ = options::walk(rest, order, |option| match (option.code, option.value.len()) {
            (DROPPED_BY_INTERFACE, 8) => by_interface = u64_of(option.value, order),
            (DROPPED_BY_SYSTEM, 8) => by_kernel = u64_of(option.value, order),
            _ => {}
        });
        let by_kernel = by_kernel.saturating_sub(known.by_kernel);
        let by_interface = by_interface.saturating_sub(known.by_interface);
        known.by_kernel = known.by_kernel.saturating_add(by_kernel);
        known.by_interface = known.by_interface.saturating_add(by_interface);
        let any = by_kernel > 0 || by_interface > 0;
        Ok(any.then_some(Found::Drops(Drops { interface, by_kernel, by_interface, between: None })))
    }

    fn secrets(&self, block: &Block, input: &Input) -> Checked<Found> {
        let Some(([kind, length], rest)) = words(input.bytes(block.body), self.order) else {
            return Err(block.short("decryption secrets", input));
        };
        if length as usize > rest.len() {
            let expected = format!("secrets of at most the {} bytes that the block has", rest.len());
            return Err(Fault::damaged(block.offset, expected, length.to_string()));
        }
        Ok(Found::Secrets { kind, data: block.body.part(8, length as usize) })
    }
}

/// A packet's bytes, which begin `skip` bytes into the block's body, and what follows their padding.
#[inline]
fn packet_data<'a>(block: &Block, skip: usize, captured: u32, rest: &'a [u8]) -> Checked<(Span, &'a [u8])> {
    let length = captured as usize;
    if length > MAX_FRAME || length > rest.len() {
        let expected = format!("a packet of at most {} captured bytes", rest.len().min(MAX_FRAME));
        return Err(Fault::damaged(block.offset, expected, captured.to_string()));
    }
    Ok((block.body.part(skip, length), rest.get(padded(length)..).unwrap_or_default()))
}

/// A number of 64 bits; 0 when the value is shorter.
fn u64_of(value: &[u8], order: Order) -> u64 {
    value.first_chunk::<8>().map_or(0, |bytes| order.u64(*bytes))
}

/// `if_fcslen` in bytes. The specification says bits and gives 4 as its example, which is the bytes of Ethernet's; no
/// check sequence has 16 bytes or more, so from there on it is bits.
const fn fcs_bytes(length: u8) -> u8 {
    if length >= 16 { length / 8 } else { length }
}
