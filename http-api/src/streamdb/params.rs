//! What is asked for. Nothing is guessed: what is not understood is a refusal that says what is accepted.

use streamdb_query::{ALIASES, Filter, FilterError, PARAMETERS};
use streamdb_types::Oid;

/// Streams shown when no limit is given.
const LIMIT: u64 = 100;
/// Most streams of one answer.
const MOST: u64 = 10_000;

/// Parameters of this endpoint alone.
const OURS: [&str; 6] = ["oid", "raw", "as_json", "as_pcap", "quiet", "filename"];
/// Parameters of the ancestor that are not here yet.
const NOT_YET: [&str; 4] = ["pcre", "filetype", "as_hex", "submit"];

/// A request that is understood.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    Search(Box<Search>),
    Object { oid: Oid, wanted: Wanted },
}

#[derive(Debug, PartialEq)]
pub(super) struct Search {
    /// Its limit is set.
    pub filter: Filter,
    /// Streams as they are instead of the messages in them.
    pub raw: bool,
    pub as_json: bool,
}

/// What of an oid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Object,
    Stream,
    Frames,
}

impl Asked {
    /// Reads a query string's pairs; the error is a sentence. A parameter without a value is one that a form left empty.
    pub(super) fn parse(pairs: &[(String, String)]) -> Result<Self, String> {
        let mut terms: Vec<(&str, &str)> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        let (mut oid, mut raw, mut as_json, mut as_pcap) = (None, false, false, false);
        for (name, value) in pairs.iter().map(|(name, value)| (name.as_str(), value.trim())) {
            if value.is_empty() && !name.contains('!') {
                if known(name) {
                    continue;
                }
                return Err(unknown(name));
            }
            if NOT_YET.contains(&name) {
                return Err(format!("{name}: this version of StreamDB does not have this parameter yet"));
            }
            if !OURS.contains(&name) {
                terms.push((name, value));
                continue;
            }
            if seen.contains(&name) {
                return Err(format!("{name} is given twice"));
            }
            seen.push(name);
            match name {
                "oid" => oid = Some(value.parse::<Oid>().map_err(|error| error.to_string())?),
                "raw" => raw = flag(name, value)?,
                "as_json" => as_json = flag(name, value)?,
                "as_pcap" => as_pcap = flag(name, value)?,
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
                let wanted = match (raw, as_pcap, as_json) {
                    (_, _, true) => return Err("as_json goes with a search, not with oid".to_owned()),
                    (true, true, _) => return Err("raw and as_pcap exclude each other".to_owned()),
                    (true, false, _) => Wanted::Stream,
                    (false, true, _) => Wanted::Frames,
                    (false, false, _) => Wanted::Object,
                };
                Ok(Self::Object { oid, wanted })
            }
            None if as_pcap => Err("as_pcap goes with oid, not with a search".to_owned()),
            None => Ok(Self::Search(Box::new(Search { filter: filter(&terms)?, raw, as_json }))),
        }
    }
}

fn filter(terms: &[(&str, &str)]) -> Result<Filter, String> {
    let mut filter = Filter::parse(terms.iter().copied()).map_err(|error| match error {
        FilterError::Unknown { name, .. } => unknown(&name),
        error => error.to_string(),
    })?;
    if !filter.has_address() {
        return Err(
            "an address is needed: srcip, dstip or ip, as in srcip=10.0.0.5 (one with ! in front is not enough); \
                    or an oid"
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
    names().chain(NOT_YET).any(|known| known == name)
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
        Asked::parse(&query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn a_search_has_an_address_and_a_limit() {
        let Asked::Search(search) = parse(&[("sip", "10.0.0.5"), ("dstport!80", ""), ("end", "")]).unwrap() else {
            panic!("a search is wanted");
        };
        assert_eq!(search.filter.limit, Some(LIMIT));
        assert!(search.filter.dst.port.unwrap().negated && !search.raw && !search.as_json);
        for query in [&[][..], &[("srcip", "!10.0.0.5")], &[("srcport", "80")], &[("srcip", "")]] {
            assert!(parse(query).unwrap_err().starts_with("an address is needed"), "{query:?}");
        }
    }

    #[test]
    fn an_oid_stands_alone() {
        let wanted = |extra: &[(&str, &str)]| {
            let query = [&[("oid", "1-2-3-4"), ("quiet", "1")], extra].concat();
            parse(&query).map(|asked| match asked {
                Asked::Object { wanted, .. } => wanted,
                Asked::Search(_) => panic!("an object is wanted"),
            })
        };
        assert_eq!(wanted(&[]), Ok(Wanted::Object));
        assert_eq!(wanted(&[("raw", "1")]), Ok(Wanted::Stream));
        assert_eq!(wanted(&[("raw", "0"), ("as_pcap", "1")]), Ok(Wanted::Frames));
        for extra in [
            &[("raw", "1"), ("as_pcap", "1")][..],
            &[("srcip", "10.0.0.5")],
            &[("as_json", "1")],
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
            (("pcre", "x"), "pcre: this version of StreamDB does not have this parameter yet"),
            (("as_pcap", "1"), "as_pcap goes with oid, not with a search"),
        ] {
            assert_eq!(parse(&[query]).unwrap_err(), why);
        }
        let long = parse(&[("ip", "10.0.0.5"), ("limit", "10001")]).unwrap_err();
        assert_eq!(long, "limit: \"10001\" is not accepted; it takes at most 10000");
    }
}
