//! Names of things in the store: buckets, places in them, connections, frames, and the oid that users see.

use std::fmt;
use std::str::FromStr;

/// A bucket: unique over all sensors, never given twice. The sensor's number is in the high 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId(pub u64);

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record lies in a bucket: the position of its block in the file (a multiple of 64) and its place in the
/// block's uncompressed bytes (a multiple of 8, below 256 KiB), as one number: `position / 64 << 15 | place / 8`.
///
/// The idea is BGZF's virtual offset: one block is read, no table is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockPlace(pub u64);

impl BlockPlace {
    /// "Nowhere": position 0 is the superblock, which has no records.
    pub const NONE: Self = Self(0);

    /// The number for a block at `position` and a place in it; bits that do not fit are cut.
    pub const fn new(position: u64, place: u32) -> Self {
        Self((position / 64) << 15 | (place / 8) as u64 & 0x7fff)
    }

    /// The block's position in the file.
    pub const fn position(self) -> u64 {
        (self.0 >> 15).saturating_mul(64)
    }

    /// The place in the block's uncompressed bytes.
    pub const fn place(self) -> u32 {
        (self.0 & 0x7fff) as u32 * 8
    }

    /// Whether this is [`NONE`](Self::NONE).
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// A connection, the same in all buckets it reaches into: the bucket in which it began, and which one of that bucket's
/// connections it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey {
    /// The bucket in which its first frame lies.
    pub bucket: BucketId,
    /// Its ordinal there.
    pub number: u32,
}

impl fmt::Display for ConnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.bucket, self.number)
    }
}

/// The ordinal of a frame in its bucket, in order of arrival, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameNumber(pub u64);

/// `FILE-OFFSET-LENGTH-INDEX`: what a user asks for, as in `18043-3966843079-22968-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid {
    /// FILE: the bucket.
    pub bucket: BucketId,
    /// OFFSET: the stream's record in it.
    pub place: BlockPlace,
    /// LENGTH: the stream's length in bytes, up to and with that record.
    pub length: u64,
    /// INDEX: the message in the stream; what lies inside message m is m + 2^32 k.
    pub index: u64,
}

impl Oid {
    /// The same stream, another message.
    #[must_use]
    pub const fn with_index(self, index: u64) -> Self {
        Self { index, ..self }
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.bucket, self.place.0, self.length, self.index)
    }
}

/// What is wrong with a text that should be an oid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidError(String);

impl fmt::Display for OidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no oid: four decimal numbers are wanted, as in 18043-3966843079-22968-0", self.0)
    }
}

impl std::error::Error for OidError {}

impl FromStr for Oid {
    type Err = OidError;

    /// Four plain decimals: no sign, no blank, no leading zero but in `0` itself, so that each oid has one spelling.
    fn from_str(s: &str) -> Result<Self, OidError> {
        let error = || OidError(s.chars().take(100).collect());
        let mut numbers = s.split('-').map(|part| {
            let plain = part.bytes().all(|b| b.is_ascii_digit()) && (part.len() == 1 || !part.starts_with('0'));
            if plain { part.parse::<u64>().ok() } else { None }
        });
        let mut next = || numbers.next().flatten().ok_or_else(error);
        let oid = Self { bucket: BucketId(next()?), place: BlockPlace(next()?), length: next()?, index: next()? };
        if numbers.next().is_some() { Err(error()) } else { Ok(oid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oid_is_read_and_written() {
        let oid: Oid = "18043-3966843079-22968-0".parse().unwrap();
        assert_eq!(oid.bucket, BucketId(18043));
        assert_eq!(oid.length, 22968);
        assert_eq!(oid.to_string(), "18043-3966843079-22968-0");
        for bad in
            ["", "1", "1-2-3", "1-2-3-4-5", "1-2-3-x", "1--3-4", "+1-2-3-4", "01-2-3-4", "1-2-3-99999999999999999999"]
        {
            assert!(bad.parse::<Oid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_has_its_parts() {
        let place = BlockPlace::new(4096 + 64 * 7, 1024);
        assert_eq!((place.position(), place.place()), (4096 + 64 * 7, 1024));
        assert!(!place.is_none());
        assert_eq!(BlockPlace(u64::MAX).place(), 0x7fff * 8);
    }
}
