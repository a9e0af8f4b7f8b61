//! The `streamdb` command.

fn main() {}
