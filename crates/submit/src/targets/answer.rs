//! What a server answered, and what its status means for the file that it was given (RFC 9110).

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;
use serde_json::Value;
use streamdb_types::Timestamp;
use ureq::http::StatusCode;

use super::{Attempt, Later};
use crate::record;

/// An answer, as far as it was read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    pub(super) location: Option<String>,
    /// How long it asks to be left alone.
    pub(super) pause: Option<Duration>,
    pub(super) place: String,
    /// Whether it came before the file was sent whole.
    pub(super) cut: bool,
}

impl Answer {
    /// The answer in short, for the record.
    pub(super) fn said(&self) -> String {
        record::said(&format!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// Why it came to nothing, and where.
    pub(super) fn why(&self) -> String {
        let early = if self.cut { "before it had all of it, it said " } else { "" };
        record::said(&format!("{}: {early}{}", self.place, self.said()))
    }

    /// Its body, if that is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether what was asked for was done. Who says so of a file that it has not got means something else.
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success() && !self.cut
    }

    /// What an answer that is no success means; `in_doubt` if an earlier try may still be at work.
    pub(super) fn failed(&self, in_doubt: bool) -> Attempt {
        let why = self.why();
        let later = |target, doubt| Attempt::Later(Later { why: why.clone(), pause: self.pause, target, doubt });
        match self.status.as_u16() {
            // RFC 9110 §15.5.14: with Retry-After the content is too large only now.
            413 if self.pause.is_some() => later(true, false),
            // An earlier try may be what it conflicts with.
            409 if in_doubt => later(false, true),
            // What is wrong with these is the file; it will be the next time too.
            400 | 409 | 413 | 415 | 422 => Attempt::Refused { why },
            // A token or an address that is wrong, or too many requests: no other file would fare better.
            401 | 403..=405 | 407 | 410 | 429 => later(true, false),
            503 => later(true, true),
            200..300 => later(false, true),
            // Whoever stands in between may have lost the answer of one that took it.
            500.. => later(false, true),
            _ => later(false, false),
        }
    }

    /// The same for a question, which changes nothing.
    pub(super) fn later(&self) -> Later {
        Later { why: self.why(), pause: self.pause, target: true, doubt: true }
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in one of the three forms of §5.6.7.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More than there is room for is very long.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let fixed = || DateTimeParser::new().parse_timestamp(text).ok();
    let old = |form: &str| {
        let date = DateTime::strptime(form, text).ok()?;
        TimeZone::UTC.to_timestamp(date).ok()
    };
    let date = fixed().or_else(|| old("%A, %d-%b-%y %H:%M:%S GMT")).or_else(|| old("%a %b %e %H:%M:%S %Y"))?;
    let nanos = date.as_nanosecond() - i128::from(now.0);
    Some(Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)))
}

/// Texts and numbers as texts, one or a list of them.
pub(super) fn ids(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(values) => values.iter().filter(|value| !value.is_array()).flat_map(ids).collect(),
        _ => Vec::new(),
    }
}

/// The page of a task.
pub(super) fn page(template: &str, task: &str) -> String {
    record::link(&template.replace("{}", task))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, pause: Option<u64>) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: b"so".to_vec(),
            location: None,
            pause: pause.map(Duration::from_secs),
            place: "http://s".to_owned(),
            cut: false,
        }
    }

    #[test]
    fn pauses_are_seconds_or_dates() {
        let now = "1994-11-06T08:49:07Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            // The three forms of one date.
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("1.5", None),
        ] {
            assert_eq!(retry_after(text, now).map(|pause| pause.as_secs()), seconds, "{text:?}");
        }
    }

    #[test]
    fn statuses_say_whether_it_is_the_file() {
        let why = || "http://s: ".to_owned();
        for status in [400, 409, 413, 415, 422] {
            let Attempt::Refused { why: said } = answer(status, None).failed(false) else { panic!("{status}") };
            assert!(said.starts_with(&why()), "{said}");
        }
        for (status, pause, in_doubt, target, doubt) in [
            (413, Some(5), false, true, false),
            (409, None, true, false, true),
            (401, None, false, true, false),
            (404, None, false, true, false),
            (429, Some(9), false, true, false),
            (408, None, false, false, false),
            (302, None, false, false, false),
            (500, None, false, false, true),
            (503, Some(7), false, true, true),
            (504, None, false, false, true),
        ] {
            let Attempt::Later(later) = answer(status, pause).failed(in_doubt) else { panic!("{status}") };
            assert_eq!((later.target, later.doubt), (target, doubt), "{status}");
            assert_eq!(later.pause, pause.map(Duration::from_secs));
        }
    }

    #[test]
    fn ids_come_in_several_forms() {
        let read = |text: &str| ids(&serde_json::from_str(text).unwrap()).join(" ");
        assert_eq!(read("7"), "7");
        assert_eq!(read("\"a\""), "a");
        assert_eq!(read("[7, \"8\", null, [9]]"), "7 8");
        assert_eq!(read("{}"), "");
    }
}
