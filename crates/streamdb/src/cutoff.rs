//! How much of a connection is kept: rules, the first that matches decides, once for each connection.
//!
//! Addresses, ports and filters decide with the first frame. What protocol it is, the first bytes show: until then all is
//! kept, and the first bytes of each direction are looked at as they come, by signature; nothing is parsed.

mod rule;

use std::collections::HashMap;

use streamdb_capture::Filter;
use streamdb_reassembly::{Keep, Slot};
use streamdb_sniff::protocol;
use streamdb_types::{Direction, LinkType, Tuple};

pub use self::rule::Rule;
pub(crate) use self::rule::{FIRST_ACCEPTED, NET_ACCEPTED, PORT_ACCEPTED, protocol_accepted};

/// The most rules: which of them may match is remembered in the bits of a number.
pub const MAX_RULES: usize = 64;
/// The first bytes of a direction in which a protocol shows, or it does not.
const HEAD: usize = 512;
/// How many payloads of a connection are looked at.
const LOOKS: u8 = 32;
/// The most connections of which first bytes are collected; of more, the first payload alone decides.
const MAX_HEADS: usize = 65_536;

/// The rules, and the connections about which they have not decided yet.
#[derive(Debug, Default)]
pub struct Cutoffs {
    rules: Vec<Rule>,
    /// The filters of the rules, by link type.
    filters: Vec<(LinkType, Vec<Option<Filter>>)>,
    undecided: HashMap<u32, Undecided>,
    heads: usize,
}

/// A connection that may be one of several classes.
#[derive(Debug)]
struct Undecided {
    /// The rules that match, but for the protocol.
    possible: u64,
    /// Those of them that ask for a protocol.
    waiting: u64,
    looks: u8,
    /// The first bytes of each direction, as soon as there are any.
    heads: Option<Box<[Vec<u8>; 2]>>,
}

impl Cutoffs {
    /// These rules, of which the first [`MAX_RULES`] count.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.truncate(MAX_RULES);
        Self { rules, ..Self::default() }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Frames of this link type will come.
    ///
    /// # Errors
    /// When a filter cannot be used on them.
    pub fn link_type(&mut self, link_type: LinkType) -> Result<(), streamdb_capture::Error> {
        if self.filters.iter().all(|(known, _)| *known != link_type) {
            let compile = |rule: &Rule| rule.filter().map(|text| Filter::compile(text, link_type)).transpose();
            let filters = self.rules.iter().map(compile).collect::<Result<_, _>>()?;
            self.filters.push((link_type, filters));
        }
        Ok(())
    }

    /// A connection begins with this frame.
    pub(crate) fn opened(&mut self, slot: Slot, tuple: &Tuple, link_type: LinkType, frame: &[u8]) -> Keep {
        let filters = self.filters.iter().find(|(known, _)| *known == link_type).map(|(_, filters)| filters.as_slice());
        let (mut possible, mut waiting) = (0u64, 0u64);
        for (i, rule) in self.rules.iter().enumerate() {
            let filter = filters.and_then(|filters| filters.get(i)).and_then(Option::as_ref);
            // A filter that was never compiled matches nothing.
            let holds = rule.holds_for_ends(tuple)
                && (rule.filter().is_none() || filter.is_some_and(|filter| filter.matches(frame)));
            if !holds {
                continue;
            }
            possible |= 1 << i;
            if !rule.waits_for_bytes(tuple) {
                if waiting == 0 {
                    return keep(rule);
                }
                // Nothing after it can be the first that matches. Should the protocol be none of those before, it is this.
                break;
            }
            waiting |= 1 << i;
        }
        if possible == 0 {
            return Keep::All;
        }
        self.undecided.insert(slot.0, Undecided { possible, waiting, looks: 0, heads: None });
        Keep::Undecided
    }

