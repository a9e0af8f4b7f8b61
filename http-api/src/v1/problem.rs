//! Errors as `application/problem+json` (RFC 9457), whoever made them.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Why, refuse};

/// Its media type.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// Longer names of parameters are cut.
const LONGEST_NAME: usize = 80;

const ONLY_GET: &str = "What is here can be read and not changed: GET and HEAD are answered.";

/// What is wrong (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[schema(pattern = "^about:blank$")]
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong here, what was given, and what is accepted.
    detail: String,
    /// The parameter that is at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
}

/// The parameter that is at fault.
#[derive(Clone)]
struct AtFault(String);

/// The refusal of a question, for this parameter of it.
pub(super) fn wrong(why: &str, parameter: Option<&str>) -> Response {
    let mut response = refuse(StatusCode::BAD_REQUEST, why);
    if let Some(name) = parameter {
        response.extensions_mut().insert(AtFault(name.chars().take(LONGEST_NAME).collect()));
    }
    response
}

/// A problem with this status.
fn problem(status: StatusCode, why: Option<Why>, parameter: Option<AtFault>) -> Problem {
    let title = status.canonical_reason().unwrap_or("Error");
    let detail = match why {
        Some(Why(why)) => why,
        None if status == StatusCode::METHOD_NOT_ALLOWED => ONLY_GET.to_owned(),
        None => title.to_owned(),
    };
    let parameter = parameter.map(|AtFault(name)| name);
    Problem { r#type: "about:blank", title, status: status.as_u16(), detail, parameter }
}

/// Puts every error under `/api/v1` into this form; what it says, and its other headers, stay.
pub(crate) async fn dress(request: Request, next: Next) -> Response {
    let ours = super::has(request.uri().path());
    let mut response = next.run(request).await;
    let status = response.status();
    if !ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let extensions = response.extensions_mut();
    let problem = problem(status, extensions.remove(), extensions.remove());
    *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.remove(CONTENT_LENGTH);
    response
}
