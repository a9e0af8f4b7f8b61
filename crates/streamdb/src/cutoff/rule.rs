//! One rule: which connections, and how many bytes of each of their directions are kept. As people write it.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use streamdb_capture::Filter;
use streamdb_query::Network;
use streamdb_types::{LinkType, Protocol, Tuple};

use crate::units;

/// How a rule is written on the command line.
const WRITTEN: &str =
    "a rule is TESTS:SIZE, as in protocol=tls:64K, port=443,8443:1M, net=10.0.0.0/8:0 or 'filter=host 10.0.0.5:1M'";
/// What follows the colon, and what `first` is in the configuration.
pub(crate) const FIRST_ACCEPTED: &str = "a size as in 64K or 1M, 0 for headers alone, or all";
pub(crate) const PORT_ACCEPTED: &str = "ports and ranges of them, as in 443, 8443 or 9000-9100, separated by commas";
pub(crate) const NET_ACCEPTED: &str = "addresses and networks, as in 10.0.0.5 or fd00::/8, separated by commas";

/// What `protocol` is.
pub(crate) fn protocol_accepted() -> String {
    let words: Vec<&str> = streamdb_sniff::protocols().collect();
    format!("tcp, udp, or protocols that first bytes show ({}), separated by commas", words.join(", "))
}

/// A rule. Each test that it has must hold, and each of them when one of its values does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    transports: Vec<Protocol>,
    protocols: Vec<&'static str>,
    ports: Vec<RangeInclusive<u16>>,
    nets: Vec<Network>,
    filter: Option<String>,
    /// `None`: all.
    first: Option<u64>,
}

