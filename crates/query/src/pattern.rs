//! Texts that are looked for: names with `*`, and regular expressions.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

/// Most bytes of an expression or pattern.
const LONGEST: usize = 4096;
/// Most memory of a compiled expression, and of the automaton that runs it.
const COMPILED: usize = 4 << 20;

/// What is accepted instead of an expression whose compiled form is too large.
pub(crate) const TOO_LARGE: &str = "an expression that needs less memory";

/// A compiled expression over texts; two are equal when they were written the same.
#[derive(Clone, Debug)]
pub struct Expression {
    compiled: Regex,
    /// What every text begins with that has it, in lower case; empty where that is not known.
    prefix: Vec<u8>,
}

impl Expression {
    /// A regular expression, anywhere in the text, upper and lower case alike.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn anywhere(text: &str) -> Result<Self, String> {
        compile(text, Vec::new())
    }

    /// As [`anywhere`](Self::anywhere), where `^` and `$` are the beginning and the end of a line.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn in_lines(text: &str) -> Result<Self, String> {
        within_length(text)?;
        compile(&format!("(?m){text}"), Vec::new())
    }

    /// A name in which `*` stands for any characters, upper and lower case alike. Without one the whole text has to be this
    /// name, or, as a `prefix`, begin with it.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn name(text: &str, prefix: bool) -> Result<Self, String> {
        let parts: Vec<String> = text.split('*').map(regex::escape).collect();
        let end = if prefix && parts.len() == 1 { "" } else { "$" };
        // What lower case is beyond ASCII depends on more than the letter.
        let prefix = text.split('*').next().filter(|first| first.is_ascii()).unwrap_or_default();
        compile(&format!("(?s)^{}{end}", parts.join(".*")), prefix.to_ascii_lowercase().into_bytes())
    }

    /// Whether a text has what is looked for.
    pub fn is_in(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    /// The expression, taken apart.
    pub(crate) fn hir(&self) -> Option<Hir> {
        ParserBuilder::new().case_insensitive(true).build().parse(self.compiled.as_str()).ok()
    }

    /// What every text begins with that has what is looked for, upper and lower case alike, in lower case; empty where that
    /// is not known.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.compiled.as_str() == other.compiled.as_str()
    }
}

impl Eq for Expression {}

fn compile(text: &str, prefix: Vec<u8>) -> Result<Expression, String> {
    within_length(text)?;
    let built = RegexBuilder::new(text).case_insensitive(true).size_limit(COMPILED).dfa_size_limit(COMPILED).build();
    built.map(|compiled| Expression { compiled, prefix }).map_err(|error| explain(&error))
}

fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => TOO_LARGE.to_owned(),
        error => no_linear_time(&error.to_string()),
    }
}

/// Refuses what is longer than anybody writes.
pub(crate) fn within_length(text: &str) -> Result<(), String> {
    if text.len() > LONGEST { Err(format!("an expression of at most {LONGEST} bytes")) } else { Ok(()) }
}

/// What is wrong with an expression: the last line of what the compiler prints, as the ones before draw it.
pub(crate) fn no_linear_time(error: &str) -> String {
    let last = error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    format!("a regular expression that takes linear time (no look-around, no back-references): {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_stars() {
        let is = |name: &str, text: &str| Expression::name(name, false).unwrap().is_in(text);
        assert!(is("www.example.com", "WWW.example.com"));
        assert!(!is("example.com", "www.example.com"));
        assert!(is("*.example.com", "www.example.com"));
        assert!(!is("www.example.com", "wwwXexample.com"));
        assert!(is("image/*", "image/png"));
        assert!(is("*a*b*", "xxaxxb\n"));
        let begins = |name: &str, text: &str| Expression::name(name, true).unwrap().is_in(text);
        assert!(begins("/a.php", "/a.php?size=0"));
        assert!(!begins("/a.php", "/b/a.php"));
        assert!(begins("*/a.php*", "/b/a.php?x"));
        assert!(!begins("*.php", "/a.php?x"));
    }

    #[test]
    fn what_is_refused() {
        let why = Expression::anywhere("(?=a)").unwrap_err();
        assert!(why.starts_with("a regular expression that takes linear time"), "{why}");
        assert_eq!(Expression::anywhere("a{1000}{1000}").unwrap_err(), "an expression that needs less memory");
        assert!(Expression::anywhere(&"a".repeat(5000)).is_err());
    }
}
