//! What changes something is asked for by our own pages, or with a token in its header; never by a form on another page,
//! with which the browser would send its cookies.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::bearer;
use crate::answer::refuse;
use crate::app::App;
use crate::hosts::HostName;

const REFUSAL: &str = "This changes something, and the request does not say that one of this server's own pages asked for \
                       it; send a token as \"Authorization: Bearer TOKEN\", or this server's address as Origin.";

/// Refuses requests that change something for another page.
pub(crate) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let headers = request.headers();
    // A page of a stranger cannot set this header without asking first, and is told no (`cors`).
    let by_token = headers.get(AUTHORIZATION).is_some_and(|value| bearer(value).is_some());
    if harmless || by_token || is_ours(headers, &app.settings().names) {
        next.run(request).await
    } else {
        refuse(StatusCode::FORBIDDEN, REFUSAL)
    }
}

/// Whether the browser says that a page of ours asked. A browser says so in one of two headers: in `Sec-Fetch-Site` (Fetch
/// Metadata §2.3) over TLS and on this machine, and in `Origin` (RFC 6454 §7) in any case.
fn is_ours(headers: &HeaderMap, names: &[HostName]) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some((_, authority)) = text(ORIGIN).and_then(|origin| origin.split_once("://")) else { return false };
    // A proxy may have put another name into Host, so that the configured ones count too.
    text(HOST).is_some_and(|host| host.eq_ignore_ascii_case(authority)) || names.iter().any(|name| name.is(authority))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn asked(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        is_ours(&headers.collect(), &[HostName::parse("streamdb.example").unwrap()])
    }

    #[test]
    fn our_pages_and_others() {
        let host = ("host", "127.0.0.1:8080");
        for ours in [
            &[host, ("origin", "http://127.0.0.1:8080")][..],
            &[host, ("origin", "https://streamdb.example")],
            &[host, ("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(asked(ours), "{ours:?}");
        }
        for strange in [
            &[host][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://127.0.0.1:8081")],
            &[host, ("origin", "http://127.0.0.1")],
            &[host, ("origin", "https://streamdb.example:4443")],
            &[host, ("origin", "https://streamdb.example.evil.example")],
            &[host, ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "cross-site")],
            &[host, ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(!asked(strange), "{strange:?}");
        }
    }
}