/// As it is on the command line.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = |protocol: &Protocol| if *protocol == Protocol::UDP { "udp".into() } else { "tcp".into() };
        let protocols = self.transports.iter().map(transport).chain(self.protocols.iter().map(|word| (*word).into()));
        let ports = self.ports.iter().map(|range| format!("{}-{}", range.start(), range.end()));
        let lists: [(&str, Vec<String>); 3] = [
            ("protocol", protocols.collect()),
            ("port", ports.collect()),
            ("net", self.nets.iter().map(Network::to_string).collect()),
        ];
        let lists = lists.iter().filter(|(_, list)| !list.is_empty());
        let filter = self.filter.iter().map(|filter| format!("filter={filter}"));
        let tests: Vec<String> = lists.map(|(key, list)| format!("{key}={}", list.join(","))).chain(filter).collect();
        write!(f, "{}:", tests.join(" "))?;
        match self.first {
            Some(first) => write!(f, "{first}"),
            None => f.write_str("all"),
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl Rule {
    /// Reads a rule as it is on the command line.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut tests, size) = text.rsplit_once(':').ok_or_else(|| format!("it has no size; {WRITTEN}"))?;
        let mut rule = Self::default();
        rule.set_first(size).ok_or_else(|| format!("{size:?} is no size; it takes {FIRST_ACCEPTED}"))?;
        while !tests.trim_start().is_empty() {
            let (key, rest) = tests
                .trim_start()
                .split_once('=')
                .ok_or_else(|| format!("{:?} is no test; {WRITTEN}", tests.trim_start()))?;
            // A filter has blanks of its own, and is the last one.
            let (value, others) = match key {
                "filter" => (rest, ""),
                _ => rest.split_once(' ').unwrap_or((rest, "")),
            };
            let refused = |accepted: &str| format!("{key}: {value:?} is not accepted; it takes {accepted}");
            match key {
                "protocol" => rule.set_protocols(value).ok_or_else(|| refused(&protocol_accepted()))?,
                "port" => rule.set_ports(value).ok_or_else(|| refused(PORT_ACCEPTED))?,
                "net" => rule.set_nets(value).ok_or_else(|| refused(NET_ACCEPTED))?,
                "filter" => rule.set_filter(value)?,
                _ => return Err(format!("there is no test {key:?}; there are protocol, port, net and filter")),
            }
            tests = others;
        }
        if rule.asks() { Ok(rule) } else { Err(format!("it has no test; {WRITTEN}")) }
    }

    /// Whether it has a test.
    pub(crate) fn asks(&self) -> bool {
        let lists = self.transports.len() + self.protocols.len() + self.ports.len() + self.nets.len();
        lists > 0 || self.filter.is_some()
    }

    pub(crate) fn set_first(&mut self, text: &str) -> Option<()> {
        self.first = match text {
            "all" => None,
            _ if !text.is_empty() && text.bytes().all(|b| b == b'0') => Some(0),
            _ => Some(units::size(text).ok()?),
        };
        Some(())
    }

    pub(crate) fn set_protocols(&mut self, text: &str) -> Option<()> {
        for word in text.split(',').map(|word| word.trim().to_ascii_lowercase()) {
            match word.as_str() {
                "tcp" => self.transports.push(Protocol::TCP),
                "udp" => self.transports.push(Protocol::UDP),
                word => self.protocols.push(streamdb_sniff::protocols().find(|known| *known == word)?),
            }
        }
        Some(())
    }

    pub(crate) fn set_ports(&mut self, text: &str) -> Option<()> {
        for range in text.split(',').map(str::trim) {
            let number = |digits: &str| -> Option<u16> {
                (digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
            };
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let (low, high) = (number(low)?, number(high)?);
            (low <= high).then(|| self.ports.push(low..=high))?;
        }
        Some(())
    }

    pub(crate) fn set_nets(&mut self, text: &str) -> Option<()> {
        for net in text.split(',') {
            self.nets.push(Network::parse(net.trim())?);
        }
        Some(())
    }

    /// # Errors
    /// When libpcap does not take the expression: its sentence.
    pub(crate) fn set_filter(&mut self, text: &str) -> Result<(), String> {
        if text.trim().is_empty() {
            return Err("filter: it is empty; it takes an expression in the language of tcpdump".into());
        }
        Filter::compile(text, LinkType::ETHERNET).map_err(|error| error.to_string())?;
        self.filter = Some(text.to_owned());
        Ok(())
    }

    /// The expression that the first frame of a connection has to match.
    pub(super) fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    /// How many bytes of each direction are kept; `None` is all.
    pub(super) const fn first(&self) -> Option<u64> {
        self.first
    }

    /// Whether the tests hold that ask for neither a filter nor an application protocol.
    pub(super) fn holds_for_ends(&self, tuple: &Tuple) -> bool {
        let ends = [tuple.client, tuple.server];
        let port = self.ports.is_empty() || self.ports.iter().any(|r| ends.iter().any(|end| r.contains(&end.port)));
        let net = self.nets.is_empty() || self.nets.iter().any(|net| ends.iter().any(|end| net.contains(end.addr)));
        port && net && (self.holds_for_transport(tuple) || self.transports.is_empty() || !self.protocols.is_empty())
    }

    /// Whether what the connection's first bytes are matters.
    pub(super) fn waits_for_bytes(&self, tuple: &Tuple) -> bool {
        !self.protocols.is_empty() && !self.holds_for_transport(tuple)
    }

    /// Whether the connection may be of this application protocol, as the rule sees it.
    pub(super) fn holds_for_protocol(&self, protocol: &str) -> bool {
        self.protocols.contains(&protocol)
    }

    fn holds_for_transport(&self, tuple: &Tuple) -> bool {
        self.transports.contains(&tuple.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::Endpoint;

    fn tuple(protocol: Protocol, client: &str, server: &str) -> Tuple {
        let end = |text: &str| {
            let address: std::net::SocketAddr = text.parse().unwrap();
            Endpoint::new(address.ip(), address.port())
        };
        Tuple { protocol, client: end(client), server: end(server) }
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "protocol=tls,SSH,udp port=443,9000-9100 net=10.0.0.0/8,fd00::/8:64K",
            "net=2001:db8::1:0",
            "port=53 filter=udp and ether host 0:1:2:3:4:5:all",
        ] {
            let rule = Rule::parse(text).unwrap();
            assert_eq!(Rule::parse(&rule.to_string()), Ok(rule));
        }
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        let rule = Rule::parse("protocol=tls,SSH port=443,9000-9100 net=10.0.0.0/8,fd00::/8:64K").unwrap();
        assert_eq!((rule.protocols.as_slice(), rule.first), (&["tls", "ssh"][..], Some(64 << 10)));
        assert_eq!((rule.ports.as_slice(), rule.nets.len()), (&[443..=443, 9000..=9100][..], 2));
        let rule = Rule::parse("net=2001:db8::1:0").unwrap();
        assert_eq!((rule.nets.len(), rule.first), (1, Some(0)));
        let rule = Rule::parse("port=53 filter=udp and ether host 0:1:2:3:4:5:all").unwrap();
        assert_eq!((rule.filter.as_deref(), rule.first), (Some("udp and ether host 0:1:2:3:4:5"), None));
    }

    #[test]
    fn mistakes_are_sentences() {
        for (text, wanted) in [
            ("protocol=tls", "it has no size; a rule is TESTS:SIZE, as in "),
            ("protocol=tls:", "\"\" is no size; it takes a size as in 64K or 1M, 0 for headers alone, or all"),
            ("protocol=tls:64Q", "\"64Q\" is no size; it takes "),
            (":64K", "it has no test; a rule is TESTS:SIZE, as in "),
            ("tls:64K", "\"tls\" is no test; a rule is TESTS:SIZE, as in "),
            ("protocol=tsl:64K", "protocol: \"tsl\" is not accepted; it takes tcp, udp, or protocols that first bytes"),
            ("port=65536:1", "port: \"65536\" is not accepted; it takes ports and ranges of them, as in 443, "),
            ("port=9-8:1", "port: \"9-8\" is not accepted; "),
            ("port=:1", "port: \"\" is not accepted; "),
            ("port=+9:1", "port: \"+9\" is not accepted; "),
            ("net=10.0.0.256:1", "net: \"10.0.0.256\" is not accepted; it takes addresses and networks, "),
            ("host=a:1", "there is no test \"host\"; there are protocol, port, net and filter"),
            ("filter=:1", "filter: it is empty; "),
            ("filter=tcp prot 80:1", "the filter 'tcp prot 80' cannot be used on link type 1: "),
        ] {
            let said = Rule::parse(text).unwrap_err();
            assert!(said.starts_with(wanted), "{text}: {said}");
        }
    }

    #[test]
    fn all_tests_have_to_hold_and_either_end_may() {
        let web = tuple(Protocol::TCP, "10.0.0.5:49211", "203.0.113.9:443");
        for (text, holds) in [
            ("port=443:0", true),
            ("port=49211:0", true),
            ("port=444-500:0", false),
            ("net=10.0.0.0/8:0", true),
            ("net=203.0.113.9:0", true),
            ("net=10.0.0.0/8 port=80:0", false),
            ("protocol=udp:0", false),
            ("protocol=tcp:0", true),
            ("protocol=udp,tls:0", true),
            ("protocol=tls port=80:0", false),
        ] {
            assert_eq!(Rule::parse(text).unwrap().holds_for_ends(&web), holds, "{text}");
        }
        assert!(Rule::parse("protocol=udp,tls:0").unwrap().waits_for_bytes(&web));
        assert!(!Rule::parse("protocol=tcp,tls:0").unwrap().waits_for_bytes(&web));
        assert!(!Rule::parse("port=443:0").unwrap().waits_for_bytes(&web));
    }
}
