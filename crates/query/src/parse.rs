//! Names and values into a filter. Nothing is guessed: what is not understood is an error.

use std::ops::RangeInclusive;

use streamdb_types::{Direction, ObjectKind, Protocol, Reason, Timestamp};

use crate::address::{AddressSet, Network};
use crate::content::BytesExpression;
use crate::error::FilterError;
use crate::filter::{Filter, Order};
use crate::moment::{self, Zone, parse_moment};
use crate::object::ObjectFilter;
use crate::pattern::Expression;
use crate::set::Set;
use crate::verdict::VerdictPattern;

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
    "length",
    "protocol",
    "community_id",
    "kind",
    "method",
    "host",
    "uri",
    "status",
    "mime",
    "filetype",
    "fact",
    "verdict",
    "name",
    "md5",
    "sha1",
    "sha256",
    "size",
    "incomplete",
    "mismatch",
    "pcre",
    "offset",
    "limit",
    "sort",
    "after",
];

/// Other names of some of them, as OpenFPC spells them.
pub const ALIASES: &[(&str, &str)] =
    &[("sip", "srcip"), ("dip", "dstip"), ("spt", "srcport"), ("dpt", "dstport"), ("stime", "start"), ("etime", "end")];

/// Those of them that take one value; the others take several, with commas between them.
const SINGLE: &[&str] = &[
    "start",
    "end",
    "direction",
    "uri",
    "filetype",
    "fact",
    "size",
    "length",
    "incomplete",
    "mismatch",
    "pcre",
    "offset",
    "limit",
    "sort",
    "after",
];

/// Most values of one list.
const MOST_VALUES: usize = 1000;

const ADDRESSES: &str =
    "IPv4 or IPv6 addresses or networks, as in 10.0.0.5 or 10.0.0.0/8,fd00::/8, and ! in front for all others";
const PORTS: &str = "port numbers from 0 to 65535, as in 80 or 80,443, and ! in front for all others";
const REASONS: &str = "letters of c (FIN), r (RST), t (SYN timeout), e (exiting), l (size cutoff), i (time cutoff), or open, as in c,r, and ! in front for all others";
const PROTOCOLS: &str = "tcp, udp or protocol numbers, as in tcp or 6,17, and ! in front for all others";

const COMMUNITY_IDS: &str = "community ids, as in 1:LQU9qZlK+B5F3KDmev6m5PMibrg=, and ! in front for all others";
const KINDS: &str =
    "request, response, part, file or stream, with commas between several, and ! in front for all others";
const HOSTS: &str = "host names, as in www.example.com or *.example.com, and ! in front for all others";
const MIMES: &str = "MIME types, as in application/pdf or image/*, and ! in front for all others";
const NAMES: &str = "file names, as in setup.exe or *.zip, and ! in front for all others";
const VERDICTS: &str = "names of rules, signatures or lists, as in *eicar* or Win.*,Unix.*, or of one scanner (yara, clamd, hash-list), as in yara:*; * for all, and ! in front for all others";
const STATUSES: &str = "status codes, as in 200 or 301,302, and ! in front for all others";
const MD5: &str = "MD5 digests, 32 hexadecimal digits each, and ! in front for all others";
const SHA1: &str = "SHA-1 digests, 40 hexadecimal digits each, and ! in front for all others";
const SHA256: &str = "SHA-256 digests, 64 hexadecimal digits each, and ! in front for all others";
const SIZES: &str = "a number of bytes or a range, as in 22528, 1K-64K or 1M-";

impl Filter {
    /// Reads names and values, as of a query string.
    ///
    /// # Errors
    /// At the first that is unknown, given twice, or has a value that it does not take; and when the end is before the start.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, FilterError> {
        Self::parse_at(pairs, streamdb_storage::now(), &Zone::UTC)
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

