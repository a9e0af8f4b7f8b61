//! Why something is not submitted.

use std::io;
use std::path::{Path, PathBuf};

use streamdb_types::Oid;

/// Why something is not submitted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses something.
    #[error("{path}: could not {doing}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such object, or it cannot be read.
    #[error(transparent)]
    Object(#[from] streamdb_derive::Error),
    /// Not all of it is there.
    #[error(
        "{oid}: incomplete ({why}), and so not submitted; asked for by its oid alone (/submit?oid={oid}, or `streamdb submit \
         {oid}`) it is submitted all the same"
    )]
    Incomplete {
        /// The object.
        oid: Oid,
        /// What is missing.
        why: String,
    },
    /// There is nothing in it.
    #[error("{0}: this object has no body, so that there is nothing to submit")]
    Empty(Oid),
    /// The queue has no room.
    #[error(
        "the queue holds {held} bytes, and {size} more are over its {room}; wait until some are sent, drop those that failed \
         with `streamdb submit --drop-failed`, or raise submit.room in the configuration"
    )]
    Full {
        /// Bytes that wait or failed.
        held: u64,
        /// Of the object.
        size: u64,
        /// What the queue may hold.
        room: u64,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Error {
    /// What an I/O error means.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }
}
