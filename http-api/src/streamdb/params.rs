//! What is asked for. Nothing is guessed: what is not understood is a refusal that says what is accepted.

use streamdb_query::{ALIASES, Expression, Filter, FilterError, PARAMETERS, Zone};
use streamdb_types::{Oid, Timestamp};

/// Streams shown when no limit is given.
const LIMIT: u64 = 100;
/// Most streams of one answer.
const MOST: u64 = 10_000;

/// Parameters of this endpoint alone.
const OURS: [&str; 13] = [
    "oid", "other", "raw", "newest", "follow", "as_text", "as_json", "as_hex", "as_pcap", "as_zip", "submit", "quiet",
    "filename",
];

/// A request that is understood.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// Nothing at all: a page shows the form, a script gets the usage.
    Nothing,
    Search(Box<Search>),
    Object {
        oid: Oid,
        wanted: Wanted,
        /// Of the stream as it is now, not as the oid names it.
        newest: bool,
    },
    /// An object is to be submitted.
    Submission(Oid),
}

#[derive(Debug, PartialEq)]
pub(super) struct Search {
    /// Its limit is set.
    pub filter: Filter,
    /// Streams as they are instead of the messages in them.
    pub raw: bool,
    /// How it is answered; `None` as the client likes it best.
    pub shape: Option<Shape>,
    /// Objects whose line has this are to be submitted.
    pub submit: Option<Expression>,
}

/// How a search is answered, when it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Json,
    /// Text, with the contents as hex dumps.
    Hex,
}

/// What of an oid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Object,
    /// Another version of the object, where two frames carried different bytes for one place: which, from 1 on.
    Other(usize),
    Stream,
    /// The stream, and what comes of it from now on.
    Follow,
    Frames,
    /// The object in a zip archive with the password `infected`.
    Zip,
    /// A hex dump of the object, or of the stream's bytes.
    Hex {
        raw: bool,
    },
}

impl Asked {
    /// Reads a query string's pairs; the error is a sentence. A parameter without a value is one that a form left empty.
    pub(super) fn parse(pairs: &[(String, String)], now: Timestamp, zone: &Zone) -> Result<Self, String> {
        let mut terms: Vec<(&str, &str)> = Vec::new();
        let mut seen: Vec<(&'static str, &str)> = Vec::new();
        let mut flags = Flags::default();
        let (mut oid, mut submit) = (None, None);
        for (name, value) in pairs.iter().map(|(name, value)| (name.as_str(), value.trim())) {
            if value.is_empty() && !name.contains('!') {
                if known(name) {
                    continue;
                }
                return Err(unknown(name));
            }
            let Some(ours) = OURS.into_iter().find(|ours| *ours == name) else {
                terms.push((name, value));
                continue;
            };
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == ours) {
                return Err(FilterError::twice(ours, (ours, first), (name, value)).to_string());
            }
            seen.push((ours, value));
            match name {
                "oid" => oid = Some(value.parse::<Oid>().map_err(|error| error.to_string())?),
                "other" => {
                    flags.other = value.parse().ok().filter(|n| (1..=4).contains(n));
                    if flags.other.is_none() {
                        return Err(format!(
                            "other: {value:?} is not accepted; it takes 1 to 4: which of the other versions"
                        ));
                    }
                }
                "raw" => flags.raw = flag(name, value)?,
                "newest" => flags.newest = flag(name, value)?,
                "follow" => flags.follow = flag(name, value)?,
                "as_text" => flags.text = flag(name, value)?,
                "as_json" => flags.json = flag(name, value)?,
                "as_hex" => flags.hex = flag(name, value)?,
                "as_pcap" => flags.pcap = flag(name, value)?,
                "as_zip" => flags.zip = flag(name, value)?,
                "submit" => submit = Some(value),
                // The ancestor took these two and did nothing with them.
                _ => {}
            }
        }
        match oid {
            Some(oid) => {
                if let Some((name, _)) = terms.first() {
                    return Err(format!(
                        "oid names one object, so that {name:?} has nothing to select; leave one of them out"
                    ));
                }
                match submit {
                    Some("1") if !flags.any() => Ok(Self::Submission(oid)),
                    Some(_) => Err("submit: with oid it takes 1, and nothing else beside it".to_owned()),
                    None => Ok(Self::Object { oid, wanted: flags.of_object()?, newest: flags.newest }),
                }
            }
            None if terms.is_empty() && !flags.any() && submit.is_none() => Ok(Self::Nothing),
            None => {
                let shape = flags.of_search()?;
                let expression = |text| {
                    Expression::anywhere(text)
                        .map_err(|why| format!("submit: {text:?} is not accepted; it takes {why}"))
                };
                let submit = submit.map(expression).transpose()?;
                let filter = filter(&terms, now, zone)?;
                Ok(Self::Search(Box::new(Search { filter, raw: flags.raw, shape, submit })))
            }
        }
    }
}

