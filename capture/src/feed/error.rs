//! Why there can be no listening for captures.

use std::net::SocketAddr;
use std::{fmt, io};

/// Why there can be no listening for captures.
#[derive(Debug)]
pub enum FeedError {
    /// The address is not free, or not ours.
    Listen {
        /// It.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Others than this machine could send, and nobody said who may.
    Public {
        /// The address.
        address: SocketAddr,
    },
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address}: another program listens on this port; stop it, or take another port")
            }
            Self::Listen { address, error } => write!(f, "could not listen for captures on {address}: {error}"),
            Self::Public { address } => write!(
                f,
                "captures over TCP know no authentication, so {address} is listened on only with a list of who may send: give \
                 --listen-pcap-from NETWORK, or listen on 127.0.0.1 and have a tunnel end there"
            ),
        }
    }
}

impl std::error::Error for FeedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { error, .. } => Some(error),
            Self::Public { .. } => None,
        }
    }
}
