//! An object out of the store, or a content that is joined of several, as a copy for the queue: decoded, and with zeros for what is
//! missing.

use std::io::{self, Write};
use std::ops::ControlFlow;

use streamdb_derive::{BodyLimits, BodyOutcome, Conversation, Decode, JoinState, Joined, Named, Piece};
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
    let (incoming, outcome) = write(oid, room, begin, &mut |take| {
        conversation.body_of(named, Decode::Decoded, &BodyLimits::default(), take)
    })?;
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

/// Copies a joined content, of which this object is the first part.
///
/// # Errors
/// When it is not whole, though it was, or has too many bytes, or cannot be read; or when `begin`, or the system, refuses something.
pub(crate) fn copy_joined(
    joined: &mut Joined<'_>,
    oid: Oid,
    bounds: Bounds,
    about: About,
    begin: &mut dyn FnMut() -> Result<Incoming, Error>,
) -> Result<(Incoming, Item), Error> {
    let Bounds { incomplete, room } = bounds;
    let state = joined.state();
    let may_be = match state {
        JoinState::Complete => true,
        JoinState::Candidate | JoinState::Conflicting | JoinState::Undecoded => incomplete,
        JoinState::Missing | JoinState::Gone | JoinState::Unread => false,
    };
    if !may_be {
        return Err(Error::Joined { oid, why: state.word() });
    }
    let (incoming, outcome) =
        write(oid, room, begin, &mut |take| joined.body(Decode::Decoded, &BodyLimits::default(), None, take))?;
    // Retention may have taken a part meanwhile.
    if outcome.missing > 0 {
        return Err(Error::Joined { oid, why: JoinState::Gone.word() });
    }
    let complete = outcome.complete && state == JoinState::Complete;
    Ok((incoming, Item { oid, complete, extension: outcome.what.extension.to_owned(), about }))
}

/// Who takes the pieces of a content.
type Take<'t> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 't;

/// Writes what `read` hands out into a copy.
fn write(
    oid: Oid,
    room: u64,
    begin: &mut dyn FnMut() -> Result<Incoming, Error>,
    read: &mut dyn FnMut(&mut Take<'_>) -> Result<BodyOutcome, streamdb_derive::Error>,
) -> Result<(Incoming, BodyOutcome), Error> {
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
    let outcome = read(&mut take)?;
    written.map_err(|source| incoming.error(source))?;
    if incoming.size() == 0 {
        return Err(Error::Empty(oid));
    }
    if incoming.size() > room || outcome.length > room {
        return Err(Error::TooLarge { oid, size: outcome.length.max(incoming.size()), room });
    }
    Ok((incoming, outcome))
}
