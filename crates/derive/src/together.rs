//! Many objects by their oids, each connection taken apart once.

use std::collections::BTreeMap;

use streamdb_storage::Store;
use streamdb_types::Oid;

use crate::conversation::{Conversation, conversation};
use crate::error::Error;
use crate::object::Named;

/// Who is told what an oid names: a message, with its connection to read it from; or why it names nothing.
type Visit<'v> = dyn FnMut(usize, Oid, Result<(&mut Conversation, Named), Error>) + 'v;

/// Calls with each of these oids and its place in the list, once: with its connection and what it names there, or with why
/// there is nothing. Those of one connection come one after the other, so that it is taken apart once, however many there
/// are; one connection is held at a time.
pub fn each_object(store: &Store, oids: &[Oid], visit: &mut Visit<'_>) {
    // Where the objects of each stream stand in the list.
    let mut streams: BTreeMap<Oid, Vec<(usize, Oid)>> = BTreeMap::new();
    for (place, oid) in oids.iter().enumerate() {
        streams.entry(oid.with_index(0)).or_default().push((place, *oid));
    }
    while let Some((_, places)) = streams.pop_first() {
        let Some((_, first)) = places.first().copied() else { continue };
        let mut conversation = match conversation(store, first) {
            Ok(conversation) => conversation,
            Err(error) => {
                let mut error = Some(error);
                let why = error.as_ref().map(Error::to_string).unwrap_or_default();
                for (place, oid) in places {
                    let same = || Error::Stream { oid, why: why.clone() };
                    visit(place, oid, Err(error.take().unwrap_or_else(same)));
                }
                continue;
            }
        };
        let asked = conversation.asked();
        // The other direction too, when this one is over, so that it looks the same from there.
        let over = conversation.info(asked).is_some_and(|info| info.reason.is_some());
        let other = conversation.info(asked.flip()).filter(|_| over).map(|info| info.oid);
        let others = other.and_then(|oid| streams.remove(&oid)).unwrap_or_default();
        for (direction, places) in [(asked, places), (asked.flip(), others)] {
            for (place, oid) in places {
                match conversation.named(direction, oid) {
                    Ok(named) => visit(place, oid, Ok((&mut conversation, named))),
                    Err(error) => visit(place, oid, Err(error)),
                }
            }
        }
    }
}
