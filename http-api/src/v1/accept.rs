//! In which form an answer is wanted.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The form of an answer with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// All in one object: `application/json`.
    Json,
    /// Row by row: `application/x-ndjson`.
    Lines,
}

impl Shape {
    /// Every one; the first is what a client gets that does not mind.
    const ALL: [Self; 2] = [Self::Json, Self::Lines];

    /// Its media type.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// The one that the client likes best (RFC 9110 §12.5.1); `None` when it takes neither.
    pub(super) fn liked(headers: &HeaderMap) -> Option<Self> {
        let mut best = None;
        for shape in Self::ALL {
            let quality = shape.quality(headers);
            if quality > best.map_or(0, |(_, quality)| quality) {
                best = Some((shape, quality));
            }
        }
        best.map(|(shape, _)| shape)
    }

    /// How much the client likes it, in thousandths: as the range says that names it most closely.
    pub(super) fn quality(self, headers: &HeaderMap) -> u16 {
        let mut ranges = headers.get_all(ACCEPT).iter().peekable();
        if ranges.peek().is_none() {
            return 1000;
        }
        let mut found = (0, 0);
        for range in ranges.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let closeness = match parts.next().unwrap_or_default() {
                "*/*" => 1,
                "application/*" => 2,
                kind if kind.eq_ignore_ascii_case(self.media_type()) => 3,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            // What is no number is no wish against it.
            let weight =
                weight.and_then(|q| q.parse::<f32>().ok()).map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16);
            if closeness > found.0 {
                found = (closeness, weight);
            }
        }
        found.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn what_is_liked_best() {
        let (json, lines) = (Some(Shape::Json), Some(Shape::Lines));
        for (accept, liked) in [
            ("*/*", json),
            ("application/*", json),
            ("application/x-ndjson", lines),
            ("Application/X-NDJSON", lines),
            ("application/json, application/x-ndjson", json),
            ("application/json;q=0.5, application/x-ndjson", lines),
            ("application/x-ndjson;q=0.5, */*;q=0.1", lines),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", json),
            ("application/json;q=0, */*", lines),
            ("application/json; charset=utf-8; q=0.3", json),
            ("text/html", None),
            ("*/*;q=0", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Shape::liked(&headers), liked, "{accept}");
        }
        assert_eq!(Shape::liked(&HeaderMap::new()), json);
    }
}
