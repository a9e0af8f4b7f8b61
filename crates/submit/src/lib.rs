//! Contents to sandboxes, folders and programs: out of the store into a queue on disk, and from there to each target that
//! wants them, once for each content and target.
//!
//! - `submissions` takes objects into the queue: named by their oids, or handed over as new rows, of which `rule` says where
//!   they go; `object` copies one out of the store
//! - `queue` is the folder: the copies in it, and who may change what; `disk` is what it asks of the disk
//! - `batch` takes copies in, many at a time: `staging` is where they lie until then, `incoming` one that is being made,
//!   `about` what is told beside it, `receipt` what whoever submits is told
//! - `record` is what the queue remembers, line by line, and `known` its file; `job` is what the lines add up to, and `shown` how it
//!   stands for who must not wait
//! - `sender` tries what waits, again and again, all targets at a time; `targets` has a file for each kind of target
//!
//! What was acknowledged is sent, whatever happens to the processes. Each try is written down before it begins: one that was
//! broken off is in doubt, and a target that can be asked whether it has the content is asked before it is sent again. Of
//! those that cannot, each says what it gives the other side to know a second try by.

mod about;
mod batch;
mod disk;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod hash;
mod incoming;
mod job;
mod known;
mod object;
mod queue;
mod receipt;
mod record;
mod rule;
mod sender;
mod settings;
mod shown;
mod staging;
mod submissions;
mod targets;

pub use about::About;
pub use batch::{Batch, Item};
pub use error::Error;
#[cfg(feature = "fuzzing")]
pub use fuzzing::submission_record;
pub use hash::ContentHash;
pub use incoming::Incoming;
pub use job::{Job, State, Tally};
pub use queue::Queue;
pub use receipt::{Placed, Receipt};
pub use rule::{Choice, Policy, Rule, row_filter};
pub use sender::{Sender, Signal};
pub use settings::{Kind, Retry, Server, Settings, Target, TargetName};
pub use submissions::{Fresh, Rules, Submissions};
