//! `/api/v1`: streams and objects as resources, for programs.
//!
//! - `asked` reads what is asked for, `accept` in which form it is wanted; `parameters` describes what may be asked
//! - `find` runs a search; `page` answers it whole, as JSON; `lines` row by row, as they are found
//! - `content` says where a content was seen, and hands it out; `joins` lists contents that came in several responses
//! - `problem` is what every error under `/api/v1` looks like, whoever made it
//! - `openapi` describes it all, made from the types that are served

mod accept;
mod asked;
mod content;
mod find;
mod joins;
mod lines;
mod openapi;
mod page;
mod parameters;
mod problem;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{any, get};
use streamdb_derive::now;

use self::accept::Shape;
use self::asked::Asked;
use self::find::Kind;
pub(crate) use self::problem::dress;
use crate::answer::{broken, failed, refuse};
use crate::app::App;
use crate::asking::asking;
use crate::channel::maker;

/// Where all of it lies.
const ROOT: &str = "/api/v1";

const NO_SUCH: &str = "There is no such resource; /api/v1/openapi.json describes those that there are.";
const QUERY: &str = "The query string cannot be read.";

type Pairs = Vec<(String, String)>;

/// The resources.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/objects", get(objects))
        .route("/api/v1/objects/{sha256}", get(content))
        .route("/api/v1/objects/{sha256}/content", get(download))
        .route("/api/v1/joins", get(joins))
        .route("/api/v1/openapi.json", get(openapi::answer))
        .route("/api/v1", any(nothing))
        .route("/api/v1/", any(nothing))
        .route("/api/v1/{*rest}", any(nothing))
}

/// Whether a path lies here: programs ask, never people.
pub(crate) fn has(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn nothing() -> Response {
    refuse(StatusCode::NOT_FOUND, NO_SUCH)
}

async fn streams(State(app): State<App>, headers: HeaderMap, query: Result<Query<Pairs>, QueryRejection>) -> Response {
    list(&app, Kind::Streams, &headers, query).await
}

async fn objects(State(app): State<App>, headers: HeaderMap, query: Result<Query<Pairs>, QueryRejection>) -> Response {
    list(&app, Kind::Objects, &headers, query).await
}

async fn list(app: &App, kind: Kind, headers: &HeaderMap, query: Result<Query<Pairs>, QueryRejection>) -> Response {
    let Ok(Query(pairs)) = query else { return refuse(StatusCode::BAD_REQUEST, QUERY) };
    let mut answer = match Asked::read(&pairs, headers, now(), app.zone()) {
        Err(refusal) => *refusal,
        Ok(Asked { filter, shape: Shape::Json }) => {
            let (_asking, asked) = asking();
            whole(app, move |store| page::answer(store, kind, &filter, &|| asked.waits())).await
        }
        Ok(Asked { filter, shape: Shape::Lines }) => {
            let (maker, answer) = maker();
            match app.start_lines(move |store| lines::send(store, kind, &filter, maker)).await {
                // The work goes on while the rows are sent.
                Ok(_) => answer.await.unwrap_or_else(|_| broken()),
                Err(refusal) => refusal,
            }
        }
    };
    answer.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    answer
}

async fn content(
    State(app): State<App>,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Pairs>, QueryRejection>,
) -> Response {
    let Ok(Path(digest)) = path else { return refuse(StatusCode::BAD_REQUEST, "The path cannot be read.") };
    let Ok(Query(pairs)) = query else { return refuse(StatusCode::BAD_REQUEST, QUERY) };
    let mut answer = match asked::digest(&digest, &pairs, &headers) {
        Err(refusal) => *refusal,
        Ok(digest) => {
            let (_asking, asked) = asking();
            let submissions = app.submissions().cloned();
            whole(&app, move |store| content::answer(store, submissions.as_ref(), digest, &|| asked.waits())).await
        }
    };
    answer.headers_mut().append(VARY, HeaderValue::from_static(ACCEPT.as_str()));
    answer
}

async fn download(
    State(app): State<App>,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Pairs>, QueryRejection>,
) -> Response {
    let Ok(Path(digest)) = path else { return refuse(StatusCode::BAD_REQUEST, "The path cannot be read.") };
    let Ok(Query(pairs)) = query else { return refuse(StatusCode::BAD_REQUEST, QUERY) };
    let digest = match asked::named(&digest, &pairs) {
        Err(refusal) => return *refusal,
        Ok(digest) => digest,
    };
    let (maker, answer) = maker();
    match app.start_download(move |store| content::send(store, digest, &headers, maker)).await {
        // The work goes on while the body is sent.
        Ok(_) => answer.await.unwrap_or_else(|_| broken()),
        Err(refusal) => refusal,
    }
}

async fn joins(State(app): State<App>, headers: HeaderMap, query: Result<Query<Pairs>, QueryRejection>) -> Response {
    let Ok(Query(pairs)) = query else { return refuse(StatusCode::BAD_REQUEST, QUERY) };
    let asked = asked::json_alone(&headers).and_then(|()| joins::Asked::read(&pairs, now(), app.zone()));
    let mut answer = match asked {
        Err(refusal) => *refusal,
        Ok(wanted) => {
            let (_asking, asked) = asking();
            whole(&app, move |store| joins::answer(store, &wanted, &|| asked.waits())).await
        }
    };
    answer.headers_mut().append(VARY, HeaderValue::from_static(ACCEPT.as_str()));
    answer
}

/// An answer that is made whole, on a thread that may block.
async fn whole(
    app: &App,
    work: impl FnOnce(&streamdb_derive::Store) -> Result<Response, streamdb_derive::Error> + Send + 'static,
) -> Response {
    match app.start(move |store| work(store)).await {
        Ok(work) => match work.await {
            Ok(answer) => answer.unwrap_or_else(|error| failed(&error)),
            Err(_) => broken(),
        },
        Err(refusal) => refusal,
    }
}
