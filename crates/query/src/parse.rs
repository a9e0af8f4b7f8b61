//! Names and values into a filter. Nothing is guessed: what is not understood is an error.

use streamdb_types::{Direction, Protocol, Reason, Timestamp};

use crate::address::{AddressSet, Network};
use crate::error::FilterError;
use crate::filter::{Filter, Order};
use crate::moment::{self, parse_moment};
use crate::set::Set;

/// The parameters of the filter language.
pub const PARAMETERS: &[&str] = &[
    "srcip",
    "dstip",
    "ip",
    "srcport",
    "dstport",
    "port",
    "start",
    "end",
    "direction",
    "reason",
    "protocol",
    "offset",
    "limit",
    "sort",
];

/// Other names of some of them, as OpenFPC spells them.
pub const ALIASES: &[(&str, &str)] =
    &[("sip", "srcip"), ("dip", "dstip"), ("spt", "srcport"), ("dpt", "dstport"), ("stime", "start"), ("etime", "end")];

/// Most values of one list.
const MOST_VALUES: usize = 1000;

const ADDRESSES: &str =
    "IPv4 or IPv6 addresses or networks, as in 10.0.0.5 or 10.0.0.0/8,fd00::/8, and ! in front for all others";
const PORTS: &str = "port numbers from 0 to 65535, as in 80 or 80,443, and ! in front for all others";
const REASONS: &str = "letters of c (FIN), r (RST), t (SYN timeout), e (exiting), l (size cutoff), i (time cutoff), or open, as in c,r, and ! in front for all others";
const PROTOCOLS: &str = "tcp, udp or protocol numbers, as in tcp or 6,17, and ! in front for all others";

impl Filter {
    /// Reads names and values, as of a query string.
    ///
    /// # Errors
    /// At the first that is unknown, given twice, or has a value that it does not take.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, FilterError> {
        Self::parse_at(pairs, streamdb_storage::now())
    }

    /// Reads words of a command line, `name=value` each; `dstport!80` is `dstport=!80`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when a word is no pair.
    pub fn parse_words<W: AsRef<str>>(words: &[W]) -> Result<Self, FilterError> {
        let pair = |word: &W| {
            let word = word.as_ref();
            match word.split_once('=') {
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None if word.contains('!') => Ok((word.to_owned(), String::new())),
                None => Err(FilterError::NoPair(word.to_owned())),
            }
        };
        Self::parse(words.iter().map(pair).collect::<Result<Vec<_>, _>>()?)
    }

    /// As [`parse`](Self::parse), at a given time: what `now` is.
    ///
    /// # Errors
    /// The same.
    pub fn parse_at<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
        now: Timestamp,
    ) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = turned(name.as_ref(), value.as_ref());
            let Some(name) = known(&name) else {
                let names = PARAMETERS.iter().copied().chain(ALIASES.iter().map(|(alias, _)| *alias));
                return Err(FilterError::unknown(&name, names));
            };
            if seen.contains(&name) {
                return Err(FilterError::Twice(name));
            }
            seen.push(name);
            filter.take(name, &value, now)?;
        }
        Ok(filter)
    }

    fn take(&mut self, name: &'static str, value: &str, now: Timestamp) -> Result<(), FilterError> {
        let value = value.trim();
        let number = || {
            let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let parsed = if plain { value.parse::<u64>().ok() } else { None };
            parsed.ok_or_else(|| FilterError::value(name, value, "a number, as in 100"))
        };
        match name {
            "srcip" => self.src.addr = Some(addresses(name, value)?),
            "dstip" => self.dst.addr = Some(addresses(name, value)?),
            "ip" => self.ip = Some(addresses(name, value)?),
            "srcport" => self.src.port = Some(ports(name, value)?),
            "dstport" => self.dst.port = Some(ports(name, value)?),
            "port" => self.port = Some(ports(name, value)?),
            "start" => self.start = Some(moment(name, value, now)?.0),
            "end" => {
                let (first, fine) = moment(name, value, now)?;
                // A second that is named is meant whole.
                self.end = Some(first.plus(fine - 1));
            }
            "direction" => {
                let found = Direction::BOTH.into_iter().find(|d| value.chars().eq([d.letter()]));
                let accepted = "c (bytes to the client) or s (bytes to the server)";
                self.direction = Some(found.ok_or_else(|| FilterError::value(name, value, accepted))?);
            }
            "reason" => self.reason = Some(reasons(name, value)?),
            "protocol" => self.protocol = Some(set(name, value, PROTOCOLS, protocol)?),
            "offset" => self.offset = number()?,
            "limit" => self.limit = Some(number()?),
            "sort" => {
                self.order = match value {
                    "0" => Order::Stored,
                    "1" => Order::NewestFirst,
                    _ => return Err(FilterError::value(name, value, "1 (newest first) or 0 (as stored)")),
                };
            }
            _ => return Err(FilterError::unknown(name, PARAMETERS.iter().copied())),
        }
        Ok(())
    }
}

/// `dstport!80` and `dstport!=80` are other spellings of `dstport=!80`.
fn turned(name: &str, value: &str) -> (String, String) {
    match name.split_once('!') {
        Some((name, "")) => (name.to_owned(), format!("!{value}")),
        Some((name, rest)) if value.is_empty() => (name.to_owned(), format!("!{rest}")),
        _ => (name.to_owned(), value.to_owned()),
    }
}

