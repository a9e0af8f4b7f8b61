//! HTTP over a data folder.
