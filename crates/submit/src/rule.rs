//! What goes by itself: rules over new objects, each of which sends to some targets what it matches.

use std::collections::BTreeSet;

use streamdb_query::{Filter, PARAMETERS, VerdictPattern};

use crate::settings::TargetName;
use crate::submissions::Fresh;

/// What of the filter language says nothing of an object by itself: how streams came to their end, what is in contents, and
/// how a list is cut.
const NOT_OF_ROWS: &[&str] =
    &["start", "end", "reason", "length", "pcre", "verdict", "offset", "limit", "sort", "after", "incomplete"];

/// Rules, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Policy(pub Vec<Rule>);

/// A rule. All that it asks for has to hold.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What the operator calls it.
    pub name: String,
    /// Where what it matches goes.
    pub to: Vec<TargetName>,
    /// Over the row, as [`row_filter`] makes it.
    pub filter: Filter,
    /// Only contents that were never seen before.
    pub first_seen: bool,
    /// At least one verdict has to be like one of these; with none, no verdict is needed.
    pub verdicts: Vec<VerdictPattern>,
    /// Incomplete objects too.
    pub incomplete: bool,
}

/// A target for an object, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Where it goes.
    pub target: TargetName,
    /// The first rule that says so; empty where a person did.
    pub rule: String,
}

impl Policy {
    /// The targets for an object, each once, with the first rule that chose it. An object without content has none.
    pub fn choose(&self, object: &Fresh<'_>) -> Vec<Choice> {
        let mut chosen: Vec<Choice> = Vec::new();
        let mut targets = BTreeSet::new();
        for rule in self.0.iter().filter(|rule| rule.matches(object)) {
            for target in &rule.to {
                if targets.insert(target) {
                    chosen.push(Choice { target: target.clone(), rule: rule.name.clone() });
                }
            }
        }
        chosen
    }
}

impl Rule {
    fn matches(&self, object: &Fresh<'_>) -> bool {
        let Fresh { row, join, first_seen, verdicts } = *object;
        row.size > 0
            && (self.incomplete || row.complete)
            && (first_seen || !self.first_seen)
            && (self.verdicts.is_empty()
                || verdicts.iter().any(|verdict| self.verdicts.iter().any(|pattern| pattern.is_like(verdict))))
            && self.filter.direction.is_none_or(|direction| direction == row.direction)
            && match join {
                // Any of its parts may be what is meant.
                Some(join) => join.parts.iter().any(|part| self.filter.matches_connection(&part.tuple)),
                None => self.filter.matches_connection(&row.tuple),
            }
            && self.filter.objects.matches(row)
    }
}

/// Reads a filter over rows of objects: `name=value` pairs of the filter language with blanks between them. A value with
/// blanks stands in double quotes.
///
/// # Errors
/// In one sentence, with what is accepted: of what the language does not take, and of what of it says nothing of an object by
/// itself.
pub fn row_filter(text: &str) -> Result<Filter, String> {
    let words = words(text)?;
    let filter = Filter::parse_words(&words).map_err(|error| error.to_string())?;
    for word in &words {
        let name = word.split(['=', '!']).next().unwrap_or_default();
        let known = if ["stime", "etime"].contains(&name) { "start" } else { name };
        if NOT_OF_ROWS.contains(&known) {
            let accepted: Vec<&str> = PARAMETERS.iter().copied().filter(|name| !NOT_OF_ROWS.contains(name)).collect();
            if known == "verdict" {
                return Err("verdict is a key of a rule beside its filter, as in verdict = [\"yara:*\"]".to_owned());
            }
            return Err(format!(
                "{name} is nothing that a rule can ask of an object; its filter takes {}",
                accepted.join(", ")
            ));
        }
    }
    Ok(filter)
}

