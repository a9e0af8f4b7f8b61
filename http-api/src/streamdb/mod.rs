//! `GET /streamdb/`: the contract of the 2012 StreamDB, that log searches and scripts link to.
//!
//! - `params` reads what is asked for; `usage` is what a wrong question gets with its answer
//! - `search`, `entry`, `printable`: what a search finds; `text` and `json` show it
//! - `object`, `stream`, `range`, `frames`: what an oid names, as a download

mod entry;
mod frames;
mod json;
mod object;
mod params;
mod printable;
mod range;
mod search;
mod stream;
mod text;
mod usage;

use std::time::Instant;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::task::JoinHandle;

use self::params::{Asked, Wanted};
use crate::answer::{JSON, PLAIN, failed, refuse, whole};
use crate::app::App;
use crate::channel::maker;

/// Answers a request.
pub(crate) async fn answer(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(pairs)) = query else { return misused("the query string cannot be read") };
    match Asked::parse(&pairs) {
        Err(why) => misused(&why),
        Ok(Asked::Search(search)) => {
            let begun = Instant::now();
            let work = app.start(move |store| {
                let listing = search::search(store, &search)?;
                Ok(match search.as_json {
                    true => whole(StatusCode::OK, JSON, json::render(&listing)),
                    false => whole(StatusCode::OK, PLAIN, text::render(&listing, begun.elapsed())),
                })
            });
            match work.await {
                Ok(work) => finished(work).await.unwrap_or_else(|error| failed(&error)),
                Err(refusal) => refusal,
            }
        }
        Ok(Asked::Object { oid, wanted }) => {
            let (maker, answer) = maker();
            let work = app.start(move |store| match wanted {
                Wanted::Object => object::send(store, oid, maker),
                Wanted::Stream => stream::send(store, oid, &headers, maker),
                Wanted::Frames => frames::send(store, oid, maker),
            });
            match work.await {
                // The work goes on while the body is sent.
                Ok(_) => answer.await.unwrap_or_else(|_| broken()),
                Err(refusal) => refusal,
            }
        }
    }
}

async fn finished<E>(work: JoinHandle<Result<Response, E>>) -> Result<Response, E> {
    match work.await {
        Ok(answer) => answer,
        Err(_) => Ok(broken()),
    }
}

fn misused(why: &str) -> Response {
    whole(StatusCode::BAD_REQUEST, PLAIN, format!("{why}\n\n{}", usage::USAGE))
}

fn broken() -> Response {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made: this is a fault of StreamDB.")
}
