//! What names a connection, and where it is in a table.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use ahash::RandomState;
use streamdb_types::{Direction, Endpoint, Path, Protocol};

use crate::connection::Connection;

/// What names a connection, seen from one frame.
pub(crate) struct Key<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) path: &'a Path,
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
}

impl Key<'_> {
    /// The same for both directions.
    #[inline]
    pub(crate) fn hash(&self, state: &RandomState) -> u64 {
        let mut hasher = state.build_hasher();
        let (low, high) = if self.src <= self.dst { (self.src, self.dst) } else { (self.dst, self.src) };
        let ports = u64::from(low.port) << 16 | u64::from(high.port) | u64::from(self.protocol.0) << 32;
        match (low.addr, high.addr) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                hasher.write_u64(u64::from(low.to_bits()) << 32 | u64::from(high.to_bits()));
            }
            (low, high) => {
                for addr in [low, high] {
                    hasher.write_u128(match addr {
                        IpAddr::V4(addr) => addr.to_bits().into(),
                        IpAddr::V6(addr) => addr.to_bits(),
                    });
                }
            }
        }
        hasher.write_u64(ports);
        if !self.path.is_empty() {
            for hop in self.path.hops() {
                hasher.write_u64((hop.kind as u64) << 32 | u64::from(hop.id));
            }
        }
        hasher.finish()
    }

    /// The direction of the frame in this connection, if it is its.
    #[inline]
    pub(crate) fn direction_in(&self, connection: &Connection) -> Option<Direction> {
        let tuple = &connection.tuple;
        let direction = if self.src == tuple.client && self.dst == tuple.server {
            Direction::ToServer
        } else if self.src == tuple.server && self.dst == tuple.client {
            Direction::ToClient
        } else {
            return None;
        };
        (self.protocol == tuple.protocol && *self.path == connection.path).then_some(direction)
    }

    /// Without a handshake: the source is the client, unless its port is a well-known one and the other is not.
    pub(crate) const fn looks_like_client(&self) -> bool {
        !(self.src.port < 1024 && self.dst.port >= 1024)
    }
}

/// Where in the table a frame's connection is, or would be: good until the table is told of anything else.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub(crate) hash: u64,
    pub(crate) found: Option<(u32, Direction)>,
}

impl Place {
    /// Whether the table does not know the connection.
    #[inline]
    pub const fn is_new(&self) -> bool {
        self.found.is_none()
    }

    /// What the connection is known by to all tables of one seed, whichever direction the frame has.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Half of it is enough to tell a million connections apart.
    pub(crate) const fn short(&self) -> u32 {
        self.hash as u32
    }
}

/// By what tables hash: those that have the same one give a connection the same number. Random, as the keys are chosen by
/// strangers.
#[derive(Clone, Debug, Default)]
pub struct Seed(pub(crate) RandomState);

impl Seed {
    /// The number of anything else, which those that have the same one agree on.
    pub fn number(&self, of: &impl Hash) -> u64 {
        self.0.hash_one(of)
    }
}
