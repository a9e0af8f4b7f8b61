//! Bytes on disk: the store that everything rests on.
//!
//! A data folder has *buckets* (the truth about the network: append files of blocks, each of one time window), the
//! *ledger* (the truth about ourselves) and `live` (how far readers may look). FORMAT.md in this crate's folder describes
//! every byte, and argues why a crash at any point is harmless.
//!
//! One [`Writer`] a worker, in one process; any number of readers ([`Store`]), in any process, with no lock between them.

mod derived;
mod error;
mod export;
mod folder;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod holds;
pub mod index;
mod ingests;
mod joins;
mod journal;
mod ledger;
mod live;
mod map;
mod read;
mod recover;
mod retention;
mod status;
mod suspects;
mod verdicts;
mod verify;
mod volume;
mod write;

pub use derived::{Covered, DERIVATION, DerivedWriter, KeptMark};
pub use error::{Error, Result};
pub use export::{CaptureFormat, CaptureWriter};
pub use folder::{WriteFolder, now};
pub use format::FORMAT_VERSION;
pub use format::record::{Datagram, Loss};
pub use format::superblock::Superblock;
pub use holds::{Holds, NewHold};
pub use ingests::{CaptureName, Claim, FOLDER, INGEST, SPOOL};
pub use joins::{Evidence, Join, JoinChange, JoinId, JoinMade, JoinMore, JoinOf, JoinPart, Joins, JoinsWriter};
pub use ledger::{DamagedLine, Entry, Event, Facts, Hold, Ledger, LedgerReader, SealedBucket};
pub use live::{LiveReader, LiveWriter, MAX_WORKERS, Mark, writer_alive};
pub use map::{Map, MapError, SharedPage, SharedPageWriter};
pub use read::derived::DeriveLock;
pub use read::extent::StoreExtent;
pub use read::frames::{FrameFilter, StoredFrame};
pub use read::losses::LossAround;
pub use read::made::MadeOf;
pub use read::parts::Parts;
pub use read::store::{BucketInfo, BucketState, Store};
pub use read::stream::{Read, Stream, StreamInfo};
pub use read::tail::Unindexed;
pub use recover::Recovered;
pub use retention::{Cause, Choice, Chosen, Dropped, Limits, Retained, Retention, Room, Unmet};
pub use status::{FRESH, Status, StatusWriter, Teller};
pub use suspects::{InWork, Stage, Suspects, Work};
pub use verdicts::{
    Forgotten as ForgottenContents, JoinMet, Keeper as VerdictKeeper, Known as KnownContent, Parties, Scanned,
    Verdicts, VerdictsTally,
};
pub use verify::{Finding, Verified, Verify};
pub use volume::{DiskVolume, Space, Volume, VolumeFile};
pub use write::bucket_file::Compression;
pub use write::facts::{FrameIn, Packets, Stalls, StreamFacts, WriterConfig, WriterSummary};
pub use write::trouble::{Held, Trouble};
pub use write::writer::Writer;
