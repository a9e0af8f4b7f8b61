//! Which streams are wanted.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use streamdb_storage::StreamInfo;
use streamdb_types::{Direction, Endpoint, Protocol, Reason, Timestamp, Tuple};

use crate::address::AddressSet;
use crate::community::community_id;
use crate::object::ObjectFilter;
use crate::position::Position;
use crate::set::Set;

/// What is wanted of one end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its address.
    pub addr: Option<AddressSet>,
    /// Its port.
    pub port: Option<Set<u16>>,
}

impl End {
    fn wants(&self, end: Endpoint) -> bool {
        self.wants_addr(end.addr) && self.port.as_ref().is_none_or(|set| set.wants(|port| *port == end.port))
    }

    fn wants_addr(&self, addr: IpAddr) -> bool {
        self.addr.as_ref().is_none_or(|set| set.wants(|network| network.contains(addr)))
    }
}

/// In which order rows are handed out: by [`Position`], so by the time of their stream's first frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    #[default]
    OldestFirst,
    /// The newest first.
    NewestFirst,
}

/// Which streams are wanted; each of its terms has to hold. Source is the side that opened the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The side that opened the connection.
    pub src: End,
    /// The other side.
    pub dst: End,
    /// Addresses of either side; negated, of neither.
    pub ip: Option<AddressSet>,
    /// Ports of either side; negated, of neither.
    pub port: Option<Set<u16>>,
    /// Begun at this time or later.
    pub start: Option<Timestamp>,
    /// Begun at this time or earlier.
    pub end: Option<Timestamp>,
    /// One of the two directions.
    pub direction: Option<Direction>,
    /// Why they ended; `None` is open.
    pub reason: Option<Set<Option<Reason>>>,
    /// Their length in bytes, gaps included.
    pub length: Option<RangeInclusive<u64>>,
    /// TCP, UDP or others.
    pub protocol: Option<Set<Protocol>>,
    /// The connection's community ids.
    pub community: Option<Set<String>>,
    /// What has to be found in the streams.
    pub objects: ObjectFilter,
    /// How many to skip.
    pub offset: u64,
    /// At most this many after those.
    pub limit: Option<u64>,
    /// In which order.
    pub order: Order,
    /// Only what comes after this position in that order.
    pub after: Option<Position>,
}

impl Filter {
    /// Whether a stream is wanted; `offset`, `limit` and `objects` are not looked at.
    pub fn matches(&self, stream: &StreamInfo) -> bool {
        self.start.is_none_or(|start| stream.first >= start)
            && self.end.is_none_or(|end| stream.first <= end)
            && self.direction.is_none_or(|direction| stream.direction == direction)
            && self.reason.as_ref().is_none_or(|set| set.wants(|reason| *reason == stream.reason))
            && self.length.as_ref().is_none_or(|length| length.contains(&stream.length.0))
            && self.matches_connection(&stream.tuple)
    }

    /// Whether a connection is wanted by its ends and protocol.
    pub fn matches_connection(&self, tuple: &Tuple) -> bool {
        let (client, server) = (tuple.client, tuple.server);
        self.src.wants(client)
            && self.dst.wants(server)
            && either(self.ip.as_ref(), |network| network.contains(client.addr) || network.contains(server.addr))
            && either(self.port.as_ref(), |port| *port == client.port || *port == server.port)
            && self.protocol.as_ref().is_none_or(|set| set.wants(|protocol| *protocol == tuple.protocol))
            && self.community.as_ref().is_none_or(|set| {
                let id = community_id(tuple);
                set.wants(|wanted| *wanted == id)
            })
    }

    /// Whether a packet of no connection is wanted by its addresses. Nobody opened anything, so that either may be the
    /// source; where ports or protocols are asked for, it has none that could match.
    pub fn matches_addresses(&self, a: IpAddr, b: IpAddr) -> bool {
        let ends = |src, dst| self.src.wants_addr(src) && self.dst.wants_addr(dst);
        let ports = self.src.port.is_some() || self.dst.port.is_some() || self.port.is_some();
        !ports
            && self.protocol.is_none()
            && self.community.is_none()
            && (ends(a, b) || ends(b, a))
            && either(self.ip.as_ref(), |network| network.contains(a) || network.contains(b))
    }

    /// Whether anything is said of addresses, ports or the protocol.
    pub const fn names_ends(&self) -> bool {
        self.names_sides()
            || self.ip.is_some()
            || self.port.is_some()
            || self.protocol.is_some()
            || self.community.is_some()
    }

