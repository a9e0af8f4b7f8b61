//! Which bytes are asked for: RFC 9110 §14, one range of bytes.

use std::ops::Range;

use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_types::Gap;

use crate::answer::{header_text, refuse};

/// The part of so many bytes with this validator that the headers of a request ask for; `None` for all of them. What cannot
/// be had is a refusal.
pub(super) fn asked_part(asked: &HeaderMap, tag: &str, length: u64) -> Result<Option<Range<u64>>, Box<Response>> {
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let range_counts = !asked.contains_key(IF_RANGE) || text(IF_RANGE) == Some(tag);
    match part(text(RANGE).filter(|_| range_counts), length) {
        Part::None => {
            let mut refusal = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "There are no bytes in this range.");
            refusal.headers_mut().insert(CONTENT_RANGE, header_text(&format!("bytes */{length}")));
            Err(Box::new(refusal))
        }
        Part::Some(range) => Ok(Some(range)),
        Part::Whole => Ok(None),
    }
}

/// Says which part of so many bytes an answer is; the status that goes with it.
pub(super) fn say_part(headers: &mut HeaderMap, range: Option<&Range<u64>>, length: u64) -> StatusCode {
    let Some(Range { start, end }) = range else {
        headers.insert(CONTENT_LENGTH, length.into());
        return StatusCode::OK;
    };
    headers.insert(CONTENT_LENGTH, end.saturating_sub(*start).into());
    let said = format!("bytes {start}-{}/{length}", end.saturating_sub(1));
    headers.insert(CONTENT_RANGE, header_text(&said));
    StatusCode::PARTIAL_CONTENT
}

/// Where the gaps are that lie in a part or reach into it: offset and length, as they are in the whole.
pub(super) fn gaps_in<'g>(gaps: &'g [Gap], part: &Range<u64>) -> impl Iterator<Item = (u64, u64)> + use<'g> {
    let Range { start, end } = *part;
    let before = gaps.partition_point(|gap| gap.end().0 <= start);
    let inside = gaps.iter().skip(before).take_while(move |gap| gap.offset.0 < end);
    inside.map(|gap| (gap.offset.0, gap.length))
}

/// What a `Range` field comes to for a length.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// All of it: there is no such field, it asks for several ranges, or cannot be read (RFC 9110 §14.2 lets a server
    /// ignore it).
    Whole,
    /// From the first byte to before the second; not empty.
    Some(Range<u64>),
    /// Nothing of it is there.
    None,
}

/// Reads `bytes=0-499`, `bytes=500-`, `bytes=-500`.
fn part(field: Option<&str>, length: u64) -> Part {
    let read = |field: &str| {
        let (first, last) = field.trim().strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| -> Option<Option<u64>> {
            match text.trim() {
                "" => Some(None),
                digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
                _ => None,
            }
        };
        match (number(first)?, number(last)?) {
            (Some(first), Some(last)) if last < first => None,
            (Some(first), last) => Some(first..last.map_or(length, |last| last.saturating_add(1).min(length))),
            (None, Some(count)) => Some(length.saturating_sub(count)..length),
            (None, None) => None,
        }
    };
    match field.and_then(read) {
        None => Part::Whole,
        Some(range) if range.start < range.end => Part::Some(range),
        Some(_) => Part::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (field, part_of_100) in [
            ("bytes=0-9", Part::Some(0..10)),
            ("bytes=90-", Part::Some(90..100)),
            ("bytes=90-1000", Part::Some(90..100)),
            ("bytes=-10", Part::Some(90..100)),
            ("bytes=-1000", Part::Some(0..100)),
            ("bytes=99-18446744073709551615", Part::Some(99..100)),
            ("bytes=100-", Part::None),
            ("bytes=-0", Part::None),
            ("bytes=9-0", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=0-18446744073709551616", Part::Whole),
        ] {
            assert_eq!(part(Some(field), 100), part_of_100, "{field}");
        }
        assert_eq!(part(None, 100), Part::Whole);
        assert_eq!(part(Some("bytes=0-"), 0), Part::None);
    }
}