    /// As [`parse`](Self::parse), at a given time, which is what `now` is, in a time zone.
    ///
    /// # Errors
    /// The same.
    pub fn parse_at<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
        now: Timestamp,
        zone: &Zone,
    ) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        let mut seen: Vec<(&'static str, String)> = Vec::new();
        for (given, value) in pairs {
            let pair = format!("{}={}", given.as_ref(), value.as_ref());
            let (name, value) = turned(given.as_ref(), value.as_ref());
            let Some(name) = known(&name) else {
                let names = PARAMETERS.iter().copied().chain(ALIASES.iter().map(|(alias, _)| *alias));
                return Err(FilterError::unknown(&name, names));
            };
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == name) {
                let list = !SINGLE.contains(&name);
                return Err(FilterError::Twice { name, given: [first.clone(), pair], list });
            }
            seen.push((name, pair));
            filter.take(name, &value, now, zone)?;
        }
        if filter.start.zip(filter.end).is_some_and(|(start, end)| start > end) {
            let given = |name: &str| {
                let pair = seen.iter().find(|(known, _)| *known == name).map(|(_, pair)| pair.as_str());
                pair.and_then(|pair| pair.split_once('=')).map_or("", |(_, value)| value.trim()).to_owned()
            };
            return Err(FilterError::Backwards { start: given("start"), end: given("end") });
        }
        Ok(filter)
    }

    fn take(&mut self, name: &'static str, value: &str, now: Timestamp, zone: &Zone) -> Result<(), FilterError> {
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
            "start" => self.start = Some(moment(name, value, now, zone)?.0),
            "end" => {
                let (first, fine) = moment(name, value, now, zone)?;
                // A second that is named is meant whole.
                self.end = Some(first.plus(fine - 1));
            }
            "direction" => {
                let found = Direction::BOTH.into_iter().find(|d| value.chars().eq([d.letter()]));
                let accepted = "c (bytes to the client) or s (bytes to the server)";
                self.direction = Some(found.ok_or_else(|| FilterError::value(name, value, accepted))?);
            }
            "reason" => self.reason = Some(reasons(name, value)?),
            "length" => self.length = Some(sizes(value).ok_or_else(|| FilterError::value(name, value, SIZES))?),
            "protocol" => self.protocol = Some(set(name, value, PROTOCOLS, protocol)?),
            "community_id" => self.community = Some(set(name, value, COMMUNITY_IDS, community)?),
            "offset" => self.offset = number()?,
            "limit" => self.limit = Some(number()?),
            "sort" => {
                self.order = match value {
                    "0" => Order::OldestFirst,
                    "1" => Order::NewestFirst,
                    _ => return Err(FilterError::value(name, value, "1 (newest first) or 0 (oldest first)")),
                };
            }
            "after" => {
                let accepted = "a position, as an earlier answer gave it";
                self.after = Some(value.parse().map_err(|_| FilterError::value(name, value, accepted))?);
            }
            _ => return self.objects.take(name, value),
        }
        Ok(())
    }
}