/// The parameter of this name.
fn known(name: &str) -> Option<&'static str> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, meant)| meant);
    PARAMETERS.iter().find(|known| **known == name).copied()
}

/// A list with commas, perhaps negated.
fn set<T>(
    name: &'static str,
    value: &str,
    accepted: &'static str,
    one: impl Fn(&str) -> Option<T>,
) -> Result<Set<T>, FilterError> {
    let error = || FilterError::value(name, value, accepted);
    let (negated, list) = match value.strip_prefix('!') {
        Some(list) => (true, list),
        None => (false, value),
    };
    let mut values = Vec::new();
    for item in list.split(',') {
        if values.len() == MOST_VALUES {
            return Err(FilterError::value(name, value, "at most 1000 values"));
        }
        values.push(one(item.trim()).ok_or_else(error)?);
    }
    Ok(Set { values, negated })
}

fn addresses(name: &'static str, value: &str) -> Result<AddressSet, FilterError> {
    set(name, value, ADDRESSES, Network::parse)
}

fn ports(name: &'static str, value: &str) -> Result<Set<u16>, FilterError> {
    set(name, value, PORTS, |item| if item.bytes().all(|b| b.is_ascii_digit()) { item.parse().ok() } else { None })
}

fn reasons(name: &'static str, value: &str) -> Result<Set<Option<Reason>>, FilterError> {
    set(name, value, REASONS, |item| {
        if item == "open" {
            return Some(None);
        }
        let mut letters = item.chars();
        let reason = Reason::from_letter(letters.next()?)?;
        letters.next().is_none().then_some(Some(reason))
    })
}

fn protocol(item: &str) -> Option<Protocol> {
    match item {
        "tcp" => Some(Protocol::TCP),
        "udp" => Some(Protocol::UDP),
        number if number.bytes().all(|b| b.is_ascii_digit()) => number.parse().ok().map(Protocol),
        _ => None,
    }
}

fn moment(name: &'static str, value: &str, now: Timestamp) -> Result<(Timestamp, i64), FilterError> {
    parse_moment(value, now).ok_or_else(|| FilterError::value(name, value, moment::ACCEPTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(words: &[&str]) -> String {
        Filter::parse_words(words).unwrap_err().to_string()
    }

    #[test]
    fn other_spellings_mean_the_same() {
        let plain =
            Filter::parse_words(&["srcip=10.0.0.5", "dstip=fd00::1", "srcport=1", "dstport=!80", "start=5", "end=6"]);
        let openfpc = Filter::parse_words(&["sip=10.0.0.5", "dip=fd00::1", "spt=1", "dpt!80", "stime=5", "etime=6"]);
        assert!(plain.is_ok());
        assert_eq!(plain, openfpc);
        assert_eq!(Filter::parse([("dstport!", "80")]), Filter::parse([("dstport", "!80")]));
        assert_eq!(Filter::parse([("dstport!80", "")]), Filter::parse([("dstport", "!80")]));
    }

    #[test]
    fn a_named_second_is_meant_whole() {
        let filter = Filter::parse_words(&["start=5", "end=6"]).unwrap();
        assert_eq!(filter.start, Some(Timestamp::new(5, 0)));
        assert_eq!(filter.end, Some(Timestamp::new(6, 999_999_999)));
    }

    #[test]
    fn errors_say_which_parameter_what_was_given_and_what_is_accepted() {
        assert_eq!(error(&["scrip=10.0.0.5"]), "there is no parameter \"scrip\"; did you mean srcip?");
        assert_eq!(error(&["colour=red"]), "there is no parameter \"colour\"");
        assert_eq!(
            error(&["sip=10.0.0.5", "srcip=10.0.0.6"]),
            "srcip is given twice; give it once, with commas between several values"
        );
        assert_eq!(error(&["10.0.0.5"]), "\"10.0.0.5\" is no filter: name=value is wanted, as in srcip=10.0.0.5");
        assert_eq!(error(&["limit=many"]), "limit: \"many\" is not accepted; it takes a number, as in 100");
        assert_eq!(error(&["srcport=65536"]), format!("srcport: \"65536\" is not accepted; it takes {PORTS}"));
        assert_eq!(
            error(&["direction=\x1b[31m"]),
            "direction: \"\\u{1b}[31m\" is not accepted; it takes c (bytes to the client) or s (bytes to the server)"
        );
        for bad in [
            "srcip=",
            "srcip=!",
            "srcip=10.0.0.5,",
            "srcip=a",
            "port=",
            "port=+1",
            "reason=x",
            "reason=cr",
            "reason=",
            "protocol=icmp",
            "protocol=256",
            "protocol=",
            "start=soon",
            "end=",
            "sort=2",
            "offset=-1",
            "limit=",
            "direction=cs",
        ] {
            let name = bad.split('=').next().unwrap();
            assert!(error(&[bad]).starts_with(&format!("{name}: ")), "{bad}");
        }
    }

    #[test]
    fn long_input_is_cut_in_messages() {
        let long = format!("srcip={}", "x".repeat(10_000));
        assert!(error(&[&long]).len() < 400);
        let many = format!("port={}", vec!["1"; 1001].join(","));
        assert!(error(&[&many]).ends_with("it takes at most 1000 values"));
    }
}
