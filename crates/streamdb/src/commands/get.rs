//! `streamdb get`: one stream, one object, or the frames of one connection.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use streamdb_derive::{
    BodyLimits, Decode, Follow, Followed, Object, Piece, capture, capture_format, object, other_object, raw,
};
use streamdb_storage::Store;
use streamdb_types::{Oid, StreamOffset, Timestamp};

use super::Error;
use crate::cli::Get;
use crate::output::{Output, complain};
use crate::stop::stop_flag;

/// How often a stream that is followed is looked at.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(args: &Get) -> Result<(), Error> {
    let store = Store::open(&args.data.folder)?;
    if args.follow {
        return follow(&store, args);
    }
    let stream = store.stream(args.oid)?;
    // An object that is not there leaves no empty file behind.
    let mut object = match args {
        Get { raw: true, .. } | Get { pcap: true, .. } => None,
        Get { other: Some(version), .. } => Some(other_object(&store, args.oid, usize::from(*version))?),
        _ => Some(object(&store, args.oid)?),
    };
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
                say_dropped(args.oid, stream.dropped());
                raw(&stream, StreamOffset(0)..stream.len(), &mut |piece| pieces.take(piece))?;
                if let Some(error) = pieces.refused {
                    return Err(failed(error));
                }
            }
        }
    }
    out.flush().map_err(failed)
}

/// Hands out a stream from its first byte on, and goes on with what comes.
fn follow(store: &Store, args: &Get) -> Result<(), Error> {
    let stop = stop_flag()?;
    let mut following = Follow::new(store, args.oid, StreamOffset(0))?;
    let mut out = Output::open(args.output.as_deref())?;
    let failed = out.error();
    while !stop.load(Ordering::Relaxed) {
        let mut pieces = Pieces { out: &mut out, refused: None };
        let standing = following.step(&mut |piece| match stop.load(Ordering::Relaxed) {
            false => pieces.take(piece),
            true => ControlFlow::Break(()),
        })?;
        if let Some(error) = pieces.refused {
            return Err(failed(error));
        }
        // Whoever reads this waits for it.
        out.flush().map_err(&failed)?;
        match standing {
            Followed::Open => thread::sleep(LOOK),
            Followed::Ended(_) => break,
            Followed::Left => {
                complain(&format!("{}: nobody writes to the store any more, and the stream was open", following.oid()));
                break;
            }
        }
    }
    Ok(())
}

/// Writes the content of an object, decoded, and says what is missing.
pub(super) fn write_object(object: &mut Object, oid: Oid, out: &mut Output) -> Result<(), Error> {
    let failed = out.error();
    say_dropped(oid, object.conversation().dropped(object.message().direction));
    let mut pieces = Pieces { out, refused: None };
    let outcome = object.body(Decode::Decoded, &BodyLimits::default(), &mut |piece| pieces.take(piece))?;
    if let Some(error) = pieces.refused {
        return Err(failed(error));
    }
    if !outcome.complete {
        let why = object.named().incomplete().map(|why| why.words().to_owned());
        let why = why.or_else(|| outcome.problem.map(|problem| problem.to_string()));
        complain(&match (outcome.missing, why) {
            (0, Some(why)) => format!("{oid}: incomplete ({why})"),
            (missing, _) => format!("{oid}: incomplete, {missing} bytes are missing"),
        });
    }
    Ok(())
}

fn say_dropped(oid: Oid, dropped: Option<Timestamp>) {
    if let Some(time) = dropped {
        complain(&format!("{oid}: retention dropped a bucket with part of this stream at {time}; the rest is here"));
    }
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
