//! The `streamdb` command.
