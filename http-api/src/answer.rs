//! Answers, and what may stand in their headers.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_derive::{Error, StoreError};
use streamdb_types::{Oid, Timestamp};

/// Longer texts are cut in headers.
const LONGEST: usize = 1000;

pub(crate) const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(crate) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of this type.
pub(crate) fn whole(status: StatusCode, content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Why something was refused: it stands beside the answer's body, for who says it in another form.
#[derive(Clone, Debug)]
pub(crate) struct Why(pub(crate) String);

/// A refusal that says why.
pub(crate) fn refuse(status: StatusCode, why: &str) -> Response {
    let mut response = whole(status, PLAIN, format!("{why}\n"));
    response.extensions_mut().insert(Why(why.to_owned()));
    response
}

/// What nobody should ever see.
pub(crate) fn broken() -> Response {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made: this is a fault of StreamDB.")
}

/// The refusal that fits to what went wrong.
pub(crate) fn failed(error: &Error) -> Response {
    let status = match error {
        Error::NoSuchMessage { .. }
        | Error::NothingInside(_)
        | Error::NoOther(_)
        | Error::GivenUp { .. }
        | Error::Store(StoreError::NoSuchStream(_)) => StatusCode::NOT_FOUND,
        Error::Store(StoreError::Gone { .. }) | Error::Taken { .. } => StatusCode::GONE,
        Error::Store(_) | Error::Stream { .. } | Error::Output(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refuse(status, &error.to_string())
}

/// Any text as a header's value: what is not printable ASCII becomes a dot, so that no line can end in it.
pub(crate) fn header_text(text: &str) -> HeaderValue {
    let printable = text.chars().take(LONGEST).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '.' });
    HeaderValue::from_str(&printable.collect::<String>()).unwrap_or(HeaderValue::from_static(""))
}

/// Sets one of our own headers.
pub(crate) fn say(headers: &mut HeaderMap, name: &'static str, text: &str) {
    headers.insert(HeaderName::from_static(name), header_text(text));
}

/// Has a browser store what comes, never show it. The name is made of the oid, never of captured text.
pub(crate) fn attach(headers: &mut HeaderMap, oid: Oid, extension: &str) {
    let extension: String = extension.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let dot = if extension.is_empty() { "" } else { "." };
    say(headers, "content-disposition", &format!("attachment; filename=\"streamdb-{oid}{dot}{extension}\""));
}

/// When retention took part of what this is, if it did.
pub(crate) fn say_dropped(headers: &mut HeaderMap, dropped: Option<Timestamp>) {
    if let Some(time) = dropped {
        say(headers, "x-streamdb-dropped", &time.to_string());
    }
}

/// Holes as `offset-length,...`; only so many are named, as a header has a limit.
pub(crate) fn say_gaps(headers: &mut HeaderMap, gaps: impl IntoIterator<Item = (u64, u64)>) {
    const NAMED: usize = 16;
    let mut gaps = gaps.into_iter();
    let mut named: Vec<String> = gaps.by_ref().take(NAMED).map(|(at, length)| format!("{at}-{length}")).collect();
    if named.is_empty() {
        return;
    }
    if gaps.next().is_some() {
        named.push("more".to_owned());
    }
    headers.insert(HeaderName::from_static("x-streamdb-gaps"), header_text(&named.join(",")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_header() {
        let value = header_text("a\r\nSet-Cookie: x\u{e9}\u{0}\"<script>");
        assert_eq!(value, "a..Set-Cookie: x..\"<script>");
        assert_eq!(header_text(&"x".repeat(10_000)).len(), LONGEST);
    }

    #[test]
    fn names_are_made_of_oids() {
        let mut headers = HeaderMap::new();
        attach(&mut headers, "1-2-3-4".parse().unwrap(), "e\"x/../e");
        assert_eq!(headers["content-disposition"], "attachment; filename=\"streamdb-1-2-3-4.exe\"");
    }

    #[test]
    fn many_gaps_are_not_all_named() {
        let mut headers = HeaderMap::new();
        say_gaps(&mut headers, []);
        assert!(headers.is_empty());
        say_gaps(&mut headers, [(5, 10)]);
        assert_eq!(headers["x-streamdb-gaps"], "5-10");
        say_gaps(&mut headers, (0..1000).map(|n| (u64::MAX - n, u64::MAX)));
        let said = headers["x-streamdb-gaps"].to_str().unwrap();
        assert!(said.ends_with(",more") && said.split(',').count() == 17, "{said}");
    }
}