    /// Payload of a connection that is not decided about, at this offset of its stream.
    pub(crate) fn look(&mut self, slot: Slot, direction: Direction, offset: u64, bytes: &[u8]) -> Keep {
        let Some(connection) = self.undecided.get_mut(&slot.0) else { return Keep::All };
        connection.looks += 1;
        let shown = if connection.heads.is_none() && self.heads >= MAX_HEADS {
            connection.looks = LOOKS;
            if offset == 0 { protocol(bytes) } else { None }
        } else {
            let heads = connection.heads.get_or_insert_with(|| {
                self.heads += 1;
                Box::default()
            });
            let head = direction.of_mut(heads);
            let known = head.len() as u64;
            let new = known.checked_sub(offset).and_then(|skip| bytes.get(usize::try_from(skip).ok()?..));
            let room = HEAD.saturating_sub(head.len());
            let new = new.map(|new| new.get(..room).unwrap_or(new)).filter(|new| !new.is_empty());
            new.and_then(|new| {
                head.extend_from_slice(new);
                protocol(head)
            })
        };
        let full = connection.heads.as_ref().is_some_and(|heads| heads.iter().all(|head| head.len() >= HEAD));
        if shown.is_none() && connection.looks < LOOKS && !full {
            return Keep::Undecided;
        }
        let (possible, waiting) = (connection.possible, connection.waiting);
        self.forget(slot);
        let matches = |i: usize, rule: &Rule| {
            let shows = || shown.is_some_and(|protocol| rule.holds_for_protocol(protocol));
            possible & (1 << i) != 0 && (waiting & (1 << i) == 0 || shows())
        };
        let matching = self.rules.iter().enumerate().find(|(i, rule)| matches(*i, rule));
        matching.map_or(Keep::All, |(_, rule)| keep(rule))
    }

    /// The two sides of the connection change places. What its ends decided stays: rules do not tell one end from the other.
    pub(crate) fn turned(&mut self, slot: Slot) {
        if let Some([to_server, to_client]) = self.undecided.get_mut(&slot.0).and_then(|c| c.heads.as_deref_mut()) {
            std::mem::swap(to_server, to_client);
        }
    }

    /// The connection is over.
    pub(crate) fn closed(&mut self, slot: Slot) {
        if !self.undecided.is_empty() {
            self.forget(slot);
        }
    }

    fn forget(&mut self, slot: Slot) {
        let gone = self.undecided.remove(&slot.0);
        self.heads -= usize::from(gone.is_some_and(|connection| connection.heads.is_some()));
    }
}

