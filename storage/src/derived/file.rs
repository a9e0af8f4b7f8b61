//! The file: a head, and frames. What lies after the last commit does not count.
//!
//! ```text
//! FILE  := head frame*
//! head  : magic "SDBOBJS1", bucket id u64, derivation u32, crc32 u32 of these 20 bytes
//! frame : length u32, crc32 u32 of the payload and the frame's position, payload
//! payload: kind u8, then
//!   1 CONNECTION  the rows of a connection (row.rs); a later one for the same connection takes the place of an earlier one
//!   2 COMMIT      covered place u64, whole u8: all frames before it count
//! ```

use streamdb_types::{BlockPlace, BucketId};

use super::{Covered, DERIVATION};
use crate::format::bytes::{Reader, Short};

const MAGIC: &[u8; 8] = b"SDBOBJS1";
pub(super) const HEAD: usize = 24;
/// Bytes before a payload.
pub(super) const FRAME: usize = 8;
/// Most bytes of a payload. A connection whose rows take more has none there: they are made when they are asked for.
pub(super) const MOST: usize = 64 << 20;

const CONNECTION: u8 = 1;
const COMMIT: u8 = 2;

/// The head of a bucket's file.
pub(super) fn head(bucket: BucketId) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(bucket.0.to_le_bytes());
    head.extend(DERIVATION.to_le_bytes());
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head
}

/// Whether this is the head of this bucket's file, of today's derivation.
pub(super) fn is_head(bytes: &[u8], bucket: BucketId) -> bool {
    bytes == head(bucket)
}

/// What a frame says.
pub(super) enum Payload<'a> {
    Connection(&'a [u8]),
    Commit(Covered),
}

/// Appends a frame that will lie at `position` of the file.
pub(super) fn put(out: &mut Vec<u8>, position: u64, payload: &Payload<'_>) {
    let mut bytes = Vec::new();
    match payload {
        Payload::Connection(rows) => {
            bytes.push(CONNECTION);
            bytes.extend_from_slice(rows);
        }
        Payload::Commit(covered) => {
            bytes.push(COMMIT);
            bytes.extend(covered.to.0.to_le_bytes());
            bytes.push(u8::from(covered.whole));
        }
    }
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(checksum(&bytes, position).to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn checksum(payload: &[u8], position: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(payload);
    crc.update(&position.to_le_bytes());
    crc.finalize()
}

/// The length of the payload of the frame with this beginning.
pub(super) fn length(frame: &[u8]) -> Result<usize, Short> {
    let length = Reader(frame).u32()? as usize;
    if length == 0 || length > MOST { Err(Short) } else { Ok(length) }
}

/// The frame at `position`, whole: an error when it is none, or its checksum is wrong.
pub(super) fn decode(frame: &[u8], position: u64) -> Result<Payload<'_>, Short> {
    let mut r = Reader(frame);
    let length = r.u32()? as usize;
    let crc = r.u32()?;
    let payload = r.take(length)?;
    if checksum(payload, position) != crc {
        return Err(Short);
    }
    let mut r = Reader(payload);
    match r.u8()? {
        CONNECTION => Ok(Payload::Connection(r.0)),
        COMMIT => {
            let to = BlockPlace(r.u64()?);
            Ok(Payload::Commit(Covered { to, whole: r.u8()? == 1 }))
        }
        _ => Err(Short),
    }
}
