//! A stream's bytes as they are.

use std::ops::{ControlFlow, Range};

use streamdb_extract::Piece;
use streamdb_storage::{Error, Read, Stream};
use streamdb_types::{Gap, StreamOffset};

/// What is read at a time.
const READ_BYTES: usize = 256 << 10;

/// Hands out the bytes and holes of a stream from `range.start` to before `range.end`, in order, until `out` breaks off.
///
/// # Errors
/// When a block is damaged: what was handed out before is true, and not all.
pub fn raw(
    stream: &Stream,
    range: Range<StreamOffset>,
    out: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let end = range.end.min(stream.len());
    let mut at = range.start;
    let mut buffer = vec![0; usize::try_from(end.since(at)).unwrap_or(READ_BYTES).min(READ_BYTES)];
    while at < end {
        let room = usize::try_from(end.since(at)).unwrap_or(READ_BYTES).min(buffer.len());
        let flow = match stream.read_at(at, buffer.get_mut(..room).unwrap_or_default())? {
            Read::Bytes(n) => {
                at = at.add(n as u64);
                out(Piece::Bytes(buffer.get(..n).unwrap_or_default()))
            }
            Read::Gap(length, kind) => {
                let gap = Gap { offset: at, length: length.min(end.since(at)), kind };
                at = gap.end();
                out(Piece::Hole(gap))
            }
            Read::End => break,
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}
