//! What the benches have in common: traffic made by a rule, the same each time.

mod content;
mod frames;
mod traffic;

pub use content::{Random, content};
pub use frames::{ACK, FIN, Host, PSH, SYN, tcp, udp};
pub use traffic::{Timed, Traffic, bulk, mixed, short};
