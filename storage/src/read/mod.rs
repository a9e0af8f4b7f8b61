//! From bucket files back to streams and frames. All of it reads through maps, believes nothing, and shares nothing with
//! the writer but the format and the watermarks.

pub(crate) mod bucket;
pub(crate) mod cache;
pub(crate) mod chunks;
pub(crate) mod derived;
pub(crate) mod extent;
pub(crate) mod frames;
pub(crate) mod joins;
pub(crate) mod losses;
pub(crate) mod made;
pub(crate) mod merging;
pub(crate) mod parts;
pub(crate) mod scan;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod tail;
