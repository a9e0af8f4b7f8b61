//! What the head of a response says of the representation that its bytes belong to (RFC 9110 §8.8, §14.4).

use std::ops::Range;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};
use streamdb_storage::{Evidence, JoinId, JoinOf};

use crate::fields::text;

/// Last-Modified this much before Date is a strong validator (RFC 9110 §8.8.2.2), in seconds.
const LONG_BEFORE: i64 = 60;
/// Most bytes of a text that is kept to be shown.
const SHOWN: usize = 4 << 10;

/// The value of Content-Range: which bytes of how many; the length is not always known. `None` for what is no range of bytes (a 416
/// has none, but a length).
pub(crate) fn content_range(value: &[u8]) -> Option<(Range<u64>, Option<u64>)> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let (unit, rest) = value.split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = match total {
        "*" => None,
        total => Some(number(total)?),
    };
    // RFC 9110 §14.4: what breaks these rules is not to be recombined.
    let valid = first <= last && last < total.unwrap_or(u64::MAX);
    valid.then(|| (first..last + 1, total))
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// What a head says, as sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said<'h> {
    pub(crate) etag: Option<&'h [u8]>,
    pub(crate) last_modified: Option<&'h [u8]>,
    pub(crate) date: Option<&'h [u8]>,
}

/// Whom a response answers, and what with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'h> {
    /// As it was said, or that of the connection.
    pub(crate) scheme: &'h str,
    pub(crate) host: &'h [u8],
    /// As sent.
    pub(crate) target: &'h [u8],
    pub(crate) codings: &'h [String],
}

