//! Why something is not submitted.

use std::io;
use std::path::{Path, PathBuf};

use streamdb_derive::StoreError;
use streamdb_types::Oid;

use crate::hash::ContentHash;
use crate::job::MOST;
use crate::settings::TargetName;

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
    /// Not all of a joined content is there, or not for sure.
    #[error("{oid}: the content joined of this and other parts is {why}, and so not submitted")]
    Joined {
        /// Its first part.
        oid: Oid,
        /// How it stands.
        why: &'static str,
    },
    /// No object has this content whole, and no joined content is it.
    #[error(
        "no whole content with the SHA-256 {0} is here; an object of which something is missing is submitted by its oid"
    )]
    NoContent(ContentHash),
    /// There is nothing in it.
    #[error("{0}: this object has no body, so that there is nothing to submit")]
    Empty(Oid),
    /// The queue would have no room for it if it were empty.
    #[error(
        "{oid}: it has {size} bytes, which is more than the queue may hold ({room}); raise submit.room in the configuration"
    )]
    TooLarge {
        /// The object.
        oid: Oid,
        /// Its size.
        size: u64,
        /// What the queue may hold.
        room: u64,
    },
    /// The queue has no room for it at any target that wants it.
    #[error(
        "the queue holds {held} bytes for {target}, and {size} more are over its {room}, or over {MOST} copies; wait until some \
         are sent, drop with `streamdb submit --drop-failed --config FILE` those that failed and those whose target is there no \
         more, or raise submit.room in the configuration"
    )]
    Full {
        /// Where to.
        target: TargetName,
        /// Bytes that wait or failed.
        held: u64,
        /// Of the object.
        size: u64,
        /// What the queue may hold.
        room: u64,
    },
    /// It was to be taken in together with others, and those could not be.
    #[error("{0}")]
    Together(String),
    /// A thread that sends could not be started, or ended in the middle.
    #[error("a thread that sends submissions: {0}")]
    Thread(#[source] io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Error {
    /// Whether it is about this object alone, so that it will be no other the next time: it is gone, or not whole, or nothing
    /// is in it. All else may go away: a full queue, a system that refuses something.
    pub fn is_for_good(&self) -> bool {
        use streamdb_derive::Error as Object;
        match self {
            Self::Object(error) => !matches!(error, Object::Store(StoreError::Io { .. }) | Object::Output(_)),
            Self::Incomplete { .. }
            | Self::Joined { .. }
            | Self::NoContent(_)
            | Self::Empty(_)
            | Self::TooLarge { .. } => true,
            Self::Io { .. } | Self::Full { .. } | Self::Together(_) | Self::Random(_) | Self::Thread(_) => false,
        }
    }

    /// What an I/O error means.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }
}
