//! Verdicts that are looked for. They are kept by content and come after the rows, so that no index has them: a search asks
//! once which contents have one of those, and looks for these.

use streamdb_storage::Verdicts;
use streamdb_types::{ObjectRow, Scanner, Verdict};

use crate::object::ObjectFilter;
use crate::pattern::Expression;

/// Verdicts by name, or by scanner and name, in which `*` stands for any characters: `*eicar*`, `yara:*`, `clamd:Win.*`,
/// `hash-list:bad.txt`. All of them are `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictPattern {
    /// `None` is any.
    scanner: Option<Scanner>,
    name: Expression,
}

impl VerdictPattern {
    /// What [`parse`](Self::parse) takes.
    pub const ACCEPTED: &'static str = "names of rules, signatures or lists in which * stands for anything, alone or behind a scanner (yara, clamd, hash-list or *) and a colon, as in *eicar* or yara:*";

    /// Reads a pattern. A scanner's name alone is none: it would be taken for all that this scanner found.
    pub fn parse(text: &str) -> Option<Self> {
        let known = |word: &str| Scanner::ALL.into_iter().find(|scanner| scanner.word() == word);
        let (scanner, name) = match text.split_once(':') {
            None if known(text).is_some() => return None,
            None => (None, text),
            Some(("*", name)) => (None, name),
            Some((word, name)) => (Some(known(word)?), name),
        };
        let name = Some(name).filter(|name| !name.is_empty())?;
        Some(Self { scanner, name: Expression::name(name, false).ok()? })
    }

    /// Whether a verdict is like this; upper and lower case are alike.
    pub fn is_like(&self, verdict: &Verdict) -> bool {
        self.scanner.is_none_or(|scanner| scanner == verdict.scanner) && self.name.is_in(&verdict.name)
    }
}

/// The contents with one of the verdicts that a filter names, as they were when it was asked.
#[derive(Debug)]
pub(crate) struct Said {
    /// By SHA-256, sorted.
    contents: Vec<[u8; 32]>,
    negated: bool,
}

impl Said {
    /// Those of a filter; `None` when it names none.
    pub(crate) fn of(filter: &ObjectFilter, verdicts: &Verdicts) -> Option<Self> {
        let set = filter.verdict.as_ref()?;
        let is_one = |verdict: &Verdict| set.values.iter().any(|pattern| pattern.is_like(verdict));
        let mut contents = verdicts.contents_with(&is_one);
        contents.sort_unstable();
        Some(Self { contents, negated: set.negated })
    }

    /// Whether an object is wanted.
    pub(crate) fn wants(&self, row: &ObjectRow) -> bool {
        row.digests.is_some_and(|digests| self.contents.binary_search(&digests.sha256).is_ok()) != self.negated
    }

    /// Whether no object can be wanted.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.contents.is_empty() && !self.negated
    }

    /// The contents of which a wanted object has one, ascending; `None` where it has another one.
    pub(crate) fn contents(&self) -> Option<&[[u8; 32]]> {
        (!self.negated).then_some(self.contents.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_a_name_or_of_scanner_and_name() {
        let verdict = |scanner, name: &str| Verdict { scanner, name: name.to_owned(), details: String::new() };
        let says = [
            verdict(Scanner::Yara, "win_dridex"),
            verdict(Scanner::HashList, "bad:2"),
            verdict(Scanner::Clamd, "Win.Test.EICAR_HDB-1"),
        ];
        for (pattern, wanted) in [
            ("*", [true, true, true]),
            ("*:*", [true, true, true]),
            ("yara:*", [true, false, false]),
            ("win*", [true, false, true]),
            ("clamd:win*", [false, false, true]),
            ("*eicar*", [false, false, true]),
            ("eicar", [false, false, false]),
            ("win_dridex", [true, false, false]),
            ("*:bad:*", [false, true, false]),
            ("*:bad", [false, false, false]),
        ] {
            let parsed = VerdictPattern::parse(pattern).unwrap();
            assert_eq!(says.each_ref().map(|verdict| parsed.is_like(verdict)), wanted, "{pattern}");
        }
        for bad in ["", "yara", "hash-list", "yara:", ":x", "*:", "Yara:x", "virustotal:x", "bad:2"] {
            assert_eq!(VerdictPattern::parse(bad), None, "{bad}");
        }
    }
}
