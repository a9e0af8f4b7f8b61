//! pcapng (draft-ietf-opsawg-pcapng): one little-endian section, an Interface Description Block before the first frame of
//! each interface, Enhanced Packet Blocks.

use std::io::{self, Write};

use streamdb_types::{Interface, Resolution, to_ticks};

use crate::read::frames::StoredFrame;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

pub(super) fn section(out: &mut impl Write) -> io::Result<()> {
    let mut body = Vec::new();
    body.extend(0x1a2b_3c4du32.to_le_bytes());
    body.extend([1, 0, 0, 0]);
    body.extend(u64::MAX.to_le_bytes());
    block(out, SECTION, &[&body])
}

pub(super) fn interface(out: &mut impl Write, interface: &Interface) -> io::Result<()> {
    let mut body = Vec::new();
    body.extend(interface.link_type.0.to_le_bytes());
    body.extend([0; 2]);
    body.extend(interface.snap_length.to_le_bytes());
    // The options as they stood, without their end; then those that were taken out of them.
    body.extend(&interface.options);
    let mut option = |code: u16, value: &[u8]| {
        body.extend(code.to_le_bytes());
        body.extend((value.len() as u16).to_le_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    let mut any = !interface.options.is_empty();
    if interface.resolution != Resolution::MICROS {
        option(IF_TSRESOL, &[interface.resolution.0]);
        any = true;
    }
    if interface.time_offset != 0 {
        option(IF_TSOFFSET, &interface.time_offset.to_le_bytes());
        any = true;
    }
    if any {
        option(0, &[]);
    }
    block(out, INTERFACE, &[&body])
}

pub(super) fn frame(out: &mut impl Write, interface: u32, frame: &StoredFrame<'_>) -> io::Result<()> {
    let ticks = to_ticks(frame.time, frame.interface);
    let mut head = [0u8; 20];
    let fields = [interface, (ticks >> 32) as u32, ticks as u32, frame.data.len() as u32, frame.wire_len];
    for (room, field) in head.chunks_exact_mut(4).zip(fields) {
        room.copy_from_slice(&field.to_le_bytes());
    }
    block(out, ENHANCED_PACKET, &[&head, frame.data])
}

fn block(out: &mut impl Write, kind: u32, body: &[&[u8]]) -> io::Result<()> {
    let len: usize = body.iter().map(|piece| piece.len()).sum();
    let padding = len.next_multiple_of(4) - len;
    let total = ((12 + len + padding) as u32).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&total)?;
    for piece in body {
        out.write_all(piece)?;
    }
    out.write_all([0u8; 3].get(..padding).unwrap_or_default())?;
    out.write_all(&total)
}
