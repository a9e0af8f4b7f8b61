//! Who is told of each object when its verdicts are known.

use streamdb_types::{ObjectRow, Verdict};

/// Takes objects from the scan, one after the other, in the order in which their rows were kept.
pub trait Handed: Send {
    /// Called for each new object. `first_seen` says that no earlier object in the store has the same content; it is never said
    /// of one without digests, which nobody can compare. An object without digests has no verdicts.
    ///
    /// The scan goes on behind this object only when this returned `Ok`. Otherwise, and when the process is killed in between, it
    /// is called again with the same object and the same word on it: what it does must bear that.
    ///
    /// # Errors
    /// What went wrong, as a sentence; it is said to the operator, and tried again.
    fn handed(&mut self, row: &ObjectRow, first_seen: bool, verdicts: &[Verdict]) -> Result<(), String>;
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Handed for Nobody {
    fn handed(&mut self, _: &ObjectRow, _: bool, _: &[Verdict]) -> Result<(), String> {
        Ok(())
    }
}
