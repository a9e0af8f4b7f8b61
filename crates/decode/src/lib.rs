//! A frame in, an addressed TCP segment or UDP datagram out.

mod packet;

pub use packet::{Content, Decoded, Piece, TcpFlags, TcpSegment, UdpDatagram};
