//! Where frames come from: live interfaces, capture files and standard input, several at once merged by time; filters;
//! ticks.
//!
//! What a source gives is a sequence of [`Item`]s: each interface before its first frame, frames in the order of the
//! capture, and what the capture says beside them (drop counters, TLS secrets, names). [`CaptureFile`] reads one file,
//! [`Merged`] several as if they were one. Both hand out everything before a damage and then say what is wrong, once.
//! [`Live`] hands the same items out in batches as they come, and gives the clock when none come.

mod bytes;
mod classic;
mod error;
mod feed;
mod file;
mod filter;
mod fingerprint;
mod input;
mod item;
mod live;
mod merged;
mod options;
mod pcapng;
mod ticker;
mod unpack;

pub use error::{Compression, Error, NotCapture, Place};
pub use feed::{Feed, FeedError, FeedSettings, Network};
pub use file::CaptureFile;
pub use filter::Filter;
pub use fingerprint::{fingerprint, fingerprint_of};
pub use item::{Drops, Frame, Item, MAX_FRAME, MAX_INTERFACES};
pub use live::{Batch, Bell, LinkState, Live, LiveError, LiveSettings, MAX_SHARES, link_state};
pub use merged::Merged;
pub use ticker::{Step, Ticker};
