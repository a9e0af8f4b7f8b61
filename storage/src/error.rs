//! What can go wrong with the store, each as a sentence that an operator can act on.

use std::path::{Path, PathBuf};

use streamdb_types::{BucketId, Oid, Timestamp};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{path}: could not {action}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as in "could not ...".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder that is not ours.
    #[error("{0}: this folder is not empty and is no StreamDB data folder; name an empty or a new one")]
    ForeignFolder(PathBuf),
    /// There is nothing.
    #[error("{0}: there is no StreamDB data folder here; `streamdb ingest --data {0} FILE` makes one")]
    NoFolder(PathBuf),
    /// A file where a folder is to be.
    #[error("{0}: this is a file, and a data folder is wanted; name the folder")]
    NoDirectory(PathBuf),
    /// This user may not look into the folder.
    #[error(
        "{0}: this user may not look into this folder; ask as the user who owns it (sudo -u), or let its owner give it to a group \
         of yours: chgrp GROUP {0} && chmod g+rx {0}"
    )]
    NotAllowed(PathBuf),
    /// Another version wrote it.
    #[error(
        "{path}: written in format {found}, and this program reads format {}; use a StreamDB of the version that wrote it",
        crate::FORMAT_VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
    },
    /// A file of the store is damaged.
    #[error("{path}: damaged at byte {position}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// The system could not give some bytes of a file of the store.
    #[error("{path}: bytes {first} to {last} cannot be read: the file was cut, or the disk fails")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The first byte of the first bad page.
        first: u64,
        /// The last byte of the last bad page.
        last: u64,
    },
    /// An unsealed bucket that cannot be read to its end.
    #[error(
        "{source}; this bucket is left as it is, what can be read of it is served, and the next start tries to recover it again"
    )]
    NotRecovered {
        /// Why not; it names the file.
        #[source]
        source: Box<Self>,
    },
    /// Another server is here.
    #[error("{path}: another server of this data folder keeps there what it takes apart")]
    Served {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else writes.
    #[error("{path}: another process{} is writing to this data folder; wait for it or stop it", pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Its process, if it said so.
        pid: Option<u32>,
    },
    /// Somebody else derives.
    #[error("{0}: another process is deriving from this data folder; it finds what comes, too")]
    Deriving(PathBuf),
    /// There is no such stream.
    #[error("{0}: there is no such stream in this store")]
    NoSuchStream(Oid),
    /// It was there.
    #[error("{oid}: retention dropped this stream's bucket at {time}")]
    Gone {
        /// What was asked for.
        oid: Oid,
        /// When it was dropped.
        time: Timestamp,
    },
    /// What was to be held is not there.
    #[error("there is nothing left to hold{}", dropped.map(|time| format!(": retention dropped it at {time}")).unwrap_or_default())]
    NothingToHold {
        /// When it was dropped.
        dropped: Option<Timestamp>,
    },
    /// There is no such hold.
    #[error("there is no hold {0}; `streamdb hold --list` shows those that there are")]
    NoHold(u64),
    /// What is held is not known for sure.
    #[error(
        "{path}: line {line} cannot be read: {what}; it may name any bucket, so nothing is dropped: hold again what it held, and \
         take the line out of the file"
    )]
    HoldsDamaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Another process has the holds for too long.
    #[error("{0}: another process has the holds locked and does not let go; try again")]
    HoldsLocked(PathBuf),
    /// A bucket that something refers to is not there.
    #[error("bucket {0} is not in this store")]
    NoBucket(BucketId),
    /// The capture file was ingested before.
    #[error("{name}: already ingested at {time}; give --again to store it a second time")]
    Ingested {
        /// The file as named then.
        name: String,
        /// When.
        time: Timestamp,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn damaged(path: &Path, position: u64, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), position, what: what.into() }
    }
}

/// What the store's functions return.
pub type Result<T> = std::result::Result<T, Error>;
