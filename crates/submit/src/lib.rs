//! Objects to a sandbox, or into a folder: taken out of the store, into a queue on disk, and from there to where they are
//! wanted, once for each content and target.
//!
//! - `submissions` takes an object by its oid into the queue; whoever serves or is asked on the command line calls it
//! - `queue` is the folder: the copies in it, and who may change what; `incoming` is a copy that is being made
//! - `record` is what the queue remembers, line by line; `job` is what the lines add up to
//! - `sender` tries what waits, again and again; `sandbox` and `folder` are the two kinds of target
//!
//! What was acknowledged is sent at least once, whatever happens to the processes, and a second time only when one was killed
//! between the target's answer and the line that says so.

mod error;
mod folder;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod hash;
mod incoming;
mod job;
mod queue;
mod record;
mod sandbox;
mod sender;
mod settings;
mod submissions;

pub use error::Error;
#[cfg(feature = "fuzzing")]
pub use fuzzing::submission_record;
pub use hash::ContentHash;
pub use incoming::Incoming;
pub use job::{Job, State, Target};
pub use queue::{Item, Placed, Queue, Receipt};
pub use sender::{Sender, Signal};
pub use settings::{Retry, Sandbox, Settings};
pub use submissions::{Rules, Submissions};
