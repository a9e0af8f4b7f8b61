//! What is wrong with a filter, in one sentence: which parameter, what was given, what is accepted.

use std::borrow::Cow;
use std::fmt;

use crate::nearest::nearest;

/// Most characters of what was given that are repeated.
const SHOWN: usize = 80;

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// A parameter that does not exist.
    Unknown {
        /// Its name as given.
        name: String,
        /// The known one that it is like.
        nearest: Option<String>,
    },
    /// A parameter was given twice, perhaps under two of its names.
    Twice {
        /// The parameter.
        name: &'static str,
        /// As `name=value`, both times.
        given: [String; 2],
        /// Whether it takes several values with commas between them.
        list: bool,
    },
    /// What is asked for begins after its end, so that nothing can lie in it.
    Backwards {
        /// The start as given.
        start: String,
        /// The end as given.
        end: String,
    },
    /// A word of the command line that is no `name=value`.
    NoPair(String),
    /// A value that the parameter does not take.
    Value {
        /// The parameter.
        name: &'static str,
        /// The value as given.
        given: String,
        /// What it takes.
        accepted: Cow<'static, str>,
    },
}

impl FilterError {
    /// An unknown parameter, with the one of `known` that it is most like.
    pub fn unknown<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        Self::Unknown { name: name.to_owned(), nearest: nearest(name, known).map(str::to_owned) }
    }

    /// A parameter that takes one value, and was given two.
    pub fn twice(name: &'static str, first: (&str, &str), second: (&str, &str)) -> Self {
        let pair = |(name, value): (&str, &str)| format!("{name}={value}");
        Self::Twice { name, given: [pair(first), pair(second)], list: false }
    }

    pub(crate) fn value(name: &'static str, given: &str, accepted: impl Into<Cow<'static, str>>) -> Self {
        Self::Value { name, given: given.to_owned(), accepted: accepted.into() }
    }
}

/// What was given is quoted, cut short, and without control characters.
impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nearest: Some(nearest) } => {
                write!(f, "there is no parameter {}; did you mean {nearest}?", quoted(name))
            }
            Self::Unknown { name, nearest: None } => write!(f, "there is no parameter {}", quoted(name)),
            Self::Twice { name, given: [first, second], list } => {
                let (first, second) = (quoted(first), quoted(second));
                let what = if *list {
                    "give it once, with commas between several values"
                } else {
                    "it takes one value: leave one of them out"
                };
                write!(f, "{name} is given twice, as {first} and {second}; {what}")
            }
            Self::Backwards { start, end } => {
                let (start, end) = (quoted(start), quoted(end));
                write!(
                    f,
                    "start: {start} is after the end, {end}, so that nothing can be found; exchange them, or leave one out"
                )
            }
            Self::NoPair(word) => {
                write!(f, "{} is no filter: name=value is wanted, as in srcip=10.0.0.5", quoted(word))
            }
            Self::Value { name, given, accepted } => {
                write!(f, "{name}: {} is not accepted; it takes {accepted}", quoted(given))
            }
        }
    }
}

impl std::error::Error for FilterError {}

fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}
