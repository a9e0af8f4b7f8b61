//! From published streams to the objects in them.
