//! `GET /streamdb/`: the contract of the 2012 StreamDB, that log searches and scripts link to.
//!
//! - `params` reads what is asked for; `usage` is what a wrong question gets with its answer
//! - `find`, `search`, `entry`, `printable`: what a search finds; `text`, `json` and `page` show it, `holes` what is missing
//! - `local` is the answer to a search without a server
//! - `object`, `joined`, `zip`, `dump`, `stream`, `follow`, `range`, `frames`: what an oid names, as a download; `hex` is how bytes are dumped

mod dump;
mod entry;
mod find;
mod follow;
mod frames;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod hex;
mod holes;
mod joined;
mod json;
mod local;
mod object;
mod page;
mod params;
mod printable;
mod range;
mod search;
mod stream;
mod text;
mod usage;
mod zip;

use std::time::Instant;

use axum::extract::{Extension, Query, State};
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use streamdb_derive::{Error, Store};
use streamdb_query::{Wording, meta};
use streamdb_submit::Rules;
use streamdb_types::Oid;
use tokio::task::JoinHandle;

#[cfg(feature = "fuzzing")]
pub use self::fuzzing::query_string;
pub(crate) use self::joined::send as send_joined;
pub use self::local::{SearchAnswer, SearchRow, search_text};
pub(crate) use self::object::send as send_object;
pub(crate) use self::page::html;
use self::params::{Asked, Search, Shape, Wanted};
pub use self::text::Detail;
use crate::answer::{JSON, PLAIN, broken, failed, whole};
use crate::app::App;
use crate::asking::asking;
use crate::auth::{Caller, Role};
use crate::channel::maker;
use crate::submit;

/// Answers a request.
pub(crate) async fn answer(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let page = likes_pages(&headers);
    let Ok(Query(pairs)) = query else { return misused("the query string cannot be read") };
    let mut answer = match Asked::parse(&pairs, streamdb_derive::now(), app.zone()) {
        Err(why) if page => page::form(&pairs, &why, app.zone()),
        Err(why) => misused(&why),
        Ok(Asked::Nothing) if page => page::form(&pairs, "", app.zone()),
        Ok(Asked::Nothing) => misused("an address is needed, as in srcip=10.0.0.5; or an oid"),
        Ok(Asked::Search(search)) => match &search.submit {
            Some(_) => submission(&app, caller, &headers, *search).await,
            None => found(&app, *search, pairs, page, app.submissions().is_some() && caller.may(Role::Submit)).await,
        },
        Ok(Asked::Submission(oid)) => submit::named(&app, caller, &headers, vec![oid], submit::BY_OID).await,
        Ok(Asked::Object { oid, wanted, newest }) => {
            let (maker, answer) = maker();
            let work = app.start_download(move |store| match newest_of(store, oid, newest).map(|oid| (oid, wanted)) {
                Err(error) => maker.whole(failed(&error)),
                Ok((oid, wanted)) => match wanted {
                    Wanted::Object => object::send(store, oid, None, &headers, maker),
                    Wanted::Other(version) => object::send(store, oid, Some(version), &headers, maker),
                    Wanted::Stream => stream::send(store, oid, &headers, maker),
                    Wanted::Follow => follow::send(store, oid, maker),
                    Wanted::Frames => frames::send(store, oid, maker),
                    Wanted::Zip => zip::send(store, oid, maker),
                    Wanted::Hex { raw } => dump::send(store, oid, raw, maker),
                },
            });
            match work.await {
                // The work goes on while the body is sent.
                Ok(_) => answer.await.unwrap_or_else(|_| broken()),
                Err(refusal) => refusal,
            }
        }
    };
    answer.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    answer
}

/// What to hand out: of the stream as the oid names it, or as it is now. The message stays the same one.
fn newest_of(store: &Store, oid: Oid, newest: bool) -> Result<Oid, Error> {
    if !newest {
        return Ok(oid);
    }
    Ok(streamdb_derive::newest(store, oid)?.info().oid.with_index(oid.index))
}

/// The answer to a search.
async fn found(app: &App, search: Search, pairs: Vec<(String, String)>, page: bool, can_submit: bool) -> Response {
    let begun = Instant::now();
    let zone = app.zone().clone();
    let page = page && search.shape.is_none();
    let submissions = app.submissions().cloned();
    let (_asking, asked) = asking();
    let work = app.start(move |store: &std::sync::Arc<Store>| -> Result<Response, Error> {
        let listing = search::search(store, &search, page.then_some(page::SHOWN), &|| asked.waits())?;
        let took = begun.elapsed();
        Ok(match search.shape {
            Some(Shape::Json) => whole(StatusCode::OK, JSON, json::render(&listing, &zone)),
            None if page => {
                let submitted = page::Submitting { submissions: submissions.as_ref(), allowed: can_submit };
                page::results(listing, &search, &pairs, took, &zone, &submitted)
            }
            _ => whole(StatusCode::OK, PLAIN, text::render(&listing, took, &zone, Detail::Whole)),
        })
    });
    match work.await {
        Ok(work) => finished(work).await.unwrap_or_else(|error| failed(&error)),
        Err(refusal) => refusal,
    }
}

/// What a search finds, submitted: what is complete, and whose line has what is asked for.
async fn submission(app: &App, caller: Caller, headers: &HeaderMap, search: Search) -> Response {
    let (_asking, asked) = asking();
    let work = app.start(move |store: &std::sync::Arc<Store>| -> Result<Vec<submit::Found>, Error> {
        let listing = search::search(store, &search, Some(0), &|| asked.waits())?;
        let objects = listing.connections.into_iter().flat_map(|connection| connection.objects);
        let wanted = |entry: &entry::Entry| {
            let says = |wording| search.submit.as_ref().is_some_and(|text| text.is_in(&meta(&entry.row, wording)));
            // A request without a body is nothing that a sandbox could take.
            entry.row.complete && entry.row.size > 0 && (says(Wording::Legacy) || says(Wording::Current))
        };
        let label = |entry: entry::Entry| submit::Found { oid: entry.row.oid, label: text::meta_line(&entry) };
        Ok(objects.filter(wanted).map(label).collect())
    });
    match work.await {
        Ok(work) => match work.await {
            Ok(Ok(found)) => submit::answer(app, caller, headers, found, Rules::default()).await,
            Ok(Err(error)) => failed(&error),
            Err(_) => broken(),
        },
        Err(refusal) => refusal,
    }
}

/// Whether a client asks for pages: browsers do, and say so; scripts take anything.
fn likes_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html"))
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
