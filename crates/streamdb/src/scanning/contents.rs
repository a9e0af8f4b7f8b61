//! Reads contents of objects, and those that are joined of several, and has each of them scanned.

use std::ops::ControlFlow;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use streamdb_derive::{
    BodyLimits, BodyOutcome, Conversation, Decode, Error, Joined, Named, Piece, Store, StoreError, each_object,
};
use streamdb_scan::{Outcome, Scanners};
use streamdb_types::{ObjectRow, Oid};

/// What came of a content.
pub(crate) enum Look {
    /// It was looked at: what was found, and by which rules and lists.
    At(Outcome, u64),
    /// It cannot be read, for this reason.
    Unreadable(String),
    /// A scanner is not there, or the disk does not answer: it is to be scanned later.
    Later(String),
}

/// Who is told.
type Told<'t> = dyn FnMut(&ObjectRow, Look) -> ControlFlow<()> + 't;

/// Has the contents of these objects, which all have digests, scanned one after the other, until `told` breaks off.
pub(crate) fn each_content(store: &Store, scanners: &mut Scanners, objects: &[&ObjectRow], told: &mut Told<'_>) {
    if !scanners.need_content() {
        for row in objects {
            let outcome = Outcome { verdicts: of_digests(scanners, row), whole: true };
            if told(row, Look::At(outcome, scanners.by())).is_break() {
                return;
            }
        }
        return;
    }
    // Nothing is read for a scanner that is not there.
    if let (Err(error), Some(row)) = (scanners.ask_version(), objects.first()) {
        let _ = told(row, Look::Later(error.to_string()));
        return;
    }
    let oids: Vec<Oid> = objects.iter().map(|row| row.oid).collect();
    let mut broke = false;
    each_object(store, &oids, &mut |place, _, named| {
        let Some(row) = objects.get(place).filter(|_| !broke) else { return };
        let read = named.and_then(|(conversation, named)| read(conversation, &named, scanners.max_bytes()));
        let look = of_content(scanners, row, read);
        broke = told(row, look).is_break();
    });
}

/// Has a joined content scanned; its row is as if it had come at once. About one of which it is not certain that it is a content, only
/// lists are asked: a digest that is known says that it is.
pub(crate) fn joined_content(joined: &mut Joined<'_>, scanners: &mut Scanners, row: &ObjectRow) -> Look {
    if !scanners.need_content() || !row.complete {
        return Look::At(Outcome { verdicts: of_digests(scanners, row), whole: true }, scanners.by());
    }
    if let Err(error) = scanners.ask_version() {
        return Look::Later(error.to_string());
    }
    let limits = BodyLimits::default();
    let read = first_bytes(scanners.max_bytes(), |out| joined.body(Decode::Decoded, &limits, None, out));
    of_content(scanners, row, read)
}

/// What comes of a content that was read.
fn of_content(scanners: &mut Scanners, row: &ObjectRow, read: Result<Content, Error>) -> Look {
    match read {
        Err(error @ Error::Store(StoreError::Io { .. })) => Look::Later(error.to_string()),
        Err(error) => Look::Unreadable(error.to_string()),
        Ok(content) if !content.is_of(row) => Look::Unreadable("its bytes are not those of its row".to_owned()),
        Ok(content) => look(scanners, row, content),
    }
}

fn look(scanners: &mut Scanners, row: &ObjectRow, content: Content) -> Look {
    let cut = content.cut;
    match scanners.of_content(&Arc::new(content.bytes)) {
        Ok(mut outcome) => {
            outcome.whole &= !cut;
            outcome.verdicts.extend(of_digests(scanners, row));
            Look::At(outcome, scanners.by())
        }
        Err(error) => Look::Later(error.to_string()),
    }
}

fn of_digests(scanners: &Scanners, row: &ObjectRow) -> Vec<streamdb_types::Verdict> {
    row.digests.map(|digests| scanners.of_digests(&digests)).unwrap_or_default()
}

/// The first bytes of a content.
struct Content {
    bytes: Vec<u8>,
    /// Whether there are more.
    cut: bool,
}

impl Content {
    /// Whether these are the bytes that the row tells of, as far as they can tell.
    fn is_of(&self, row: &ObjectRow) -> bool {
        self.cut || row.digests.is_some_and(|digests| Sha256::digest(&self.bytes).as_slice() == digests.sha256)
    }
}

fn read(conversation: &mut Conversation, named: &Named, most: u64) -> Result<Content, Error> {
    first_bytes(most, |out| conversation.body_of(named, Decode::Decoded, &BodyLimits::default(), out))
}

/// Keeps the first bytes of what `body` hands out, up to a hole.
fn first_bytes(
    most: u64,
    body: impl FnOnce(&mut dyn FnMut(Piece<'_>) -> ControlFlow<()>) -> Result<BodyOutcome, Error>,
) -> Result<Content, Error> {
    let mut content = Content { bytes: Vec::new(), cut: false };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    body(&mut |piece| {
        let Piece::Bytes(bytes) = piece else { return ControlFlow::Break(()) };
        let room = most - content.bytes.len();
        content.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        content.cut = bytes.len() > room;
        if content.cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(content)
}
