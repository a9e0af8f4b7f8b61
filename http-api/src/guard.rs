//! What every answer says, so that no browser makes more of captured bytes than bytes; and what of a question does not count.

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, RANGE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");

/// Adds the headers. An answer with a policy of its own keeps it.
pub(crate) async fn harmless(mut request: Request, next: Next) -> Response {
    // Ranges are for GET alone (RFC 9110 §14.2).
    if request.method() == Method::HEAD {
        request.headers_mut().remove(RANGE);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(SANDBOX);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not "no-referrer": with that, a form of our own pages would name its origin as null (Fetch §3.2).
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // Another page may link here; it may not take in what is here as its own picture or script.
    let corp = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(corp, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
