//! What scanners say of contents.
//!
//! - `scanners` is all that the settings name, as one: what is known by digests, what by looking at the bytes; and what rules and
//!   lists there were
//! - `hashes` is lists of digests; `clamd` asks the daemon of ClamAV; `yara` runs rules, with the feature of that name
//! - `settings` is what an operator says of all that
//!
//! Contents are hostile, and so is what a scanner makes of them: each has a bound of bytes and of time, and a content that it
//! gives up on counts as scanned, in part. A scanner that is not there is another thing: the content waits for it.

mod clamd;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;

mod hashes;
mod scanners;
mod settings;
#[cfg(feature = "yara")]
mod yara;

pub use clamd::{Address, Clamd};
pub use error::Error;
pub use hashes::HashList;
pub use scanners::{Outcome, Scanners};
pub use settings::Settings;
