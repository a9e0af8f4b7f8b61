//! `streamdb get`: one stream, one object, or the frames of one connection.

use std::io::{self, Write};
use std::ops::ControlFlow;

use streamdb_derive::{BodyLimits, Decode, Object, Piece, capture, capture_format, object, raw};
use streamdb_storage::Store;
use streamdb_types::{Oid, StreamOffset};

use super::Error;
use crate::cli::Get;
use crate::output::{Output, complain};

pub(super) fn run(args: &Get) -> Result<(), Error> {
    let store = Store::open(&args.data.folder)?;
    let stream = store.stream(args.oid)?;
    // An object that is not there leaves no empty file behind.
    let mut object = if args.raw || args.pcap { None } else { Some(object(&store, args.oid)?) };
    let mut out = Output::open(args.output.as_deref())?;
    let failed = out.error();
    if args.pcap {
        let format = capture_format(&store, &stream)?;
        let (_, written) = capture(&store, &stream, format, &mut out)?;
        if written == 0 {
            let what =
                "its frames are not in the store (--packets off keeps none), so that this is a capture without frames";
            complain(&format!("{}: {what}", args.oid));
        }
    } else {
        match &mut object {
            Some(object) => write_object(object, args.oid, &mut out)?,
            None => {
                let mut pieces = Pieces { out: &mut out, refused: None };
                raw(&stream, StreamOffset(0)..stream.len(), &mut |piece| pieces.take(piece))?;
                if let Some(error) = pieces.refused {
                    return Err(failed(error));
                }
            }
        }
    }
    out.flush().map_err(failed)
}

/// Writes the content of an object, decoded, and says what is missing.
pub(super) fn write_object(object: &mut Object, oid: Oid, out: &mut Output) -> Result<(), Error> {
    let failed = out.error();
    let mut pieces = Pieces { out, refused: None };
    let outcome = object.body(Decode::Decoded, &BodyLimits::default(), &mut |piece| pieces.take(piece))?;
    if let Some(error) = pieces.refused {
        return Err(failed(error));
    }
    if !outcome.complete {
        complain(&format!("{oid}: incomplete, {} bytes are missing", outcome.missing));
    }
    Ok(())
}

/// Writes pieces. What is missing is filled with zeros, so that every byte stays in its place, and said.
struct Pieces<'o> {
    out: &'o mut Output,
    refused: Option<io::Error>,
}

impl Pieces<'_> {
    fn take(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        let result = match piece {
            Piece::Bytes(bytes) => self.out.write_all(bytes),
            Piece::Hole(gap) => {
                let (length, kind) = (gap.length, gap.kind.word());
                complain(&format!(
                    "{length} bytes from {} on are missing ({kind}); zeros stand for them",
                    gap.offset.0
                ));
                io::copy(&mut io::Read::take(io::repeat(0), length), self.out).map(|_| ())
            }
        };
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.refused = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}
