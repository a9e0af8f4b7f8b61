//! Who talks to whom: endpoints, the direction of a stream, the transport protocol.

use std::fmt;
use std::net::IpAddr;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address; an IPv4 address is never written as an IPv4-mapped IPv6 one.
    pub addr: IpAddr,
    /// The port; 0 for protocols without ports.
    pub port: u16,
}

impl Endpoint {
    /// An endpoint of this address and port.
    pub const fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr, port }
    }
}

/// `10.0.0.5:49211`, `[fd00::1]:80`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

/// An IP protocol number (IANA "Assigned Internet Protocol Numbers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// RFC 9293.
    pub const TCP: Self = Self(6);
    /// RFC 768.
    pub const UDP: Self = Self(17);
}

/// `tcp`, `udp`, or the number.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self(n) => write!(f, "{n}"),
        }
    }
}

/// Which of the two streams of a connection: named by the side its bytes go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// From the client (the side that opened the connection) to the server; `s`.
    ToServer = 0,
    /// From the server to the client; `c`.
    ToClient = 1,
}

impl Direction {
    /// Both, `ToServer` first: the order of every `[T; 2]` that is kept by direction.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// The other one.
    #[must_use]
    pub const fn flip(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// The place in a `[T; 2]`.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The direction with this [`index`](Self::index); only the lowest bit counts.
    pub const fn from_bit(bit: u8) -> Self {
        if bit & 1 == 0 { Self::ToServer } else { Self::ToClient }
    }

    /// This direction's item of a pair.
    pub const fn of<T>(self, pair: &[T; 2]) -> &T {
        let [to_server, to_client] = pair;
        match self {
            Self::ToServer => to_server,
            Self::ToClient => to_client,
        }
    }

    /// This direction's item of a pair, to change.
    pub const fn of_mut<T>(self, pair: &mut [T; 2]) -> &mut T {
        let [to_server, to_client] = pair;
        match self {
            Self::ToServer => to_server,
            Self::ToClient => to_client,
        }
    }

    /// The letter of the ancestor's contract: `s` or `c`, the side that the bytes go to.
    pub const fn letter(self) -> char {
        match self {
            Self::ToServer => 's',
            Self::ToClient => 'c',
        }
    }
}

/// The two ends of a connection, told apart by who opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// TCP, UDP or another.
    pub protocol: Protocol,
    /// The side that opened the connection.
    pub client: Endpoint,
    /// The other side.
    pub server: Endpoint,
}

impl Tuple {
    /// The source and the destination of the bytes of one direction.
    pub const fn ends(&self, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::ToServer => (self.client, self.server),
            Direction::ToClient => (self.server, self.client),
        }
    }
}
