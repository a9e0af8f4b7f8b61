//! A frame in, an addressed TCP segment or UDP datagram out.
//!
//! [`Decoder::decode`] takes one frame with its link type and says what it carries: through VLANs, label stacks and tunnels
//! (which become the [`Path`](streamdb_types::Path)), through IPv4 and IPv6 with their options, extension headers and
//! fragments. Nothing here fails: what cannot be decoded is an outcome ([`Content::Other`], [`Content::Malformed`]).

mod addresses;
mod checksum;
mod copies;
mod decoder;
mod fast;
mod fragments;
mod gre;
mod ip;
mod link;
mod look;
mod nflog;
mod packet;
mod refused;
mod span;
mod transport;
mod udp_tunnel;
mod walk;

#[cfg(test)]
mod said;

#[cfg(test)]
#[path = "../tests/frames/mod.rs"]
mod frames;

pub use addresses::addresses;
pub use decoder::{Config, Decoder};
pub use fragments::FragmentOverlap;
pub use look::{Carried, Ends, Fragment, Look, PacketName};
pub use packet::{Content, Decoded, Piece, TcpFlags, TcpSegment, UdpDatagram};
pub use refused::Refused;
