//! What whoever submits is told: what became of an object, target by target.

use std::fmt;

use streamdb_types::Oid;

use crate::hash::ContentHash;
use crate::job::State;
use crate::settings::TargetName;

/// What came of putting something into the queue. Displayed, it is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The object; of a joined content the first part.
    pub oid: Oid,
    /// Whether it is a joined content.
    pub joined: bool,
    /// Its content.
    pub hash: ContentHash,
    /// Bytes of it.
    pub size: u64,
    /// Whether the object is whole.
    pub complete: bool,
    /// What became of it, target by target.
    pub placed: Vec<(TargetName, Placed)>,
}

/// What became of it at one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is in the queue, durable.
    Queued,
    /// It was not taken, as what waits for this target fills its room.
    NoRoom,
    /// It was there before.
    Known(State),
}

impl Receipt {
    /// Whether a target has no room for it.
    pub fn lacks_room(&self) -> bool {
        self.placed.iter().any(|(_, placed)| *placed == Placed::NoRoom)
    }

    /// Whether something new is in the queue.
    pub fn is_new(&self) -> bool {
        self.placed.iter().any(|(_, placed)| *placed == Placed::Queued)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.joined {
            write!(f, "{}: ", self.hash)?
        } else {
            write!(f, "{}: ", self.oid)?
        };
        for (n, (target, placed)) in self.placed.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            match placed {
                Placed::Queued => write!(f, "{separator}queued for {target}")?,
                Placed::NoRoom => write!(f, "{separator}not taken for {target}, which has no room in the queue")?,
                Placed::Known(State::Waits { .. }) => write!(f, "{separator}waits for {target} already")?,
                Placed::Known(State::Sent { at, link, .. }) => {
                    write!(f, "{separator}{target} got it at {at}, and gets nothing twice")?;
                    if !link.is_empty() {
                        write!(f, " ({link})")?;
                    }
                }
                Placed::Known(State::Failed { at, why, .. }) => {
                    write!(f, "{separator}{target} was given up at {at} ({why})")?;
                }
            }
        }
        write!(f, "; {} bytes, sha256 {}", self.size, self.hash)?;
        if self.complete { Ok(()) } else { f.write_str("; it is incomplete, with zeros for what is missing") }
    }
}