impl ObjectFilter {
    fn take(&mut self, name: &'static str, value: &str) -> Result<(), FilterError> {
        let upper = |item: &str| {
            let plain = !item.is_empty() && item.bytes().all(|b| b.is_ascii_graphic());
            plain.then(|| item.to_ascii_uppercase())
        };
        match name {
            "kind" => {
                self.kind =
                    Some(set(name, value, KINDS, |item| ObjectKind::ALL.into_iter().find(|k| k.word() == item))?);
            }
            "method" => self.method = Some(set(name, value, "methods, as in GET or POST,PUT", upper)?),
            "host" => self.host = Some(names(name, value, HOSTS)?),
            "mime" => self.mime = Some(names(name, value, MIMES)?),
            "name" => self.name = Some(names(name, value, NAMES)?),
            // A target may have commas, an expression too.
            "uri" => self.uri = Some(one(name, value, |text| Expression::name(text, true))?),
            "filetype" => self.filetype = Some(one(name, value, Expression::anywhere)?),
            "fact" => self.fact = Some(one(name, value, Expression::in_lines)?),
            "verdict" => self.verdict = Some(set(name, value, VERDICTS, VerdictPattern::parse)?),
            "status" => self.status = Some(set(name, value, STATUSES, |item| item.parse().ok().filter(|n| *n < 1000))?),
            "md5" => self.md5 = Some(set(name, value, MD5, unhex)?),
            "sha1" => self.sha1 = Some(set(name, value, SHA1, unhex)?),
            "sha256" => self.sha256 = Some(set(name, value, SHA256, unhex)?),
            "size" => self.size = Some(sizes(value).ok_or_else(|| FilterError::value(name, value, SIZES))?),
            "incomplete" => {
                self.incomplete = Some(match value {
                    "1" => true,
                    "0" => false,
                    _ => {
                        return Err(FilterError::value(
                            name,
                            value,
                            "1 (those that are not complete) or 0 (those that are)",
                        ));
                    }
                });
            }
            "mismatch" => {
                let accepted = "1 (those whose declared type contradicts what they are) or 0 (others)";
                self.mismatch = Some(match value {
                    "1" => true,
                    "0" => false,
                    _ => return Err(FilterError::value(name, value, accepted)),
                });
            }
            "pcre" => {
                let expression = BytesExpression::new(value).map_err(|why| FilterError::value(name, value, why))?;
                self.pcre = Some(expression);
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

/// Names in which `*` stands for anything.
fn names(name: &'static str, value: &str, accepted: &'static str) -> Result<Set<Expression>, FilterError> {
    set(name, value, accepted, |item| if item.is_empty() { None } else { Expression::name(item, false).ok() })
}

/// One value, perhaps negated.
fn one(
    name: &'static str,
    value: &str,
    read: impl Fn(&str) -> Result<Expression, String>,
) -> Result<Set<Expression>, FilterError> {
    let (negated, text) = match value.strip_prefix('!') {
        Some(text) => (true, text),
        None => (false, value),
    };
    if text.is_empty() {
        return Err(FilterError::value(name, value, "a text, and ! in front for all others"));
    }
    let expression = read(text).map_err(|why| FilterError::value(name, value, why))?;
    Ok(Set { values: vec![expression], negated })
}

fn community(item: &str) -> Option<String> {
    let digest = item.strip_prefix("1:")?;
    let plain = digest.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    (plain && digest.len() == 28).then(|| item.to_owned())
}

fn unhex<const N: usize>(item: &str) -> Option<[u8; N]> {
    let digits = item.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
    }
    Some(bytes)
}

/// `22528`, `1000-5000`, `1M-`, `-64K`.
fn sizes(text: &str) -> Option<RangeInclusive<u64>> {
    match text.split_once('-') {
        None => size(text).map(|n| n..=n),
        Some(("", "")) => None,
        Some((from, to)) => {
            let from = if from.is_empty() { 0 } else { size(from)? };
            let to = if to.is_empty() { u64::MAX } else { size(to)? };
            (from <= to).then_some(from..=to)
        }
    }
}

fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 1 << 10),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 1 << 20),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 1 << 30),
        _ => (text, 1u64),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse::<u64>().ok()?.checked_mul(unit) } else { None }
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

fn moment(name: &'static str, value: &str, now: Timestamp, zone: &Zone) -> Result<(Timestamp, i64), FilterError> {
    parse_moment(value, now, zone).ok_or_else(|| FilterError::value(name, value, moment::ACCEPTED))
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
            "srcip is given twice, as \"sip=10.0.0.5\" and \"srcip=10.0.0.6\"; give it once, with commas between several values"
        );
        assert_eq!(
            error(&["start=2012-03-02 07:50:00", "end=5"]),
            "start: \"2012-03-02 07:50:00\" is after the end, \"5\", so that nothing can be found; exchange them, or leave one out"
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
    fn what_takes_one_value_says_so_when_it_gets_two() {
        let values = ["5", "6", "c", "/a", "exe", "signed", "1K", "1K", "1", "1", "x", "1", "2", "1", "1.1.1.c.0.0"];
        for (name, value) in SINGLE.iter().zip(values) {
            let pair = format!("{name}={value}");
            assert_eq!(
                error(&[&pair, &pair]),
                format!(
                    "{name} is given twice, as \"{pair}\" and \"{pair}\"; it takes one value: leave one of them out"
                )
            );
        }
        assert!(SINGLE.iter().all(|name| PARAMETERS.contains(name)));
    }

    #[test]
    fn a_start_may_be_the_end_and_not_after_it() {
        for (start, end, fits) in [("5", "6", true), ("5", "5", true), ("5.5", "5", true), ("6", "5", false)] {
            let words = [format!("start={start}"), format!("end={end}")];
            assert_eq!(Filter::parse_words(&words).is_ok(), fits, "{words:?}");
        }
        assert!(error(&["stime=now", "etime=yesterday"]).starts_with("start: \"now\" is after the end, \"yesterday\""));
    }

    #[test]
    fn long_input_is_cut_in_messages() {
        let long = format!("srcip={}", "x".repeat(10_000));
        assert!(error(&[&long]).len() < 400);
        let many = format!("port={}", vec!["1"; 1001].join(","));
        assert!(error(&[&many]).ends_with("it takes at most 1000 values"));
    }
}
