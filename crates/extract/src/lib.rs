//! Finished streams in, objects out.
