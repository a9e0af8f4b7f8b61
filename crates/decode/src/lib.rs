//! A frame in, an addressed TCP segment or UDP datagram out.
