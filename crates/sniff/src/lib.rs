//! What bytes are.
