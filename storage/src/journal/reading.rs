//! The decoder's side of a row: reads what the encoder wrote down, and expects the rest.

use super::columns::{In, miss, odd, shape};
use super::layout::{HEAD, Head, Layout};
use super::predict::{Side, sums};
use super::slot::Past;
use super::sum::sum;
use super::varint::{Cursor, unzigzag, unzigzag16, unzigzag32};
use super::{JournalError, MAX_FRAME};

/// A row's lengths and bytes but for its header.
pub(super) struct Parts<'a> {
    pub(super) header_len: usize,
    pub(super) payload_len: usize,
    pub(super) offset: Option<u64>,
    /// The length on the wire less the captured one.
    pub(super) wire: i64,
    pub(super) inline: &'a [u8],
    pub(super) pads: bool,
    pub(super) trailer: &'a [u8],
}

/// The decoder's side of a row.
pub(super) struct Read<'c, 'a, 'p> {
    pub(super) columns: &'c mut In<'a>,
    pub(super) shape: u8,
    pub(super) misses: u8,
    pub(super) odd: u8,
    pub(super) whole: bool,
    pub(super) tail: &'a [u8],
    pub(super) payload: &'p [u8],
}

impl<'a> Read<'_, 'a, '_> {
    pub(super) fn parts(&mut self, last_header: u32, slot: &mut Past) -> Result<Parts<'a>, JournalError> {
        let columns = &mut *self.columns;
        let payload_len = match self.shape & shape::LENGTH {
            0 => slot.payload_len,
            1 => 0,
            2 => slot.other_len,
            _ => columns.length.varint32()?,
        } as usize;
        let header_len = if self.odd & odd::HEADER != 0 { columns.header.varint32()? } else { last_header } as usize;
        if self.odd & odd::INTERFACE != 0 {
            slot.interface = columns.interface.varint32()?;
        }
        let wire = if self.odd & odd::WIRE != 0 { unzigzag(columns.wire.varint()?) } else { 0 };
        if header_len > MAX_FRAME || payload_len > MAX_FRAME {
            return Err(JournalError::Bad("a frame of more than 262,144 bytes"));
        }
        self.tail = columns.inline.take(header_len.saturating_sub(HEAD))?;
        let (mut inline, mut offset) = (&[][..], None);
        if self.odd & odd::INLINE != 0 {
            inline = columns.inline.take(payload_len)?;
        } else if payload_len > 0 {
            let step = if self.shape & shape::OFFSET != 0 { columns.bits.number(&mut columns.offset)? } else { 0 };
            offset = Some(slot.next_offset.wrapping_add(unzigzag(step) as u64));
        }
        if self.odd & odd::TRAILER != 0 {
            slot.trailer = columns.trailer.varint32()?;
        }
        let trailer = columns.inline.take((slot.trailer >> 1) as usize)?;
        Ok(Parts { header_len, payload_len, offset, wire, inline, pads: slot.trailer & 1 == 1, trailer })
    }

    fn runs(&mut self, head: &mut Head, len: usize) -> Result<(), JournalError> {
        let mut rest = head.0.get_mut(..len).ok_or(JournalError::Short)?;
        for _ in 0..self.columns.runs.byte()? {
            let (gap, run) = (self.columns.gaps.byte()?, self.columns.run_lengths.byte()?);
            let (_, after) = rest.split_at_mut_checked(gap.into()).ok_or(JournalError::Bad(PATCH))?;
            let (to, after) = after.split_at_mut_checked(run.into()).ok_or(JournalError::Bad(PATCH))?;
            to.copy_from_slice(self.columns.patches.take(run.into())?);
            rest = after;
        }
        Ok(())
    }

    fn short(low: &mut Cursor<'_>, high: &mut Cursor<'_>) -> Result<u16, JournalError> {
        Ok(unzigzag16(u16::from_le_bytes([low.byte()?, high.byte()?])))
    }

    fn misses(&self, bit: u8) -> bool {
        self.misses & bit != 0
    }
}