/// How the answer is to be.
#[derive(Clone, Copy, Default)]
struct Flags {
    other: Option<usize>,
    raw: bool,
    newest: bool,
    follow: bool,
    text: bool,
    json: bool,
    hex: bool,
    pcap: bool,
    zip: bool,
}

impl Flags {
    const fn any(self) -> bool {
        self.other.is_some()
            || self.raw
            || self.newest
            || self.follow
            || self.text
            || self.json
            || self.hex
            || self.pcap
            || self.zip
    }

    fn of_object(self) -> Result<Wanted, String> {
        match (self.raw, self.pcap, self.zip, self.hex) {
            _ if self.json => Err("as_json goes with a search, not with oid".to_owned()),
            _ if self.text => Err("as_text goes with a search, not with oid".to_owned()),
            (true, false, false, false) if self.follow => Ok(Wanted::Follow),
            (raw, pcap, zip, hex) if self.other.is_some() => match raw || pcap || zip || hex {
                true => Err("other goes with oid alone: another version of the object".to_owned()),
                false => Ok(Wanted::Other(self.other.unwrap_or(1))),
            },
            _ if self.follow => Err("follow goes with raw=1, and with nothing else".to_owned()),
            (false, false, false, false) => Ok(Wanted::Object),
            (true, false, false, false) => Ok(Wanted::Stream),
            (false, true, false, false) => Ok(Wanted::Frames),
            (false, false, true, false) => Ok(Wanted::Zip),
            (raw, false, false, true) => Ok(Wanted::Hex { raw }),
            _ => Err("raw, as_pcap, as_zip and as_hex exclude each other, but for raw with as_hex".to_owned()),
        }
    }

    fn of_search(self) -> Result<Option<Shape>, String> {
        match (self.text, self.json, self.hex) {
            _ if self.other.is_some() => Err("other goes with oid, not with a search".to_owned()),
            _ if self.newest => Err("newest goes with oid, not with a search".to_owned()),
            _ if self.follow => Err("follow goes with oid, not with a search".to_owned()),
            _ if self.pcap => Err("as_pcap goes with oid, not with a search".to_owned()),
            _ if self.zip => Err("as_zip goes with oid, not with a search".to_owned()),
            (false, false, false) => Ok(None),
            (true, false, false) => Ok(Some(Shape::Text)),
            (false, true, false) => Ok(Some(Shape::Json)),
            (_, false, true) => Ok(Some(Shape::Hex)),
            _ => Err("as_json excludes as_text and as_hex".to_owned()),
        }
    }
}

fn filter(terms: &[(&str, &str)], now: Timestamp, zone: &Zone) -> Result<Filter, String> {
    let mut filter = Filter::parse_at(terms.iter().copied(), now, zone).map_err(|error| match error {
        FilterError::Unknown { name, .. } => unknown(&name),
        error => error.to_string(),
    })?;
    if !filter.is_selective() {
        return Err(
            "an address is needed: srcip, dstip or ip, as in srcip=10.0.0.5 (one with ! in front is not enough); \
                    or a host, uri, name, verdict, md5, sha1, sha256 or community_id; or an oid"
                .to_owned(),
        );
    }
    let limit = filter.limit.unwrap_or(LIMIT);
    if limit > MOST {
        return Err(format!("limit: \"{limit}\" is not accepted; it takes at most {MOST}"));
    }
    filter.limit = Some(limit);
    Ok(filter)
}

fn names() -> impl Iterator<Item = &'static str> {
    PARAMETERS.iter().copied().chain(ALIASES.iter().map(|(alias, _)| *alias)).chain(OURS)
}

fn known(name: &str) -> bool {
    names().any(|known| known == name)
}

