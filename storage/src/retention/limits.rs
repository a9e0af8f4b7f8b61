//! What a store may have.

use crate::volume::Space;

/// The limits of a store; what is `None` is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all bucket files together.
    pub max_bytes: Option<u64>,
    /// Nanoseconds since a bucket was sealed, whatever the time of its frames is.
    pub max_age: Option<i64>,
    /// What stays free of the file system.
    pub min_free: Option<Room>,
}

/// Part of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of it.
    Percent(u8),
}

impl Limits {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

impl Room {
    /// In bytes.
    pub fn of(self, space: Space) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (u128::from(space.total) * u128::from(percent) / 100) as u64,
        }
    }
}