const PATCH: &str = "a patch beyond the header";

fn step(number: u64) -> Result<u32, JournalError> {
    Ok(unzigzag32(u32::try_from(number).map_err(|_| JournalError::Bad("a step of more than 32 bits"))?))
}

impl Side for Read<'_, '_, '_> {
    type Error = JournalError;

    fn flags(&mut self, expected: u8, _: u8) -> Result<u8, JournalError> {
        if self.misses(miss::FLAGS) { self.columns.flags.byte() } else { Ok(expected) }
    }

    fn seq(&mut self, expected: u32, _: u8) -> Result<u32, JournalError> {
        if !self.misses(miss::SEQ) {
            return Ok(expected);
        }
        Ok(expected.wrapping_add(step(self.columns.bits.number(&mut self.columns.seq)?)?))
    }

    fn ack(&mut self, expected: [u32; 3], _: u8) -> Result<u32, JournalError> {
        let [last, all, next] = expected;
        Ok(match self.shape >> shape::ACK_SHIFT & 3 {
            0 => last,
            1 => all,
            2 => next,
            _ => last.wrapping_add(step(self.columns.bits.number(&mut self.columns.ack)?)?),
        })
    }

    fn window(&mut self, expected: u16, _: u8) -> Result<u16, JournalError> {
        if !self.misses(miss::WINDOW) {
            return Ok(expected);
        }
        Ok(expected.wrapping_add(Self::short(&mut self.columns.window_low, &mut self.columns.window_high)?))
    }

    fn stamp(&mut self, expected: u32, _: u8) -> Result<u32, JournalError> {
        if !self.misses(miss::STAMP) {
            return Ok(expected);
        }
        Ok(expected.wrapping_add(step(self.columns.bits.number(&mut self.columns.stamp)?)?))
    }

    fn echo(&mut self, expected: [u32; 2], _: u8) -> Result<u32, JournalError> {
        let [last, peers] = expected;
        if self.misses(miss::ECHO) {
            return Ok(peers.wrapping_add(step(self.columns.bits.number(&mut self.columns.echo)?)?));
        }
        Ok(if self.shape & shape::ECHO != 0 { peers } else { last })
    }

    fn id(&mut self, expected: u16, _: u8) -> Result<u16, JournalError> {
        if !self.misses(miss::ID) {
            return Ok(expected);
        }
        Ok(expected.wrapping_add(Self::short(&mut self.columns.id_low, &mut self.columns.id_high)?))
    }

    fn patch(&mut self, head: &mut Head, len: usize, _: &Layout) -> Result<bool, JournalError> {
        if !self.misses(miss::PATCH) {
            return Ok(false);
        }
        self.runs(head, len)?;
        Ok(true)
    }

    fn sums(
        &mut self,
        before: u8,
        _: &Layout,
        at: Option<u8>,
        guess: impl Fn(&mut Self, u8) -> u16,
    ) -> Result<(u8, u16), JournalError> {
        let code = if self.misses(miss::SUMS) { self.columns.sums.byte()? } else { before };
        if code > sums::MASK + sums::OUTER + sums::NO_IPV4 || code & sums::MASK > sums::LITERAL {
            return Err(JournalError::Bad("a way to make checksums that is not known"));
        }
        let value = match (at, code & sums::MASK) {
            (None, _) => 0,
            (_, sums::LITERAL) => u16::from_be_bytes(self.columns.sum_bytes.array()?),
            (_, _) if !self.whole => 0,
            (_, how) => guess(self, how),
        };
        Ok((code, value))
    }

    fn late_patch(&mut self, head: &mut Head, len: usize) -> Result<bool, JournalError> {
        if self.odd & odd::LATE_PATCH == 0 {
            return Ok(false);
        }
        self.runs(head, len)?;
        Ok(true)
    }

    fn whole(&self) -> bool {
        self.whole
    }

    fn payload_sum(&mut self) -> u16 {
        sum(self.payload)
    }

    fn tail(&self) -> &[u8] {
        self.tail
    }
}
