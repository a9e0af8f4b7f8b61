//! Segments in, ordered bytes, gaps and ends out.
