//! What is asked of the kernel about packet sockets and interfaces.
//!
//! Sockets share the frames of one interface: each frame goes to one of them, by a hash of its addresses and ports that is the
//! same in both directions (packet(7), `PACKET_FANOUT`). Without the kernel's defragmentation, which would hand out a datagram in
//! place of the frames that it came in.
//!
//! No package offers these calls in safe code, and libpcap does not either; so this is the one file here with unsafe code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{PACKET_FANOUT, PACKET_FANOUT_FLAG_UNIQUEID, PACKET_FANOUT_HASH, SOL_PACKET, c_int, c_uint};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

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

/// Whether the interface of this name is up (netdevice(7), `SIOCGIFFLAGS`). Any socket can ask, so it is one of a kind that every
/// process may have.
pub(super) fn is_up(name: &str) -> io::Result<bool> {
    // SAFETY: it is made of numbers, of which all may be 0.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The kernel reads a name up to its end, so one with a zero in it or without room for one at its end is no name.
    if name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the descriptor is open until `socket` goes; the kernel reads and writes a `struct ifreq` at the address of
    // `request`, which is one and lives until the call is over.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
    done(result)?;
    // SAFETY: of the union the kernel has written the flags, and any bits are flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(c_int::from(flags) & libc::IFF_UP != 0)
}

/// From now on the socket takes the frames that this program wants: the kernel goes from one to the other between two frames.
pub(super) fn attach(socket: &impl AsFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let too_long = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let length = u16::try_from(program.len()).map_err(too_long)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed. The kernel reads `size` bytes at the address of `program`, which
    // is as long, and `len` instructions at the address in it, which is that of a slice as long; it writes to neither, and both
    // live until the call is over.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    };
    done(result)
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
