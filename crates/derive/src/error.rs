//! Why there is no object.

use streamdb_types::Oid;

/// Why an object is not handed out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store has a reason.
    #[error(transparent)]
    Store(#[from] streamdb_storage::Error),
    /// The stream is there, the message is not.
    #[error("{oid}: this stream has {messages} messages, counted from 0")]
    NoSuchMessage {
        /// What was asked for.
        oid: Oid,
        /// How many there are.
        messages: usize,
    },
    /// The message is there, and nothing lies inside it.
    #[error("{0}: nothing is known to lie inside this message")]
    NothingInside(Oid),
    /// Whoever was to take the bytes did not.
    #[error("the output was refused: {0}")]
    Output(#[from] std::io::Error),
}