fn keep(rule: &Rule) -> Keep {
    rule.first().map_or(Keep::All, Keep::First)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};
    use streamdb_types::{Direction::ToClient, Direction::ToServer, Endpoint, Protocol};

    const TLS: &[u8] = b"\x16\x03\x01\x00\x2e\x01\0\0\x2a\x03\x03";
    const SLOT: Slot = Slot(7);

    fn cutoffs(rules: &[&str]) -> Cutoffs {
        let mut cutoffs = Cutoffs::new(rules.iter().map(|text| Rule::parse(text).unwrap()).collect());
        cutoffs.link_type(LinkType::ETHERNET).unwrap();
        cutoffs
    }

    fn tuple(port: u16) -> Tuple {
        let end = |n, port| Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), port);
        Tuple { protocol: Protocol::TCP, client: end(1, 40_000), server: end(2, port) }
    }

    fn open(cutoffs: &mut Cutoffs, port: u16) -> Keep {
        cutoffs.opened(SLOT, &tuple(port), LinkType::ETHERNET, &[])
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let mut cutoffs = cutoffs(&["port=22:all", "net=10.0.0.1 port=443:10", "port=443:20", "protocol=tcp:30"]);
        assert_eq!(open(&mut cutoffs, 22), Keep::All);
        assert_eq!(open(&mut cutoffs, 443), Keep::First(10));
        assert_eq!(open(&mut cutoffs, 80), Keep::First(30));
        assert!(cutoffs.undecided.is_empty());
    }

    #[test]
    fn a_protocol_waits_for_its_bytes_and_a_later_rule_for_it() {
        let mut cutoffs = cutoffs(&["protocol=tls:10", "port=443:20", "protocol=ssh:30"]);
        for (port, bytes, keep) in [
            (443, TLS, Keep::First(10)),
            (80, TLS, Keep::First(10)),
            (443, b"SSH-2.0-x\r\n", Keep::First(20)),
            (22, b"SSH-2.0-x\r\n", Keep::First(30)),
            (80, b"GET / HTTP/1.1\r\n", Keep::All),
        ] {
            assert_eq!(open(&mut cutoffs, port), Keep::Undecided);
            assert_eq!(cutoffs.look(SLOT, ToServer, 0, bytes), keep, "{port} {bytes:?}");
            assert!(cutoffs.undecided.is_empty() && cutoffs.heads == 0);
        }
    }

    #[test]
    fn first_bytes_come_in_pieces_and_twice() {
        let mut cutoffs = cutoffs(&["protocol=tls:10"]);
        open(&mut cutoffs, 443);
        let mut look =
            |offset: usize, to: usize| cutoffs.look(SLOT, ToServer, offset as u64, TLS.get(offset..to).unwrap());
        assert_eq!(look(0, 1), Keep::Undecided);
        assert_eq!(look(3, 8), Keep::Undecided, "what lies between has not come");
        assert_eq!(look(0, 4), Keep::Undecided);
        assert_eq!(look(0, 4), Keep::Undecided);
        assert_eq!(look(2, 11), Keep::First(10));
    }

    #[test]
    fn waiting_ends() {
        let mut cutoffs = cutoffs(&["protocol=tls:10", "port=443:20"]);
        open(&mut cutoffs, 443);
        assert_eq!(cutoffs.look(SLOT, ToServer, 0, &[0; 2 * HEAD]), Keep::Undecided);
        assert_eq!(cutoffs.look(SLOT, ToClient, 0, &[0; HEAD - 1]), Keep::Undecided);
        assert_eq!(cutoffs.look(SLOT, ToClient, HEAD as u64 - 1, &[0; 5]), Keep::First(20));
        open(&mut cutoffs, 443);
        let looks = (1..).find(|_| cutoffs.look(SLOT, ToServer, 900, &[0]) != Keep::Undecided);
        assert_eq!(looks, Some(usize::from(LOOKS)));
        open(&mut cutoffs, 443);
        cutoffs.look(SLOT, ToServer, 0, &[0]);
        cutoffs.closed(SLOT);
        assert!(cutoffs.undecided.is_empty() && cutoffs.heads == 0);
        // Without room for more heads one look is all.
        cutoffs.heads = MAX_HEADS;
        open(&mut cutoffs, 443);
        assert_eq!(cutoffs.look(SLOT, ToServer, 0, &[0]), Keep::First(20));
        open(&mut cutoffs, 443);
        assert_eq!(cutoffs.look(SLOT, ToServer, 0, TLS), Keep::First(10));
        assert_eq!(cutoffs.heads, MAX_HEADS);
    }

    #[test]
    fn a_filter_judges_the_first_frame() {
        let mut cutoffs = cutoffs(&["filter=tcp[tcpflags] & tcp-syn != 0:10"]);
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        let mut opened = |frame: &[u8]| cutoffs.opened(SLOT, &tuple(80), LinkType::ETHERNET, frame);
        assert_eq!(opened(&frame), Keep::First(10));
        assert_eq!(opened(frame.get(..40).unwrap()), Keep::All);
        assert_eq!(cutoffs.opened(SLOT, &tuple(80), LinkType::RAW, &frame), Keep::All, "that link was not announced");
        assert!(cutoffs.link_type(LinkType::RAW).is_ok());
        let mut ether = Cutoffs::new(vec![Rule::parse("filter=ether host 1:2:3:4:5:6:0").unwrap()]);
        assert!(ether.link_type(LinkType::RAW).is_err());
    }
}
