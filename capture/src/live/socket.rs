//! Sockets that share the frames of one interface: each frame goes to one of them, by a hash of its addresses and ports that is
//! the same in both directions (packet(7), `PACKET_FANOUT`). Without the kernel's defragmentation, which would hand out a
//! datagram in place of the frames that it came in.
//!
//! No package offers this call in safe code, and libpcap does not either; so this is the one file here with unsafe code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{PACKET_FANOUT, PACKET_FANOUT_FLAG_UNIQUEID, PACKET_FANOUT_HASH, SOL_PACKET, c_int, c_uint};

/// A group of sockets that share the frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    id: u16,
}

impl Group {
    /// A new group with this socket in it. The kernel chooses its number, so it is nobody else's.
    pub(super) fn begin(socket: &impl AsFd) -> io::Result<Self> {
        set(socket, (PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_UNIQUEID) << 16)?;
        // The lower half of what the kernel answers is the number; above it are the kind and the flags.
        Ok(Self { id: get(socket)? as u16 })
    }

    /// One more socket, of the same interface.
    pub(super) fn join(self, socket: &impl AsFd) -> io::Result<()> {
        set(socket, c_uint::from(self.id) | PACKET_FANOUT_HASH << 16)
    }
}

fn set(socket: &impl AsFd, value: c_uint) -> io::Result<()> {
    let length = size_of::<c_uint>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel reads `length` bytes at the address of `value`,
    // which is as long and lives until the call is over.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), SOL_PACKET, PACKET_FANOUT, (&raw const value).cast(), length)
    };
    done(result)
}

fn get(socket: &impl AsFd) -> io::Result<c_uint> {
    let mut value: c_uint = 0;
    let mut length = size_of::<c_uint>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes at most `length` bytes at the address of
    // `value`, which is as long, and the length at the address of `length`; both live until the call is over.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            SOL_PACKET,
            PACKET_FANOUT,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    done(result).map(|()| value)
}

fn done(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packet_socket_is_refused() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Group::begin(&socket).is_err());
        assert!(Group { id: 7 }.join(&socket).is_err());
        assert!(get(&socket).is_err());
    }
}
