//! The encoder's side of a row: looks what is true, and writes down what a reader would not expect.

use std::convert::Infallible;

use super::MIN_ETHERNET;
use super::columns::{Out, miss, odd, shape};
use super::layout::{Head, Kind, Layout, sum_offset, zero_sums};
use super::predict::{Side, sums};
use super::rows::{Payload, Row, Rows};
use super::slot::{Facts, Past};
use super::varint::{put_number, put_varint, zigzag, zigzag16, zigzag32};

/// The encoder's side of a row.
pub(super) struct Truth<'a> {
    out: &'a mut Out,
    truth: &'a Head,
    tail: &'a [u8],
    row: &'a Row,
    misses: u8,
    shape: u8,
    odd: u8,
}

impl<'a> Truth<'a> {
    pub(super) fn new(out: &'a mut Out, truth: &'a Head, tail: &'a [u8], row: &'a Row, backwards: bool) -> Self {
        Self { out, truth, tail, row, misses: 0, shape: 0, odd: if backwards { odd::BACKWARDS } else { 0 } }
    }

    /// Writes down all but the header.
    pub(super) fn facts(&mut self, rows: &Rows, header_len: u32, slot: &mut Past, interface: u32) -> Facts {
        let (row, out) = (self.row, &mut *self.out);
        let mut offset = None;
        self.shape |= match row.payload_len {
            n if n == slot.payload_len => 0,
            0 => 1,
            n if n == slot.other_len => 2,
            n => {
                put_varint(&mut out.length, u64::from(n));
                3
            }
        };
        if row.header_len != header_len {
            self.odd |= odd::HEADER;
            put_varint(&mut out.header, u64::from(row.header_len));
        }
        if interface != slot.interface {
            self.odd |= odd::INTERFACE;
            put_varint(&mut out.interface, u64::from(interface));
            slot.interface = interface;
        }
        let captured = row.len() as u32;
        if row.wire_len != captured {
            self.odd |= odd::WIRE;
            put_varint(&mut out.wire, zigzag(i64::from(row.wire_len) - i64::from(captured)));
        }
        out.inline.extend_from_slice(self.tail);
        match row.payload {
            Payload::Stream(at) => {
                offset = Some(at.0);
                if at.0 != slot.next_offset {
                    self.shape |= shape::OFFSET;
                    let step = at.0.wrapping_sub(slot.next_offset) as i64;
                    put_number(&mut out.offset, &mut out.bits, zigzag(step));
                }
            }
            Payload::Inline(at) => {
                self.odd |= odd::INLINE;
                out.inline.extend_from_slice(rows.slice(at, row.payload_len));
            }
            Payload::None | Payload::Pending => {}
        }
        let trailer = rows.slice(row.trailer_at, row.trailer_len);
        let room = MIN_ETHERNET.saturating_sub(row.header_len + row.payload_len);
        let padding = trailer.split_at_checked(room as usize).filter(|(pad, _)| pad.iter().all(|b| *b == 0));
        // Where there is no room, a slot that pads goes on padding.
        let (pads, literal) = match padding {
            Some((_, rest)) if room > 0 || slot.trailer & 1 == 1 => (1, rest),
            _ => (0, trailer),
        };
        let code = (literal.len() as u32) << 1 | pads;
        if code != slot.trailer {
            self.odd |= odd::TRAILER;
            put_varint(&mut out.trailer, u64::from(code));
            slot.trailer = code;
        }
        out.inline.extend_from_slice(literal);
        Facts {
            time: row.time,
            header_len: row.header_len,
            payload_len: row.payload_len,
            offset,
            size: row.header_len + row.payload_len + row.wire_len.saturating_sub(captured),
            loose: row.connection.is_none(),
        }
    }

    pub(super) fn finish(mut self) {
        if self.misses != 0 {
            self.shape |= shape::MISSES;
            self.out.misses.push(self.misses);
        }
        if self.odd != 0 {
            self.shape |= shape::ODD;
            self.out.odd.push(self.odd);
        }
        self.out.shape.push(self.shape);
    }

    /// Writes down where `head` differs from the truth, and makes it true.
    fn runs(&mut self, head: &mut Head, truth: &Head, len: usize) {
        let out = &mut *self.out;
        let (mut count, mut end) = (0u8, 0);
        let bytes = |from: usize, to: usize| truth.0.get(from..to).unwrap_or_default();
        let differs = |at: usize| head.0.get(at) != truth.0.get(at);
        while let Some(start) = head.differs(truth, end).filter(|start| *start < len) {
            let mut stop = start + 1;
            // One equal byte between two others costs less than another run.
            while stop < len && (differs(stop) || (stop + 1 < len && differs(stop + 1))) {
                stop += 1;
            }
            out.gaps.push((start - end) as u8);
            out.run_lengths.push((stop - start) as u8);
            out.patches.extend_from_slice(bytes(start, stop));
            count += 1;
            end = stop;
        }
        out.runs.push(count);
        *head = *truth;
    }
}

