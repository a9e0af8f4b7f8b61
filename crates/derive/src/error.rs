//! Why there is no object.

use streamdb_types::{Oid, Timestamp};

/// Why an object is not handed out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store has a reason.
    #[error(transparent)]
    Store(#[from] streamdb_storage::Error),
    /// The stream of this object cannot be read.
    #[error("{oid}: its stream cannot be read: {why}")]
    Stream {
        /// What was asked for.
        oid: Oid,
        /// What is wrong with the stream.
        why: String,
    },
    /// The stream is there, the message is not.
    #[error("{oid}: {}", which(*oid, *messages))]
    NoSuchMessage {
        /// What was asked for.
        oid: Oid,
        /// How many there are.
        messages: usize,
    },
    /// Retention took the object, or what tells which one it is.
    #[error(
        "{oid}: retention dropped this object, or what tells which one it is, at {time}; what is left of its stream is there \
         (raw=1, or get --raw)"
    )]
    Taken {
        /// What was asked for.
        oid: Oid,
        /// When; of several times the last one.
        time: Timestamp,
    },
    /// The message is there, and nothing lies inside it.
    #[error("{0}: nothing is known to lie inside this message")]
    NothingInside(Oid),
    /// Taking the connection apart ended in failure before, and is not tried again.
    #[error(
        "{oid}: no objects are looked for in this connection, as {why}; its streams are there (raw=1, or get --raw), and its frames"
    )]
    GivenUp {
        /// What was asked for.
        oid: Oid,
        /// What happened.
        why: String,
    },
    /// There are no other bytes than those of the object itself.
    #[error(
        "{0}: no such other bytes were captured for any place of its connection's streams, or they cannot be told from the frames that are \
         kept; ask for the object without other= (--other), or for the frames (as_pcap=1, or get --pcap)"
    )]
    NoOther(Oid),
    /// Whoever was to take the bytes did not.
    #[error("the output was refused: {0}")]
    Output(#[from] std::io::Error),
}

/// Which messages there are instead, and what to do.
fn which(oid: Oid, messages: usize) -> String {
    let first = oid.with_index(0);
    match messages {
        0 => "no object is in this stream, as it has no bytes; ask for its frames instead (as_pcap=1, or get --pcap)"
            .to_owned(),
        1 => format!("this stream has one message; ask for it as {first}"),
        n => format!(
            "this stream has {n} messages; ask for one of them, from {first} to {}",
            oid.with_index(n as u64 - 1)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_not_there_is_told_from_those_that_are() {
        let say = |messages| Error::NoSuchMessage { oid: "2-7-9-5".parse().unwrap(), messages }.to_string();
        assert_eq!(
            say(0),
            "2-7-9-5: no object is in this stream, as it has no bytes; ask for its frames instead (as_pcap=1, or get --pcap)"
        );
        assert_eq!(say(1), "2-7-9-5: this stream has one message; ask for it as 2-7-9-0");
        assert_eq!(say(5), "2-7-9-5: this stream has 5 messages; ask for one of them, from 2-7-9-0 to 2-7-9-4");
    }
}
