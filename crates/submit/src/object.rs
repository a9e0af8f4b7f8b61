//! An object out of the store, as a copy for the queue: decoded, and with zeros for what is missing.

use std::io::{self, Write};
use std::ops::ControlFlow;

use streamdb_derive::{BodyLimits, Conversation, Decode, Named, Piece};
use streamdb_types::Oid;

use crate::about::About;
use crate::batch::Item;
use crate::error::Error;
use crate::incoming::Incoming;

/// Which objects are copied.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Also those of which something is missing.
    pub(crate) incomplete: bool,
    /// Most bytes of one.
    pub(crate) room: u64,
}

/// Copies an object, and says what is told beside it, unless that is known.
///
/// # Errors
/// When it is not all there, has no bytes or too many, or cannot be read; or when `begin`, or the system, refuses something.
pub(crate) fn copy(
    conversation: &mut Conversation,
    named: &Named,
    oid: Oid,
    bounds: Bounds,
    about: Option<About>,
    begin: &mut dyn FnMut() -> Result<Incoming, Error>,
) -> Result<(Incoming, Item), Error> {
    let Bounds { incomplete, room } = bounds;
    if let Some(why) = named.incomplete().filter(|_| !incomplete) {
        return Err(Error::Incomplete { oid, why: why.words().to_owned() });
    }
    let mut incoming = begin()?;
    let mut written: io::Result<()> = Ok(());
    let mut take = |piece: Piece<'_>| {
        written = match piece {
            Piece::Bytes(bytes) => incoming.write_all(bytes),
            Piece::Hole(gap) if gap.length > room => Ok(()),
            Piece::Hole(gap) => io::copy(&mut io::Read::take(io::repeat(0), gap.length), &mut incoming).map(|_| ()),
        };
        // What does not fit into the queue need not be copied to its end.
        if written.is_ok() && incoming.size() <= room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let outcome = conversation.body_of(named, Decode::Decoded, &BodyLimits::default(), &mut take)?;
    written.map_err(|source| incoming.error(source))?;
    if incoming.size() == 0 {
        return Err(Error::Empty(oid));
    }
    if incoming.size() > room || outcome.length > room {
        return Err(Error::TooLarge { oid, size: outcome.length.max(incoming.size()), room });
    }
    if !outcome.complete && !incomplete {
        let why = match (&outcome.problem, outcome.missing) {
            (Some(problem), _) => problem.to_string(),
            (None, missing) => format!("{missing} bytes are missing"),
        };
        return Err(Error::Incomplete { oid, why });
    }
    let about = about.unwrap_or_else(|| {
        let reason = named.incomplete().map(|why| why.words().to_owned());
        let about = About::bytes(outcome.what.mime, &outcome.what.description, outcome.missing, reason);
        match conversation.info(named.message().direction) {
            Some(info) => about.seen(&info.tuple, info.direction, info.first, Some(info.last)),
            None => about,
        }
    });
    let item = Item { oid, complete: outcome.complete, extension: outcome.what.extension.to_owned(), about };
    Ok((incoming, item))
}