impl Side for Truth<'_> {
    type Error = Infallible;

    fn flags(&mut self, expected: u8, at: u8) -> Result<u8, Infallible> {
        let truth = self.truth.byte(at);
        if truth != expected {
            self.misses |= miss::FLAGS;
            self.out.flags.push(truth);
        }
        Ok(truth)
    }

    fn seq(&mut self, expected: u32, at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        if truth != expected {
            self.misses |= miss::SEQ;
            put_number(&mut self.out.seq, &mut self.out.bits, zigzag32(truth.wrapping_sub(expected)).into());
        }
        Ok(truth)
    }

    fn ack(&mut self, expected: [u32; 3], at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        let [last, all, step] = expected;
        let code = match truth {
            n if n == last => 0,
            n if n == all => 1,
            n if n == step => 2,
            n => {
                put_number(&mut self.out.ack, &mut self.out.bits, zigzag32(n.wrapping_sub(last)).into());
                3
            }
        };
        self.shape |= code << shape::ACK_SHIFT;
        Ok(truth)
    }

    fn window(&mut self, expected: u16, at: u8) -> Result<u16, Infallible> {
        let truth = self.truth.u16(at);
        if truth != expected {
            self.misses |= miss::WINDOW;
            let [low, high] = zigzag16(truth.wrapping_sub(expected)).to_le_bytes();
            self.out.window_low.push(low);
            self.out.window_high.push(high);
        }
        Ok(truth)
    }

    fn stamp(&mut self, expected: u32, at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        if truth != expected {
            self.misses |= miss::STAMP;
            put_number(&mut self.out.stamp, &mut self.out.bits, zigzag32(truth.wrapping_sub(expected)).into());
        }
        Ok(truth)
    }

    fn echo(&mut self, expected: [u32; 2], at: u8) -> Result<u32, Infallible> {
        let truth = self.truth.u32(at);
        let [last, peers] = expected;
        if truth == peers && truth != last {
            self.shape |= shape::ECHO;
        } else if truth != last {
            self.misses |= miss::ECHO;
            put_number(&mut self.out.echo, &mut self.out.bits, zigzag32(truth.wrapping_sub(peers)).into());
        }
        Ok(truth)
    }

    fn id(&mut self, expected: u16, at: u8) -> Result<u16, Infallible> {
        let truth = self.truth.u16(at);
        if truth != expected {
            self.misses |= miss::ID;
            let [low, high] = zigzag16(truth.wrapping_sub(expected)).to_le_bytes();
            self.out.id_low.push(low);
            self.out.id_high.push(high);
        }
        Ok(truth)
    }

    fn patch(&mut self, head: &mut Head, len: usize, layout: &Layout) -> Result<bool, Infallible> {
        // The truth's id and checksums are lent to the head, so that equal means equal in all the rest.
        let id = layout.ipv4.map(|at| (at + 4, head.u16(at + 4)));
        if let Some((at, _)) = id {
            head.put(at, self.truth.u16(at).to_be_bytes());
        }
        for (kind, at) in layout.layers() {
            if let Some(offset) = sum_offset(*kind) {
                head.put(at + offset, self.truth.u16(at + offset).to_be_bytes());
            }
        }
        let differs = !head.is(self.truth);
        if differs {
            self.misses |= miss::PATCH;
            self.runs(head, self.truth, len);
        }
        if let Some((at, id)) = id {
            head.put(at, id.to_be_bytes());
        }
        zero_sums(head, layout);
        Ok(differs)
    }

    fn sums(
        &mut self,
        before: u8,
        layout: &Layout,
        at: Option<u8>,
        guess: impl Fn(&mut Self, u8) -> u16,
    ) -> Result<(u8, u16), Infallible> {
        let mut code = before;
        let mut set = |bit: u8, on: bool| code = if on { code | bit } else { code & !bit };
        if let Some(at) = layout.ipv4 {
            set(sums::NO_IPV4, self.truth.u16(at + 10) == 0);
        }
        for (kind, place) in layout.layers() {
            if *kind == Kind::Udp && sum_offset(*kind).map(|o| o + place) != at {
                set(sums::OUTER, self.truth.u16(place + 6) != 0);
            }
        }
        let mut value = 0;
        if let Some(at) = at {
            value = self.truth.u16(at);
            let as_before = before & sums::MASK;
            if as_before == sums::LITERAL || guess(self, as_before) != value {
                let fits = [sums::RIGHT, sums::PSEUDO, sums::ZERO, sums::AS_LAST]
                    .into_iter()
                    .find(|code| *code != as_before && guess(self, *code) == value);
                code = code & !sums::MASK | fits.unwrap_or(sums::LITERAL);
            }
            if code & sums::MASK == sums::LITERAL {
                self.out.sum_bytes.extend_from_slice(&value.to_be_bytes());
            }
        }
        if code != before {
            self.misses |= miss::SUMS;
            self.out.sums.push(code);
        }
        Ok((code, value))
    }

    fn late_patch(&mut self, head: &mut Head, len: usize) -> Result<bool, Infallible> {
        if head.is(self.truth) {
            return Ok(false);
        }
        self.odd |= odd::LATE_PATCH;
        self.runs(head, self.truth, len);
        Ok(true)
    }

    fn whole(&self) -> bool {
        true
    }

    fn payload_sum(&mut self) -> u16 {
        self.row.payload_sum
    }

    fn tail(&self) -> &[u8] {
        self.tail
    }
}