/// What responses have in common that are parts of one content, and its name.
pub(crate) fn join_of(asked: &Asked<'_>, said: &Said<'_>, total: Option<u64>) -> (JoinId, JoinOf) {
    let (scheme, host, target) = place(asked);
    let seconds = |value: Option<&[u8]>| {
        let date = httpdate::parse_http_date(std::str::from_utf8(value?).ok()?).ok()?;
        i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
    };
    let modified = seconds(said.last_modified);
    let strong = said.etag.is_some_and(|etag| matches!(etag, [b'"', inner @ .., b'"'] if !inner.contains(&b'"')));
    let long_before =
        modified.zip(seconds(said.date)).is_some_and(|(modified, date)| date.saturating_sub(modified) >= LONG_BEFORE);
    let evidence = match (strong, long_before) {
        (true, _) => Evidence::Etag,
        (false, true) => Evidence::Modified,
        (false, false) => Evidence::Weak,
    };
    // What is told apart by the strongest that there is does not have to say the weaker, as an answer to If-Range need not
    // (RFC 9110 §15.3.7).
    let modified = modified.filter(|_| evidence != Evidence::Etag);
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(scheme.as_bytes());
    add(&host);
    add(target);
    add(&(asked.codings.len() as u64).to_le_bytes());
    asked.codings.iter().for_each(|coding| add(coding.as_bytes()));
    add(&[u8::from(total.is_some()), evidence as u8, u8::from(said.etag.is_some()), u8::from(modified.is_some())]);
    add(&total.unwrap_or_default().to_le_bytes());
    add(said.etag.unwrap_or_default());
    add(&modified.unwrap_or_default().to_le_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    let of = JoinOf {
        scheme,
        host: shown(&host),
        target: shown(target),
        codings: asked.codings.to_vec(),
        total,
        evidence,
        etag: said.etag.map(shown),
        modified,
        filename: None,
        declared_type: None,
    };
    (JoinId(id), of)
}

/// A text to be shown, cut where it is long.
pub(crate) fn shown(bytes: &[u8]) -> String {
    text(bytes.get(..SHOWN).unwrap_or(bytes))
}

/// Scheme, host, and path and query: through a proxy the target says all three (RFC 9112 §3.2.2).
fn place<'a>(asked: &Asked<'a>) -> (String, Vec<u8>, &'a [u8]) {
    let mut scheme = asked.scheme.to_ascii_lowercase();
    let mut target = asked.target;
    let at = target.windows(3).take(16).position(|three| three == b"://");
    if let Some(at) = at.filter(|_| !target.starts_with(b"/")) {
        let (said, rest) = target.split_at_checked(at).unwrap_or_default();
        scheme = String::from_utf8_lossy(said).to_ascii_lowercase();
        let rest = rest.get(3..).unwrap_or_default();
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        target = rest.get(end..).unwrap_or_default();
    }
    if target.is_empty() {
        target = b"/";
    }
    let mut host = asked.host.to_ascii_lowercase();
    let usual: &[u8] = if scheme == "https" { b":443" } else { b":80" };
    if let Some(short) = host.strip_suffix(usual) {
        host.truncate(short.len());
    }
    (scheme, host, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bytes() {
        for (value, range) in [
            ("bytes 0-499/1234", Some((0..500, Some(1234)))),
            ("Bytes 500-999/1000", Some((500..1000, Some(1000)))),
            ("bytes 42-1233/*", Some((42..1234, None))),
            ("bytes */1234", None),
            ("bytes 5-4/10", None),
            ("bytes 5-10/10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 0-18446744073709551616/*", None),
            ("bytes=0-4/10", None),
            ("items 0-4/10", None),
            ("bytes +0-4/10", None),
            ("bytes 0-4", None),
            ("", None),
        ] {
            assert_eq!(content_range(value.as_bytes()), range, "{value}");
        }
    }

    const PLACE: Asked<'_> = Asked { scheme: "http", host: b"a.example", target: b"/x?y", codings: &[] };

    fn of(said: Said<'_>) -> (JoinId, Evidence) {
        let (id, of) = join_of(&PLACE, &said, Some(10));
        (id, of.evidence)
    }

    #[test]
    fn evidence_is_strong_or_weak() {
        const MODIFIED: Option<&[u8]> = Some(b"Sun, 06 Nov 1994 08:49:37 GMT");
        let minute = Said { etag: None, last_modified: MODIFIED, date: Some(b"Sunday, 06-Nov-94 08:50:37 GMT") };
        let less = Said { date: Some(b"Sun, 06 Nov 1994 08:50:36 GMT"), ..minute };
        assert_eq!(of(minute).1, Evidence::Modified);
        assert_eq!(of(less).1, Evidence::Weak);
        assert_eq!(of(Said { etag: Some(b"W/\"a\""), ..less }).1, Evidence::Weak);
        assert_eq!(of(Said { etag: Some(b"W/\"a\""), ..minute }).1, Evidence::Modified);
        for no_tag in [&b"a"[..], b"\"", b"\"a", b"\"a\"b\"", b""] {
            assert_eq!(of(Said { etag: Some(no_tag), ..less }).1, Evidence::Weak, "{}", no_tag.escape_ascii());
        }
        let tag = Said { etag: Some(b"\"a\""), ..less };
        assert_eq!(of(tag).1, Evidence::Etag);
        // An answer to If-Range need not say it again.
        assert_eq!(of(tag).0, of(Said { last_modified: None, date: None, ..tag }).0);
        let ids = [tag, Said { etag: Some(b"\"b\""), ..tag }, minute, less, Said::default()].map(|said| of(said).0);
        assert!((1..ids.len()).all(|n| !ids[..n].contains(&ids[n])));
    }

    #[test]
    fn the_same_place_is_said_in_several_ways() {
        let id = |asked: Asked<'_>, total| join_of(&asked, &Said::default(), total).0;
        let same = id(PLACE, Some(10));
        for other in [
            Asked { target: b"http://a.example/x?y", ..PLACE },
            Asked { host: b"A.Example:80", ..PLACE },
            Asked { scheme: "HTTP", ..PLACE },
        ] {
            assert_eq!(id(other, Some(10)), same, "{other:?}");
        }
        let gzip = ["gzip".to_owned()];
        for other in [
            Asked { target: b"/x", ..PLACE },
            Asked { host: b"b.example", ..PLACE },
            Asked { host: b"a.example:443", ..PLACE },
            Asked { scheme: "https", ..PLACE },
            Asked { codings: &gzip, ..PLACE },
        ] {
            assert_ne!(id(other, Some(10)), same, "{other:?}");
        }
        assert!(id(PLACE, Some(11)) != same && id(PLACE, None) != same);
    }
}
