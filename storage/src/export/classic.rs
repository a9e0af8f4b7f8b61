//! Classic pcap (draft-ietf-opsawg-pcap): little-endian, version 2.4.

use std::io::{self, Write};

use streamdb_types::{Interface, Resolution, to_ticks};

use crate::read::frames::StoredFrame;

/// The file header; without an interface that of an empty Ethernet capture.
pub(super) fn header(out: &mut impl Write, interface: Option<&Interface>) -> io::Result<()> {
    let nanos = interface.is_some_and(|i| i.resolution == Resolution::NANOS);
    let magic: u32 = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    // The FCS length, in units of 16 bits, is in the upper bits of the link type, with a bit that says so.
    let fcs = interface.and_then(|i| i.fcs_length).map_or(0, |len| (u32::from(len) / 2) << 28 | 1 << 26);
    let snap_length = interface.map_or(262_144, |i| i.snap_length);
    let link = interface.map_or(1, |i| u32::from(i.link_type.0));
    out.write_all(&magic.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0])?;
    out.write_all(&[0; 8])?;
    out.write_all(&snap_length.to_le_bytes())?;
    out.write_all(&(link | fcs).to_le_bytes())
}

pub(super) fn frame(out: &mut impl Write, frame: &StoredFrame<'_>) -> io::Result<()> {
    let per_second = if frame.interface.resolution == Resolution::NANOS { 1_000_000_000 } else { 1_000_000 };
    let ticks = to_ticks(frame.time, frame.interface);
    let seconds = u32::try_from(ticks / per_second);
    let seconds = seconds.map_err(|_| io::Error::other(format!("the time {} is beyond classic pcap", frame.time)))?;
    out.write_all(&seconds.to_le_bytes())?;
    out.write_all(&((ticks % per_second) as u32).to_le_bytes())?;
    out.write_all(&(frame.data.len() as u32).to_le_bytes())?;
    out.write_all(&frame.wire_len.to_le_bytes())?;
    out.write_all(frame.data)
}
