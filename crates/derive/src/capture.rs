//! The frames of a connection as a capture file.

use std::io::{self, Write};

use streamdb_storage::{CaptureFormat, CaptureWriter, Store, Stream};

use crate::error::Error;

/// The format that says all there is to say of the frames of a stream's connection.
///
/// # Errors
/// When a bucket cannot be read.
pub fn capture_format(store: &Store, stream: &Stream) -> Result<CaptureFormat, Error> {
    Ok(CaptureFormat::for_interfaces(&store.interfaces_of(stream)?))
}

/// Writes the frames of a stream's connection, both directions, in the order in which they were captured. How many there are
/// comes with the output: none of a store that keeps no frames.
///
/// # Errors
/// When a block is damaged, and when the output refuses the bytes.
pub fn capture<W: Write>(store: &Store, stream: &Stream, format: CaptureFormat, out: W) -> Result<(W, u64), Error> {
    let mut writer = CaptureWriter::new(out, format);
    let mut refused: Option<io::Error> = None;
    let mut written = 0;
    let result = store.stream_frames(stream, &mut |frame| match writer.frame(frame) {
        Ok(()) => {
            written += 1;
            Ok(())
        }
        Err(error) => {
            refused = Some(error);
            // Only an error stops the store; this one goes no further than here.
            Err(streamdb_storage::Error::NoSuchStream(stream.info().oid))
        }
    });
    match refused {
        Some(error) => Err(error.into()),
        None => {
            result?;
            Ok((writer.finish()?, written))
        }
    }
}
