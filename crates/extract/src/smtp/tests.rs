//! Sessions, and what is found in them.
