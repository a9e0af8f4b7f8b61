//! What is the same for all pages: where `/` leads, and the sheet.

use axum::http::{HeaderValue, StatusCode};
use axum::response::{Redirect, Response};

use crate::answer::whole;

/// The one page there is so far.
pub(crate) async fn front() -> Redirect {
    Redirect::to("/streamdb/")
}

/// The sheet of all pages.
pub(crate) async fn style() -> Response {
    let css = HeaderValue::from_static("text/css; charset=utf-8");
    whole(StatusCode::OK, css, include_str!("../templates/style.css"))
}