    /// Whether at least one address is asked for, and not only against.
    pub fn has_address(&self) -> bool {
        [&self.src.addr, &self.dst.addr, &self.ip].into_iter().flatten().any(|set| !set.negated)
    }

    /// Whether it is closely enough said what is wanted for the whole store to be searched for it: by an address, a
    /// connection's name, or a host, request target, file name or digest.
    pub fn is_selective(&self) -> bool {
        self.has_address() || self.community.as_ref().is_some_and(|set| !set.negated) || self.objects.is_selective()
    }

    /// The same filter with its two sides exchanged, as logs disagree on who is the source; `None` when it says nothing of
    /// either side.
    #[must_use]
    pub fn swapped(&self) -> Option<Self> {
        self.names_sides().then(|| Self { src: self.dst.clone(), dst: self.src.clone(), ..self.clone() })
    }

    const fn names_sides(&self) -> bool {
        self.src.addr.is_some() || self.src.port.is_some() || self.dst.addr.is_some() || self.dst.port.is_some()
    }
}

fn either<T>(set: Option<&Set<T>>, is: impl FnMut(&T) -> bool) -> bool {
    set.is_none_or(|set| set.wants(is))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::stream;

    fn filter(words: &[&str]) -> Filter {
        Filter::parse_words(words).unwrap()
    }

    /// The stream is 10.0.0.5:49211 -> 203.0.113.9:80, to the client, begun 2012-03-02 07:51:51.25, timed out.
    #[test]
    fn terms_match_or_do_not() {
        let info = stream();
        for (words, wanted) in [
            (&[][..], true),
            (&["srcip=10.0.0.5"], true),
            (&["srcip=203.0.113.9"], false),
            (&["srcip=!10.0.0.5"], false),
            (&["srcip=10.0.0.0/8,192.168.0.0/16", "dstip=203.0.113.9"], true),
            (&["srcip=!10.0.0.0/8,192.168.0.0/16"], false),
            (&["ip=203.0.113.9"], true),
            (&["ip=!203.0.113.9"], false),
            (&["ip=!203.0.113.8"], true),
            (&["srcport=49211", "dstport=80"], true),
            (&["dstport!80"], false),
            (&["dstport!443"], true),
            (&["port=80,443"], true),
            (&["port=!49211"], false),
            (&["start=2012-03-02 07:51:51", "end=2012-03-02 07:51:51"], true),
            (&["start=2012-03-02 07:51:52"], false),
            (&["end=2012-03-02 07:51:51.2"], false),
            (&["direction=c"], true),
            (&["direction=s"], false),
            (&["reason=i"], true),
            (&["reason=!c,r"], true),
            (&["reason=!i"], false),
            (&["reason=open"], false),
            (&["protocol=tcp"], true),
            (&["protocol=!6"], false),
            (&["protocol=udp,17"], false),
        ] {
            assert_eq!(filter(words).matches(&info), wanted, "{words:?}");
        }
    }

    #[test]
    fn sides_are_exchanged() {
        let there = filter(&["srcip=203.0.113.9", "srcport=80", "dstip=10.0.0.5", "limit=3"]);
        assert!(!there.matches(&stream()));
        let back = there.swapped().unwrap();
        assert!(back.matches(&stream()));
        assert_eq!((back.limit, back.swapped()), (Some(3), Some(there)));
        assert_eq!(filter(&["ip=10.0.0.5"]).swapped(), None);
    }

    #[test]
    fn an_address_asked_against_is_none_asked_for() {
        assert!(filter(&["dstip=10.0.0.5"]).has_address());
        assert!(filter(&["ip=10.0.0.5"]).has_address());
        assert!(!filter(&["srcip=!10.0.0.5", "port=80"]).has_address());
        assert!(filter(&["port=80"]).names_ends() && !filter(&["direction=c"]).names_ends());
    }

    #[test]
    fn packets_without_a_connection_have_addresses_alone() {
        let (a, b) = ("10.0.0.5".parse().unwrap(), "203.0.113.9".parse().unwrap());
        assert!(filter(&["srcip=203.0.113.9"]).matches_addresses(a, b));
        assert!(!filter(&["srcip=203.0.113.9", "dstip=203.0.113.9"]).matches_addresses(a, b));
        assert!(!filter(&["ip=10.0.0.5", "port=80"]).matches_addresses(a, b));
        assert!(!filter(&["ip=10.0.0.6"]).matches_addresses(a, b));
    }
}