/// The words of a text, without their quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err("there is a quote (\") without an end".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_types::{
        BucketId, ConnKey, Direction, Endpoint, ObjectKind, ObjectRow, Protocol, Scanner, StreamOffset, Timestamp,
        Tuple, Verdict,
    };

    fn row() -> ObjectRow {
        let end = |text: &str, port| Endpoint::new(text.parse().unwrap(), port);
        ObjectRow {
            oid: "1-2-3-4".parse().unwrap(),
            key: ConnKey { bucket: BucketId(1), number: 7 },
            direction: Direction::ToClient,
            begins: StreamOffset(0),
            tuple: Tuple { protocol: Protocol::TCP, client: end("10.0.0.5", 49211), server: end("203.0.113.9", 80) },
            start: Timestamp(0),
            kind: ObjectKind::Response,
            protocol: "http".to_owned(),
            method: Some("GET".to_owned()),
            host: Some("bad.example".to_owned()),
            uri: Some("/a.jpg".to_owned()),
            status: Some(200),
            declared_type: Some("image/jpeg".to_owned()),
            mime: "application/vnd.microsoft.portable-executable".to_owned(),
            description: "PE32 executable (GUI) Intel 80386, for MS Windows".to_owned(),
            legacy: "PE32 executable for MS Windows".to_owned(),
            facts: String::new(),
            xor_key: None,
            filename: Some("setup.exe".to_owned()),
            size: 4096,
            encoded_size: 4096,
            complete: true,
            missing_bytes: 0,
            reason: None,
            conflict: false,
            digests: None,
            digests_encoded: None,
        }
    }

    fn rule(name: &str, to: &[&str], filter: &str) -> Rule {
        Rule {
            name: name.to_owned(),
            to: to.iter().map(|name| TargetName::parse(name).unwrap()).collect(),
            filter: row_filter(filter).unwrap(),
            first_seen: false,
            verdicts: Vec::new(),
            incomplete: false,
        }
    }

    fn verdict(scanner: Scanner, name: &str) -> Verdict {
        Verdict { scanner, name: name.to_owned(), details: String::new() }
    }

    fn chosen(rules: &[Rule], row: &ObjectRow, first_seen: bool, verdicts: &[Verdict]) -> Vec<String> {
        let choices = Policy(rules.to_vec()).choose(&Fresh { row, join: None, first_seen, verdicts });
        choices.iter().map(|Choice { target, rule }| format!("{target} by {rule}")).collect()
    }

    #[test]
    fn each_term_of_a_filter_counts() {
        for (filter, wanted) in [
            ("", true),
            ("mime=*executable", true),
            ("mime=!*executable", false),
            ("size=1K-1M", true),
            ("size=1M-", false),
            ("mismatch=1", true),
            ("mismatch=0", false),
            ("host=*.example name=*.exe", true),
            ("host=*.example name=*.zip", false),
            ("filetype=executable kind=response status=200", true),
            ("filetype=\"Intel 80386, for MS\"", true),
            ("filetype=\"Intel 80486\"", false),
            ("srcip=10.0.0.0/8 dstport=80 protocol=tcp", true),
            ("dstport!80", false),
            ("direction=s", false),
        ] {
            let said = chosen(&[rule("r", &["a"], filter)], &row(), false, &[]);
            assert_eq!(!said.is_empty(), wanted, "{filter}");
        }
    }

    #[test]
    fn a_target_is_chosen_once_by_the_first_rule() {
        let rules = [
            rule("big", &["a"], "size=1M-"),
            rule("exe", &["b", "a"], "name=*.exe"),
            rule("all", &["a", "c", "c"], ""),
        ];
        assert_eq!(chosen(&rules, &row(), false, &[]), ["b by exe", "a by exe", "c by all"]);
        assert_eq!(chosen(&rules[..1], &row(), true, &[]), [""; 0]);
        let empty = ObjectRow { size: 0, ..row() };
        assert_eq!(chosen(&rules, &empty, true, &[]), [""; 0], "nothing is no content");
    }

    #[test]
    fn incomplete_objects_and_known_ones_are_left_out_unless_asked_for() {
        let cut = ObjectRow { complete: false, ..row() };
        let plain = rule("r", &["a"], "");
        assert!(chosen(std::slice::from_ref(&plain), &cut, true, &[]).is_empty());
        let all = Rule { incomplete: true, ..plain.clone() };
        assert!(!chosen(std::slice::from_ref(&all), &cut, true, &[]).is_empty());
        assert!(!chosen(&[all], &row(), true, &[]).is_empty(), "and complete ones as well");
        let first = Rule { first_seen: true, ..plain };
        assert!(chosen(std::slice::from_ref(&first), &row(), false, &[]).is_empty());
        assert!(!chosen(&[first], &row(), true, &[]).is_empty());
    }

    #[test]
    fn verdicts_are_matched_by_patterns() {
        let asks = |patterns: &[&str]| Rule {
            verdicts: patterns.iter().map(|text| VerdictPattern::parse(text).unwrap()).collect(),
            ..rule("r", &["a"], "")
        };
        let says = [verdict(Scanner::Yara, "win_dridex"), verdict(Scanner::HashList, "bad:2")];
        for (patterns, wanted) in [
            (&["yara:*"][..], true),
            (&["yara:WIN_*"], true),
            (&["yara:dridex"], false),
            (&["yara:*dridex"], true),
            (&["clamd:*"], false),
            (&["clamd:*", "hash-list:bad:*"], true),
            (&["hash-list:bad"], false),
            (&["*:win_*"], true),
            (&["*:*"], true),
        ] {
            assert_eq!(!chosen(&[asks(patterns)], &row(), false, &says).is_empty(), wanted, "{patterns:?}");
            assert!(chosen(&[asks(patterns)], &row(), true, &[]).is_empty(), "{patterns:?}");
        }
    }

    #[test]
    fn mistakes_in_filters_are_sentences() {
        for (filter, wanted) in [
            ("mim=x", "there is no parameter \"mim\"; did you mean mime?"),
            (
                "size=big",
                "size: \"big\" is not accepted; it takes a number of bytes or a range, as in 22528, 1K-64K or 1M-",
            ),
            ("executable", "\"executable\" is no filter: name=value is wanted, "),
            ("name=\"a b", "there is a quote (\") without an end"),
            ("pcre=MZ", "pcre is nothing that a rule can ask of an object; its filter takes srcip, dstip, ip, "),
            ("verdict=yara:*", "verdict is a key of a rule beside its filter, "),
            ("reason!c", "reason is nothing that a rule can ask of an object; "),
            ("stime=today", "stime is nothing that a rule can ask of an object; "),
        ] {
            let said = row_filter(filter).unwrap_err();
            assert!(said.starts_with(wanted), "{filter}: {said}");
        }
    }
}