fn unknown(name: &str) -> String {
    FilterError::unknown(name, names()).to_string()
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(format!("{name}: {:?} is not accepted; it takes 1 or 0", value.chars().take(80).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &[(&str, &str)]) -> Result<Asked, String> {
        let pairs = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        Asked::parse(&pairs, Timestamp::new(1_330_674_711, 0), &Zone::UTC)
    }

    #[test]
    fn a_search_has_an_address_and_a_limit() {
        let Asked::Search(search) = parse(&[("sip", "10.0.0.5"), ("dstport!80", ""), ("end", "")]).unwrap() else {
            panic!("a search is wanted");
        };
        assert_eq!(search.filter.limit, Some(LIMIT));
        assert!(search.filter.dst.port.unwrap().negated && !search.raw && search.shape.is_none());
        for query in [
            &[("srcip", "!10.0.0.5")][..],
            &[("srcport", "80")],
            &[("as_json", "1")],
            &[("filetype", "executable")],
            &[("host", "!a.example")],
            &[("verdict", "!yara:*")],
            &[("submit", "executable")],
        ] {
            assert!(parse(query).unwrap_err().starts_with("an address is needed"), "{query:?}");
        }
        let digest = "00".repeat(32);
        for query in
            [("sha256", digest.as_str()), ("host", "a.example"), ("uri", "/x"), ("name", "*.exe"), ("verdict", "*")]
        {
            assert!(matches!(parse(&[query]), Ok(Asked::Search(_))), "{query:?}");
        }
        assert_eq!(parse(&[]), Ok(Asked::Nothing));
        assert_eq!(parse(&[("srcip", ""), ("quiet", "1"), ("filename", "x.pcap")]), Ok(Asked::Nothing));
    }

    #[test]
    fn an_oid_stands_alone() {
        let wanted = |extra: &[(&str, &str)]| {
            let query = [&[("oid", "1-2-3-4"), ("quiet", "1")], extra].concat();
            parse(&query).map(|asked| match asked {
                Asked::Object { wanted, .. } => wanted,
                _ => panic!("an object is wanted"),
            })
        };
        assert_eq!(wanted(&[]), Ok(Wanted::Object));
        assert_eq!(wanted(&[("other", "1")]), Ok(Wanted::Other(1)));
        assert!(wanted(&[("other", "0")]).is_err());
        assert!(wanted(&[("other", "1"), ("as_zip", "1")]).is_err());
        assert_eq!(wanted(&[("raw", "1")]), Ok(Wanted::Stream));
        assert_eq!(wanted(&[("raw", "0"), ("as_pcap", "1")]), Ok(Wanted::Frames));
        assert_eq!(wanted(&[("as_zip", "1")]), Ok(Wanted::Zip));
        assert_eq!(wanted(&[("raw", "1"), ("follow", "1")]), Ok(Wanted::Follow));
        assert_eq!(wanted(&[("newest", "1"), ("as_pcap", "1")]), Ok(Wanted::Frames));
        assert!(matches!(parse(&[("oid", "1-2-3-4"), ("submit", "1")]), Ok(Asked::Submission(_))));
        assert_eq!(wanted(&[("as_hex", "1"), ("raw", "1")]), Ok(Wanted::Hex { raw: true }));
        for extra in [
            &[("raw", "1"), ("as_pcap", "1")][..],
            &[("as_zip", "1"), ("as_hex", "1")],
            &[("follow", "1")],
            &[("follow", "1"), ("raw", "1"), ("as_hex", "1")],
            &[("srcip", "10.0.0.5")],
            &[("as_json", "1")],
            &[("submit", "executable")],
            &[("oid", "1-2-3-4")],
        ] {
            assert!(wanted(extra).is_err(), "{extra:?}");
        }
    }

    #[test]
    fn refusals_are_sentences() {
        for (query, why) in [
            (("oid", "1-2"), "\"1-2\" is no oid: four decimal numbers are wanted, as in 18043-3966843079-22968-0"),
            (("raw", "yes"), "raw: \"yes\" is not accepted; it takes 1 or 0"),
            (("as_jason", "1"), "there is no parameter \"as_jason\"; did you mean as_json?"),
            (("scrip", ""), "there is no parameter \"scrip\"; did you mean srcip?"),
            (("as_pcap", "1"), "as_pcap goes with oid, not with a search"),
        ] {
            assert_eq!(parse(&[query]).unwrap_err(), why);
        }
        let why = parse(&[("ip", "10.0.0.5"), ("pcre", "(?=x)")]).unwrap_err();
        assert!(why.contains("no look-around, no back-references"), "{why}");
        let long = parse(&[("ip", "10.0.0.5"), ("limit", "10001")]).unwrap_err();
        assert_eq!(long, "limit: \"10001\" is not accepted; it takes at most 10000");
    }
}
